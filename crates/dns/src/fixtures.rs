//! Catalogs for tests.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use waymark_model::{
    Agent, AppEntry, AppId, Catalog, DiscoveryPort, PathId, Readiness, TaskEntry, TaskId, Version,
};

use crate::config::DnsConfig;
use crate::lease::{Clock, Leases};
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
        id: id(app),
        framework: Arc::from("marathon"),
        labels: BTreeMap::new(),
        services: Vec::new(),
        tasks: tasks.into_iter().map(Arc::new).collect(),
    }
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

pub(crate) fn leases() -> Leases {
    Leases::new(Clock::new(Instant::now()))
}

pub(crate) fn config() -> DnsConfig {
    DnsConfig { host_addresses: vec![HOST], ..DnsConfig::default() }
}

pub(crate) fn zone_of(catalog: &Catalog, leases: &Leases) -> Zone {
    let mut zone = Zone::new(&config()).unwrap();
    zone.advance(&Catalog::default(), catalog, leases);
    zone
}
