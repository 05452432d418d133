//! Measures the DNS server beside its peers on this machine: processor time of the server for each
//! query, in turns, so that all see the same moods of the machine.
//!
//! ```text
//! CPU 1: dnsperf ──► CPU 0: server (Waymark, NSD, Knot or Mesos-DNS, its own process, one worker)
//! ```
//!
//! See `README.md` beside this crate. Prints Markdown tables.
#![allow(clippy::print_stdout)] // The tables are the output.

mod contestant;
mod load;
mod names;
mod serve;
mod updates;
mod wire;

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use contestant::{Contestant, Kind};
use load::Transport;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The processor of the server.
const SERVER_CPU: usize = 0;
/// The processor of the load.
const LOAD_CPU: usize = 1;
/// How long a measured stretch lasts, in seconds; the kernel counts processor time in 10 ms.
const STRETCH: u32 = 3;
/// At most so many different queries are asked, one after the other and again.
const QUERIES: usize = 100_000;

const USAGE: &str = "usage: waymark-bench-dns [--tasks N,N…] [--rounds N] [--mesos-dns PROGRAM]
       waymark-bench-dns updates TASKS ROUNDS";

/// What is to be compared.
struct Options {
    tasks: Vec<usize>,
    rounds: usize,
    mesos_dns: Option<PathBuf>,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", count, address] => serve::serve(count.parse()?, address.parse()?, None),
        ["serve", count, address, changes] => {
            serve::serve(count.parse()?, address.parse()?, Some(changes.parse()?))
        }
        ["updates", tasks, rounds] => updates::compare(tasks.parse()?, rounds.parse()?),
        _ => compare(&options(&words)?),
    }
}

fn options(words: &[&str]) -> Outcome<Options> {
    let mut options = Options { tasks: vec![1_000, 100_000], rounds: 5, mesos_dns: None };
    for pair in words.chunks(2) {
        match pair {
            ["--tasks", list] => {
                options.tasks = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            ["--rounds", rounds] => options.rounds = rounds.parse()?,
            ["--mesos-dns", program] => options.mesos_dns = Some(PathBuf::from(program)),
            _ => return Err(USAGE.into()),
        }
    }
    if options.rounds == 0 || options.tasks.contains(&0) {
        return Err(USAGE.into());
    }
    Ok(options)
}

fn compare(options: &Options) -> Outcome<()> {
    println!(
        "| names of | by | server | CPU µs a query, median | least | most | ratio | a second |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for tasks in &options.tasks {
        let queries = tempfile::NamedTempFile::new()?;
        std::fs::write(queries.path(), query_file(*tasks)?)?;
        let mut kinds = vec![Kind::Waymark, Kind::Nsd, Kind::Knot];
        kinds.extend(options.mesos_dns.clone().map(Kind::MesosDns));
        let contestants: Vec<Contestant> = kinds
            .into_iter()
            .map(|kind| Contestant::start(kind, *tasks))
            .collect::<Outcome<_>>()?;
        for transport in Transport::ALL {
            let mut measured = vec![Vec::new(); contestants.len()];
            // The first round warms caches and is not counted.
            for round in 0..=options.rounds {
                for (contestant, rounds) in contestants.iter().zip(&mut measured) {
                    let stretch = stretch(contestant, transport, queries.path())?;
                    if round > 0 {
                        rounds.push(stretch);
                    }
                }
            }
            print_rows(*tasks, transport, &contestants, measured);
        }
    }
    Ok(())
}

/// One measured stretch.
#[derive(Clone, Copy)]
struct Measured {
    /// Processor time of the server for each query, in microseconds.
    micros: f64,
    /// Answers a second.
    rate: f64,
}

fn stretch(
    contestant: &Contestant,
    transport: Transport,
    queries: &std::path::Path,
) -> Outcome<Measured> {
    let before = contestant.cpu()?;
    let answered = load::run(contestant.address, transport, queries, STRETCH)?;
    let cpu = contestant.cpu()? - before;
    if answered.answers == 0 {
        return Err(format!("{} answers nothing", contestant.kind.name()).into());
    }
    Ok(Measured {
        micros: cpu.as_secs_f64() * 1e6 / answered.answers as f64,
        rate: answered.per_second,
    })
}

fn print_rows(
    tasks: usize,
    transport: Transport,
    contestants: &[Contestant],
    mut measured: Vec<Vec<Measured>>,
) {
    let mut ours = None;
    for (contestant, rounds) in contestants.iter().zip(&mut measured) {
        rounds.sort_by(|a, b| a.micros.total_cmp(&b.micros));
        let (Some(least), Some(most)) = (rounds.first(), rounds.last()) else { continue };
        let middle = rounds[rounds.len() / 2];
        let ours = *ours.get_or_insert(middle.micros);
        println!(
            "| {tasks} tasks | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} |",
            transport.name(),
            contestant.kind.name(),
            middle.micros,
            least.micros,
            most.micros,
            ours / middle.micros,
            middle.rate
        );
    }
}

/// Queries as `dnsperf` reads them.
fn query_file(tasks: usize) -> Outcome<String> {
    let mut out = String::new();
    for n in 0..QUERIES {
        let (name, qtype) = names::query(n, tasks);
        writeln!(out, "{name} {qtype}")?;
    }
    Ok(out)
}
