//! The load: `dnsperf` on a processor of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;

/// How the queries travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    pub const ALL: [Transport; 2] = [Transport::Udp, Transport::Tcp];

    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        }
    }
}

/// What a stretch of load came to.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub answers: u64,
    pub per_second: f64,
}

/// Asks the queries in a file for some seconds, 10 clients with 100 queries on the way in all.
pub fn run(server: SocketAddr, by: Transport, file: &Path, seconds: u32) -> Outcome<Answered> {
    let output = Command::new("taskset")
        .args(["-c", &crate::LOAD_CPU.to_string(), "dnsperf", "-c", "10", "-q", "100"])
        .args(["-m", by.name(), "-s", &server.ip().to_string(), "-p", &server.port().to_string()])
        .args(["-l", &seconds.to_string(), "-d"])
        .arg(file)
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let number = |key: &str| -> Outcome<f64> {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(key));
        let word = line.and_then(|rest| rest.split_whitespace().next());
        Ok(word.ok_or_else(|| format!("dnsperf says nothing of `{key}`:\n{text}"))?.parse()?)
    };
    let bad = text.lines().find(|line| line.contains("Response codes:"));
    if !bad.is_some_and(|line| line.contains("NOERROR") && line.contains("(100.00%)")) {
        return Err(format!("not every answer is NOERROR: {bad:?}").into());
    }
    Ok(Answered {
        answers: number("Queries completed:")? as u64,
        per_second: number("Queries per second:")?,
    })
}
