//! A Mesos cluster as somebody else runs it: what names and traffic need of its masters, agents,
//! frameworks and tasks. Filled by a source, read beside the apps of the own control plane.
//!
//! Only facts stand here, not what is made of them: which tasks get names, and which of a task's
//! addresses is published, is decided by those who read. Addresses are addresses: whoever fills
//! this in has looked host names up.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::{Readiness, TaskId};

/// All that is known of a cluster. Unchanged parts share their `Arc` with the snapshot before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// The masters; `None` until a source has spoken, and where there is no cluster.
    pub masters: Option<Arc<Masters>>,
    /// Registered frameworks by their ids.
    pub frameworks: OrdMap<Arc<str>, Arc<Framework>>,
    /// Registered agents by their ids.
    pub agents: OrdMap<Arc<str>, Arc<ClusterAgent>>,
    /// The tasks that run, those that share their names together.
    pub groups: OrdMap<TaskGroupId, Arc<TaskGroup>>,
}

/// The masters of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masters {
    /// The one that leads, when known.
    pub leader: Option<Master>,
    /// All that are known in the order in which they are numbered; the leader may be among them.
    pub all: Vec<Master>,
}

/// One master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// Its addresses; several where its host name has several.
    pub addresses: Vec<IpAddr>,
    /// The port of its API.
    pub port: u16,
}

/// A framework: a scheduler that has tasks run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framework {
    /// Its id.
    pub id: Arc<str>,
    /// Its name (`marathon`), as it registered.
    pub name: Arc<str>,
    /// Addresses of its scheduler; empty when unknown.
    pub addresses: Vec<IpAddr>,
    /// The port of its scheduler; schedulers that use the HTTP API have none.
    pub port: Option<u16>,
}

/// A machine of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterAgent {
    /// Its id.
    pub id: Arc<str>,
    /// Its host name, as it registered.
    pub hostname: Arc<str>,
    /// Its addresses; empty when its host name is unknown.
    pub addresses: Vec<IpAddr>,
    /// The port of its API.
    pub port: u16,
}

/// What makes tasks share their names: the framework they belong to and what they are called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskGroupId {
    /// The framework's id.
    pub framework: Arc<str>,
    /// The name in the tasks' DiscoveryInfo, or their own name where they have none.
    pub name: Arc<str>,
    /// Whether the name comes from DiscoveryInfo.
    pub discovered: bool,
}

/// Tasks that share their names.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskGroup {
    /// What they have in common.
    pub id: TaskGroupId,
    /// The framework's name, as it registered.
    pub framework: Arc<str>,
    /// The tasks in order of their ids, never none.
    pub tasks: Vec<Arc<ClusterTask>>,
}

/// One task of a cluster that runs on a registered agent.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterTask {
    /// Its id.
    pub id: TaskId,
    /// Its own name (`TaskInfo.name`).
    pub name: Arc<str>,
    /// The machine it runs on.
    pub agent: Arc<ClusterAgent>,
    /// Addresses of its own, by where they were told.
    pub addresses: TaskAddresses,
    /// Its host ports, in the order of the offer (`resources.ports`).
    pub host_ports: Vec<u16>,
    /// The ports in its DiscoveryInfo, in order.
    pub ports: Vec<ClusterPort>,
    /// Its labels; of equal keys the last one counts.
    pub labels: BTreeMap<String, String>,
    /// `Unhealthy` when its last status said so, `HealthUnknown` when it has a health check whose
    /// result is not known, `Draining` when it is being killed, else `Ready`.
    pub readiness: Readiness,
}

/// Addresses of a task by the places in its latest `TASK_RUNNING` status where they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskAddresses {
    /// `container_status.network_infos[].ip_addresses[]`.
    pub netinfo: Vec<IpAddr>,
    /// The label `Docker.NetworkSettings.IPAddress`.
    pub docker: Vec<IpAddr>,
    /// The label `MesosContainerizer.NetworkSettings.IPAddress`.
    pub mesos: Vec<IpAddr>,
}

/// One port in a task's DiscoveryInfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPort {
    /// Its number.
    pub number: u16,
    /// Its name.
    pub name: Option<String>,
    /// Its protocol as written: any text, empty when absent.
    pub protocol: String,
}

/// What happened to one group of tasks between two snapshots.
#[derive(Clone, Copy, Debug)]
pub struct GroupChange<'a> {
    /// The group.
    pub id: &'a TaskGroupId,
    /// What it was, if it was there.
    pub before: Option<&'a Arc<TaskGroup>>,
    /// What it is, if it is there.
    pub after: Option<&'a Arc<TaskGroup>>,
}

impl Cluster {
    /// The groups that changed from `before` to `self`; the cost is that of the change.
    pub fn group_changes_since<'a>(
        &'a self,
        before: &'a Cluster,
    ) -> impl Iterator<Item = GroupChange<'a>> {
        before.groups.diff(&self.groups).filter_map(|item| match item {
            DiffItem::Add(id, after) => Some(GroupChange { id, before: None, after: Some(after) }),
            DiffItem::Remove(id, before) => {
                Some(GroupChange { id, before: Some(before), after: None })
            }
            DiffItem::Update { old: (id, before), new: (_, after) } => {
                (!Arc::ptr_eq(before, after)).then_some(GroupChange {
                    id,
                    before: Some(before),
                    after: Some(after),
                })
            }
        })
    }

    /// Number of tasks.
    pub fn tasks(&self) -> usize {
        self.groups.values().map(|group| group.tasks.len()).sum()
    }
}
