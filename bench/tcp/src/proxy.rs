//! Waymark's relay as a process: a catalog that does not change, and the load balancer on it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use waymark_catalog::Writer;
use waymark_model::{
    Agent, AppEntry, Endpoint, PathId, Protocol, Readiness, Service, TaskEntry, TaskId,
};
use waymark_proxy::{ListenerState, Proxy, ProxyConfig, raise_nofile_limit};

use crate::Outcome;

/// Relays `port` to `target` until killed.
pub fn serve(port: u16, target: u16) -> Outcome {
    let _proxy = start(vec![entry(0, port, target)?])?;
    loop {
        std::thread::park();
    }
}

/// Opens that many listeners and prints how long it took and what memory they hold.
pub fn listeners(count: u16) -> Outcome {
    const FIRST: u16 = 10_000;
    let entries = (0..count).map(|n| entry(n, FIRST + n, 1)).collect::<Result<Vec<_>, _>>()?;
    let before = resident_kib()?;
    let since = Instant::now();
    let proxy = start(entries)?;
    let took = since.elapsed();
    let listening = |stats: &waymark_proxy::PortStats| stats.listener == ListenerState::Listening;
    let open = proxy.stats().iter().filter(|stats| listening(stats)).count();
    let kib = resident_kib()?.saturating_sub(before);
    println!(
        "{open} of {count} listeners in {took:.1?}; {} bytes of user memory each (route, counters, \
         task and listener)",
        kib * 1024 / u64::from(count.max(1))
    );
    Ok(())
}

fn start(entries: Vec<AppEntry>) -> Result<Proxy, Box<dyn std::error::Error>> {
    raise_nofile_limit()?;
    let (mut writer, reader) = Writer::new(0);
    let proxy = Proxy::start(ProxyConfig { workers: 1, ..ProxyConfig::default() }, reader)?;
    let version = writer.publish(entries.into_iter().map(|entry| (entry.id.clone(), Some(entry))));
    let output = proxy.output();
    while output.applied() < version {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(proxy)
}

fn entry(n: u16, port: u16, target: u16) -> Result<AppEntry, waymark_model::PathIdError> {
    let service =
        Service { index: 0, port, protocol: Protocol::Tcp, name: None, labels: BTreeMap::new() };
    let task = TaskEntry {
        id: TaskId::from_text(&format!("bench_app{n}.instance-0._app.1")),
        agent: Arc::new(Agent {
            id: "bench-S0".into(),
            hostname: "localhost".into(),
            address: Ipv4Addr::LOCALHOST.into(),
        }),
        addresses: Vec::new(),
        host_ports: vec![target],
        discovery: Vec::new(),
        endpoints: vec![Endpoint {
            service: 0,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, target)),
        }],
        readiness: Readiness::Ready,
    };
    Ok(AppEntry {
        id: PathId::parse(&format!("/bench/app{n}"))?,
        framework: Arc::from("marathon"),
        labels: BTreeMap::new(),
        services: vec![service],
        tasks: vec![Arc::new(task)],
    })
}

fn resident_kib() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.ok_or("no VmRSS in /proc/self/status")?.parse()?)
}
