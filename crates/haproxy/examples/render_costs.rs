//! What rendering costs: everything at first, and after one app changed.
//!
//! `cargo run --release -p waymark-haproxy --example render_costs [APPS TASKS]`; without arguments 1,000 and
//! 10,000 apps of 3 tasks, every second one with a host name, every fourth with a health check.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use waymark_haproxy::{Renderer, Settings, Templates};
use waymark_model::{
    Agent, AppEntry, Catalog, Endpoint, HealthCheck, PathId, PortReference, Protocol, Readiness,
    Service, TaskEntry, TaskId, Timestamp,
};

/// How often a change is measured; the median is printed.
const ROUNDS: usize = 31;

fn app(n: usize, tasks: usize, round: usize) -> AppEntry {
    let id = PathId::parse(&format!("/group-{}/app-{n}", n % 50)).unwrap();
    let task = |t: usize| {
        let agent = n.wrapping_mul(7).wrapping_add(t * 13) % 250;
        let address: std::net::IpAddr =
            format!("10.1.{}.{}", agent / 100, agent % 100 + 1).parse().unwrap();
        let hostname = format!("agent-{agent}.example.com");
        let port = u16::try_from(20_000 + (n * 31 + t + round) % 40_000).unwrap();
        Arc::new(TaskEntry {
            id: TaskId::from_text(&format!("app-{n}.{t}")),
            agent: Arc::new(Agent { id: format!("S{agent}"), hostname, address }),
            addresses: Vec::new(),
            host_ports: vec![port],
            discovery: Vec::new(),
            endpoints: vec![Endpoint { service: 0, address: SocketAddr::new(address, port) }],
            readiness: Readiness::Ready,
        })
    };
    let mut entry = AppEntry::new(id, "marathon");
    entry.labels.insert("HAPROXY_GROUP".to_owned(), "external".to_owned());
    if n.is_multiple_of(2) {
        entry.labels.insert("HAPROXY_0_VHOST".to_owned(), format!("app-{n}.example.com"));
    }
    if n.is_multiple_of(4) {
        let port = Some(PortReference::Index(0));
        entry.health_checks = vec![HealthCheck { port, ..HealthCheck::default() }];
    }
    entry.services = vec![Service {
        index: 0,
        port: u16::try_from(10_000 + n).unwrap(),
        protocol: Protocol::Tcp,
        name: None,
        labels: Default::default(),
    }];
    entry.tasks = (0..tasks).map(task).collect();
    entry
}

fn measure(apps: usize, tasks: usize) {
    let entries = (0..apps).map(|n| Arc::new(app(n, tasks, 0)));
    let mut catalog = Catalog {
        version: 1,
        apps: entries.map(|entry| (entry.id.clone(), entry)).collect(),
        ..Catalog::default()
    };
    let settings = Settings::new(["external".to_owned()]);
    let templates = Templates::defaults(&settings).unwrap();
    let mut renderer = Renderer::new(settings, templates);
    let begin = Instant::now();
    let size = renderer.render(&catalog, Timestamp(1)).unwrap().config.len();
    let whole = begin.elapsed();
    renderer.accept();
    let change = |round: usize| -> Duration {
        let changed = Arc::new(app(round * 17 % apps, tasks, round + 1));
        catalog.apps.insert(changed.id.clone(), changed);
        catalog.version += 1;
        let begin = Instant::now();
        let rendered = renderer.render(&catalog, Timestamp(1)).unwrap();
        let took = begin.elapsed();
        assert!(rendered.refused.is_empty());
        took
    };
    let mut changes: Vec<Duration> = (0..ROUNDS).map(change).collect();
    changes.sort();
    println!(
        "{apps} apps of {tasks} tasks, {} KiB: everything {:.1} ms; one app changed {:.2} ms",
        size / 1024,
        whole.as_secs_f64() * 1e3,
        changes[ROUNDS / 2].as_secs_f64() * 1e3,
    );
}

fn main() {
    let given: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    match given[..] {
        [apps, tasks] => measure(apps, tasks),
        _ => [1_000, 10_000].into_iter().for_each(|apps| measure(apps, 3)),
    }
}
