//! What routes cost at a given size: making them, memory, a change, a decision. Timed things, so a
//! program and not a test.
//!
//! `cargo run --release -p waymark-proxy --example route_costs -- APPS…` (10 and 10000 if not said).
//! Means are of the processor's time, which the kernel counts in steps of some milliseconds;
//! percentiles are of the wall, where a machine that measures is seldom idle.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use waymark_catalog::{Reader, Writer};
use waymark_model::{
    Agent, AppEntry, Endpoint, PathId, Protocol, Readiness, Service, TaskEntry, TaskId, Timestamp,
};
use waymark_proxy::route::{Decision, Front, Headers, Request, decide};
use waymark_proxy::{Exposure, Groups, HealthPolicy, TableBuilder};

const TASKS: usize = 3;
const CHANGES: usize = 2_000;
const DECISIONS: usize = 2_000_000;

/// How the apps' hosts are laid out.
#[derive(Clone, Copy, Debug)]
enum Hosts {
    /// One for each app.
    Own,
    /// One for all, with a path for each app.
    Shared,
}

struct NoHeaders;

impl Headers for NoHeaders {
    fn get(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn cookie(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

fn host(hosts: Hosts, n: usize) -> String {
    match hosts {
        Hosts::Own => format!("service-{n}.team-{}.example.com", n / 100),
        Hosts::Shared => "www.example.com".to_owned(),
    }
}

fn task(n: usize, t: usize, round: usize) -> Arc<TaskEntry> {
    let ip = Ipv4Addr::new(10, (n >> 8) as u8, n as u8, t as u8 + 1);
    let agent = Agent { id: format!("S{t}"), hostname: format!("agent-{t}"), address: ip.into() };
    Arc::new(TaskEntry {
        id: TaskId::from_text(&format!("service-{n}.{t}.{round}")),
        agent: Arc::new(agent),
        addresses: Vec::new(),
        host_ports: Vec::new(),
        discovery: Vec::new(),
        endpoints: vec![Endpoint { service: 0, address: SocketAddr::from((ip, 31_000)) }],
        readiness: Readiness::Ready,
    })
}

/// App `n` after so many changes of its last task.
fn app(hosts: Hosts, n: usize, round: usize) -> AppEntry {
    let id = PathId::parse(&format!("/team-{}/service-{n}", n / 100)).unwrap();
    let service = Service {
        index: 0,
        port: 10_000 + n as u16,
        protocol: Protocol::Tcp,
        name: None,
        labels: BTreeMap::new(),
    };
    let mut labels = BTreeMap::from([("HAPROXY_0_VHOST".to_owned(), host(hosts, n))]);
    if matches!(hosts, Hosts::Shared) {
        labels.insert("HAPROXY_0_PATH".to_owned(), format!("/service-{n}/"));
    }
    let last = |t| if t == TASKS - 1 { round } else { 0 };
    AppEntry {
        labels,
        services: vec![service],
        tasks: (0..TASKS).map(|t| task(n, t, last(t))).collect(),
        ..AppEntry::new(id, "marathon")
    }
}

fn builder() -> TableBuilder {
    let exposure = Exposure {
        groups: Groups::All,
        strict: false,
        health: HealthPolicy::Strict,
        listen: Ipv4Addr::LOCALHOST.into(),
        https_port: 443,
    };
    TableBuilder::new(exposure, |_| false, Arc::default())
}

/// What this thread has had of the processor.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Median, 99th percentile and maximum.
fn percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("  {what}: median {:?}, p99 {:?}, most {:?}", at(50), at(99), at(100));
}

/// Replaces a task of one app after another.
fn changes(hosts: Hosts, apps: usize, writer: &mut Writer, reader: &Reader, to: &mut TableBuilder) {
    let mut times = Vec::with_capacity(CHANGES);
    let began = processor();
    for round in 1..=CHANGES {
        let changed = app(hosts, round * 7919 % apps, round);
        writer.publish([(changed.id.clone(), Some(changed))]);
        let catalog = reader.latest();
        let start = Instant::now();
        to.apply(catalog, Timestamp::ZERO);
        let table = Arc::new(to.table().clone());
        times.push(start.elapsed());
        drop(table);
    }
    let mean = (processor() - began) / CHANGES as u32;
    println!("  a task replaced: {mean:?} with the publishing of it");
    percentiles("until there is a table", times);
}

/// Decides for so many different names of all that there are: few that are asked for all the time,
/// as most sites have it, or all, each cold by the time it comes again.
fn decisions(hosts: Hosts, apps: usize, names: usize, builder: &TableBuilder) {
    // In an order that has nothing to do with that of the table.
    let asked: Vec<_> = (0..names).map(|n| n * 7919 % apps).collect();
    let asked: Vec<_> =
        asked.iter().map(|n| (host(hosts, *n), format!("/service-{n}/x?y=z"))).collect();
    let (table, start) = (builder.table(), processor());
    for (host, target) in asked.iter().cycle().take(DECISIONS) {
        let request = Request {
            front: Front::Http,
            secure: false,
            method: "GET",
            host,
            target,
            source: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            headers: &NoHeaders,
        };
        let decision = decide(table, black_box(&request), 0);
        assert!(matches!(black_box(decision), Decision::Forward(_)));
    }
    let each = (processor() - start).as_nanos() / DECISIONS as u128;
    println!("  a decision, {names} names asked for: {each} ns");
}

fn main() {
    let mut sizes: Vec<usize> = std::env::args().skip(1).map(|n| n.parse().unwrap()).collect();
    if sizes.is_empty() {
        sizes = vec![10, 10_000];
    }
    for (hosts, apps) in [Hosts::Own, Hosts::Shared]
        .into_iter()
        .flat_map(|hosts| sizes.iter().map(move |apps| (hosts, *apps)))
    {
        println!("{apps} apps with {TASKS} tasks each, hosts: {hosts:?}");
        let (mut writer, reader) = Writer::new(0);
        writer.publish((0..apps).map(|n| {
            let app = app(hosts, n, 0);
            (app.id.clone(), Some(app))
        }));
        let (before, start, mut builder) = (resident_mb(), processor(), builder());
        builder.apply(reader.latest(), Timestamp::ZERO);
        let made = processor() - start;
        println!("  made in {made:?}, {:.1} MB", resident_mb() - before);
        changes(hosts, apps, &mut writer, &reader, &mut builder);
        decisions(hosts, apps, 10, &builder);
        decisions(hosts, apps, apps, &builder);
    }
}
