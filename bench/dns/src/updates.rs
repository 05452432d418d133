//! What clients notice of changes: how long answers take while names change, and while they do not.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use crate::contestant::{Contestant, Kind};
use crate::{Outcome, names, wire};

/// Queries a second, each timed from when it was due, whether or not the one before was late.
const RATE: u32 = 2_000;
/// How long a stretch lasts.
const STRETCH: Duration = Duration::from_secs(5);
/// Changes a second, each of one app, each a version of its own.
const CHANGES: u32 = 500;

/// Both in turns, `rounds` times.
pub fn compare(tasks: usize, rounds: usize) -> Outcome<()> {
    println!("| names of | changes a second | p50 µs | p99 µs | p99.9 µs | most µs |");
    println!("|---|---|---|---|---|---|");
    for _ in 0..rounds {
        for changes in [0, CHANGES] {
            let server = Contestant::start_changing(Kind::Waymark, tasks, Some(changes))?;
            let mut times = stretch(&server, tasks)?;
            times.sort_unstable();
            let at = |thousandths: usize| {
                let place = (times.len() * thousandths / 1000).min(times.len() - 1);
                times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e6)
            };
            let [p50, p99, p999, most] = [500, 990, 999, 1000].map(at);
            println!("| {tasks} tasks | {changes} | {p50:.0} | {p99:.0} | {p999:.0} | {most:.0} |");
        }
    }
    Ok(())
}

/// How long each answer took, from the time at which its query was due.
fn stretch(server: &Contestant, tasks: usize) -> Outcome<Vec<Duration>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server.address)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let (start, pause) = (Instant::now(), Duration::from_secs(1) / RATE);
    let mut times = Vec::new();
    let mut buffer = [0; 600];
    while start.elapsed() < STRETCH {
        let due = start + pause * times.len() as u32;
        // Sleeping would be late by more than an answer takes.
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        let (name, qtype) = names::query(times.len(), tasks);
        socket.send(&wire::query(times.len() as u16, &name, qtype))?;
        let length = socket.recv(&mut buffer)?;
        if !wire::is_answer(buffer.get(..length).unwrap_or_default()) {
            return Err(format!("no answer for {name}").into());
        }
        times.push(due.elapsed());
    }
    Ok(times)
}
