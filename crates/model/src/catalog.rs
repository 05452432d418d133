//! The catalog: what names and traffic are made from. One immutable snapshot; unchanged apps share
//! their `Arc` with the snapshot before, so a reader finds what changed by comparing pointers.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::{Agent, AppId, Cluster, HealthCheck, Protocol, Task, TaskId, Timestamp};

/// Number of a catalog snapshot. Only grows, over restarts too; the same number stands in logs,
/// metrics, the API's answer header and the DNS zone's serial.
pub type Version = u64;

/// All apps with what they offer and the tasks that exist.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The snapshot's number; 0 = nothing published yet.
    pub version: Version,
    /// The apps by id.
    pub apps: OrdMap<AppId, Arc<AppEntry>>,
    /// A Mesos cluster that somebody else runs.
    pub cluster: Cluster,
}

/// One app in the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct AppEntry {
    /// The app.
    pub id: AppId,
    /// The framework it belongs to (`marathon`): the label under the DNS domain.
    pub framework: Arc<str>,
    /// The app's labels.
    pub labels: BTreeMap<String, String>,
    /// How many tasks are wanted; 0 = suspended.
    pub instances: u32,
    /// Its health checks, as declared.
    pub health_checks: Vec<HealthCheck>,
    /// When the instance count last changed; [`Timestamp::ZERO`] when that is not known.
    pub last_scaling_at: Timestamp,
    /// Its ports by position, from the app's current definition.
    pub services: Vec<Service>,
    /// Its tasks that run, in order of their ids, whether or not they should get traffic.
    pub tasks: Vec<Arc<TaskEntry>>,
}

/// One port of one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Position in the app's port list.
    pub index: usize,
    /// The service port on which a load balancer listens.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The port's name.
    pub name: Option<String>,
    /// The port's labels.
    pub labels: BTreeMap<String, String>,
}

/// Where one task answers for one service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Position in the app's current port list ([`AppEntry::services`]).
    pub service: usize,
    /// The address and port.
    pub address: SocketAddr,
}

/// Whether a task should get traffic, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// It should.
    Ready,
    /// A health or readiness check has not succeeded yet.
    HealthUnknown,
    /// A health check fails.
    Unhealthy,
    /// It is about to be stopped: no new connections, no names; what is open may finish.
    Draining,
}

/// One task in the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEntry {
    /// The task.
    pub id: TaskId,
    /// The machine it runs on.
    pub agent: Arc<Agent>,
    /// Addresses of its own; empty when it shares the agent's.
    pub addresses: Vec<IpAddr>,
    /// Its host ports, in order (`resources.ports` of Mesos).
    pub host_ports: Vec<u16>,
    /// The ports of its own definition, as Mesos's DiscoveryInfo lists them.
    pub discovery: Vec<DiscoveryPort>,
    /// Where it answers for the services of the app's current definition. Ports that exist only in
    /// the task's own definition have no entry.
    pub endpoints: Vec<Endpoint>,
    /// Whether it should get traffic.
    pub readiness: Readiness,
}

/// One port of a task as Mesos's DiscoveryInfo lists it: one entry a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryPort {
    /// Host port, or container port where there is none.
    pub number: u16,
    /// The port's name.
    pub name: Option<String>,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
}

/// What happened to one app between two snapshots.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The app.
    pub app: &'a AppId,
    /// What it was, if it was there.
    pub before: Option<&'a Arc<AppEntry>>,
    /// What it is, if it is there.
    pub after: Option<&'a Arc<AppEntry>>,
}

impl Catalog {
    /// The apps that changed from `before` to `self`. Shared parts of the two are skipped, so the cost is
    /// that of the change.
    pub fn changes_since<'a>(&'a self, before: &'a Catalog) -> impl Iterator<Item = Change<'a>> {
        before.apps.diff(&self.apps).filter_map(|item| match item {
            DiffItem::Add(app, after) => Some(Change { app, before: None, after: Some(after) }),
            DiffItem::Remove(app, before) => {
                Some(Change { app, before: Some(before), after: None })
            }
            DiffItem::Update { old: (app, before), new: (_, after) } => {
                (!Arc::ptr_eq(before, after)).then_some(Change {
                    app,
                    before: Some(before),
                    after: Some(after),
                })
            }
        })
    }
}

impl AppEntry {
    /// An app that wants one task and has neither labels nor ports, checks or tasks.
    pub fn new(id: AppId, framework: &str) -> AppEntry {
        AppEntry {
            id,
            framework: Arc::from(framework),
            labels: BTreeMap::new(),
            instances: 1,
            health_checks: Vec::new(),
            last_scaling_at: Timestamp::ZERO,
            services: Vec::new(),
            tasks: Vec::new(),
        }
    }
}

impl TaskEntry {
    /// The addresses under which the task is named: its own, else its agent's.
    pub fn named_addresses(&self) -> &[IpAddr] {
        if self.addresses.is_empty() {
            std::slice::from_ref(&self.agent.address)
        } else {
            &self.addresses
        }
    }
}

impl From<&Task> for Readiness {
    fn from(task: &Task) -> Readiness {
        if task.draining_since.is_some() {
            Readiness::Draining
        } else if task.app.health_checks.is_empty() || task.healthy() == Some(true) {
            Readiness::Ready
        } else if task.healthy() == Some(false) {
            Readiness::Unhealthy
        } else {
            Readiness::HealthUnknown
        }
    }
}
