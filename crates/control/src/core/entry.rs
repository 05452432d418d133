//! An app's entry in the catalog, made from its definition and its tasks. Pure.
//!
//! A task is paired with the services of the app's *current* definition by what its ports are, not
//! by where they stand in the list: while a rollout inserts or moves a port, traffic of one port
//! must never reach another. (Marathon pairs by position and does exactly that.)

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use waymark_model::{
    App, AppEntry, AppId, DiscoveryPort, Endpoint, PortView, Readiness, Service, Task, TaskEntry,
    TaskState, Timestamp,
};

use crate::State;

/// The app's entry; `None` when there is neither the app nor a task of it. An app that was removed
/// keeps an entry without services until its last task is gone.
pub fn entry(state: &State, id: &AppId) -> Option<AppEntry> {
    let app = state.root.apps.get(id);
    let listed = |t: &&Arc<Task>| matches!(t.state, TaskState::Running | TaskState::Killing);
    let runs = |t: &&Arc<Task>| listed(t) && t.started_at.is_some();
    let tasks: Vec<Arc<TaskEntry>> =
        state.tasks_of(id).filter(runs).map(|t| Arc::new(task_entry(app, t))).collect();
    if app.is_none() && tasks.is_empty() {
        return None;
    }
    let definition = app.or_else(|| state.tasks_of(id).next().map(|t| &t.app));
    Some(AppEntry {
        id: id.clone(),
        framework: state.framework_name.clone(),
        labels: definition.map(|a| a.labels.clone()).unwrap_or_default(),
        instances: app.map_or(0, |a| a.instances),
        health_checks: definition.map(|a| a.health_checks.clone()).unwrap_or_default(),
        last_scaling_at: definition.map_or(Timestamp::ZERO, |a| a.last_scaling_at),
        services: app.map(|a| services(a)).unwrap_or_default(),
        tasks,
    })
}

fn services(app: &App) -> Vec<Service> {
    app.ports()
        .iter()
        .map(|p| Service {
            index: p.index,
            port: p.service_port,
            protocol: p.protocol,
            name: p.name.map(str::to_owned),
            labels: p.labels.clone(),
        })
        .collect()
}

fn task_entry(app: Option<&Arc<App>>, task: &Task) -> TaskEntry {
    let ports = task.app.ports();
    let discovery = ports.iter().flat_map(|p| discovery(p, task)).collect();
    TaskEntry {
        id: task.id.clone(),
        agent: task.agent.clone(),
        addresses: task.addresses.clone(),
        host_ports: task.host_ports.iter().flatten().copied().collect(),
        discovery,
        endpoints: app.map(|app| endpoints(app, task, &ports)).unwrap_or_default(),
        readiness: Readiness::from(task),
    }
}

/// One entry a protocol: the host port, or the container port where there is none.
fn discovery(port: &PortView<'_>, task: &Task) -> impl Iterator<Item = DiscoveryPort> + use<> {
    let host_port = task.host_ports.get(port.index).copied().flatten();
    let number = host_port.or(port.container_port).unwrap_or(0);
    let name = port.name.map(str::to_owned);
    let each = port.protocol.each().iter();
    each.map(move |protocol| DiscoveryPort { number, name: name.clone(), protocol })
}

fn endpoints(app: &App, task: &Task, ports: &[PortView<'_>]) -> Vec<Endpoint> {
    let services = app.ports();
    let pairs = pair(ports, &services);
    let endpoint = |(port, service): (usize, usize)| {
        let address = address(task, ports.get(port)?)?;
        Some(Endpoint { service, address })
    };
    pairs.into_iter().filter_map(endpoint).collect()
}

/// Where a port of a task is reached: the host port on its agent, else the container port at the
/// task's first address of its own.
fn address(task: &Task, port: &PortView<'_>) -> Option<SocketAddr> {
    match task.host_ports.get(port.index).copied().flatten() {
        Some(host_port) => Some(SocketAddr::new(task.agent.address, host_port)),
        None => {
            let address = task.addresses.first()?;
            let number = port.container_port.filter(|n| *n != 0)?;
            Some(SocketAddr::new(*address, number))
        }
    }
}

/// Pairs of (position in the task's definition, position in the app's), in order of the latter.
///
/// Ports are the same when they have the same name, or, without names, the same container port.
/// What is left over on both sides is paired by position if both lists are equally long: that is
/// how a port looks that was renamed, or that has neither name nor number.
pub(super) fn pair(task: &[PortView<'_>], app: &[PortView<'_>]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let mut taken_task = BTreeSet::new();
    let mut taken_app = BTreeSet::new();
    for (t, port) in task.iter().enumerate() {
        let same = app.iter().position(|p| same_port(port, p));
        if let Some(a) = same.filter(|a| !taken_app.contains(a)) {
            pairs.push((t, a));
            taken_task.insert(t);
            taken_app.insert(a);
        }
    }
    if task.len() == app.len() {
        let left = |i: &usize| !taken_task.contains(i) && !taken_app.contains(i);
        pairs.extend((0..app.len()).filter(left).map(|i| (i, i)));
    }
    pairs.sort_unstable_by_key(|(_, a)| *a);
    pairs
}

fn same_port(a: &PortView<'_>, b: &PortView<'_>) -> bool {
    match (a.name, b.name) {
        (Some(a), Some(b)) => a == b,
        (None, None) => {
            a.protocol == b.protocol
                && a.container_port.is_some_and(|n| n != 0 && b.container_port == Some(n))
        }
        _ => false,
    }
}
