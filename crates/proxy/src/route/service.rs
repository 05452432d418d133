//! One service of an app: where it is offered, and the pool of its tasks.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use waymark_model::{HealthCheck, PortReference, Protocol, Readiness, TaskEntry};
use waymark_routing::{HostPattern, Mode, PortRouting};

use super::builder::TableBuilder;
use super::merge::Merged;
use super::pool::{Candidate, Pool, PoolCheck, PoolId, PoolParts, Reason};
use super::table::{Exposure, HealthPolicy, ListenKey};

/// One port of one unit that is exposed, with what its pool is made from.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) id: PoolId,
    /// The service port, as its label may have changed it.
    pub(super) port: u16,
    pub(super) rules: Arc<PortRouting>,
    pub(super) place: Placement,
    protocol: Protocol,
    /// Position in the app's port list.
    index: usize,
    check: Option<Arc<PoolCheck>>,
    tasks: Vec<Arc<TaskEntry>>,
}

/// Where a service is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) ports: Vec<ListenKey>,
    pub(super) hosts: Vec<HostPattern>,
}

impl Service {
    /// Whether requests of the shared ports can go to it.
    pub(super) fn carries_http(&self) -> bool {
        self.protocol.has_tcp() && self.rules.mode == Mode::Http
    }
}

/// The services of a unit that are exposed. Port 0 is one that has not been assigned yet.
pub(super) fn services(unit: &Merged, exposure: &Exposure) -> Vec<Service> {
    let pairs = unit.entry.services.iter().zip(&unit.routing.ports);
    let exposed = pairs.filter(|(_, rules)| {
        exposure.groups.expose(&rules.groups) && rules.enabled.unwrap_or(!exposure.strict)
    });
    exposed
        .map(|(service, rules)| (service, rules, rules.port.unwrap_or(service.port)))
        .filter(|(_, _, port)| *port != 0)
        .map(|(service, rules, port)| Service {
            id: PoolId { app: unit.entry.id.clone(), index: service.index, shared: None },
            port,
            rules: rules.clone(),
            place: placement(port, service.protocol, rules),
            protocol: service.protocol,
            index: service.index,
            check: check(&unit.entry.health_checks, rules),
            tasks: unit.entry.tasks.clone(),
        })
        .collect()
}

fn placement(port: u16, protocol: Protocol, rules: &PortRouting) -> Placement {
    let kinds = [(protocol.has_tcp(), false), (protocol.has_udp(), true)];
    let key = |(_, udp)| ListenKey { port, udp, ip: rules.bind };
    let mut hosts = if protocol.has_tcp() { rules.hosts.clone() } else { Vec::new() };
    hosts.sort_unstable();
    hosts.dedup();
    Placement { ports: kinds.into_iter().filter(|(has, _)| *has).map(key).collect(), hosts }
}

fn check(checks: &[HealthCheck], rules: &PortRouting) -> Option<Arc<PoolCheck>> {
    let which = rules.check?;
    let check = checks.get(which.check)?.clone();
    Some(Arc::new(PoolCheck { check, service: which.service }))
}

impl TableBuilder {
    /// The pool of these services, under the rules of the first. Endpoints of `old` go on.
    pub(super) fn pool(&self, id: &PoolId, services: &[&Service], old: Option<&Pool>) -> Pool {
        let state = old.map(|old| old.state.clone()).unwrap_or_default();
        let mut candidates = Vec::new();
        for service in services {
            for task in &service.tasks {
                let here = task.endpoints.iter().filter(|e| e.service == service.index);
                for at in here {
                    let kept = old.and_then(|old| find(&old.candidates, task, at.address));
                    candidates.push(Candidate {
                        endpoint: kept
                            .cloned()
                            .unwrap_or_else(|| self.usage.endpoint(task, at.address, &state)),
                        withheld: self.reason_against(service, at.address, task.readiness),
                        check_address: check_address(service, task, at.address),
                    });
                }
            }
        }
        candidates.sort_by(|a, b| place_of(a).cmp(&place_of(b)));
        let first = services.first();
        Pool::new(PoolParts {
            id: id.clone(),
            port: first.map_or(0, |s| s.port),
            rules: first.map(|s| s.rules.clone()).unwrap_or_default(),
            // A check is of one service; tasks of others would be found ill by it.
            check: first.filter(|_| services.len() == 1).and_then(|s| s.check.clone()),
            candidates,
            state,
        })
    }

    fn reason_against(
        &self,
        service: &Service,
        address: SocketAddr,
        readiness: Readiness,
    ) -> Option<Reason> {
        let listen = service.rules.bind.unwrap_or(self.exposure.listen);
        if address.port() == service.port && self.is_here(listen, address.ip()) {
            return Some(Reason::Loop);
        }
        match readiness {
            Readiness::Ready => None,
            Readiness::HealthUnknown if self.exposure.health == HealthPolicy::Lenient => None,
            Readiness::HealthUnknown => Some(Reason::HealthUnknown),
            Readiness::Unhealthy => Some(Reason::Unhealthy),
            Readiness::Draining => Some(Reason::Draining),
        }
    }

    fn is_here(&self, listen: IpAddr, ip: IpAddr) -> bool {
        ip == listen || (listen.is_unspecified() && (self.is_local)(ip))
    }
}

fn place_of(candidate: &Candidate) -> (SocketAddr, &str) {
    (candidate.endpoint.address, candidate.endpoint.task.as_str())
}

/// The endpoint of a task at an address, among candidates in order.
fn find<'a>(
    candidates: &'a [Candidate],
    task: &TaskEntry,
    address: SocketAddr,
) -> Option<&'a Arc<crate::usage::Endpoint>> {
    let sought = (address, task.id.as_str());
    let at = candidates.binary_search_by(|c| place_of(c).cmp(&sought)).ok()?;
    candidates.get(at).map(|c| &c.endpoint)
}

/// Where a check of the task goes, if not to its address: to the port the check names, or that of
/// another service.
fn check_address(service: &Service, task: &TaskEntry, own: SocketAddr) -> Option<SocketAddr> {
    let check = service.check.as_ref()?;
    if let Some(PortReference::Number(port)) = check.check.port {
        return Some(SocketAddr::new(own.ip(), port)).filter(|a| *a != own);
    }
    let other = task.endpoints.iter().find(|e| e.service == check.service)?;
    Some(other.address).filter(|a| *a != own)
}
