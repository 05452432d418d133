//! What the catalog says of an app, made from what a Marathon says of it (pure).
//!
//! The rules are marathon-lb's: task ports and service ports are paired by position; in host and
//! bridge mode a task is reached at its agent's host ports, in container mode at its own first
//! address. Beyond them: a bridge mapping that no host port leads to is reached at the task's own
//! address, and nothing is ever reached at port 0.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use waymark_marathon_api::answer::{AppFacts, Phase, PortFacts, TaskFacts};
use waymark_mesos_api::Hosts;
use waymark_model::{
    Agent, AppEntry, DiscoveryPort, Endpoint, NetworkMode, Readiness, Service, TaskEntry, TaskId,
};

/// The most agents that are shared between tasks; further ones cost memory only.
const MAX_AGENTS: usize = 20_000;

/// What was found out about a task and stays true until something else is said: a new leader knows
/// neither health nor readiness until it has checked for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// The last verdict of the app's health checks.
    pub healthy: Option<bool>,
    /// The readiness check has passed.
    pub passed: bool,
}

impl Memory {
    /// What is known after this answer, when `self` was known before.
    pub fn after(self, app: &AppFacts, task: &TaskFacts) -> Memory {
        let all = task.results.len() >= app.health_checks.len();
        let healthy = match task.results.iter().all(|alive| *alive) {
            false => Some(false),
            true if all && !app.health_checks.is_empty() => Some(true),
            // Some checks have not said anything, or not yet to this leader.
            true => self.healthy,
        };
        Memory { healthy, passed: self.passed || app.passed.contains(&task.id) }
    }

    /// What must have been known of a task that was published so.
    pub fn of(readiness: Readiness) -> Memory {
        match readiness {
            Readiness::Ready => Memory { healthy: Some(true), passed: true },
            Readiness::Unhealthy => Memory { healthy: Some(false), passed: true },
            Readiness::HealthUnknown | Readiness::Draining => Memory::default(),
        }
    }
}

/// Agents that several tasks have in common, by host.
#[derive(Default)]
pub(super) struct Agents(HashMap<Arc<str>, Arc<Agent>>);

impl Agents {
    fn get(&mut self, task: &TaskFacts, address: IpAddr) -> Arc<Agent> {
        let same = |agent: &&Arc<Agent>| agent.id == task.agent && agent.address == address;
        if let Some(agent) = self.0.get(&task.host).filter(same) {
            return agent.clone();
        }
        if self.0.len() >= MAX_AGENTS {
            self.0.clear();
        }
        let hostname = task.host.to_string();
        let agent = Arc::new(Agent { id: task.agent.clone(), hostname, address });
        self.0.insert(task.host.clone(), agent.clone());
        agent
    }
}

/// The app's entry. `invented` are service ports for one that has none.
pub(super) fn entry(
    app: &AppFacts,
    framework: &Arc<str>,
    memory: &HashMap<TaskId, Memory>,
    invented: Option<&[u16]>,
    hosts: &impl Hosts,
    agents: &mut Agents,
) -> AppEntry {
    let mut tasks: Vec<Arc<TaskEntry>> = app
        .tasks
        .iter()
        .filter_map(|task| {
            let known = memory.get(&task.id).copied().unwrap_or_default();
            task_entry(app, task, known, hosts, agents).map(Arc::new)
        })
        .collect();
    tasks.sort_by(|a, b| a.id.cmp(&b.id));
    AppEntry {
        id: app.id.clone(),
        framework: framework.clone(),
        labels: app.labels.clone(),
        instances: app.instances,
        health_checks: app.health_checks.clone(),
        last_scaling_at: app.last_scaling_at,
        services: services(app, invented),
        tasks,
    }
}

fn services(app: &AppFacts, invented: Option<&[u16]>) -> Vec<Service> {
    let service = |(index, port): (usize, &PortFacts)| Service {
        index,
        port: match invented.and_then(|invented| invented.get(index)) {
            Some(number) => *number,
            None => port.service_port,
        },
        protocol: port.protocol,
        name: port.name.clone(),
        labels: port.labels.clone(),
    };
    app.ports.iter().enumerate().map(service).collect()
}

/// `None` for a task that does not run, or whose address is not known (yet).
fn task_entry(
    app: &AppFacts,
    task: &TaskFacts,
    known: Memory,
    hosts: &impl Hosts,
    agents: &mut Agents,
) -> Option<TaskEntry> {
    let readiness = readiness(app, task, known)?;
    let found = hosts.addresses(&task.host).and_then(|found| found.first().copied());
    let own = task.addresses.first().copied().filter(|_| app.mode != NetworkMode::Host);
    let agent = match app.mode {
        // Such a task is reached without its agent.
        NetworkMode::Container => found.or(own)?,
        _ => found?,
    };
    let places = app.ports.iter().enumerate().map(|(at, port)| Place {
        host: host_port(app, task, at).map(|number| SocketAddr::new(agent, number)),
        own: own
            .filter(|_| port.container_port != 0)
            .map(|own| SocketAddr::new(own, port.container_port)),
    });
    let places: Vec<Place> = places.collect();
    Some(TaskEntry {
        id: task.id.clone(),
        agent: agents.get(task, agent),
        addresses: if own.is_some() { task.addresses.clone() } else { Vec::new() },
        host_ports: task.ports.clone(),
        discovery: app
            .ports
            .iter()
            .zip(&places)
            .flat_map(|(p, place)| discovery(p, place))
            .collect(),
        endpoints: places
            .iter()
            .enumerate()
            .filter_map(|(service, place)| {
                let address = match app.mode {
                    NetworkMode::Container => place.own.or(place.host),
                    _ => place.host.or(place.own),
                };
                Some(Endpoint { service, address: address? })
            })
            .collect(),
        readiness,
    })
}

/// Where a port of a task is reached.
struct Place {
    /// On its agent.
    host: Option<SocketAddr>,
    /// At its own address.
    own: Option<SocketAddr>,
}

/// The host port of the port at this position. A task's list has an entry for each position, or
/// only for those that have a host port.
fn host_port(app: &AppFacts, task: &TaskFacts, at: usize) -> Option<u16> {
    let before = match task.ports.len() == app.ports.len() {
        true => at,
        false => {
            let (before, rest) = app.ports.split_at_checked(at)?;
            rest.first().filter(|port| port.on_host)?;
            before.iter().filter(|port| port.on_host).count()
        }
    };
    task.ports.get(before).copied().filter(|number| *number != 0)
}

/// As Mesos's DiscoveryInfo has it: the host port, or the container port where there is none.
fn discovery(port: &PortFacts, place: &Place) -> impl Iterator<Item = DiscoveryPort> + use<> {
    let number = place.host.map_or(port.container_port, |host| host.port());
    let name = port.name.clone();
    let each = port.protocol.each().iter();
    each.map(move |protocol| DiscoveryPort { number, name: name.clone(), protocol })
}

/// Whether the task should get traffic; `None` for one that does not run.
fn readiness(app: &AppFacts, task: &TaskFacts, known: Memory) -> Option<Readiness> {
    match task.phase {
        Phase::Coming | Phase::Ended => return None,
        Phase::Leaving => return Some(Readiness::Draining),
        Phase::Running => {}
    }
    let checked = !app.health_checks.is_empty();
    // Only deployments wait for readiness, and only for tasks of what they deploy.
    let awaited = app.has_readiness_checks
        && app.is_deploying
        && task.version >= app.config_changed_at
        && !known.passed;
    Some(match known.healthy.filter(|_| checked) {
        Some(false) => Readiness::Unhealthy,
        None if checked => Readiness::HealthUnknown,
        _ if awaited => Readiness::HealthUnknown,
        _ => Readiness::Ready,
    })
}
