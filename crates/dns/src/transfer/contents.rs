//! The zone as transfers see it: all of its records, and those that differ between two versions.
//! Pure.
//!
//! SOA and NS of the apex are not among them; [`soa`] and [`name_server`] make these.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::ControlFlow;

use super::journal::Change;
use super::record::{self, Record};
use crate::config::Apex;
use crate::message::qtype;
use crate::records::{Records, Value};
use crate::zone::{Match, Zone};

/// The data of the SOA record with a serial (RFC 1035 §3.3.13).
pub fn soa(apex: &Apex, serial: u32) -> Vec<u8> {
    let [refresh, retry, expire, minimum] = apex.soa_times;
    let numbers = [serial, refresh, retry, expire, minimum].map(u32::to_be_bytes);
    [&apex.mname, &apex.rname, numbers.as_flattened()].concat()
}

/// The NS record of the apex.
pub fn name_server(apex: &Apex) -> Record<'_> {
    Record { owner: &[], rtype: qtype::NS, ttl: apex.rules.ttl, data: &apex.mname }
}

/// Gives every record of the zone, those of one name together.
pub fn each(zone: &Zone, mut give: impl FnMut(Record<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut packed = Vec::new();
    for (slot, records) in zone.slots.iter() {
        let names: BTreeSet<&[u8]> = names(records).collect();
        for name in names {
            // The first of several contributors gives what all of them have.
            let is_before = |found: Match<'_>| {
                found.slot < slot && !found.records.values(found.entry).is_empty()
            };
            if zone.find(name).any(is_before) {
                continue;
            }
            packed.clear();
            for record in at(zone, name, &mut packed) {
                record::unpack(record).try_for_each(&mut give)?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// What changed from one zone to a later one; `None` when it is more than `limit` bytes. The
/// cost is that of the contributors that differ.
pub fn between(before: &Zone, after: &Zone, limit: usize) -> Option<Change> {
    let mut change = Change::default();
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for name in changed_names(before, after) {
        old.clear();
        new.clear();
        let old = at(before, name, &mut old);
        let new = at(after, name, &mut new);
        old.difference(&new).for_each(|record| change.removed.extend_from_slice(record));
        new.difference(&old).for_each(|record| change.added.extend_from_slice(record));
        if change.removed.len() + change.added.len() > limit {
            return None;
        }
    }
    Some(change)
}

/// The names of the contributors that differ.
fn changed_names<'z>(before: &'z Zone, after: &'z Zone) -> BTreeSet<&'z [u8]> {
    let changes = after.slots.changes(&before.slots);
    changes.flat_map(|(_, old, new)| old.into_iter().chain(new)).flat_map(|r| names(r)).collect()
}

/// The names that have records.
fn names(records: &Records) -> impl Iterator<Item = &[u8]> {
    let with_values = records.entries.iter().filter(|entry| !records.values(entry).is_empty());
    with_values.map(|entry| records.name(entry))
}

/// The records of a name, each once and in order; `packed` is where they are kept.
fn at<'p>(zone: &Zone, name: &[u8], packed: &'p mut Vec<u8>) -> BTreeSet<&'p [u8]> {
    for found in zone.find(name) {
        for value in found.records.values(found.entry) {
            pack(zone, &found, name, *value, packed);
        }
    }
    record::split(packed).collect()
}

fn pack(zone: &Zone, found: &Match<'_>, owner: &[u8], value: Value, out: &mut Vec<u8>) {
    let apex = zone.apex();
    let mut push =
        |rtype, data: &[u8]| Record { owner, rtype, ttl: apex.rules.ttl, data }.pack(out);
    match value {
        Value::Address { address, .. } => match found.records.address(address) {
            Some(IpAddr::V4(address)) => push(qtype::A, &address.octets()),
            Some(IpAddr::V6(address)) => push(qtype::AAAA, &address.octets()),
            None => false,
        },
        Value::Service { target, port, .. } => {
            let target = found.records.entry(target).map(|entry| found.records.name(entry));
            let Some(target) = target else { return };
            let numbers = [0, apex.srv_weight, port].map(u16::to_be_bytes);
            push(qtype::SRV, &[numbers.as_flattened(), target, &apex.domain].concat())
        }
    };
}
