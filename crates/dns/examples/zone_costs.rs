//! What the zone costs at a given size: building, memory, lookups, updates, lists. Timed things, so
//! a program and not a test.
//!
//! `cargo run --release --example zone_costs -- KIND GROUPS TASKS AGENTS`, for KIND `apps` (of the
//! own control plane) or `mesos`, with so many tasks a group. Times are of the wall; the processor's
//! stand beside them, since machines that measure are seldom idle.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use waymark_catalog::{Output, Writer};
use waymark_dns::answer::{Answerer, Transport};
use waymark_dns::lease::{Clock, Leases, Moment};
use waymark_dns::{Builder, Dns, DnsConfig, Zone};
use waymark_model::{
    Agent, AppEntry, AppId, Catalog, ClusterAgent, ClusterPort, ClusterTask, DiscoveryPort, PathId,
    Readiness, TaskAddresses, TaskEntry, TaskGroup, TaskGroupId, TaskId,
};

/// The size of a catalog.
#[derive(Clone, Copy)]
struct Size {
    mesos: bool,
    groups: usize,
    tasks: usize,
    agents: usize,
}

fn app_id(n: usize) -> AppId {
    PathId::parse(&format!("/group-{}/service-{n}", n / 100)).unwrap()
}

fn name_of(n: usize) -> String {
    format!("service-{n}-group-{}.marathon.mesos", n / 100)
}

fn address(a: u8, n: usize) -> IpAddr {
    Ipv4Addr::new(a, (n >> 16) as u8, (n >> 8) as u8, n as u8).into()
}

impl Size {
    fn agent_id(n: usize) -> String {
        format!("0b8e71c4-67a1-11f0-9d2c-S{n}")
    }

    fn own_agent(n: usize) -> Arc<Agent> {
        let hostname = format!("agent-{n}");
        Arc::new(Agent { id: Size::agent_id(n), hostname, address: address(10, n) })
    }

    fn cluster_agent(n: usize) -> Arc<ClusterAgent> {
        Arc::new(ClusterAgent {
            id: Arc::from(Size::agent_id(n)),
            hostname: Arc::from(format!("agent-{n}")),
            addresses: vec![address(10, n)],
            port: 5051,
        })
    }

    /// The id, agent and port of task `t` of group `n`.
    fn place(&self, n: usize, t: usize, round: usize) -> (TaskId, usize, u16) {
        let uuid = format!("0b8e71c4-67a1-11f0-9d2c-{round:04x}{t:06x}{n:06x}");
        let port = 10_000 + ((n * self.tasks + t) % 50_000) as u16;
        (TaskId::new(&app_id(n), &uuid, 1), (n * 31 + t) % self.agents, port)
    }

    /// Puts app or group `n` into a catalog; `round` tells its first task from others.
    fn put(&self, catalog: &mut Catalog, n: usize, round: usize) {
        if self.mesos {
            let framework: Arc<str> = Arc::from("marathon");
            let name = Arc::from(format!("service-{n}.group-{}", n / 100));
            let id = TaskGroupId { framework: framework.clone(), name, discovered: true };
            let before = catalog.cluster.groups.get(&id).map_or(&[][..], |g| &g.tasks);
            let mut tasks: Vec<Arc<ClusterTask>> = before.iter().skip(1).cloned().collect();
            let new = if tasks.is_empty() { 0..self.tasks } else { 0..1 };
            tasks.extend(new.map(|t| self.cluster_task(&id, catalog, n, t, round)));
            tasks.sort_by(|a, b| a.id.cmp(&b.id));
            catalog.cluster.groups.insert(id.clone(), Arc::new(TaskGroup { id, framework, tasks }));
        } else {
            let id = app_id(n);
            let before = catalog.apps.get(&id).map_or(&[][..], |app| &app.tasks);
            let mut tasks: Vec<Arc<TaskEntry>> = before.iter().skip(1).cloned().collect();
            let new = if tasks.is_empty() { 0..self.tasks } else { 0..1 };
            tasks.extend(new.map(|t| self.own_task(n, t, round)));
            tasks.sort_by(|a, b| a.id.cmp(&b.id));
            let entry = AppEntry { tasks, ..AppEntry::new(id.clone(), "marathon") };
            catalog.apps.insert(id, Arc::new(entry));
        }
    }

    fn cluster_task(
        &self,
        group: &TaskGroupId,
        catalog: &Catalog,
        n: usize,
        t: usize,
        round: usize,
    ) -> Arc<ClusterTask> {
        let (id, agent, number) = self.place(n, t, round);
        let netinfo = vec![address(9, n * self.tasks + t)];
        Arc::new(ClusterTask {
            id,
            name: group.name.clone(),
            agent: catalog.cluster.agents[&*Size::agent_id(agent)].clone(),
            addresses: TaskAddresses { netinfo, ..TaskAddresses::default() },
            host_ports: vec![number],
            ports: vec![ClusterPort {
                number,
                name: Some("http".to_owned()),
                protocol: "tcp".to_owned(),
            }],
            labels: BTreeMap::new(),
            readiness: Readiness::Ready,
        })
    }

    fn own_task(&self, n: usize, t: usize, round: usize) -> Arc<TaskEntry> {
        let (id, agent, number) = self.place(n, t, round);
        Arc::new(TaskEntry {
            id,
            agent: Size::own_agent(agent),
            addresses: vec![address(9, n * self.tasks + t)],
            host_ports: vec![number],
            discovery: vec![DiscoveryPort {
                number,
                name: Some("http".to_owned()),
                protocol: "tcp",
            }],
            endpoints: Vec::new(),
            readiness: Readiness::Ready,
        })
    }

    fn catalog(&self) -> Catalog {
        let mut catalog = Catalog { version: 1, ..Catalog::default() };
        if self.mesos {
            for agent in (0..self.agents).map(Size::cluster_agent) {
                catalog.cluster.agents.insert(agent.id.clone(), agent);
            }
        }
        (0..self.groups).for_each(|n| self.put(&mut catalog, n, 0));
        catalog
    }
}

fn resident_mb() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0 / 1e6
}

/// The processor's time of this process, in steps of 10 ms.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    Duration::from_millis(fields.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (cpu, start) = (processor(), Instant::now());
    let result = work();
    println!("{what}: {:?} (processor {:?})", start.elapsed(), processor() - cpu);
    result
}

fn percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |p: usize| times[(times.len() * p / 100).min(times.len() - 1)];
    println!("{what}: p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100));
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

fn answers(what: &str, zone: &Zone, queries: &[Vec<u8>]) {
    let mut answerer = Answerer::new(1);
    let (mut out, mut bytes, mut count) = (Vec::new(), 0, 0);
    let client = Ipv4Addr::LOCALHOST.into();
    let now = Moment { instant: Instant::now(), tick: 64 };
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        for query in queries {
            answerer.answer(zone, query, Transport::Udp, client, now, &mut out).unwrap();
            bytes += out.len();
            count += 1;
        }
    }
    let each = start.elapsed().as_nanos() as usize / count;
    println!("{what}: {each} ns an answer of {} bytes", bytes / count);
}

/// Every answer, in an order in which neighbours in memory are not neighbours in time.
fn all_answers(zone: &Zone, groups: usize) {
    let order: Vec<usize> = (0..groups).map(|n| n * 7919 % groups).collect();
    let all = |make: &dyn Fn(usize) -> Vec<u8>| order.iter().map(|n| make(*n)).collect::<Vec<_>>();
    let service = |n| format!("_http._{}", name_of(n).replacen('.', "._tcp.", 1));
    answers("A", zone, &all(&|n| query(&name_of(n), 1)));
    answers("SRV", zone, &all(&|n| query(&service(n), 33)));
    answers("AAAA, no data", zone, &all(&|n| query(&name_of(n), 28)));
    answers("no such name", zone, &all(&|n| query(&format!("x{}", name_of(n)), 1)));
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize, default| arguments.get(n).map_or(default, |a| a.parse().unwrap());
    let size = Size {
        mesos: arguments.first().is_some_and(|kind| kind == "mesos"),
        groups: number(1, 10_000),
        tasks: number(2, 10),
        agents: number(3, 1000),
    };
    let mut catalog = size.catalog();
    let leases = Leases::new(Clock::new(Instant::now()));
    let memory = resident_mb();
    let mut builder = Builder::new(&DnsConfig::default()).unwrap();
    let (groups, tasks) = (size.groups, size.tasks);
    timed(&format!("building {groups} groups x {tasks} tasks"), || {
        builder.advance(&Catalog::default(), &catalog, &leases);
    });
    println!("{} names, {:.1} MB", builder.zone().len(), resident_mb() - memory);
    let sets = timed("listing every set", || builder.zone().rrsets().count());
    println!("{sets} sets");
    all_answers(builder.zone(), groups);

    let (mut times, mut differences) = (Vec::new(), Vec::new());
    for round in 1..=1000 {
        let mut next = catalog.clone();
        next.version += 1;
        size.put(&mut next, round * 7919 % groups, round);
        let before = builder.zone().clone();
        let start = Instant::now();
        // As the server does it: a copy is published, then the old one dropped.
        let gone = builder.advance(&catalog, &next, &leases);
        let published = builder.zone().clone();
        leases.release(start, &gone);
        times.push(start.elapsed());
        let start = Instant::now();
        let difference = published.changes_since(&before, 10_000).unwrap();
        assert!(!difference.added.is_empty());
        differences.push(start.elapsed());
        catalog = next;
    }
    percentiles("one task's change in the zone", times);
    percentiles("what changed, as records", differences);
    drop((builder, leases));
    publish(size, catalog);
}

/// The whole path, from publication to applied.
fn publish(size: Size, mut catalog: Catalog) {
    let dns = Arc::new(Dns::new(DnsConfig::default()).unwrap());
    let (mut writer, reader) = Writer::new(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let follower = dns.clone();
    std::thread::spawn(move || runtime.block_on(follower.follow(reader)));
    let mut publish = |catalog: &Catalog, app: Option<AppId>| {
        let changes: Vec<_> = match &app {
            Some(id) => vec![(id.clone(), Some((*catalog.apps[id]).clone()))],
            None => catalog.apps.iter().map(|(id, e)| (id.clone(), Some((**e).clone()))).collect(),
        };
        let start = Instant::now();
        let mut version = writer.publish(if size.mesos { Vec::new() } else { changes });
        if size.mesos {
            version = writer
                .publish_cluster(|c| {
                    *c = catalog.cluster.clone();
                    true
                })
                .unwrap();
        }
        while dns.applied() < version {
            std::hint::spin_loop();
        }
        start.elapsed()
    };
    println!("published to applied, everything: {:?}", publish(&catalog, None));
    let times = (1..=1000).map(|round| {
        let n = round * 7919 % size.groups;
        size.put(&mut catalog, n, round + 1000);
        publish(&catalog, Some(app_id(n)).filter(|_| !size.mesos))
    });
    percentiles("published to applied, one task", times.collect());
    println!("resident with catalog: {:.1} MB", resident_mb());
}
