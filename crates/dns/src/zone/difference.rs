//! What changed between two zones, record by record: what an incremental transfer tells.

use std::collections::BTreeMap;

use super::list::Data;
use super::{Match, Zone};
use crate::records::Records;

/// A record that belongs to nobody's zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    /// The name, relative to the domain, in wire form without root label.
    pub owner: Box<[u8]>,
    /// The time to live, in seconds.
    pub ttl: u32,
    /// The data.
    pub data: Data<Box<[u8]>>,
}

/// What leads from one zone's records to another's. A record whose time to live changes is removed
/// and added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Records that are no more.
    pub removed: Vec<Record>,
    /// Records that are new.
    pub added: Vec<Record>,
}

/// The entries of one name.
#[derive(Default)]
struct Changed<'z> {
    had: Vec<Match<'z>>,
    has: Vec<Match<'z>>,
}

impl Zone {
    /// What leads from `before` to this zone; `None` when it is more than `limit` records. The cost
    /// is that of the contributors that changed, and of reading the names that change.
    ///
    /// Both must be copies of one zone that follows one catalog.
    pub fn changes_since(&self, before: &Zone, limit: usize) -> Option<Difference> {
        let mut names: BTreeMap<&[u8], Changed<'_>> = BTreeMap::new();
        for (slot, had, has) in self.slots.changes(&before.slots) {
            for found in had.into_iter().flat_map(|records| entries(slot, records)) {
                names.entry(found.name()).or_default().had.push(found);
            }
            for found in has.into_iter().flat_map(|records| entries(slot, records)) {
                names.entry(found.name()).or_default().has.push(found);
            }
        }
        let mut difference = Difference::default();
        for (owner, changed) in names {
            self.add_changes(before, owner, &changed, &mut difference);
            if difference.removed.len() + difference.added.len() > limit {
                return None;
            }
        }
        Some(difference)
    }

    /// What changed of one name.
    fn add_changes(&self, before: &Zone, owner: &[u8], changed: &Changed<'_>, to: &mut Difference) {
        let all_before: Vec<Match<'_>> = before.find(owner).collect();
        let all_after: Vec<Match<'_>> = self.find(owner).collect();
        for rtype in Data::<&[u8]>::TYPES {
            let ttl = (before.ttl(&all_before, rtype), self.ttl(&all_after, rtype));
            let (removed, added) = if ttl.0 == ttl.1 {
                let (had, has) = (sorted(&changed.had, rtype), sorted(&changed.has, rtype));
                let mut removed = without(&had, &has);
                let mut added = without(&has, &had);
                strike(&mut removed, &all_after);
                strike(&mut added, &all_before);
                (removed, added)
            } else {
                (sorted(&all_before, rtype), sorted(&all_after, rtype))
            };
            to.removed.extend(removed.into_iter().map(|data| Record::new(owner, ttl.0, data)));
            to.added.extend(added.into_iter().map(|data| Record::new(owner, ttl.1, data)));
        }
    }
}

impl Record {
    fn new(owner: &[u8], ttl: u32, data: Data<&[u8]>) -> Record {
        let data = match data {
            Data::A(address) => Data::A(address),
            Data::Aaaa(address) => Data::Aaaa(address),
            Data::Srv { port, target } => Data::Srv { port, target: Box::from(target) },
        };
        Record { owner: Box::from(owner), ttl, data }
    }
}

/// The entries of a contributor that have records.
fn entries(slot: u32, records: &Records) -> impl Iterator<Item = Match<'_>> {
    let with_records = records.entries.iter().filter(|entry| !records.values(entry).is_empty());
    with_records.map(move |entry| Match { slot, records, entry })
}

/// The records of a type, in order, each once.
fn sorted<'z>(entries: &[Match<'z>], rtype: u16) -> Vec<Data<&'z [u8]>> {
    let of_type = |data: &Data<&[u8]>| data.rtype() == rtype;
    let mut all: Vec<_> = entries.iter().flat_map(Match::data).filter(of_type).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What of a sorted list is not in another.
fn without<'z>(list: &[Data<&'z [u8]>], other: &[Data<&[u8]>]) -> Vec<Data<&'z [u8]>> {
    list.iter().filter(|data| other.binary_search(data).is_err()).copied().collect()
}

/// Takes off a sorted list what some entries have.
fn strike(list: &mut Vec<Data<&[u8]>>, entries: &[Match<'_>]) {
    let mut struck = vec![false; list.len()];
    if !list.is_empty() {
        for data in entries.iter().flat_map(Match::data) {
            if let Ok(at) = list.binary_search(&data)
                && let Some(place) = struck.get_mut(at)
            {
                *place = true;
            }
        }
    }
    let mut struck = struck.into_iter();
    list.retain(|_| struck.next() != Some(true));
}
