//! The last word on disk: what the catalog had of a Marathon's apps, for a start while it is away.
//!
//! A line of [`crate::lines`] for every app.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use waymark_model::{
    Agent, AppEntry, AppId, CheckProtocol, DiscoveryPort, Endpoint, HealthCheck, PathId,
    PortReference, Protocol, Readiness, Service, TaskEntry, TaskId, Timestamp, Version,
};

use crate::lines::{self, Heading, Unreadable};

/// The name of the file in the data directory.
const FILE: &str = "marathon-state.json";

/// A word from disk.
pub(super) struct LastWord {
    pub apps: Vec<AppEntry>,
    /// Where the Marathons were looked for.
    pub urls: Vec<String>,
    /// No version above this one was published.
    pub version: Version,
    /// When it was last known to be true.
    pub saved: SystemTime,
}

/// What the first line says about all apps.
#[derive(Serialize, Deserialize)]
struct Origin {
    urls: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    App(Box<AppLine>),
}

#[derive(Serialize, Deserialize)]
struct AppLine {
    id: String,
    framework: String,
    labels: BTreeMap<String, String>,
    instances: u32,
    checks: Vec<CheckLine>,
    last_scaling_at: u64,
    services: Vec<ServiceLine>,
    tasks: Vec<TaskLine>,
}

#[derive(Serialize, Deserialize)]
struct CheckLine {
    protocol: String,
    path: Option<String>,
    port_index: Option<usize>,
    port: Option<u16>,
    command: Option<String>,
    /// Grace period, interval, time-out, delay.
    times_ms: [u64; 4],
    max_failures: u32,
    ipv6: bool,
    ignore_http_1xx: bool,
}

#[derive(Serialize, Deserialize)]
struct ServiceLine {
    port: u16,
    protocol: String,
    name: Option<String>,
    labels: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct TaskLine {
    id: String,
    agent: String,
    host: String,
    address: IpAddr,
    addresses: Vec<IpAddr>,
    host_ports: Vec<u16>,
    discovery: Vec<DiscoveryLine>,
    endpoints: Vec<(usize, SocketAddr)>,
    readiness: String,
}

#[derive(Serialize, Deserialize)]
struct DiscoveryLine {
    number: u16,
    name: Option<String>,
    udp: bool,
}

/// The file in a data directory.
pub(super) fn file_in(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// Reads the last word; `None` when there is no file.
pub(super) fn load(file: &Path) -> Result<Option<LastWord>, Unreadable> {
    let mut apps = Vec::new();
    let heading = lines::load::<Origin, Line>(file, |Line::App(line)| {
        apps.push(entry_of(*line)?);
        Ok(())
    })?;
    Ok(heading.map(|Heading { version, saved, more }| LastWord {
        apps,
        urls: more.urls,
        version,
        saved,
    }))
}

/// Puts the word in the place of the one on disk; the old one stays whole until then.
pub(super) fn save<'a>(
    file: &Path,
    apps: impl Iterator<Item = &'a AppEntry>,
    urls: &[String],
    version: Version,
    saved: SystemTime,
) -> io::Result<()> {
    let heading = Heading { version, saved, more: Origin { urls: urls.to_vec() } };
    lines::save(file, heading, apps.map(|app| Line::App(Box::new(app_line(app)))))
}

fn app_line(app: &AppEntry) -> AppLine {
    let service = |service: &Service| ServiceLine {
        port: service.port,
        protocol: service.protocol.to_string(),
        name: service.name.clone(),
        labels: service.labels.clone(),
    };
    AppLine {
        id: app.id.to_string(),
        framework: app.framework.to_string(),
        labels: app.labels.clone(),
        instances: app.instances,
        checks: app.health_checks.iter().map(check_line).collect(),
        last_scaling_at: app.last_scaling_at.0,
        services: app.services.iter().map(service).collect(),
        tasks: app.tasks.iter().map(|task| task_line(task)).collect(),
    }
}

const PROTOCOLS: [(&str, CheckProtocol); 7] = [
    ("HTTP", CheckProtocol::Http),
    ("HTTPS", CheckProtocol::Https),
    ("TCP", CheckProtocol::Tcp),
    ("COMMAND", CheckProtocol::Command),
    ("MESOS_HTTP", CheckProtocol::MesosHttp),
    ("MESOS_HTTPS", CheckProtocol::MesosHttps),
    ("MESOS_TCP", CheckProtocol::MesosTcp),
];

const READINESS: [(&str, Readiness); 4] = [
    ("ready", Readiness::Ready),
    ("unknown", Readiness::HealthUnknown),
    ("unhealthy", Readiness::Unhealthy),
    ("draining", Readiness::Draining),
];

fn name<T: PartialEq>(names: &[(&str, T)], value: &T) -> String {
    let found = names.iter().find(|(_, known)| known == value);
    found.map_or_else(String::new, |(name, _)| (*name).to_owned())
}

fn value<T: Copy>(names: &[(&str, T)], name: &str) -> Result<T, Unreadable> {
    let found = names.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or(Unreadable::Content("a name that is not known"))
}

fn check_line(check: &HealthCheck) -> CheckLine {
    let (port_index, port) = match check.port {
        Some(PortReference::Index(index)) => (Some(index), None),
        Some(PortReference::Number(number)) => (None, Some(number)),
        None => (None, None),
    };
    let times = [check.grace_period, check.interval, check.timeout, check.delay];
    CheckLine {
        protocol: name(&PROTOCOLS, &check.protocol),
        path: check.path.clone(),
        port_index,
        port,
        command: check.command.clone(),
        times_ms: times.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        max_failures: check.max_consecutive_failures,
        ipv6: check.ipv6,
        ignore_http_1xx: check.ignore_http_1xx,
    }
}

fn check_of(line: CheckLine) -> Result<HealthCheck, Unreadable> {
    let [grace_period, interval, timeout, delay] = line.times_ms.map(Duration::from_millis);
    Ok(HealthCheck {
        protocol: value(&PROTOCOLS, &line.protocol)?,
        path: line.path,
        port: line.port_index.map(PortReference::Index).or(line.port.map(PortReference::Number)),
        command: line.command,
        grace_period,
        interval,
        timeout,
        max_consecutive_failures: line.max_failures,
        delay,
        ipv6: line.ipv6,
        ignore_http_1xx: line.ignore_http_1xx,
    })
}

fn task_line(task: &TaskEntry) -> TaskLine {
    let discovery = |port: &DiscoveryPort| DiscoveryLine {
        number: port.number,
        name: port.name.clone(),
        udp: port.protocol == "udp",
    };
    TaskLine {
        id: task.id.as_str().to_owned(),
        agent: task.agent.id.clone(),
        host: task.agent.hostname.clone(),
        address: task.agent.address,
        addresses: task.addresses.clone(),
        host_ports: task.host_ports.clone(),
        discovery: task.discovery.iter().map(discovery).collect(),
        endpoints: task.endpoints.iter().map(|e| (e.service, e.address)).collect(),
        readiness: name(&READINESS, &task.readiness),
    }
}

fn task_of(line: TaskLine) -> Result<TaskEntry, Unreadable> {
    let discovery = |port: DiscoveryLine| DiscoveryPort {
        number: port.number,
        name: port.name,
        protocol: if port.udp { "udp" } else { "tcp" },
    };
    let endpoint = |(service, address)| Endpoint { service, address };
    Ok(TaskEntry {
        id: TaskId::from_text(&line.id),
        agent: Arc::new(Agent { id: line.agent, hostname: line.host, address: line.address }),
        addresses: line.addresses,
        host_ports: line.host_ports,
        discovery: line.discovery.into_iter().map(discovery).collect(),
        endpoints: line.endpoints.into_iter().map(endpoint).collect(),
        readiness: value(&READINESS, &line.readiness)?,
    })
}

fn entry_of(line: AppLine) -> Result<AppEntry, Unreadable> {
    let id: AppId = PathId::parse(&line.id)
        .ok()
        .filter(|id| !id.is_root())
        .ok_or(Unreadable::Content("an id that is none"))?;
    let service = |(index, line): (usize, ServiceLine)| {
        let protocol = Protocol::parse(&line.protocol);
        let protocol = protocol.ok_or(Unreadable::Content("a protocol that is not known"))?;
        let ServiceLine { port, name, labels, .. } = line;
        Ok::<_, Unreadable>(Service { index, port, protocol, name, labels })
    };
    let tasks = line.tasks.into_iter().map(|task| task_of(task).map(Arc::new));
    Ok(AppEntry {
        id,
        framework: line.framework.into(),
        labels: line.labels,
        instances: line.instances,
        health_checks: line.checks.into_iter().map(check_of).collect::<Result<_, _>>()?,
        last_scaling_at: Timestamp(line.last_scaling_at),
        services: line.services.into_iter().enumerate().map(service).collect::<Result<_, _>>()?,
        tasks: tasks.collect::<Result<_, _>>()?,
    })
}
