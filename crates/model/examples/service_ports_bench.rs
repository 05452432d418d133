//! How long the service-port allocator takes a port, by the number of apps it knows.
//!
//! `cargo run --release -p waymark-model --example service_ports_bench`
//!
//! One round is what the control plane does for one accepted update: clone the state (so that every
//! write copies its path), assign two zeros to a new app, claim them, and release another app. The
//! second number is the answer to posting the zeros of an existing app again.
#![allow(clippy::print_stdout, reason = "it prints its measurements")]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use waymark_model::{App, AppId, PathId, PortDefinition, ServicePorts};

const ROUNDS: u32 = 100_000;
const PORTS_PER_APP: u32 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:>8} {:>22} {:>22}", "apps", "replace, ns a port", "re-post, ns a port");
    for apps in [10, 100, 1_000, 10_000, 25_000] {
        let (replace, repost) = measure(apps)?;
        println!("{apps:>8} {replace:>22.0} {repost:>22.0}");
    }
    Ok(())
}

fn measure(apps: usize) -> Result<(f64, f64), Box<dyn Error>> {
    let ids: Vec<AppId> = (0..=apps)
        .map(|n| PathId::parse(&format!("/group-{}/app-{n}", n % 100)))
        .collect::<Result<_, _>>()?;
    let mut ports = ServicePorts::new(10_000, 65_000);
    for id in &ids[..apps] {
        put(&mut ports, id)?;
    }

    // One app more than are known at a time: the next one comes, the oldest goes.
    let start = Instant::now();
    for (new, gone) in (apps..).zip(0..ROUNDS as usize) {
        let before = ports.clone();
        put(&mut ports, &ids[new % ids.len()])?;
        ports.release(&ids[gone % ids.len()]);
        black_box(before);
    }
    let replace = nanos_a_port(start);

    let mut old = app(&ids[apps / 2]);
    ports.assign(&mut [(None, &mut old)])?;
    ports.claim(&old.id, &old.service_ports());
    let start = Instant::now();
    for _ in 0..ROUNDS {
        let mut new = app(&old.id);
        ports.assign(&mut [(Some(&old), &mut new)])?;
        black_box(new);
    }
    Ok((replace, nanos_a_port(start)))
}

fn put(ports: &mut ServicePorts, id: &AppId) -> Result<(), Box<dyn Error>> {
    let mut app = app(id);
    ports.assign(&mut [(None, &mut app)])?;
    ports.claim(id, &app.service_ports());
    Ok(())
}

fn app(id: &AppId) -> App {
    App {
        port_definitions: vec![PortDefinition::default(); PORTS_PER_APP as usize],
        ..App::new(id.clone())
    }
}

fn nanos_a_port(start: Instant) -> f64 {
    start.elapsed().as_nanos() as f64 / f64::from(ROUNDS * PORTS_PER_APP)
}
