//! The zone as lists: every record set for a transfer, every task's records for those who look.
//!
//! What several contributors say of a name is one set, without repetitions.

use std::collections::{HashSet, VecDeque};
use std::iter::Peekable;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::RandomState;
use waymark_model::TaskId;

use super::{Match, Zone};
use crate::index::Place;
use crate::message::qtype;
use crate::records::{HAS_A, HAS_AAAA, HAS_SRV, Records, Value};
use crate::tasks::Task;

/// The data of a record. `N` is how the target is kept: a name relative to the domain, in wire
/// form without root label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data<N> {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A service; its priority is 0, its weight [`Zone::srv_weight`].
    Srv {
        /// The port.
        port: u16,
        /// Where it is.
        target: N,
    },
}

/// The records of one type that a name has: at least one, in order, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rrset<'z> {
    /// The name, relative to the domain, in wire form without root label.
    pub owner: &'z [u8],
    /// The time to live, in seconds.
    pub ttl: u32,
    /// The records.
    pub data: Vec<Data<&'z [u8]>>,
}

/// A task with the records that it is the first to produce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRecords<'z> {
    /// The framework's name as it registered.
    pub framework: &'z str,
    /// The task's name as it is written.
    pub name: &'z str,
    /// The task.
    pub id: &'z TaskId,
    /// The records with their owners (as in [`Rrset`]).
    pub records: Vec<(&'z [u8], Data<&'z [u8]>)>,
}

impl<N> Data<N> {
    /// The types there are.
    pub const TYPES: [u16; 3] = [qtype::A, qtype::AAAA, qtype::SRV];

    /// The record's type.
    pub fn rtype(&self) -> u16 {
        match self {
            Data::A(_) => qtype::A,
            Data::Aaaa(_) => qtype::AAAA,
            Data::Srv { .. } => qtype::SRV,
        }
    }
}

impl From<IpAddr> for Data<&[u8]> {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Data::A(address),
            IpAddr::V6(address) => Data::Aaaa(address),
        }
    }
}

impl Zone {
    /// Every record set with records of catalog entries, in no particular order. The apex's own
    /// (SOA and NS) are not among them.
    pub fn rrsets(&self) -> impl Iterator<Item = Rrset<'_>> {
        Rrsets { zone: self, places: self.index.iter().peekable(), ready: VecDeque::new() }
    }

    /// Every named task with its records, by framework, name and id. A record that several tasks
    /// have is listed under the first of them, as Mesos-DNS lists it.
    pub fn tasks(&self) -> impl Iterator<Item = TaskRecords<'_>> {
        let mut groups: Vec<&Records> = self.slots.iter().map(|(_, records)| &**records).collect();
        groups.retain(|records| !records.tasks().is_empty());
        groups.sort_by_cached_key(|records| {
            let first = records.tasks().first();
            (
                records.origin.framework.clone(),
                records.origin.name.clone(),
                first.map(|t| t.id().clone()),
            )
        });
        let mut seen = HashSet::with_hasher(RandomState::default());
        groups.into_iter().flat_map(move |records| self.tasks_of(records, &mut seen))
    }

    /// The tasks of one contributor; `seen` has the records of names that others have too.
    fn tasks_of<'z>(
        &'z self,
        records: &'z Records,
        seen: &mut HashSet<(&'z [u8], Data<&'z [u8]>), RandomState>,
    ) -> Vec<TaskRecords<'z>> {
        let mut tasks: Vec<TaskRecords<'z>> =
            records.tasks().iter().map(|task| listed(records, task)).collect();
        for entry in &records.entries {
            let owner = records.name(entry);
            let shared = self.find(owner).nth(1).is_some();
            let mut last = None;
            for value in records.values(entry) {
                let Some(data) = data(records, value) else { continue };
                let is_new = last.replace(data) != Some(data);
                if let Some(task) = tasks.get_mut(value.lease() as usize)
                    && is_new
                    && (!shared || seen.insert((owner, data)))
                {
                    task.records.push((owner, data));
                }
            }
        }
        tasks
    }

    /// The record sets of a name from all its entries.
    pub(super) fn sets<'z>(&self, owner: &'z [u8], entries: &[Match<'z>]) -> Vec<Rrset<'z>> {
        let mut all: Vec<Data<&[u8]>> = entries.iter().flat_map(Match::data).collect();
        all.sort_unstable();
        all.dedup();
        all.chunk_by(|a, b| a.rtype() == b.rtype())
            .filter_map(|data| {
                let ttl = self.ttl(entries, data.first()?.rtype());
                Some(Rrset { owner, ttl, data: data.to_vec() })
            })
            .collect()
    }

    /// The time to live of a set: the smallest of those who contribute to it.
    pub(super) fn ttl(&self, entries: &[Match<'_>], rtype: u16) -> u32 {
        let kind = match rtype {
            qtype::A => HAS_A,
            qtype::AAAA => HAS_AAAA,
            _ => HAS_SRV,
        };
        let of_kind = entries.iter().filter(|found| found.entry.kinds & kind != 0);
        of_kind.map(|found| found.entry.ttl).min().unwrap_or(self.apex.rules.ttl)
    }
}

impl<'z> Match<'z> {
    /// The entry's records.
    pub(super) fn data(&self) -> impl Iterator<Item = Data<&'z [u8]>> {
        let records = self.records;
        records.values(self.entry).iter().filter_map(|value| data(records, value))
    }
}

struct Rrsets<'z, I: Iterator> {
    zone: &'z Zone,
    /// Places in order of the hashes of their names.
    places: Peekable<I>,
    ready: VecDeque<Rrset<'z>>,
}

impl<'z, I: Iterator<Item = (u32, Place)>> Iterator for Rrsets<'z, I> {
    type Item = Rrset<'z>;

    fn next(&mut self) -> Option<Rrset<'z>> {
        while self.ready.is_empty() {
            let (hash, first) = self.places.next()?;
            let mut places = vec![first];
            while let Some((_, place)) = self.places.next_if(|(other, _)| *other == hash) {
                places.push(place);
            }
            let mut matches: Vec<Match<'z>> =
                places.into_iter().filter_map(|place| self.zone.at_place(place)).collect();
            // Seldom more than one name.
            matches.sort_by(|a, b| a.name().cmp(b.name()));
            for entries in matches.chunk_by(|a, b| a.name() == b.name()) {
                let owner = entries.first().map(Match::name).unwrap_or_default();
                self.ready.extend(self.zone.sets(owner, entries));
            }
        }
        self.ready.pop_front()
    }
}

/// A task without records.
fn listed<'z>(records: &'z Records, task: &'z Task) -> TaskRecords<'z> {
    let name = task.own_name().unwrap_or(&records.origin.name);
    TaskRecords { framework: &records.origin.framework, name, id: task.id(), records: Vec::new() }
}

/// What a value says; `None` when it leads nowhere.
fn data<'z>(records: &'z Records, value: &Value) -> Option<Data<&'z [u8]>> {
    match *value {
        Value::Address { address, .. } => records.address(address).map(Data::from),
        Value::Service { target, port, .. } => {
            let target = records.name(records.entry(target)?);
            Some(Data::Srv { port, target })
        }
        // Not in the domain.
        Value::Name { .. } => None,
    }
}
