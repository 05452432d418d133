//! The process under test for Waymark: its load balancer with a catalog that never changes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use waymark_catalog::Writer;
use waymark_model::{
    Agent, AppEntry, AppId, Endpoint, PathId, Protocol, Readiness, Service, TaskEntry, TaskId,
};
use waymark_proxy::{Proxy, ProxyConfig};

use crate::Outcome;
use crate::setup::Setup;

/// Service ports of the apps that are asked by their host names begin here.
const FIRST_SERVICE_PORT: usize = 18_000;

/// The command line that [`serve`] reads.
pub fn arguments(setup: &Setup) -> Vec<String> {
    let certificate = setup.certificate().display().to_string();
    let numbers = [setup.http, setup.https, setup.tcp].map(|port| port.to_string());
    let mut arguments = vec!["proxy".to_owned()];
    arguments.extend(numbers);
    arguments.extend([setup.hosts.to_string(), setup.backend.to_string(), certificate]);
    arguments
}

/// Serves until it is killed: both versions of HTTP in clear and in TLS, and a service port.
pub async fn serve(arguments: &[String]) -> Outcome<()> {
    let [http, https, tcp, hosts, backend, certificate] = arguments else {
        return Err("proxy HTTP HTTPS TCP HOSTS BACKEND CERTIFICATE".into());
    };
    let (backend, tcp): (SocketAddr, u16) = (backend.parse()?, tcp.parse()?);
    let (mut writer, reader) = Writer::new(0);
    let named = (0..hosts.parse()?).map(|i| app(i, backend));
    let mut apps = named.collect::<Outcome<Vec<_>>>()?;
    apps.push(entry("relay", tcp, vec![mode("tcp")], backend)?);
    writer.publish(apps);
    let config = ProxyConfig {
        workers: 1,
        http_port: Some(http.parse()?),
        https_port: Some(https.parse()?),
        certificates: vec![PathBuf::from(certificate)],
        ..ProxyConfig::default()
    };
    let _proxy = Proxy::start(config, reader)?;
    std::future::pending().await
}

type Named = (AppId, Option<AppEntry>);

/// The app that is asked by the host name of this number.
pub fn app(number: usize, backend: SocketAddr) -> Outcome<Named> {
    let port = u16::try_from(FIRST_SERVICE_PORT + number)?;
    let name = format!("app{number}");
    let labels = [("HAPROXY_0_VHOST", format!("{name}.bench.test")), mode("http")];
    entry(&name, port, labels.into(), backend)
}

fn mode(mode: &str) -> (&'static str, String) {
    ("HAPROXY_0_MODE", mode.to_owned())
}

/// An app with one service port and one ready task.
fn entry(
    name: &str,
    port: u16,
    labels: Vec<(&str, String)>,
    backend: SocketAddr,
) -> Outcome<Named> {
    let id = PathId::parse(&format!("/{name}"))?;
    let task = TaskEntry {
        id: TaskId::from_text(&format!("{name}.{}", backend.port())),
        agent: Arc::new(Agent {
            id: "bench-S0".into(),
            hostname: "localhost".into(),
            address: Ipv4Addr::LOCALHOST.into(),
        }),
        addresses: Vec::new(),
        host_ports: vec![backend.port()],
        discovery: Vec::new(),
        endpoints: vec![Endpoint { service: 0, address: backend }],
        readiness: Readiness::Ready,
    };
    let service =
        Service { index: 0, port, protocol: Protocol::Tcp, name: None, labels: BTreeMap::new() };
    let entry = AppEntry {
        services: vec![service],
        tasks: vec![Arc::new(task)],
        labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..AppEntry::new(id.clone(), "marathon")
    };
    Ok((id, Some(entry)))
}
