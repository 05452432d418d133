//! Measures the load balancer beside HAProxy, nginx, Envoy and Traefik on this machine.
//!
//! ```text
//! CPU 1: client (wrk, h2load) ──► CPU 0: balancer (its own process, one thread) ──► CPU 1: backend
//! ```
//!
//! `waymark-bench-http [cpu|latency|memory|change]…` (all of them by default); `--only NAME,…` for
//! some of the balancers, `--load TEXT` for the loads whose name holds the text. `proxy …` is the
//! process that is measured for Waymark. Prints Markdown tables; see `README.md` beside this crate.
#![allow(clippy::print_stdout, clippy::print_stderr)] // The tables are the output.

mod backend;
mod change;
mod client;
mod contestant;
mod handshakes;
mod idle;
mod peers;
mod setup;
mod waymark;
mod xds;

use std::error::Error;
use std::time::Duration;

use client::Load;
use contestant::{Contestant, Kind};
use setup::Setup;
use waymark_proxy::raise_nofile_limit;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Measured stretches of each balancer with each load.
const ROUNDS: usize = 5;
/// How long one lasts; the kernel counts processor time in 10 ms.
const STRETCH: Duration = Duration::from_secs(2);
/// How long latency is measured at a stretch.
const LATENCY_STRETCH: Duration = Duration::from_secs(5);
/// Host names of the ordinary set-up, and of the large one.
const HOSTS: (usize, usize) = (10, 10_000);
/// Idle connections whose memory is measured.
const IDLE: usize = 4_000;

/// What was asked for on the command line.
#[derive(Default)]
struct Wanted {
    parts: Vec<String>,
    only: Option<String>,
    load: Option<String>,
}

impl Wanted {
    fn parse(arguments: &[String]) -> Outcome<Wanted> {
        let mut wanted = Wanted::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--only" => wanted.only = arguments.next().map(|names| names.to_lowercase()),
                "--load" => wanted.load = arguments.next().map(|text| text.to_lowercase()),
                "cpu" | "latency" | "memory" | "change" => wanted.parts.push(argument.clone()),
                _ => {
                    return Err("usage: waymark-bench-http [cpu|latency|memory|change]… \
                        [--only NAME,…] [--load TEXT]"
                        .into());
                }
            }
        }
        Ok(wanted)
    }

    fn part(&self, name: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|part| part == name)
    }

    fn kinds(&self) -> Vec<Kind> {
        let named = |kind: &Kind| match &self.only {
            Some(names) => names.split(',').any(|name| name == kind.name().to_lowercase()),
            None => true,
        };
        Kind::ALL.into_iter().filter(named).filter(|kind| kind.is_there()).collect()
    }

    fn loads(&self) -> Vec<Load> {
        let named = |load: &Load| match &self.load {
            Some(text) => load.name().to_lowercase().contains(text),
            None => true,
        };
        Load::ALL.into_iter().filter(named).collect()
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    raise_nofile_limit()?;
    let run = async {
        if let Some(("proxy", rest)) = arguments.split_first().map(|(a, b)| (a.as_str(), b)) {
            return waymark::serve(rest).await;
        }
        let wanted = Wanted::parse(&arguments)?;
        contestant::pin(contestant::LOAD_CPU)?;
        let backend = backend::start().await?;
        if wanted.part("cpu") {
            processor_time(&wanted, backend).await?;
        }
        if wanted.part("latency") {
            latency(&wanted, backend).await?;
        }
        if wanted.part("memory") {
            memory(&wanted, backend).await?;
        }
        if wanted.part("change") {
            change::measure()?;
        }
        Ok(())
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run)
}

async fn start_all(
    kinds: &[Kind],
    hosts: usize,
    backend: std::net::SocketAddr,
) -> Outcome<Vec<Contestant>> {
    let mut contestants = Vec::new();
    for kind in kinds {
        contestants.push(Contestant::start(*kind, Setup::new(hosts, backend)?).await?);
    }
    Ok(contestants)
}

/// All balancers in turns, so that all see the same moods of the machine.
async fn processor_time(wanted: &Wanted, backend: std::net::SocketAddr) -> Outcome<()> {
    let kinds = wanted.kinds();
    println!("Processor time of the balancer for each operation, in µs: median (least to most);");
    println!("below it operations a second, not a measure of anything on two processors.\n");
    print!("| load |");
    kinds.iter().for_each(|kind| print!(" {} |", kind.name()));
    println!("\n|---|{}", "---|".repeat(kinds.len()));
    for (large, hosts) in [(false, HOSTS.0), (true, HOSTS.1)] {
        let loads = wanted.loads().into_iter().filter(|load| load.needs_many_hosts() == large);
        let loads: Vec<Load> = loads.collect();
        if loads.is_empty() {
            continue;
        }
        let contestants = start_all(&kinds, hosts, backend).await?;
        for load in loads {
            print!("| {} |", load.name());
            for cell in compare(&contestants, load).await? {
                print!(" {cell} |");
            }
            println!();
        }
    }
    println!();
    Ok(())
}

async fn compare(contestants: &[Contestant], load: Load) -> Outcome<Vec<String>> {
    let mut measured = vec![Vec::new(); contestants.len()];
    for contestant in contestants {
        client::warm_up(load, contestant).await?;
    }
    for _ in 0..ROUNDS {
        for (contestant, rounds) in contestants.iter().zip(&mut measured) {
            if contestant.can(load) {
                rounds.push(stretch(contestant, load).await?);
            }
        }
    }
    Ok(measured.into_iter().map(cell).collect())
}

fn cell(mut rounds: Vec<(f64, f64)>) -> String {
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (Some(least), Some(most)) = (rounds.first(), rounds.last()) else {
        return "–".to_owned();
    };
    let (micros, rate) = rounds[rounds.len() / 2];
    format!("{micros:.1} ({:.1} to {:.1})<br>{rate:.0}/s", least.0, most.0)
}

/// Processor time for each operation in microseconds, and operations a second.
async fn stretch(contestant: &Contestant, load: Load) -> Outcome<(f64, f64)> {
    let before = contestant.cpu()?;
    let done = client::run(load, contestant, STRETCH).await?;
    let cpu = contestant.cpu()? - before;
    if done == 0 {
        return Err(format!("{} did nothing at {}", contestant.kind.name(), load.name()).into());
    }
    let rate = done as f64 / STRETCH.as_secs_f64();
    Ok((cpu.as_secs_f64() * 1e6 / done as f64, rate))
}

/// Latency when requests come half as fast as HAProxy (or the first one) can do them.
async fn latency(wanted: &Wanted, backend: std::net::SocketAddr) -> Outcome<()> {
    let contestants = start_all(&wanted.kinds(), HOSTS.0, backend).await?;
    let measure = contestants.iter().find(|c| c.kind == Kind::HaProxy).or(contestants.first());
    let Some(measure) = measure else { return Ok(()) };
    let whole = client::run(Load::KeepAlive, measure, STRETCH).await? as f64;
    let rate = whole / STRETCH.as_secs_f64() / 2.0;
    println!(
        "Latency of HTTP/1.1 at {rate:.0} requests a second, half of what {} does:\n",
        measure.kind.name()
    );
    println!("| balancer | p50 µs | p99 µs | p99 least | p99 most |\n|---|---|---|---|---|");
    let mut measured = vec![Vec::new(); contestants.len()];
    for _ in 0..ROUNDS {
        for (contestant, rounds) in contestants.iter().zip(&mut measured) {
            rounds.push(client::latency(contestant, rate, LATENCY_STRETCH).await?);
        }
    }
    for (contestant, mut rounds) in contestants.iter().zip(measured) {
        rounds.sort_by_key(|(_, p99)| *p99);
        let (p50, p99) = rounds[ROUNDS / 2];
        let (least, most) = (rounds[0].1, rounds[ROUNDS - 1].1);
        println!("| {} | {p50} | {p99} | {least} | {most} |", contestant.kind.name());
    }
    println!();
    Ok(())
}

/// Resident memory of each idle connection, a request having been answered on it.
async fn memory(wanted: &Wanted, backend: std::net::SocketAddr) -> Outcome<()> {
    println!("Resident memory, {IDLE} idle connections:\n");
    println!(
        "| balancer | at rest | each of HTTP/1.1 | each of HTTP/1.1 in TLS |\n|---|---|---|---|"
    );
    for kind in wanted.kinds() {
        let mut cells = Vec::new();
        for tls in [false, true] {
            let contestant = Contestant::start(kind, Setup::new(HOSTS.0, backend)?).await?;
            // What is made with the first connections is not theirs.
            drop(idle::connect(&contestant, 16, tls).await?);
            let before = contestant.resident()?;
            let held = idle::connect(&contestant, IDLE, tls).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let each = contestant.resident()?.saturating_sub(before) / IDLE as u64;
            drop(held);
            if cells.is_empty() {
                cells.push(format!("{:.1} MiB", before as f64 / f64::from(1 << 20)));
            }
            cells.push(format!("{each} B"));
        }
        println!("| {} | {} |", kind.name(), cells.join(" | "));
    }
    println!();
    Ok(())
}
