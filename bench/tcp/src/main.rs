//! Measures the TCP relay beside HAProxy on this machine.
//!
//! ```text
//! CPU 1: clients ──► CPU 0: balancer (Waymark or HAProxy, its own process, one thread) ──► CPU 1: backend
//! ```
//!
//! `waymark-bench-tcp [compare|syscalls|memory]`; `proxy FIRST COUNT BACKEND` is the process that
//! the others measure. Prints Markdown tables; see `README.md` beside this crate.
#![allow(clippy::print_stdout)] // The tables are the output.

mod contestant;
mod load;
mod strace;

use std::error::Error;
use std::time::Duration;

use contestant::{Contestant, Kind};
use load::{Backend, Load};
use waymark_proxy::raise_nofile_limit;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Measured stretches of each balancer with each load.
const ROUNDS: usize = 6;
/// How long one lasts; the kernel counts processor time in 10 ms.
const STRETCH: Duration = Duration::from_millis(2500);
/// Load before each stretch that is not measured.
const WARM_UP: Duration = Duration::from_millis(300);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    raise_nofile_limit()?;
    let run = async {
        match arguments.as_slice() {
            ["proxy", first, count, backend] => {
                contestant::serve(first.parse()?, count.parse()?, backend.parse()?).await
            }
            [] | ["compare"] => compare().await,
            ["syscalls"] => syscalls().await,
            ["memory"] => memory().await,
            _ => Err("usage: waymark-bench-tcp [compare|syscalls|memory]".into()),
        }
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run)
}

/// Both balancers in turns, so that both see the same moods of the machine.
async fn compare() -> Outcome<()> {
    contestant::pin(contestant::LOAD_CPU)?;
    let backend = Backend::start().await?;
    let contestants = start_both(1, &backend).await?;
    println!("| load | balancer | CPU µs each, median | least | most | each second |");
    println!("|---|---|---|---|---|---|");
    for load in Load::ALL {
        let mut measured = vec![Vec::new(); contestants.len()];
        for _ in 0..ROUNDS {
            for (contestant, rounds) in contestants.iter().zip(&mut measured) {
                rounds.push(stretch(contestant, load).await?);
            }
        }
        for (contestant, rounds) in contestants.iter().zip(&mut measured) {
            rounds.sort_by(|a, b| a.micros.total_cmp(&b.micros));
            let (least, most) = (&rounds[0], &rounds[ROUNDS - 1]);
            let middle = (rounds[(ROUNDS - 1) / 2].micros + rounds[ROUNDS / 2].micros) / 2.0;
            println!(
                "| {} | {} | {middle:.2} | {:.2} | {:.2} | {:.0} |",
                load.name(),
                contestant.kind.name(),
                least.micros,
                most.micros,
                rounds[ROUNDS / 2].rate
            );
        }
    }
    Ok(())
}

/// One measured stretch.
#[derive(Clone)]
struct Measured {
    /// Processor time of the balancer for each round trip or connection, in microseconds.
    micros: f64,
    /// Round trips or connections a second.
    rate: f64,
}

async fn stretch(contestant: &Contestant, load: Load) -> Outcome<Measured> {
    let clients = load.start(contestant.address());
    tokio::time::sleep(WARM_UP).await;
    let (cpu, done, since) = (contestant.cpu()?, clients.done(), std::time::Instant::now());
    tokio::time::sleep(STRETCH).await;
    let (cpu, done, took) = (contestant.cpu()? - cpu, clients.done() - done, since.elapsed());
    clients.stop().await?;
    if done == 0 {
        return Err(format!("{} did nothing", contestant.kind.name()).into());
    }
    Ok(Measured {
        micros: cpu.as_secs_f64() * 1e6 / done as f64,
        rate: done as f64 / took.as_secs_f64(),
    })
}

/// System calls for each round trip or connection.
async fn syscalls() -> Outcome<()> {
    contestant::pin(contestant::LOAD_CPU)?;
    let backend = Backend::start().await?;
    for contestant in start_both(1, &backend).await? {
        for load in Load::ALL {
            let trace = strace::attach(contestant.pid()).await?;
            let clients = load.start(contestant.address());
            tokio::time::sleep(STRETCH).await;
            let done = clients.stop().await?;
            let counts = trace.finish()?;
            let total: u64 = counts.iter().map(|(_, calls)| calls).sum();
            let each = |calls: u64| calls as f64 / done as f64;
            println!("{}, {}: {:.2}", contestant.kind.name(), load.name(), each(total));
            for (name, calls) in counts.iter().filter(|(_, calls)| each(*calls) >= 0.01) {
                println!("    {name} {:.2}", each(*calls));
            }
        }
    }
    Ok(())
}

const LISTENERS: u16 = 10_000;
const IDLE_CLIENTS: usize = 4_000;

/// Resident memory for each listener and for each idle connection pair.
async fn memory() -> Outcome<()> {
    let backend = Backend::start().await?;
    println!("| balancer | with 1 listener | each of {LISTENERS} | each of {IDLE_CLIENTS} pairs |");
    println!("|---|---|---|---|");
    for kind in Kind::ALL {
        let one = Contestant::start(kind, 1, backend.address).await?;
        let before = one.resident()?;
        let clients = load::connect_idle(one.address(), IDLE_CLIENTS).await?;
        let pair = (one.resident()? - before) / IDLE_CLIENTS as u64;
        drop(clients);
        let many = Contestant::start(kind, LISTENERS, backend.address).await?;
        let listener = (many.resident()?.saturating_sub(before)) / u64::from(LISTENERS);
        let mib = before as f64 / f64::from(1 << 20);
        println!("| {} | {mib:.1} MiB | {listener} B | {pair} B |", kind.name());
    }
    Ok(())
}

async fn start_both(listeners: u16, backend: &Backend) -> Outcome<Vec<Contestant>> {
    let mut contestants = Vec::new();
    for kind in Kind::ALL {
        contestants.push(Contestant::start(kind, listeners, backend.address).await?);
    }
    Ok(contestants)
}
