//! Tasks as names see them: those of the own control plane and those of a Mesos cluster in one
//! form, so that every rule of naming is written once.
//!
//! Input: the catalog's apps and groups of tasks, and the rules. Output: what a group of tasks is
//! called, and of each task its addresses and ports. Pure, and copies nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use waymark_model::{AppEntry, ClusterTask, Readiness, TaskEntry, TaskGroup, TaskId};

use crate::config::{IpSource, MAX_TTL, Rules};
use crate::naming;
use crate::records::Origin;

/// What tasks that share their names are called.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// The same as it is written.
    pub(crate) origin: Origin,
    /// Their framework as labels (`prod.marathon`).
    pub(crate) framework: String,
    /// What they are called below it, each in the same records: as it is written and as one label.
    pub(crate) forms: Vec<String>,
    /// Whether the name is that of a DiscoveryInfo, whose ports then count.
    pub(crate) discovered: bool,
    /// The TTL of tasks that have none of their own, in seconds.
    pub(crate) ttl: u32,
}

/// One task.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// Of the own control plane.
    Own(Arc<TaskEntry>),
    /// Of a Mesos cluster.
    Mesos(Arc<ClusterTask>),
}

/// One port in a task's DiscoveryInfo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port<'t> {
    pub(crate) number: u16,
    pub(crate) name: Option<&'t str>,
    /// Any text; empty when unknown.
    pub(crate) protocol: &'t str,
}

impl Names {
    /// Of an app's tasks: their DiscoveryInfo is what Marathon would write.
    pub(crate) fn of_app(app: &AppEntry, rules: &Rules) -> Names {
        let name = app.id.task_name();
        Names {
            framework: naming::dotted(&app.framework, rules.label_rule),
            forms: naming::both_forms(&name, rules.label_rule),
            origin: Origin { framework: app.framework.clone(), name: name.into() },
            discovered: true,
            ttl: own_ttl(&app.labels).unwrap_or(rules.ttl),
        }
    }

    /// Of a cluster's tasks: a name from DiscoveryInfo counts in both forms, a task's own name as
    /// one label only, as in Mesos-DNS.
    pub(crate) fn of_group(group: &TaskGroup, rules: &Rules) -> Names {
        let name = &group.id.name;
        Names {
            framework: naming::dotted(&group.framework, rules.label_rule),
            origin: Origin { framework: group.framework.clone(), name: name.clone() },
            forms: match group.id.discovered {
                true => naming::both_forms(name, rules.label_rule),
                false => vec![naming::label(name, rules.label_rule)],
            },
            discovered: group.id.discovered,
            ttl: rules.ttl,
        }
    }
}

/// The label by which an app, or a task of a cluster, says for how long its records may be kept,
/// in seconds.
pub const TTL_LABEL: &str = "WAYMARK_DNS_TTL";

/// The longest TTL that a label gives, in seconds: a task that ends is waited for, and remembered,
/// for so long. A longer one counts as this.
pub const MAX_OWN_TTL: u32 = 86_400;

/// What the label says; a text that is no TTL says nothing.
pub(crate) fn own_ttl(labels: &BTreeMap<String, String>) -> Option<u32> {
    let ttl: u32 = labels.get(TTL_LABEL)?.trim().parse().ok().filter(|ttl| *ttl <= MAX_TTL)?;
    Some(ttl.min(MAX_OWN_TTL))
}

impl Task {
    pub(crate) fn id(&self) -> &TaskId {
        match self {
            Task::Own(task) => &task.id,
            Task::Mesos(task) => &task.id,
        }
    }

    /// Its own name, where it has one beside that of its group.
    pub(crate) fn own_name(&self) -> Option<&str> {
        match self {
            Task::Own(_) => None,
            Task::Mesos(task) => Some(&task.name),
        }
    }

    /// The time to live of its records where it differs from the others', in seconds.
    pub(crate) fn ttl(&self) -> Option<u32> {
        match self {
            Task::Own(_) => None,
            Task::Mesos(task) => own_ttl(&task.labels),
        }
    }

    /// Whether it is named at all.
    pub(crate) fn is_named(&self, rules: &Rules) -> bool {
        match self {
            Task::Own(task) => task.readiness == Readiness::Ready,
            Task::Mesos(task) if rules.health_aware => task.readiness == Readiness::Ready,
            Task::Mesos(task) => task.readiness != Readiness::Draining,
        }
    }

    /// What makes its name one of its own: `-<hash>-<tail of the agent's id>`.
    pub(crate) fn suffix(&self) -> String {
        let agent = match self {
            Task::Own(task) => &*task.agent.id,
            Task::Mesos(task) => &*task.agent.id,
        };
        naming::task_suffix(self.id().as_str(), agent)
    }

    /// The addresses under which it is named: all of the first source that has any.
    pub(crate) fn addresses(&self, rules: &Rules) -> &[IpAddr] {
        let of = |source: &IpSource| match (source, self) {
            (IpSource::Host, _) => self.agent_addresses(),
            (IpSource::Netinfo, Task::Own(task)) => &task.addresses,
            (IpSource::Netinfo, Task::Mesos(task)) => &task.addresses.netinfo,
            (IpSource::Docker, Task::Mesos(task)) => &task.addresses.docker,
            (IpSource::Mesos, Task::Mesos(task)) => &task.addresses.mesos,
            (IpSource::Docker | IpSource::Mesos, Task::Own(_)) => &[],
        };
        let sources = rules.ip_sources.iter();
        sources.map(of).find(|addresses| !addresses.is_empty()).unwrap_or_default()
    }

    /// The addresses of the machine it runs on.
    pub(crate) fn agent_addresses(&self) -> &[IpAddr] {
        match self {
            Task::Own(task) => std::slice::from_ref(&task.agent.address),
            Task::Mesos(task) => &task.agent.addresses,
        }
    }

    /// Its host ports.
    pub(crate) fn host_ports(&self) -> &[u16] {
        match self {
            Task::Own(task) => &task.host_ports,
            Task::Mesos(task) => &task.host_ports,
        }
    }

    /// The ports in its DiscoveryInfo.
    pub(crate) fn ports(&self) -> impl Iterator<Item = Port<'_>> {
        let (own, mesos) = match self {
            Task::Own(task) => (&task.discovery[..], &[][..]),
            Task::Mesos(task) => (&[][..], &task.ports[..]),
        };
        let own = own.iter().map(|port| Port {
            number: port.number,
            name: port.name.as_deref(),
            protocol: port.protocol,
        });
        own.chain(mesos.iter().map(|port| Port {
            number: port.number,
            name: port.name.as_deref(),
            protocol: &port.protocol,
        }))
    }
}
