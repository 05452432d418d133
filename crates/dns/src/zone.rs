//! The zone: all names of the domain, as answers and lists are read from it.
//!
//! Made by [`crate::build`]; a value that never changes once it is published. A copy costs a few
//! pointers and shares everything; what changes afterwards is copied then, in proportion to the
//! change.
//!
//! Contributors have [`Records`] of their own. Names on which they collide are unions: the index
//! knows every contributor's entry, and taking one away never touches another's.

use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;
use waymark_model::Version;

use crate::config::{Apex, ConfigError, DnsConfig};
use crate::index::{Index, Place};
#[cfg(test)]
use crate::records::HAS_PTR;
use crate::records::{Entry, Records, Value};
use crate::reverse::Key;
use crate::slots::Slots;
use crate::wire;

/// All names of the domain.
#[derive(Clone)]
pub struct Zone {
    pub(crate) apex: Arc<Apex>,
    pub(crate) version: Version,
    pub(crate) index: Index,
    pub(crate) slots: Slots,
    /// Names that have names below them, with the number of contributors of these. They exist
    /// without having records (RFC 8020: "empty non-terminals").
    above: OrdMap<Arc<[u8]>, i64>,
}

/// The name whose text tells of the zone itself, relative to the domain.
pub(crate) const VERSION: &[u8] = b"\x07version";

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

/// The start of authority of a zone (RFC 1035 §3.3.13); times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soa<'z> {
    /// The primary name server, in wire form with root label.
    pub mname: &'z [u8],
    /// The mail address, as a name in wire form with root label.
    pub rname: &'z [u8],
    /// The zone's version.
    pub serial: u32,
    /// How often secondaries ask.
    pub refresh: u32,
    /// How soon they ask again after a failure.
    pub retry: u32,
    /// After how long without an answer they give up.
    pub expire: u32,
    /// For how long a missing name is remembered.
    pub minimum: u32,
    /// The record's time to live; the NS record has the same.
    pub ttl: u32,
}

/// An entry of a contributor, found by its name.
#[derive(Clone, Copy)]
pub(crate) struct Match<'z> {
    pub(crate) slot: u32,
    pub(crate) records: &'z Records,
    pub(crate) entry: &'z Entry,
}

impl<'z> Match<'z> {
    pub(crate) fn name(&self) -> &'z [u8] {
        self.records.name(self.entry)
    }
}

impl Zone {
    /// The zone before anything has been published: it answers nothing.
    pub fn new(config: &DnsConfig) -> Result<Zone, ConfigError> {
        Ok(Zone::at(Apex::new(config)?))
    }

    pub(crate) fn at(apex: Apex) -> Zone {
        Zone {
            version: 0,
            index: Index::new(apex.seed),
            slots: Slots::default(),
            above: OrdMap::new(),
            apex: Arc::new(apex),
        }
    }

    /// Changes the numbers of contributors below names.
    pub(crate) fn count_above(&mut self, changes: impl IntoIterator<Item = (Box<[u8]>, i64)>) {
        for (name, change) in changes.into_iter().filter(|(_, change)| *change != 0) {
            let count = self.above.get(&*name).copied().unwrap_or(0) + change;
            match count {
                0 => drop(self.above.remove(&*name)),
                count => drop(self.above.insert(Arc::from(name), count)),
            }
        }
    }

    /// The catalog version this zone was made from; 0 = none yet.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The domain, in wire form with root label.
    pub fn domain(&self) -> &[u8] {
        &self.apex.domain
    }

    /// The weight of every SRV record.
    pub fn srv_weight(&self) -> u16 {
        self.apex.srv_weight
    }

    /// The start of authority; its serial is the catalog's version, modulo 2³² as serials go
    /// (RFC 1982).
    pub fn soa(&self) -> Soa<'_> {
        let [refresh, retry, expire, minimum] = self.apex.soa_times;
        Soa {
            mname: &self.apex.mname,
            rname: &self.apex.rname,
            serial: self.version as u32,
            refresh,
            retry,
            expire,
            minimum,
            ttl: self.apex.rules.ttl,
        }
    }

    /// The names of an address, in order; for people and tests as [`Zone::lookup`].
    pub fn names_of(&self, address: IpAddr) -> Vec<String> {
        let key = Key::from(address);
        let mut names = Vec::new();
        for found in self.find(key.as_bytes()) {
            for value in found.records.values(found.entry) {
                let Value::Name { target } = *value else { continue };
                let Some(entry) = found.records.entry(target) else { continue };
                let name = found.records.name(entry);
                names.push(if entry.is_absolute { wire::text(name) } else { self.text(name) });
            }
        }
        names.sort_unstable();
        names.dedup();
        names
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
                    Value::Name { .. } => {}
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
        let matches =
            self.index.candidates(name).iter().filter_map(|(_, place)| self.at_place(*place));
        matches.filter(move |found| found.name() == name)
    }

    /// The places of entries that may be the name's, side by side.
    pub(crate) fn places(&self, name: &[u8]) -> &[(u32, Place)] {
        self.index.candidates(name)
    }

    pub(crate) fn at_place(&self, place: Place) -> Option<Match<'_>> {
        let records = self.records(place.slot)?;
        Some(Match { slot: place.slot, records, entry: records.entry(place.entry)? })
    }

    /// Whether a name exists, with or without records.
    pub(crate) fn exists(&self, name: &[u8]) -> bool {
        name.is_empty()
            || name == VERSION
            || self.find(name).next().is_some()
            || self.above.contains_key(name)
    }

    /// The records of a contributor.
    pub(crate) fn records(&self, slot: u32) -> Option<&Records> {
        self.slots.get(slot)
    }

    pub(crate) fn apex(&self) -> &Apex {
        &self.apex
    }

    /// A name relative to the domain as a whole text, without final dot.
    pub(crate) fn text(&self, relative: &[u8]) -> String {
        wire::text(&[relative, &self.apex.domain].concat())
    }

    /// Every name with records, as text.
    #[cfg(test)]
    pub(crate) fn names(&self) -> std::collections::BTreeSet<String> {
        let names = |records: &Records| -> Vec<String> {
            let with_records = |entry: &&Entry| entry.kinds & !HAS_PTR != 0;
            let entries = records.entries.iter().filter(with_records);
            entries.map(|entry| self.text(records.name(entry))).collect()
        };
        self.slots.iter().flat_map(|(_, records)| names(records)).collect()
    }
}

pub(crate) mod ahead;
mod difference;
mod list;
#[cfg(test)]
mod tests;

pub use difference::{Difference, Record};
pub use list::{Data, Rrset, TaskRecords};
