//! Names that are not those of tasks: this host, masters, frameworks, agents, by Mesos-DNS's rules.
//!
//! | name | records |
//! |---|---|
//! | `leader`; `_leader._tcp`, `_leader._udp` | the leading master; SRV `leader` with its port |
//! | `master` | all masters |
//! | `master<N>` | one each, numbered from 0 in their order |
//! | `fw`; `_framework._tcp.fw` | the framework's scheduler; SRV `fw` with its port |
//! | `_n._svc.fw`, beyond Mesos-DNS | this host's load balancer, SRV with the app's service ports |
//! | `slave`; `_slave._tcp` | all agents; SRV `slave` with each port that an agent has |

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use waymark_model::{AppEntry, Cluster, Framework, Master, Masters};

use super::work::Machine;

use crate::compile::Plan;
use crate::config::{Apex, Rules};
use crate::naming;
use crate::records::{Origin, Records};
use crate::tasks::Names;

/// The names of this host; `leads` when it stands for the masters, of which there are none else.
pub(super) fn host(apex: &Apex, leads: bool) -> Option<Records> {
    let mut plan = Plan::new(&apex.rules);
    let leader = apex.leader_names.iter().filter(|_| leads);
    for name in apex.host_names.iter().chain(leader) {
        plan.host(name, &apex.host_addresses);
    }
    finish(plan)
}

/// The agents of the own control plane, which have no port of their own.
pub(super) fn own_agents<'a>(
    machines: impl Iterator<Item = &'a Machine>,
    rules: &Rules,
) -> Option<Records> {
    let machines: Vec<(&[IpAddr], &str)> =
        machines.map(|(address, name)| (std::slice::from_ref(address), &**name)).collect();
    let mut plan = Plan::new(rules);
    name_agents(&mut plan, &machines);
    finish(plan)
}

/// A cluster's agents.
pub(super) fn agents(cluster: &Cluster, rules: &Rules) -> Option<Records> {
    let agents = || cluster.agents.values().filter(|agent| !agent.addresses.is_empty());
    let machines: Vec<(&[IpAddr], &str)> =
        agents().map(|agent| (&agent.addresses[..], &*agent.hostname)).collect();
    let ports: Vec<u16> = agents().map(|agent| agent.port).collect();
    let mut plan = Plan::new(rules);
    if let Some(slave) = name_agents(&mut plan, &machines) {
        plan.service("_slave._tcp", slave, &ports);
    }
    finish(plan)
}

/// `slave` with the addresses of all machines, whose names are those by which the machines are
/// known, else `slave` too.
fn name_agents(plan: &mut Plan<'_>, machines: &[(&[IpAddr], &str)]) -> Option<u32> {
    let addresses: Vec<IpAddr> = machines.iter().flat_map(|(all, _)| all.iter().copied()).collect();
    let slave = plan.host("slave", &addresses)?;
    for (addresses, name) in machines {
        let target = plan.outside(name).unwrap_or(slave);
        addresses.iter().for_each(|address| plan.name_address(*address, target));
    }
    Some(slave)
}

/// An app's service ports on this host's load balancer: under `_n._svc.fw`, for each form `n` of
/// its name, the balancer's addresses, and SRV with each port; under `_port._n._svc.fw` SRV with the
/// ports of that name.
pub(super) fn services(app: &AppEntry, apex: &Apex) -> Option<Records> {
    let ports: Vec<u16> = app.services.iter().map(|s| s.port).filter(|port| *port > 0).collect();
    if ports.is_empty() || apex.balancer_addresses.is_empty() {
        return None;
    }
    let names = Names::of_app(app, &apex.rules);
    let mut plan = Plan::new(&apex.rules);
    for form in &names.forms {
        let name = format!("{}._svc.{}", naming::service_label(form), names.framework);
        let Some(target) = plan.host(&name, &apex.balancer_addresses) else { continue };
        plan.service(&name, target, &ports);
        for service in app.services.iter().filter(|service| service.port > 0) {
            let port = service.name.as_deref().unwrap_or_default();
            let port = naming::label(port, apex.rules.label_rule);
            if !port.is_empty() {
                let port = naming::service_label(&port);
                plan.service(&format!("{port}.{name}"), target, &[service.port]);
            }
        }
    }
    finish(plan)
}

/// A framework's scheduler.
pub(super) fn framework(framework: &Framework, rules: &Rules) -> Option<Records> {
    let name = naming::dotted(&framework.name, rules.label_rule);
    let mut plan = Plan::new(rules);
    if let (Some(target), Some(port)) = (plan.target(&name, &framework.addresses), framework.port) {
        plan.service(&format!("_framework._tcp.{name}"), target, &[port]);
    }
    finish(plan)
}

/// Frameworks that are new or changed, or (`None`) gone.
pub(super) fn changed_frameworks<'a>(
    before: &'a Cluster,
    after: &'a Cluster,
) -> impl Iterator<Item = (&'a Arc<str>, Option<&'a Framework>)> {
    before.frameworks.diff(&after.frameworks).map(|item| match item {
        DiffItem::Add(id, framework) => (id, Some(&**framework)),
        DiffItem::Update { new: (id, framework), .. } => (id, Some(&**framework)),
        DiffItem::Remove(id, _) => (id, None),
    })
}

/// The masters.
pub(super) fn masters(masters: &Masters, rules: &Rules) -> Option<Records> {
    let mut plan = Plan::new(rules);
    if let Some(leader) = &masters.leader
        && let Some(target) = plan.target("leader", &leader.addresses)
    {
        for protocol in ["tcp", "udp"] {
            plan.service(&format!("_leader._{protocol}"), target, &[leader.port]);
        }
    }
    let (all, numbered) = numbered(masters);
    plan.host("master", &all.into_iter().collect::<Vec<_>>());
    for (n, master) in numbered.iter().enumerate() {
        let target = plan.host(&format!("master{n}"), &master.addresses);
        for address in &master.addresses {
            target.into_iter().for_each(|target| plan.name_address(*address, target));
        }
    }
    finish(plan)
}

/// The addresses of all masters, and those that get a number. One whose addresses are known
/// already has none, except the leader: its place is that in the list, or behind the others.
fn numbered(masters: &Masters) -> (BTreeSet<IpAddr>, Vec<&Master>) {
    let leader = masters.leader.as_ref();
    let mut all: BTreeSet<IpAddr> =
        leader.iter().flat_map(|leader| leader.addresses.iter().copied()).collect();
    let mut numbered: Vec<&Master> = Vec::new();
    let mut waits_for_leader = leader.is_some();
    for master in &masters.all {
        let is_new = if Some(master) == leader {
            std::mem::take(&mut waits_for_leader)
        } else {
            let known = all.len();
            all.extend(&master.addresses);
            all.len() > known
        };
        if is_new {
            numbered.push(master);
        }
    }
    numbered.extend(leader.filter(|_| waits_for_leader));
    (all, numbered)
}

fn finish(mut plan: Plan<'_>) -> Option<Records> {
    plan.finish(Origin::default(), Vec::new(), Box::default())
}
