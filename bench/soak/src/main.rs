//! Applies changes of every kind to a running load balancer and prints its memory as it goes.
//!
//! ```text
//! Change (seeded) ──► catalog::Writer ──► Proxy (threads, listeners) ──► Output::applied
//!                                           │ every change is waited for
//! resident memory, routes, tasks ◄──────────┘
//! ```
//!
//! `waymark-bench-soak [CHANGES] [APPS]`; a million and a thousand if not said. It fails if memory
//! at the end is more than a tenth above what it was when a tenth of the changes were done.

#![allow(clippy::print_stdout)] // A program that prints a table.

mod changes;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use waymark_catalog::{Output, Writer};
use waymark_proxy::{Proxy, ProxyConfig};

use changes::Changes;

/// Connections are made this often; most of them find nobody.
const CONNECT_EVERY: usize = 500;

/// How long one change may take to be applied.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Stuck(&'static str);

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse::<usize>().ok());
    let changes = numbers.next().flatten().unwrap_or(1_000_000);
    let apps = numbers.next().flatten().unwrap_or(1_000);
    match soak(changes, apps) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!("memory has grown");
            ExitCode::FAILURE
        }
        Err(Stuck(what)) => {
            println!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn soak(total: usize, apps: usize) -> Result<bool, Stuck> {
    let (mut writer, reader) = Writer::new(0);
    let config = ProxyConfig { workers: 2, hold: Duration::ZERO, ..ProxyConfig::default() };
    let proxy = Proxy::start(config, reader).map_err(|_| Stuck("the balancer does not start"))?;
    let output = proxy.output();
    let mut changes = Changes::new(apps);
    applied(&*output, writer.publish(changes.all()))?;
    println!("{:>9} {:>9} {:>9} {:>9} {:>12}", "changes", "MB", "ports", "pools", "us a change");
    let (mut settled, mut began) = (0.0, Instant::now());
    let step = (total / 10).max(1);
    for n in 1..=total {
        applied(&*output, writer.publish(changes.next()))?;
        if n % CONNECT_EVERY == 0 {
            knock(changes.a_port());
        }
        if n % step == 0 {
            let table = proxy.table();
            let each = began.elapsed().as_secs_f64() * 1e6 / step as f64;
            let resident = resident_mb();
            let (ports, pools) = (table.listeners.len(), table.pools.len());
            println!("{n:>9} {resident:>9.1} {ports:>9} {pools:>9} {each:>12.1}");
            began = Instant::now();
            if n == step {
                settled = resident;
            }
        }
    }
    Ok(resident_mb() <= settled * 1.1)
}

/// Waits until every worker works by the version.
fn applied(output: &dyn Output, version: u64) -> Result<(), Stuck> {
    let since = Instant::now();
    while output.applied() < version {
        if since.elapsed() > PATIENCE {
            return Err(Stuck("a change is not applied"));
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// A client that comes, and goes again however it is received.
fn knock(port: u16) {
    if let Ok(mut client) = TcpStream::connect(("127.0.0.1", port)) {
        // What becomes of it is not measured here.
        let _ = client.write_all(b"x").and_then(|()| client.read(&mut [0; 8]));
    }
}

/// Resident memory of this process in MB.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
