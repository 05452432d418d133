//! What one contributor adds to the zone: names with their records, in a few flat tables that
//! answers are written from. The unit that the zone adds, replaces and removes.
//!
//! Made by [`crate::compile`]; read by answers and lists.

use std::net::IpAddr;
use std::sync::Arc;

use crate::lease::Lease;
use crate::tasks::Task;

/// Records of one contributor. All tables are indexed by [`Entry`] and [`Value`].
#[derive(Debug, Default)]
pub struct Records {
    /// The labels of all names, one behind the other.
    pub(crate) arena: Box<[u8]>,
    pub(crate) entries: Box<[Entry]>,
    /// The values of all sets, one behind the other.
    pub(crate) values: Box<[Value]>,
    pub(crate) addresses: Box<[IpAddr]>,
    /// Whose they are.
    pub(crate) origin: Origin,
    /// The tasks that are named, in order of their ids.
    pub(crate) tasks: Box<[Task]>,
    /// Their leases.
    pub(crate) leases: Box<[Arc<Lease>]>,
    /// The longest TTL of its tasks, in seconds: what leases follow.
    pub(crate) longest_ttl: u32,
    /// Names above these that may be above others' names too, once each, without the apex.
    pub(crate) above: Box<[Span]>,
}

/// What tasks belong to, as it is written; empty where records lead to no task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// Their framework's name.
    pub(crate) framework: Arc<str>,
    /// The name that they share.
    pub(crate) name: Arc<str>,
}

/// A part of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// One name with one set of values. A name may have several entries, in one contributor as well as
/// over several; its records are their union.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub(crate) name: u32,
    pub(crate) values: Span,
    /// The smallest TTL of those who contribute to the set, in seconds.
    pub(crate) ttl: u32,
    pub(crate) name_length: u8,
    /// Which kinds of records it has: the union of [`Value`]s' kinds.
    pub(crate) kinds: u8,
    /// Whether the name is one outside the domain, with root label.
    pub(crate) is_absolute: bool,
    /// Whether the name exists because of this entry. A target without addresses does not; a name
    /// that is only above others does, without values.
    pub(crate) exists: bool,
}

/// One record of a set, and whose lease it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// An address by its place in the table; equal ones stand side by side.
    Address { address: u32, lease: u32 },
    /// A service: the port, and the entry of the name where it is.
    Service { target: u32, port: u16, lease: u32 },
    /// An address's name: the entry that has it.
    Name { target: u32 },
}

/// What an entry has: IPv4 addresses.
pub const HAS_A: u8 = 1;
/// IPv6 addresses.
pub const HAS_AAAA: u8 = 2;
/// Services.
pub const HAS_SRV: u8 = 4;
/// Names of addresses.
pub const HAS_PTR: u8 = 8;

/// The lease's place in records that lead to no task.
pub(crate) const NO_LEASE: u32 = u32::MAX;

impl Value {
    /// The place of its lease; names of addresses lead to no task.
    pub fn lease(self) -> u32 {
        match self {
            Value::Address { lease, .. } | Value::Service { lease, .. } => lease,
            Value::Name { .. } => NO_LEASE,
        }
    }
}

impl Span {
    pub(crate) fn of<T>(self, table: &[T]) -> &[T] {
        table.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

impl Entry {
    pub(crate) fn name_span(&self) -> Span {
        Span { start: self.name, end: self.name + u32::from(self.name_length) }
    }
}

impl Records {
    /// The number of entries; their places are below it.
    pub fn len(&self) -> u32 {
        // Places are made as 32 bits.
        self.entries.len() as u32
    }

    /// The entry at a place.
    pub fn entry(&self, place: u32) -> Option<&Entry> {
        self.entries.get(place as usize)
    }

    /// The entry's name, relative to the domain.
    pub fn name(&self, entry: &Entry) -> &[u8] {
        entry.name_span().of(&self.arena)
    }

    /// The name of the entry at a place, relative to the domain, if it makes the name exist.
    pub fn name_at(&self, place: u32) -> Option<&[u8]> {
        self.entry(place).filter(|entry| entry.exists).map(|entry| self.name(entry))
    }

    /// The entry's records.
    pub fn values(&self, entry: &Entry) -> &[Value] {
        entry.values.of(&self.values)
    }

    /// The address at a place.
    pub fn address(&self, place: u32) -> Option<IpAddr> {
        self.addresses.get(place as usize).copied()
    }

    /// The lease at a place; `None` for records that lead to no task.
    pub fn lease(&self, place: u32) -> Option<&Lease> {
        self.leases.get(place as usize).map(|lease| &**lease)
    }

    /// The leases of all named tasks.
    pub fn leases(&self) -> &[Arc<Lease>] {
        &self.leases
    }

    /// The tasks that are named, in order of their ids.
    pub(crate) fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Names above the entries' names, without the apex and without those that have entries here.
    pub fn above(&self) -> impl Iterator<Item = &[u8]> {
        self.above.iter().map(|span| span.of(&self.arena))
    }
}
