//! Routes: which service port leads to which tasks.
//!
//! In: snapshots of the catalog. Out: a [`RouteTable`], immutable, sharing with the one before it
//! every route that did not change; the cost is that of the change. Several apps may have one
//! service port; its connections are then spread over the tasks of all of them, as marathon-lb does
//! for blue/green deployments.
//!
//! Nothing here listens, connects or logs.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use imbl::OrdMap;
use waymark_model::{AppEntry, AppId, Catalog, Readiness, Service, TaskId, Version};

use crate::port::Port;
use crate::usage::{Endpoint, Usage};

/// All routes, made from one version of the catalog.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// The catalog's version.
    pub version: Version,
    /// The route of each service port.
    pub routes: OrdMap<u16, Arc<Route>>,
}

/// Where connections to one service port may go.
#[derive(Debug)]
pub struct Route {
    pub(crate) port: Arc<Port>,
    /// The apps that have the port, in order of their ids.
    pub apps: Vec<AppId>,
    /// The tasks that get new connections.
    pub ready: Vec<Arc<Endpoint>>,
    /// The tasks that do not.
    pub withheld: Vec<Withheld>,
}

/// A task that gets no new connections.
#[derive(Debug)]
pub struct Withheld {
    /// The task's endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Why.
    pub reason: Reason,
}

/// Why a task gets no new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A health check has not succeeded yet.
    HealthUnknown,
    /// A health check fails.
    Unhealthy,
    /// It is about to be stopped.
    Draining,
    /// Its address is the service port itself: a connection would come back for ever.
    Loop,
}

/// Makes each table from the one before and what changed in the catalog.
pub struct TableBuilder {
    listen: IpAddr,
    is_local: fn(IpAddr) -> bool,
    usage: Arc<Usage>,
    seen: Arc<Catalog>,
    apps_on: HashMap<u16, BTreeSet<AppId>>,
    departed: HashSet<TaskId>,
    table: RouteTable,
}

impl TableBuilder {
    /// A builder with an empty table. `listen` is where service ports are listened on, `is_local`
    /// tells whether an address belongs to this machine (asked only where a task's port equals its
    /// service port and `listen` is the unspecified address).
    pub fn new(listen: IpAddr, is_local: fn(IpAddr) -> bool, usage: Arc<Usage>) -> TableBuilder {
        TableBuilder {
            listen,
            is_local,
            usage,
            seen: Arc::default(),
            apps_on: HashMap::new(),
            departed: HashSet::new(),
            table: RouteTable::default(),
        }
    }

    /// The table as it is.
    pub fn table(&self) -> &RouteTable {
        &self.table
    }

    /// Takes over a newer catalog. Returns the ports that more than one app has now and not before.
    pub fn apply(&mut self, catalog: Arc<Catalog>) -> Vec<u16> {
        let seen = std::mem::replace(&mut self.seen, catalog.clone());
        let mut touched = BTreeSet::new();
        let mut newly_shared = Vec::new();
        for change in catalog.changes_since(&seen) {
            for port in change.before.into_iter().flat_map(|app| tcp_ports(app)) {
                self.leave(port, change.app);
                touched.insert(port);
            }
            for port in change.after.into_iter().flat_map(|app| tcp_ports(app)) {
                self.apps_on.entry(port).or_default().insert(change.app.clone());
                touched.insert(port);
            }
            let stays = |task: &TaskId| {
                change.after.is_some_and(|app| app.tasks.iter().any(|t| t.id == *task))
            };
            let before = change.before.into_iter().flat_map(|app| &app.tasks);
            self.departed.extend(before.map(|t| &t.id).filter(|id| !stays(id)).cloned());
        }
        for port in touched {
            let was_shared = self.table.routes.get(&port).is_some_and(|r| r.apps.len() > 1);
            let is_shared = self.rebuild(port, &catalog);
            if is_shared && !was_shared {
                newly_shared.push(port);
            }
        }
        self.table.version = catalog.version;
        self.usage.forget(&mut self.departed);
        newly_shared
    }

    fn leave(&mut self, port: u16, app: &AppId) {
        if let Some(apps) = self.apps_on.get_mut(&port) {
            apps.remove(app);
            if apps.is_empty() {
                self.apps_on.remove(&port);
            }
        }
    }

    /// Makes the port's route anew and keeps the old one if it says the same. Returns whether
    /// several apps have the port.
    fn rebuild(&mut self, number: u16, catalog: &Catalog) -> bool {
        let Some(apps) = self.apps_on.get(&number) else {
            self.table.routes.remove(&number);
            return false;
        };
        let old = self.table.routes.get(&number);
        let kept: HashMap<(&TaskId, SocketAddr), &Arc<Endpoint>> = old
            .into_iter()
            .flat_map(|r| r.endpoints())
            .map(|e| ((&e.task, e.address), e))
            .collect();
        let mut route = Route {
            port: old.map_or_else(|| Arc::new(Port::new(number)), |r| r.port.clone()),
            apps: apps.iter().cloned().collect(),
            ready: Vec::new(),
            withheld: Vec::new(),
        };
        for app in apps.iter().filter_map(|app| catalog.apps.get(app)) {
            for (task, address, readiness) in endpoints_on(app, number) {
                let endpoint = match kept.get(&(task, address)) {
                    Some(endpoint) => (*endpoint).clone(),
                    None => self.usage.endpoint(task, address),
                };
                match self.reason_against(number, address, readiness) {
                    None => route.ready.push(endpoint),
                    Some(reason) => route.withheld.push(Withheld { endpoint, reason }),
                }
            }
        }
        let shared = route.apps.len() > 1;
        if !old.is_some_and(|old| **old == route) {
            self.table.routes.insert(number, Arc::new(route));
        }
        shared
    }

    fn reason_against(
        &self,
        port: u16,
        address: SocketAddr,
        readiness: Readiness,
    ) -> Option<Reason> {
        if address.port() == port && self.listens_on(address.ip()) {
            return Some(Reason::Loop);
        }
        match readiness {
            Readiness::Ready => None,
            Readiness::HealthUnknown => Some(Reason::HealthUnknown),
            Readiness::Unhealthy => Some(Reason::Unhealthy),
            Readiness::Draining => Some(Reason::Draining),
        }
    }

    fn listens_on(&self, ip: IpAddr) -> bool {
        ip == self.listen || (self.listen.is_unspecified() && (self.is_local)(ip))
    }
}

impl Route {
    /// Every task's endpoint, whether or not it gets new connections.
    fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.ready.iter().chain(self.withheld.iter().map(|w| &w.endpoint))
    }
}

/// Equal are two routes with the very same port and endpoints, not merely with equal ones: what is
/// counted at them is part of them.
impl PartialEq for Route {
    fn eq(&self, other: &Route) -> bool {
        Arc::ptr_eq(&self.port, &other.port)
            && self.apps == other.apps
            && self.ready.len() == other.ready.len()
            && self.withheld.len() == other.withheld.len()
            && self.endpoints().zip(other.endpoints()).all(|(a, b)| Arc::ptr_eq(a, b))
            && self.withheld.iter().zip(&other.withheld).all(|(a, b)| a.reason == b.reason)
    }
}

/// The app's services that are relayed. Port 0 is one that has not been assigned yet.
fn tcp_services(app: &AppEntry) -> impl Iterator<Item = &Service> {
    app.services.iter().filter(|s| s.protocol.has_tcp() && s.port != 0)
}

fn tcp_ports(app: &AppEntry) -> impl Iterator<Item = u16> {
    tcp_services(app).map(|s| s.port)
}

fn endpoints_on(
    app: &AppEntry,
    port: u16,
) -> impl Iterator<Item = (&TaskId, SocketAddr, Readiness)> {
    tcp_services(app).filter(move |s| s.port == port).flat_map(|service| {
        app.tasks.iter().flat_map(|task| {
            let endpoints = task.endpoints.iter().filter(|e| e.service == service.index);
            endpoints.map(|e| (&task.id, e.address, task.readiness))
        })
    })
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
