//! Apps with labels, and the tables they make, for this room's tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use waymark_catalog::{Reader, Writer};
use waymark_model::{
    Agent, AppEntry, AppId, Endpoint, PathId, Protocol, Readiness, Service, TaskEntry, TaskId,
    Timestamp,
};

use super::decide::{Front, Headers, Request};
use super::table::{Exposure, Groups, HealthPolicy, ListenKey, RouteTable};
use super::{Notices, TableBuilder};

/// A catalog and the tables made from it.
pub(crate) struct World {
    writer: Writer,
    reader: Reader,
    builder: TableBuilder,
}

pub(crate) fn exposure() -> Exposure {
    Exposure {
        groups: Groups::All,
        strict: false,
        health: HealthPolicy::Strict,
        listen: [127, 0, 0, 1].into(),
        https_port: 443,
    }
}

pub(crate) fn id(app: &str) -> AppId {
    PathId::parse(app).unwrap()
}

/// A task that answers for services 0, 1 … at 10.0.0.`host`:31000, 31001 ….
pub(crate) fn task(name: &str, host: u8, readiness: Readiness) -> Arc<TaskEntry> {
    let at = |port| SocketAddr::from(([10, 0, 0, host], port));
    Arc::new(TaskEntry {
        id: TaskId::from_text(name),
        agent: Arc::new(Agent {
            id: "m-S0".into(),
            hostname: at(0).ip().to_string(),
            address: at(0).ip(),
        }),
        addresses: Vec::new(),
        host_ports: Vec::new(),
        discovery: Vec::new(),
        endpoints: (0..3u16)
            .map(|n| Endpoint { service: n.into(), address: at(31000 + n) })
            .collect(),
        readiness,
    })
}

/// An app with TCP services on these ports, one ready task and these labels.
pub(crate) fn app(name: &str, ports: &[u16], labels: &[(&str, &str)]) -> AppEntry {
    let service = |(index, port): (usize, &u16)| Service {
        index,
        port: *port,
        protocol: Protocol::Tcp,
        name: None,
        labels: BTreeMap::new(),
    };
    AppEntry {
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        services: ports.iter().enumerate().map(service).collect(),
        tasks: vec![task(&format!("{name}.t"), 1, Readiness::Ready)],
        ..AppEntry::new(id(name), "marathon")
    }
}

impl World {
    pub(crate) fn new(exposure: Exposure) -> World {
        let (writer, reader) = Writer::new(0);
        World { writer, reader, builder: TableBuilder::new(exposure, |_| false, Arc::default()) }
    }

    pub(crate) fn of(apps: impl IntoIterator<Item = AppEntry>) -> World {
        let mut world = World::new(exposure());
        world.put(apps);
        world
    }

    pub(crate) fn put(&mut self, apps: impl IntoIterator<Item = AppEntry>) -> Notices {
        self.writer.publish(apps.into_iter().map(|app| (app.id.clone(), Some(app))));
        self.builder.apply(self.reader.latest(), Timestamp::ZERO)
    }

    pub(crate) fn remove(&mut self, app: &str) -> Notices {
        self.writer.publish([(id(app), None)]);
        self.builder.apply(self.reader.latest(), Timestamp::ZERO)
    }

    pub(crate) fn table(&self) -> &RouteTable {
        self.builder.table()
    }
}

/// Headers by name, and cookies by `cookie:name`.
impl Headers for BTreeMap<&str, &str> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        BTreeMap::get(self, name).map(|value| value.as_bytes())
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        BTreeMap::get(self, format!("cookie:{name}").as_str()).map(|value| value.as_bytes())
    }
}

pub(crate) static NO_HEADERS: BTreeMap<&str, &str> = BTreeMap::new();

/// `GET target` for a host, from 192.0.2.1.
pub(crate) fn get<'a>(front: Front, host: &'a str, target: &'a str) -> Request<'a> {
    Request {
        front,
        secure: front == Front::Https,
        method: "GET",
        host,
        target,
        source: SocketAddr::from(([192, 0, 2, 1], 1234)),
        headers: &NO_HEADERS,
    }
}

pub(crate) fn service(port: u16) -> Front {
    Front::Service(ListenKey { port, udp: false, ip: None })
}
