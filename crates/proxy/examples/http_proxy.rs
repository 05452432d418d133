//! A load balancer with one worker for one task, to be measured beside others:
//! `cargo run --release -p waymark-proxy --example http_proxy -- PORT TASK [SECONDS]` forwards every
//! request at `127.0.0.1:PORT` to the task (`127.0.0.1:8081`) and ends after that time (an hour).
#![allow(clippy::expect_used)] // A tool for developers: it ends at what it cannot do.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use waymark_catalog::Writer;
use waymark_model::{
    Agent, AppEntry, Endpoint, PathId, Protocol, Readiness, Service, TaskEntry, TaskId,
};
use waymark_proxy::{Proxy, ProxyConfig};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().and_then(|a| a.parse().ok()).expect("a port");
    let task: SocketAddr = arguments.next().and_then(|a| a.parse().ok()).expect("a task's address");
    let seconds = arguments.next().and_then(|a| a.parse().ok()).unwrap_or(3600);
    let (mut writer, reader) = Writer::new(0);
    let config = ProxyConfig { workers: 1, http_port: Some(port), ..ProxyConfig::default() };
    let _proxy = Proxy::start(config, reader).expect("a load balancer");
    let id = PathId::parse("/bench").expect("an id");
    writer.publish([(id.clone(), Some(app(id, port, task)))]);
    std::thread::sleep(Duration::from_secs(seconds));
}

/// An app with one task that has every host.
fn app(id: PathId, port: u16, task: SocketAddr) -> AppEntry {
    let agent = Agent {
        id: "bench".into(),
        hostname: "localhost".into(),
        address: Ipv4Addr::LOCALHOST.into(),
    };
    let labels =
        [("HAPROXY_0_VHOST", "*"), ("HAPROXY_0_MODE", "http"), ("HAPROXY_GROUP", "external")];
    AppEntry {
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        services: vec![Service {
            index: 0,
            port: port + 1,
            protocol: Protocol::Tcp,
            name: None,
            labels: BTreeMap::new(),
        }],
        tasks: vec![Arc::new(TaskEntry {
            id: TaskId::from_text("bench.1"),
            agent: Arc::new(agent),
            addresses: Vec::new(),
            host_ports: vec![task.port()],
            discovery: Vec::new(),
            endpoints: vec![Endpoint { service: 0, address: task }],
            readiness: Readiness::Ready,
        })],
        ..AppEntry::new(id, "marathon")
    }
}
