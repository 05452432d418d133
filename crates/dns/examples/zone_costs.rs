//! What the zone costs at a given size: memory, lookups, updates; then serves it for a while, so
//! that a load generator can ask. Timed things, so a program and not a test.
//!
//! `cargo run --release --example zone_costs -- [APPS] [TASKS AN APP] [SECONDS TO SERVE]`

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use waymark_catalog::{Output, Writer};
use waymark_dns::answer::{Answerer, Transport};
use waymark_dns::lease::{Clock, Leases, Moment};
use waymark_dns::{Builder, Dns, DnsConfig, Server, Sockets, Zone};
use waymark_model::{
    Agent, AppEntry, AppId, Catalog, DiscoveryPort, PathId, Readiness, TaskEntry, TaskId,
};

fn app_id(n: usize) -> AppId {
    PathId::parse(&format!("/group-{}/service-{n}", n / 100)).unwrap()
}

/// App `n`; `round` changes its tasks.
fn app(n: usize, tasks: usize, round: usize) -> AppEntry {
    let id = app_id(n);
    let task = |t: usize| {
        let agent = (n + t) % 100;
        let port = 10_000 + ((n * tasks + t) % 50_000) as u16;
        let uuid = format!("0b8e71c4-67a1-11f0-9d2c-{round:04x}{t:02x}{n:06x}");
        Arc::new(TaskEntry {
            id: TaskId::new(&id, &uuid, 1),
            agent: Arc::new(Agent {
                id: format!("0b8e71c4-67a1-11f0-9d2c-S{agent}"),
                hostname: format!("agent-{agent}"),
                address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, agent as u8)),
            }),
            addresses: Vec::new(),
            host_ports: vec![port],
            discovery: vec![DiscoveryPort {
                number: port,
                name: Some("http".to_owned()),
                protocol: "tcp",
            }],
            endpoints: Vec::new(),
            readiness: Readiness::Ready,
        })
    };
    AppEntry {
        framework: Arc::from("marathon"),
        labels: BTreeMap::new(),
        services: Vec::new(),
        tasks: (0..tasks).map(task).collect(),
        id,
    }
}

fn resident_mb() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0 / 1e6
}

fn query(name: &str, qtype: u8) -> Vec<u8> {
    let mut packet = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend([0, 0, qtype, 0, 1]);
    packet
}

fn name_of(n: usize) -> String {
    format!("service-{n}-group-{}.marathon.mesos", n / 100)
}

fn percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |p: usize| times[(times.len() * p / 100).min(times.len() - 1)];
    println!("{what}: p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100));
}

fn answers(what: &str, zone: &Zone, queries: &[Vec<u8>]) {
    let mut answerer = Answerer::new(1);
    let (mut out, mut bytes) = (Vec::new(), 0);
    let client = Ipv4Addr::LOCALHOST.into();
    let now = Moment { instant: Instant::now(), tick: 64 };
    let rounds = (2_000_000 / queries.len()).max(1);
    let start = Instant::now();
    for _ in 0..rounds {
        for query in queries {
            answerer.answer(zone, query, Transport::Udp, client, now, &mut out).unwrap();
            bytes += out.len();
        }
    }
    let count = rounds * queries.len();
    let each = start.elapsed().as_nanos() as usize / count;
    println!("{what}: {each} ns an answer of {} bytes", bytes / count);
}

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let apps = numbers.first().copied().unwrap_or(10_000);
    let tasks = numbers.get(1).copied().unwrap_or(2);
    let seconds = numbers.get(2).copied().unwrap_or(0);

    let mut catalog = Catalog { version: 1, ..Catalog::default() };
    for n in 0..apps {
        catalog.apps.insert(app_id(n), Arc::new(app(n, tasks, 0)));
    }
    let leases = Leases::new(Clock::new(Instant::now()));
    let before = resident_mb();
    let start = Instant::now();
    let mut builder = Builder::new(&DnsConfig::default()).unwrap();
    builder.advance(&Catalog::default(), &catalog, &leases);
    let mut zone = builder.zone().clone();
    println!(
        "{} names of {apps} apps x {tasks} tasks: built in {:?}, {:.1} MB",
        zone.len(),
        start.elapsed(),
        resident_mb() - before
    );

    // Every seventh, so that neighbours in memory are not neighbours in time.
    let order: Vec<usize> = (0..apps).map(|n| n * 7919 % apps).collect();
    let all = |make: &dyn Fn(usize) -> Vec<u8>| order.iter().map(|n| make(*n)).collect::<Vec<_>>();
    answers("A", &zone, &all(&|n| query(&name_of(n), 1)));
    answers(
        "SRV",
        &zone,
        &all(&|n| query(&format!("_http._{}", name_of(n).replacen('.', "._tcp.", 1)), 33)),
    );
    answers("AAAA, no data", &zone, &all(&|n| query(&name_of(n), 28)));
    answers("no such name", &zone, &all(&|n| query(&format!("x{}", name_of(n)), 1)));

    let mut times = Vec::new();
    for round in 1..=2000 {
        let n = round * 7919 % apps;
        let mut next = catalog.clone();
        next.version += 1;
        next.apps.insert(app_id(n), Arc::new(app(n, tasks, round)));
        let start = Instant::now();
        // As the server does it: a copy is published, then the old one dropped.
        let gone = builder.advance(&catalog, &next, &leases);
        zone = builder.zone().clone();
        leases.release(start, &gone);
        times.push(start.elapsed());
        catalog = next;
    }
    percentiles("one app's change in the zone", times);
    drop((zone, builder, catalog, leases));
    publish_and_serve(apps, tasks, seconds);
}

/// The whole path: publication to applied, then what a load generator finds.
fn publish_and_serve(apps: usize, tasks: usize, seconds: usize) {
    let dns = Arc::new(Dns::new(DnsConfig::default()).unwrap());
    let (mut writer, reader) = Writer::new(0);
    let sockets = Sockets::bind(&[(Ipv4Addr::LOCALHOST, 0).into()], 1).unwrap();
    println!("serving on {}, pid {}", sockets.addresses()[0], std::process::id());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _server = Server::start(&dns, sockets).unwrap();
    let follower = dns.clone();
    std::thread::spawn(move || runtime().block_on(follower.follow(reader)));
    let mut publish = |round: usize, apps: &mut dyn Iterator<Item = usize>| {
        let changes = apps.map(|n| (app_id(n), Some(app(n, tasks, round)))).collect::<Vec<_>>();
        let start = Instant::now();
        let version = writer.publish(changes);
        while dns.applied() < version {
            std::hint::spin_loop();
        }
        start.elapsed()
    };
    publish(0, &mut (0..apps));
    let times = (1..=2000).map(|n| publish(n, &mut std::iter::once(n * 7919 % apps))).collect();
    percentiles("published to applied", times);
    println!("resident with catalog: {:.1} MB", resident_mb());
    std::thread::sleep(Duration::from_secs(seconds as u64));
    println!("{:?}", dns.stats());
}
