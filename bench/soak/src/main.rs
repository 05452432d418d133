//! Applies changes of every kind to the load balancer's routes, and to a running load balancer, and
//! prints its memory as it goes.
//!
//! ```text
//! Change (seeded) ──► catalog::Writer ──► TableBuilder              each change makes a table
//!                                   └───► Proxy (threads, listeners) ──► Output::applied
//! resident memory, ports, pools ◄── every tenth of the way
//! ```
//!
//! `waymark-bench-soak [CHANGES] [LIVE] [APPS]`: so many changes of tables, then so many that a
//! running balancer has applied, each waited for (a million, 20,000 and 1,000 if not said). It fails
//! if memory at the end of a part is more than a tenth above what it was after a tenth of it.

#![allow(clippy::print_stdout)] // A program that prints a table.

mod changes;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use waymark_catalog::{Output, Writer};
use waymark_model::Timestamp;
use waymark_proxy::{Exposure, Groups, HealthPolicy, Proxy, ProxyConfig, RouteTable, TableBuilder};

use changes::Changes;

/// Connections are made this often; most of them find nobody.
const CONNECT_EVERY: usize = 500;

/// How often it is asked whether a change is applied.
const POLL: Duration = Duration::from_micros(50);

/// How long one change may take to be applied.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Stuck(&'static str);

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse::<usize>().ok());
    let mut number = |default| numbers.next().flatten().unwrap_or(default);
    let (changes, live, apps) = (number(1_000_000), number(20_000), number(1_000));
    let flat = tables(changes, apps);
    match running(live, apps) {
        Ok(flat_too) if flat && flat_too => ExitCode::SUCCESS,
        Ok(_) => {
            println!("memory has grown");
            ExitCode::FAILURE
        }
        Err(Stuck(what)) => {
            println!("{what}");
            ExitCode::FAILURE
        }
    }
}

/// Every change makes a table, and the one before goes. Returns whether memory stays.
fn tables(total: usize, apps: usize) -> bool {
    let (mut writer, reader) = Writer::new(0);
    let exposure = Exposure {
        groups: Groups::All,
        strict: false,
        health: HealthPolicy::Strict,
        listen: Ipv4Addr::LOCALHOST.into(),
        https_port: 443,
    };
    let mut builder = TableBuilder::new(exposure, |_| false, Arc::default());
    let mut changes = Changes::new(apps);
    writer.publish(changes.all());
    builder.apply(reader.latest(), Timestamp::ZERO);
    let mut held = Arc::new(builder.table().clone());
    let mut progress = Progress::new("tables", total);
    for n in 1..=total {
        writer.publish(changes.next());
        builder.apply(reader.latest(), Timestamp::ZERO);
        held = Arc::new(builder.table().clone());
        progress.after(n, &held);
    }
    drop(held);
    progress.is_flat()
}

/// Every change is waited for until all threads work by it. Returns whether memory stays.
fn running(total: usize, apps: usize) -> Result<bool, Stuck> {
    let (mut writer, reader) = Writer::new(0);
    let config = ProxyConfig { workers: 2, hold: Duration::ZERO, ..ProxyConfig::default() };
    let proxy = Proxy::start(config, reader).map_err(|_| Stuck("the balancer does not start"))?;
    let output = proxy.output();
    let mut changes = Changes::new(apps);
    applied(&*output, writer.publish(changes.all()))?;
    let mut progress = Progress::new("running", total);
    for n in 1..=total {
        applied(&*output, writer.publish(changes.next()))?;
        if n.is_multiple_of(CONNECT_EVERY) {
            knock(changes.a_port());
        }
        progress.after(n, &proxy.table());
    }
    Ok(progress.is_flat())
}

/// A line for every tenth of the way.
struct Progress {
    step: usize,
    began: Instant,
    /// Memory after the first and after the latest tenth.
    resident: Option<(f64, f64)>,
}

impl Progress {
    fn new(what: &str, total: usize) -> Progress {
        println!("{what:>9} {:>9} {:>9} {:>9} {:>12}", "MB", "ports", "pools", "us a change");
        Progress { step: (total / 10).max(1), began: Instant::now(), resident: None }
    }

    fn after(&mut self, n: usize, table: &RouteTable) {
        if !n.is_multiple_of(self.step) {
            return;
        }
        let each = self.began.elapsed().as_secs_f64() * 1e6 / self.step as f64;
        let now = resident_mb();
        let (ports, pools) = (table.listeners.len(), table.pools.len());
        println!("{n:>9} {now:>9.1} {ports:>9} {pools:>9} {each:>12.1}");
        self.began = Instant::now();
        self.resident = Some((self.resident.map_or(now, |(first, _)| first), now));
    }

    fn is_flat(&self) -> bool {
        self.resident.is_none_or(|(first, last)| last <= first * 1.1)
    }
}

/// Waits until every worker works by the version.
fn applied(output: &dyn Output, version: u64) -> Result<(), Stuck> {
    let since = Instant::now();
    while output.applied() < version {
        if since.elapsed() > PATIENCE {
            return Err(Stuck("a change is not applied"));
        }
        std::thread::sleep(POLL);
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
