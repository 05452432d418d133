//! System calls of a running process, counted by `strace -c`.

use std::fs::read_to_string;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::NamedTempFile;

use crate::Outcome;

/// A process being traced.
pub struct Trace {
    strace: Child,
    table: NamedTempFile,
}

/// Begins to trace all threads of the process.
pub async fn attach(pid: u32) -> Outcome<Trace> {
    let table = NamedTempFile::new()?;
    let mut command = Command::new("strace");
    command.args(["-c", "-f", "-q", "-p"]).arg(pid.to_string()).arg("-o").arg(table.path());
    let strace = command.stdin(Stdio::null()).spawn().map_err(|e| format!("strace: {e}"))?;
    // It says nothing once it is attached.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(Trace { strace, table })
}

impl Trace {
    /// Ends the trace: each call's name and how often it was made, most often first.
    pub fn finish(mut self) -> Outcome<Vec<(String, u64)>> {
        kill(Pid::from_raw(i32::try_from(self.strace.id())?), Signal::SIGINT)?;
        self.strace.wait()?;
        let table = read_to_string(self.table.path())?;
        let mut counts: Vec<_> = table.lines().filter_map(row).collect();
        counts.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
        Ok(counts)
    }
}

/// `% time, seconds, usecs/call, calls, [errors,] name`.
fn row(line: &str) -> Option<(String, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (name, calls) = (fields.last()?, fields.get(3)?.parse().ok()?);
    (*name != "total").then(|| ((*name).to_owned(), calls))
}
