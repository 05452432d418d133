//! Measures how soon a task that has become healthy is found by name and by service port, what a
//! change costs, and how much memory it takes, in clusters of three sizes.
//!
//! ```text
//! Backends (real listeners) ◄── load balancer ◄─┐
//! simulated executor ◄──► control plane ──► catalog ──► DNS      (one process, as in `waymark run`)
//!        ▲ healthy!                             └── watchers ask both until the task is there
//! ```
//!
//! `waymark-bench-converge` starts itself once for each size, so that memory is counted from
//! nothing; `waymark-bench-converge APPS` is one of these. Prints a Markdown table; see `README.md`
//! beside this crate.
#![allow(clippy::print_stdout, clippy::print_stderr)] // The table is the output.

mod changes;
mod cluster;
mod executor;
mod usage;
mod watch;

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::Instant;

use changes::Spread;
use cluster::Cluster;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Apps in the catalog, each with two tasks.
const SIZES: [usize; 3] = [10, 1_000, 10_000];

fn main() -> Outcome<()> {
    match std::env::args().nth(1) {
        None => every_size(),
        Some(apps) => one_size(apps.parse()?),
    }
}

fn every_size() -> Outcome<()> {
    println!(
        "| apps × 2 tasks | DNS p50 / p99 / max, ms | connection p50 / p99 / max, ms \
         | CPU a change, µs | RSS at rest / after the changes, MB |"
    );
    println!("|---|---|---|---|---|");
    for apps in SIZES {
        let child = Command::new(std::env::current_exe()?)
            .arg(apps.to_string())
            .stdin(Stdio::null())
            .status()?;
        if !child.success() {
            return Err(format!("the run with {apps} apps failed").into());
        }
    }
    Ok(())
}

fn one_size(apps: usize) -> Outcome<()> {
    waymark_proxy::raise_nofile_limit()?;
    let started = Instant::now();
    let mut cluster = Cluster::start(apps)?;
    let at_rest = usage::resident_mb()?;
    eprintln!("{apps} apps are up after {:.1} s", started.elapsed().as_secs_f64());
    let [names, connections] = changes::latencies(&mut cluster)?;
    let cost = changes::cost(&mut cluster)?;
    let afterwards = usage::resident_mb()?;
    println!(
        "| {apps} | {} | {} | {:.0} | {at_rest:.0} / {afterwards:.0} |",
        Spread::of(names),
        Spread::of(connections),
        cost.as_secs_f64() * 1e6,
    );
    Ok(())
}
