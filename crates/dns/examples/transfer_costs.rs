//! What secondaries cost at a given size: the whole zone, one change, and what publishing pays for
//! them. Timed things, so a program and not a test.
//!
//! `cargo run --release --example transfer_costs -- [APPS] [TASKS AN APP]`

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use waymark_catalog::{Output, Writer};
use waymark_dns::access::AccessList;
use waymark_dns::{Dns, DnsConfig, Server, Sockets, TransferConfig};
use waymark_model::{Agent, AppEntry, DiscoveryPort, PathId, Readiness, TaskEntry, TaskId};

/// App `n`; `round` changes its tasks.
fn app(n: usize, tasks: usize, round: usize) -> AppEntry {
    let id = PathId::parse(&format!("/group-{}/service-{n}", n / 100)).unwrap();
    let task = |t: usize| {
        let agent = (n + t) % 200;
        Arc::new(TaskEntry {
            id: TaskId::new(&id, &format!("0b8e71c4-67a1-11f0-{round:04x}-{t:04x}{n:08x}"), 1),
            agent: Arc::new(Agent {
                id: format!("0b8e71c4-67a1-11f0-9d2c-S{agent}"),
                hostname: format!("agent-{agent}"),
                address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, agent as u8)),
            }),
            addresses: Vec::new(),
            host_ports: vec![10_000 + ((n * tasks + t) % 50_000) as u16],
            discovery: vec![DiscoveryPort { number: 8080, name: None, protocol: "tcp" }],
            endpoints: Vec::new(),
            readiness: Readiness::Ready,
        })
    };
    AppEntry { tasks: (0..tasks).map(task).collect(), ..AppEntry::new(id, "marathon") }
}

fn resident_mb() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0 / 1e6
}

/// Fetches the zone whole, or since a serial; gives records and bytes.
fn fetch(server: SocketAddr, since: Option<u32>) -> (usize, usize) {
    let qtype = if since.is_some() { 251 } else { 252 };
    let mut query = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, u8::from(since.is_some()), 0, 0];
    query.extend(b"\x05mesos\0\0");
    query.extend([qtype, 0, 1]);
    if let Some(serial) = since {
        query.extend(b"\xc0\x0c\0\x06\0\x01\0\0\0\0\0\x16\0\0");
        query.extend(serial.to_be_bytes());
        query.extend([0; 16]);
    }
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    stream.write_all(&(query.len() as u16).to_be_bytes()).unwrap();
    stream.write_all(&query).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let (mut at, mut records) = (0, 0);
    while at < all.len() {
        let length = usize::from(u16::from_be_bytes([all[at], all[at + 1]]));
        records += usize::from(u16::from_be_bytes([all[at + 8], all[at + 9]]));
        at += 2 + length;
    }
    (records, all.len())
}

fn publish(dns: &Dns, writer: &mut Writer, apps: impl Iterator<Item = AppEntry>) -> Duration {
    let apps: Vec<_> = apps.map(|app| (app.id.clone(), Some(app))).collect();
    let start = Instant::now();
    let version = writer.publish(apps);
    while dns.applied() < version {
        std::thread::yield_now();
    }
    start.elapsed()
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|n| n.parse::<usize>().unwrap());
    let apps = arguments.next().unwrap_or(10_000);
    let tasks = arguments.next().unwrap_or(10);
    for transfers in [false, true] {
        let mut transfer = TransferConfig::default();
        if transfers {
            transfer.allow = AccessList::everybody();
        }
        let dns = Arc::new(Dns::new(DnsConfig { transfer, ..DnsConfig::default() }).unwrap());
        let sockets = Sockets::bind(&[(Ipv4Addr::LOCALHOST, 0).into()], 1).unwrap();
        let address = sockets.addresses()[0];
        let _server = Server::start(&dns, sockets).unwrap();
        let (mut writer, reader) = Writer::new(0);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let follower = dns.clone();
        runtime.spawn(async move { tokio::join!(follower.follow(reader), follower.notify()) });
        publish(&dns, &mut writer, (0..apps).map(|n| app(n, tasks, 0)));
        println!("transfers {transfers}: {apps} apps of {tasks}, {:.0} MB", resident_mb());
        if transfers {
            let start = Instant::now();
            let (records, bytes) = fetch(address, None);
            let took = start.elapsed();
            println!(
                "  AXFR: {records} records, {bytes} bytes in {took:.0?}, {:.0} MB",
                resident_mb()
            );
        }
        let first = writer.version() as u32;
        let mut times: Vec<Duration> = Vec::new();
        for round in 1..=100 {
            times.push(publish(&dns, &mut writer, std::iter::once(app(round * 7, tasks, round))));
            std::thread::sleep(Duration::from_millis(5));
        }
        times.sort();
        println!("  one app's change published: median {:.0?}, worst {:.0?}", times[50], times[99]);
        if transfers {
            // Who asks makes this version one that the journal knows.
            let last = writer.version() as u32;
            fetch(address, Some(last));
            publish(&dns, &mut writer, std::iter::once(app(1, tasks, 1)));
            for (from, changed) in [(last, 1), (first, 101)] {
                let start = Instant::now();
                let (records, bytes) = fetch(address, Some(from));
                let took = start.elapsed();
                println!(
                    "  IXFR, {changed} apps changed: {records} records, {bytes} bytes, {took:.0?}"
                );
            }
            println!("  {:?}, {:.0} MB", dns.transfer_stats(), resident_mb());
        }
        runtime.shutdown_background();
    }
}
