//! The zone: all names of the domain, made from the catalog change by change.
//!
//! Input: the settings and pairs of catalog snapshots. Output: a value that answers are read from.
//! Pure. A copy costs a few pointers and shares everything; what changes afterwards is copied then,
//! in proportion to the change. So the updater advances a copy and publishes it whole.
//!
//! Each app contributes [`Records`] of its own. Names on which apps collide are unions: the index
//! knows every contributor's entry, and taking one away never touches another's.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::{OrdMap, Vector};
use waymark_model::{AppId, Catalog, TaskId, Version};

use crate::config::{Apex, ConfigError, DnsConfig};
use crate::index::{Index, Place};
use crate::lease::{Lease, Leases};
use crate::records::{Entry, Records, Value};
use crate::wire;

/// The slots of contributors that are not apps.
const FIXED: u32 = 0;
const AGENTS: u32 = 1;

/// All names of the domain.
#[derive(Clone)]
pub struct Zone {
    apex: Arc<Apex>,
    version: Version,
    index: Index,
    contributors: Vector<Option<Arc<Records>>>,
    slots: OrdMap<AppId, u32>,
    free_slots: Vector<u32>,
    /// Names that have names below them, with the number of contributors of these. They exist
    /// without having records (RFC 8020: "empty non-terminals").
    above: OrdMap<Arc<[u8]>, u32>,
    /// Agents of named tasks, with the number of apps that have one there.
    agents: OrdMap<IpAddr, u32>,
}

/// What the zone has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// No catalog has been published yet.
    NotReady,
    /// The name is not in the domain.
    Outside,
    /// The name does not exist.
    Missing,
    /// The name exists, perhaps only because names below it do.
    Found {
        /// Its addresses, in order.
        addresses: Vec<IpAddr>,
        /// Its services as target (without final dot) and port, in order.
        services: Vec<(String, u16)>,
    },
}

/// An entry of a contributor, found by its name.
#[derive(Clone, Copy)]
pub(crate) struct Match<'z> {
    pub(crate) slot: u32,
    pub(crate) records: &'z Records,
    pub(crate) entry: &'z Entry,
}

impl Zone {
    /// The zone before anything has been published: it answers nothing.
    pub fn new(config: &DnsConfig) -> Result<Zone, ConfigError> {
        Ok(Zone::at(Apex::new(config)?))
    }

    pub(crate) fn at(apex: Apex) -> Zone {
        let fixed = Records::fixed(apex.fixed.iter().map(|(n, a)| (n.as_str(), a.clone())));
        let mut zone = Zone {
            version: 0,
            index: Index::new(apex.seed),
            contributors: Vector::from_iter([None, None]),
            slots: OrdMap::new(),
            free_slots: Vector::new(),
            above: OrdMap::new(),
            agents: OrdMap::new(),
            apex: Arc::new(apex),
        };
        zone.replace(FIXED, Some(Arc::new(fixed)));
        zone
    }

    /// Follows the catalog from `before`, of which this zone was made, to `after`. The cost is that
    /// of the apps that changed. Gives the leases of the tasks that lost their names.
    pub fn advance(
        &mut self,
        before: &Catalog,
        after: &Catalog,
        leases: &Leases,
    ) -> Vec<Arc<Lease>> {
        let mut gone = Vec::new();
        let agents = self.agents.clone();
        for change in after.changes_since(before) {
            let records = change
                .after
                .and_then(|app| Records::of_app(app, self.apex.label_rule, leases))
                .map(Arc::new);
            self.replace_app(change.app, records, &mut gone);
        }
        if !self.agents.ptr_eq(&agents) && !self.agents.keys().eq(agents.keys()) {
            self.name_agents();
        }
        self.version = after.version;
        gone
    }

    fn replace_app(
        &mut self,
        app: &AppId,
        after: Option<Arc<Records>>,
        gone: &mut Vec<Arc<Lease>>,
    ) {
        let slot = match self.slots.get(app) {
            Some(slot) => *slot,
            None if after.is_none() => return,
            None => self.take_slot(app),
        };
        if after.is_none() {
            self.slots.remove(app);
            self.free_slots.push_back(slot);
        }
        if let Some(after) = &after {
            for agent in after.agents() {
                count_up(&mut self.agents, *agent);
            }
        }
        let Some(before) = self.replace(slot, after.clone()) else { return };
        for agent in before.agents() {
            count_down(&mut self.agents, agent);
        }
        let stay: BTreeSet<&TaskId> =
            after.iter().flat_map(|records| records.leases()).map(|lease| lease.task()).collect();
        let leave = before.leases().iter().filter(|lease| !stay.contains(lease.task()));
        gone.extend(leave.cloned());
    }

    /// Puts a contributor's records in place of those it had, which it gives back.
    fn replace(&mut self, slot: u32, after: Option<Arc<Records>>) -> Option<Arc<Records>> {
        let place = self.contributors.get_mut(slot as usize)?;
        let before = std::mem::replace(place, after.clone());
        self.replace_names(slot, before.as_deref(), after.as_deref());
        let had: BTreeSet<&[u8]> = before.iter().flat_map(|records| records.above()).collect();
        let has: BTreeSet<&[u8]> = after.iter().flat_map(|records| records.above()).collect();
        has.difference(&had).for_each(|name| count_up(&mut self.above, Arc::from(*name)));
        had.difference(&has).for_each(|name| count_down(&mut self.above, *name));
        before
    }

    /// Brings the index up to date; most changes leave most names at their places.
    fn replace_names(&mut self, slot: u32, before: Option<&Records>, after: Option<&Records>) {
        let length = |records: Option<&Records>| records.map_or(0, Records::len);
        for entry in 0..length(before).max(length(after)) {
            let had = before.and_then(|records| records.name_at(entry));
            let has = after.and_then(|records| records.name_at(entry));
            if had == has {
                continue;
            }
            if let Some(name) = had {
                self.index.remove(name, Place { slot, entry });
            }
            if let Some(name) = has {
                self.index.insert(name, Place { slot, entry });
            }
        }
    }

    fn take_slot(&mut self, app: &AppId) -> u32 {
        let slot = self.free_slots.pop_back().unwrap_or_else(|| {
            self.contributors.push_back(None);
            u32::try_from(self.contributors.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots.insert(app.clone(), slot);
        slot
    }

    /// `slave.D`: every agent that runs a named task; without one the name does not exist.
    fn name_agents(&mut self) {
        let agents: Vec<IpAddr> = self.agents.keys().copied().collect();
        let records = (!agents.is_empty()).then(|| Records::fixed([("slave", agents)]));
        self.replace(AGENTS, records.map(Arc::new));
    }

    /// The catalog version this zone was made from; 0 = none yet.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Number of records' names, counted once for each contributor.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no name but the apex.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is under a name, for people and tests; answers are made by [`crate::answer`].
    pub fn lookup(&self, name: &str) -> Lookup {
        let absolute = wire::absolute(name);
        let relative = absolute.as_deref().and_then(|n| wire::relative_to(n, &self.apex.domain));
        let Some(name) = relative else { return Lookup::Outside };
        if self.version == 0 {
            return Lookup::NotReady;
        }
        let (mut addresses, mut services) = (Vec::new(), Vec::new());
        for found in self.find(name) {
            for value in found.records.values(found.entry) {
                match *value {
                    Value::Address { address, .. } => {
                        addresses.extend(found.records.address(address))
                    }
                    Value::Service { target, port, .. } => {
                        let target = found.records.entry(target).map(|e| found.records.name(e));
                        services.extend(target.map(|name| (self.text(name), port)));
                    }
                }
            }
        }
        if !self.exists(name) {
            return Lookup::Missing;
        }
        addresses.sort_unstable();
        addresses.dedup();
        services.sort_unstable();
        services.dedup();
        Lookup::Found { addresses, services }
    }

    /// All entries of a name, relative and in lower case.
    pub(crate) fn find(&self, name: &[u8]) -> impl Iterator<Item = Match<'_>> {
        let matches = self.index.candidates(name).filter_map(|place| {
            let records = self.records(place.slot)?;
            Some(Match { slot: place.slot, records, entry: records.entry(place.entry)? })
        });
        matches.filter(move |found| found.records.name(found.entry) == name)
    }

    /// Whether a name exists, with or without records.
    pub(crate) fn exists(&self, name: &[u8]) -> bool {
        name.is_empty() || self.find(name).next().is_some() || self.above.contains_key(name)
    }

    /// The records of a contributor.
    pub(crate) fn records(&self, slot: u32) -> Option<&Records> {
        self.contributors.get(slot as usize)?.as_deref()
    }

    pub(crate) fn apex(&self) -> &Apex {
        &self.apex
    }

    fn text(&self, relative: &[u8]) -> String {
        wire::text(&[relative, &self.apex.domain].concat())
    }

    /// Every name with records, as text.
    #[cfg(test)]
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let names = |records: &Arc<Records>| -> Vec<String> {
            let names = (0..records.len()).filter_map(|place| records.name_at(place));
            names.map(|name| self.text(name)).collect()
        };
        self.contributors.iter().flatten().flat_map(names).collect()
    }
}

fn count_up<K: Ord + Clone>(counts: &mut OrdMap<K, u32>, key: K) {
    *counts.entry(key).or_insert(0) += 1;
}

fn count_down<K, Q>(counts: &mut OrdMap<K, u32>, key: &Q)
where
    K: Ord + Clone + std::borrow::Borrow<Q>,
    Q: Ord + ?Sized,
{
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
