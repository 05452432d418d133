//! Makes each [`RouteTable`] from the one before and what changed in the catalog.
//!
//! ```text
//! changed app ─► Quarantine (labels) ─► unit: itself, or its deployment group merged
//!             ─► services of the unit that are exposed ─► pools
//!             ─► the listeners, hosts and app ids that refer to a pool that changed
//! ```
//!
//! The cost is that of the change. What says the same as before stays the very same `Arc`, with its
//! counters. Nothing here listens, connects or logs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use waymark_model::{AppId, Catalog, Change, PathId, TaskId, Timestamp};
use waymark_routing::{HostPattern, Quarantine};

use super::hosts::HostRules;
use super::merge::{Merged, merge};
use super::pool::{Pool, PoolId};
use super::service::{Placement, Service, services};
use super::table::{Exposure, ListenKey, RouteTable, ServiceRoute};
use crate::port::Port;
use crate::usage::Usage;

/// What somebody should be told about a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// Service ports that several services have now, and had not before.
    pub shared: Vec<ListenKey>,
    /// Apps whose changed labels cannot be read.
    pub quarantined: Vec<AppId>,
    /// Apps with other labels without effect than before.
    pub unapplied: Vec<AppId>,
    /// Hosts where a service gets no request because another says the same, and got some before.
    pub shadowed: Vec<HostPattern>,
}

/// Makes each table from the one before and what changed in the catalog.
pub struct TableBuilder {
    pub(super) exposure: Exposure,
    pub(super) is_local: fn(IpAddr) -> bool,
    pub(super) usage: Arc<Usage>,
    seen: Arc<Catalog>,
    quarantine: Quarantine,
    /// The apps of each deployment group.
    groups: BTreeMap<AppId, BTreeSet<AppId>>,
    units: HashMap<AppId, Unit, foldhash::fast::RandomState>,
    on_port: HashMap<ListenKey, BTreeSet<PoolId>, foldhash::fast::RandomState>,
    on_host: HashMap<HostPattern, BTreeSet<PoolId>, foldhash::fast::RandomState>,
    departed: HashSet<TaskId>,
    pub(super) table: RouteTable,
}

/// An app, or a deployment group, as it is in the table.
struct Unit {
    services: Vec<Service>,
}

/// What has to be looked at again.
#[derive(Default)]
struct Touched {
    units: BTreeSet<AppId>,
    ports: BTreeSet<ListenKey>,
    hosts: BTreeSet<HostPattern>,
    /// Pools with other tasks and the same rules, as they were, with their hosts.
    repooled: Vec<(Arc<Pool>, Vec<HostPattern>)>,
}

impl TableBuilder {
    /// A builder with an empty table. `is_local` tells whether an address belongs to this machine
    /// (asked only where a task's port equals its service port and that is listened on on every
    /// address).
    pub fn new(
        exposure: Exposure,
        is_local: fn(IpAddr) -> bool,
        usage: Arc<Usage>,
    ) -> TableBuilder {
        let table = RouteTable { https_port: exposure.https_port, ..RouteTable::default() };
        TableBuilder {
            exposure,
            is_local,
            usage,
            seen: Arc::default(),
            quarantine: Quarantine::new(),
            groups: BTreeMap::new(),
            units: HashMap::default(),
            on_port: HashMap::default(),
            on_host: HashMap::default(),
            departed: HashSet::new(),
            table,
        }
    }

    /// The table as it is.
    pub fn table(&self) -> &RouteTable {
        &self.table
    }

    /// Takes over a newer catalog, at the time `now`.
    pub fn apply(&mut self, catalog: Arc<Catalog>, now: Timestamp) -> Notices {
        let seen = std::mem::replace(&mut self.seen, catalog.clone());
        let mut notices = Notices::default();
        let mut touched = Touched::default();
        for change in catalog.changes_since(&seen) {
            self.read_labels(&change, now, &mut touched, &mut notices);
            // In order of their ids. One that is not found though it is there does no harm: what
            // still has an endpoint is not forgotten.
            let stays = |task: &TaskId| {
                change
                    .after
                    .is_some_and(|app| app.tasks.binary_search_by(|t| t.id.cmp(task)).is_ok())
            };
            let before = change.before.into_iter().flat_map(|app| &app.tasks);
            self.departed.extend(before.map(|t| &t.id).filter(|id| !stays(id)).cloned());
        }
        for unit in std::mem::take(&mut touched.units) {
            self.place_unit(&unit, &mut touched);
        }
        for (old, hosts) in touched.repooled {
            self.repool(&old, hosts.iter().filter(|host| !touched.hosts.contains(*host)));
        }
        for key in touched.ports {
            if self.place_port(key) {
                notices.shared.push(key);
            }
        }
        for host in touched.hosts {
            if self.place_host(&host) {
                notices.shadowed.push(host);
            }
        }
        self.table.version = catalog.version;
        self.usage.forget(&mut self.departed);
        notices
    }

    /// Follows an app's labels and finds the units it was and is part of.
    fn read_labels(
        &mut self,
        change: &Change<'_>,
        now: Timestamp,
        touched: &mut Touched,
        notices: &mut Notices,
    ) {
        let app = change.app;
        let group_before = self.group_of(app);
        let routing = self.quarantine.follow(app, change.after, now);
        let group_after = self.group_of(app);
        if group_before != group_after {
            self.table.displaced.remove(app);
            if let Some(group) = &group_before
                && let Some(members) = self.groups.get_mut(group)
            {
                members.remove(app);
                if members.is_empty() {
                    self.groups.remove(group);
                }
            }
            if let Some(group) = &group_after {
                self.groups.entry(group.clone()).or_default().insert(app.clone());
            }
        }
        touched.units.extend([group_before, group_after].into_iter().flatten());
        touched.units.insert(app.clone());
        let quarantined = self.quarantine.quarantined().get(app);
        if self.table.quarantined.get(app).map(|q| &**q) != quarantined {
            match quarantined {
                Some(quarantined) => {
                    self.table.quarantined.insert(app.clone(), Arc::new(quarantined.clone()));
                    notices.quarantined.push(app.clone());
                }
                None => _ = self.table.quarantined.remove(app),
            }
        }
        let unapplied = routing.map(|r| r.unapplied.clone()).filter(|labels| !labels.is_empty());
        if self.table.unapplied.get(app).map(|u| &**u) != unapplied.as_ref() {
            match unapplied {
                Some(unapplied) => {
                    self.table.unapplied.insert(app.clone(), Arc::new(unapplied));
                    notices.unapplied.push(app.clone());
                }
                None => _ = self.table.unapplied.remove(app),
            }
        }
    }

    /// The deployment group that an app is in.
    fn group_of(&self, app: &AppId) -> Option<AppId> {
        let deployment = self.quarantine.routing(app)?.deployment.as_ref()?;
        // Labels are read into a path; one that is none is the app's own matter.
        PathId::parse(&deployment.group).ok()
    }

    /// The unit as it should be: the app of this id if it is in no group, else the group's members.
    fn unit(&mut self, id: &AppId) -> Option<Merged> {
        let member = |app: &AppId| {
            let entry = self.seen.apps.get(app)?.clone();
            Some(Merged { entry, routing: self.quarantine.routing(app)?.clone() })
        };
        let own = if self.group_of(id).is_none() { member(id) } else { None };
        let Some(members) = self.groups.get(id) else { return own };
        let displaced = own.is_some();
        let unit = own.or_else(|| merge(id, members.iter().filter_map(member).collect()));
        for app in members {
            if displaced {
                self.table.displaced.insert(app.clone(), id.clone());
            } else {
                self.table.displaced.remove(app);
            }
        }
        unit
    }

    /// Makes the pools of a unit anew and notes everything that refers to one that changed.
    fn place_unit(&mut self, id: &AppId, touched: &mut Touched) {
        let wanted = match self.unit(id) {
            Some(merged) => services(&merged, &self.exposure),
            None => Vec::new(),
        };
        let had = self.units.remove(id).map_or_else(Vec::new, |unit| unit.services);
        let same_places = had.len() == wanted.len()
            && had.iter().zip(&wanted).all(|(a, b)| a.id == b.id && a.place == b.place);
        if !same_places {
            for service in &had {
                self.displace(&service.id, &service.place, touched);
            }
            for service in &wanted {
                self.enter(&service.id, &service.place);
            }
            for service in &had {
                if !wanted.iter().any(|w| w.id == service.id)
                    && let Some(pool) = self.table.pools.remove(&service.id)
                {
                    pool.retire();
                }
            }
        }
        for service in &wanted {
            let old = self.table.pools.get(&service.id).cloned();
            let changed = self.make_pool(service.id.clone(), &[service]);
            // Another service of the port may change the pool that they share, too.
            if changed || !same_places {
                touched.ports.extend(&service.place.ports);
            }
            let hosts = &service.place.hosts;
            match old.filter(|old| same_places && old.rules == service.rules) {
                Some(_) if !changed => {}
                Some(old) => touched.repooled.push((old, hosts.clone())),
                None => touched.hosts.extend(hosts.iter().cloned()),
            }
        }
        self.place_app_id(id, &wanted);
        if !wanted.is_empty() {
            self.units.insert(id.clone(), Unit { services: wanted });
        }
    }

    fn displace(&mut self, id: &PoolId, place: &Placement, touched: &mut Touched) {
        for key in &place.ports {
            remove_from(&mut self.on_port, key, id);
        }
        for host in &place.hosts {
            remove_from(&mut self.on_host, host, id);
        }
        touched.ports.extend(&place.ports);
        touched.hosts.extend(place.hosts.iter().cloned());
    }

    fn enter(&mut self, id: &PoolId, place: &Placement) {
        for key in &place.ports {
            self.on_port.entry(*key).or_default().insert(id.clone());
        }
        for host in &place.hosts {
            self.on_host.entry(host.clone()).or_default().insert(id.clone());
        }
    }

    /// Makes the pool of the services and keeps the old one if it says the same. Returns whether it
    /// changed.
    fn make_pool(&mut self, id: PoolId, services: &[&Service]) -> bool {
        let old = self.table.pools.get(&id);
        let pool = self.pool(&id, services, old.map(|old| &**old));
        if let Some(old) = old {
            if **old == pool {
                return false;
            }
            old.retire();
        }
        self.table.pools.insert(id, Arc::new(pool));
        true
    }

    fn service(&self, id: &PoolId) -> Option<&Service> {
        self.units.get(&id.app)?.services.iter().find(|service| service.id == *id)
    }

    /// Makes the port's route anew. Returns whether several services have it now and had not.
    fn place_port(&mut self, key: ListenKey) -> bool {
        let ids: Vec<PoolId> = self.on_port.get(&key).into_iter().flatten().cloned().collect();
        let shared = (ids.len() > 1).then_some(key);
        let id = ids.first().map(|first| PoolId { shared, ..first.clone() });
        let former = self.table.listeners.get(&key).map(|route| &route.pool.id);
        let former = former.filter(|id| id.shared.is_some()).cloned();
        let was_shared = former.is_some();
        if let Some(former) = former
            && Some(&former) != id.as_ref()
            && let Some(pool) = self.table.pools.remove(&former)
        {
            pool.retire();
        }
        let Some(id) = id else {
            self.table.listeners.remove(&key);
            return false;
        };
        if shared.is_some() {
            // Taken out for the time of the call, which needs the builder whole.
            let services: Vec<Service> =
                ids.iter().filter_map(|id| self.service(id).cloned()).collect();
            self.make_pool(id.clone(), &services.iter().collect::<Vec<_>>());
        }
        let Some(pool) = self.table.pools.get(&id).cloned() else { return false };
        let mut apps: Vec<AppId> = ids.into_iter().map(|id| id.app).collect();
        apps.dedup();
        let old = self.table.listeners.get(&key);
        let port = old.map_or_else(|| Arc::new(Port::new(key)), |r| r.port.clone());
        let route = ServiceRoute { key, port, apps, pool };
        if !old.is_some_and(|old| **old == route) {
            self.table.listeners.insert(key, Arc::new(route));
        }
        shared.is_some() && !was_shared
    }

    /// Puts the pool of today in the place of what it was, in the rules of these hosts.
    fn repool<'h>(&mut self, old: &Arc<Pool>, hosts: impl Iterator<Item = &'h HostPattern>) {
        let Some(new) = self.table.pools.get(&old.id) else { return };
        for host in hosts {
            let rules = self.table.hosts.get(host).map(|rules| rules.with_pool(old, new));
            self.table.hosts.set(host, rules.map(Arc::new));
        }
    }

    /// Makes the host's rules anew. Returns whether a service is shadowed that was not.
    fn place_host(&mut self, host: &HostPattern) -> bool {
        let shadowed = |rules: &HostRules| {
            rules.rules.iter().map(|rule| rule.shadowed.len()).sum::<usize>()
                + rules.passthrough.len().saturating_sub(1)
        };
        let before = self.table.hosts.get(host).map_or(0, |rules| shadowed(rules));
        let Some(ids) = self.on_host.get(host) else {
            self.table.hosts.set(host, None);
            return false;
        };
        let pools: Vec<&Arc<Pool>> = ids.iter().filter_map(|id| self.table.pools.get(id)).collect();
        let rules = HostRules::new(host.clone(), pools.into_iter());
        let after = shadowed(&rules);
        self.table.hosts.set(host, Some(Arc::new(rules)));
        after > before
    }

    /// Puts the unit's first service in mode http under its id.
    fn place_app_id(&mut self, id: &AppId, services: &[Service]) {
        let http = services
            .iter()
            .filter(|s| s.carries_http())
            .min_by_key(|s| s.port)
            .and_then(|s| self.table.pools.get(&s.id));
        match (self.table.apps.get(id.as_str()), http) {
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {}
            (_, Some(new)) => _ = self.table.apps.insert(id.as_str().into(), new.clone()),
            (Some(_), None) => _ = self.table.apps.remove(id.as_str()),
            (None, None) => {}
        }
    }
}

fn remove_from<K: std::hash::Hash + Eq>(
    index: &mut HashMap<K, BTreeSet<PoolId>, foldhash::fast::RandomState>,
    key: &K,
    id: &PoolId,
) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
#[path = "builder_tests.rs"]
mod tests;
