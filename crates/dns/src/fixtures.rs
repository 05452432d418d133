//! Catalogs for tests.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use waymark_model::{
    Agent, AppEntry, AppId, Catalog, Cluster, ClusterAgent, ClusterPort, ClusterTask,
    DiscoveryPort, Framework, PathId, Readiness, TaskAddresses, TaskEntry, TaskGroup, TaskGroupId,
    TaskId, Version,
};

use crate::build::Builder;
use crate::config::DnsConfig;
use crate::lease::{Clock, Leases, Moment};
use crate::zone::Zone;

pub(crate) const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

pub(crate) fn id(text: &str) -> AppId {
    PathId::parse(text).unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A ready task in host mode on agent S3, without ports.
pub(crate) fn task(id: &str, agent: &str) -> TaskEntry {
    TaskEntry {
        id: TaskId::from_text(id),
        agent: Arc::new(Agent {
            id: "0b8e-S3".to_owned(),
            hostname: "host".to_owned(),
            address: ip(agent),
        }),
        addresses: Vec::new(),
        host_ports: Vec::new(),
        discovery: Vec::new(),
        endpoints: Vec::new(),
        readiness: Readiness::Ready,
    }
}

pub(crate) fn port(number: u16, name: Option<&str>, protocol: &'static str) -> DiscoveryPort {
    DiscoveryPort { number, name: name.map(str::to_owned), protocol }
}

pub(crate) fn app(app: &str, tasks: impl IntoIterator<Item = TaskEntry>) -> AppEntry {
    AppEntry {
        tasks: tasks.into_iter().map(Arc::new).collect(),
        ..AppEntry::new(id(app), "marathon")
    }
}

/// An agent of a cluster at `10.0.0.<n>`.
pub(crate) fn agent(n: u8) -> Arc<ClusterAgent> {
    Arc::new(ClusterAgent {
        id: Arc::from(format!("0b8e-S{n}")),
        hostname: Arc::from(format!("agent{n}.example.org")),
        addresses: vec![ip(&format!("10.0.0.{n}"))],
        port: 5051,
    })
}

/// A cluster's task on agent `n` without ports, named as itself.
pub(crate) fn cluster_task(id: &str, name: &str, n: u8) -> ClusterTask {
    ClusterTask {
        id: TaskId::from_text(id),
        name: Arc::from(name),
        agent: agent(n),
        addresses: TaskAddresses::default(),
        host_ports: Vec::new(),
        ports: Vec::new(),
        labels: BTreeMap::new(),
        readiness: Readiness::Ready,
    }
}

pub(crate) fn cluster_port(number: u16, name: &str, protocol: &str) -> ClusterPort {
    let name = (!name.is_empty()).then(|| name.to_owned());
    ClusterPort { number, name, protocol: protocol.to_owned() }
}

/// Adds tasks under a name to a cluster, with the framework and the agents they need.
pub(crate) fn add_group(
    cluster: &mut Cluster,
    framework: &str,
    name: &str,
    discovered: bool,
    tasks: impl IntoIterator<Item = ClusterTask>,
) {
    let id = TaskGroupId { framework: Arc::from(framework), name: Arc::from(name), discovered };
    let tasks: Vec<Arc<ClusterTask>> = tasks.into_iter().map(Arc::new).collect();
    for task in &tasks {
        cluster.agents.insert(task.agent.id.clone(), task.agent.clone());
    }
    let entry = Framework {
        id: id.framework.clone(),
        name: id.framework.clone(),
        addresses: Vec::new(),
        port: None,
    };
    cluster.frameworks.entry(id.framework.clone()).or_insert_with(|| Arc::new(entry));
    let framework = id.framework.clone();
    cluster.groups.insert(id.clone(), Arc::new(TaskGroup { id, framework, tasks }));
}

pub(crate) fn catalog(version: Version, apps: impl IntoIterator<Item = AppEntry>) -> Catalog {
    let apps = apps.into_iter().map(|app| (app.id.clone(), Arc::new(app))).collect();
    Catalog { version, apps, ..Catalog::default() }
}

/// The specification's example: one task of `/shop/web` with a container address.
pub(crate) fn web() -> AppEntry {
    let mut web = task("web.1", "10.0.0.4");
    web.addresses = vec![ip("9.0.0.7")];
    web.host_ports = vec![31005];
    web.discovery = vec![port(8080, Some("http"), "tcp")];
    app("/shop/web", [web])
}

/// The time of answers, on a clock that just started.
pub(crate) fn now() -> Moment {
    Clock::new(Instant::now()).moment(Instant::now())
}

pub(crate) fn leases() -> Leases {
    Leases::new(Clock::new(Instant::now()))
}

pub(crate) fn config() -> DnsConfig {
    DnsConfig { host_addresses: vec![HOST], ..DnsConfig::default() }
}

pub(crate) fn zone_of(catalog: &Catalog, leases: &Leases) -> Zone {
    let mut builder = Builder::new(&config()).unwrap();
    builder.advance(&Catalog::default(), catalog, leases);
    builder.zone().clone()
}
