//! The zone's records as they stand in transfers: all of them, and those that differ between two
//! versions. Pure.
//!
//! SOA and NS of the apex are not among them; [`soa`] and [`name_server`] make these.

use std::ops::ControlFlow;

use super::journal::Change;
use super::record::Record;
use crate::message::qtype;
use crate::zone::{Data, Zone};

/// What a packed record takes at least, all but the rarest, in bytes: bounds the work for a change
/// that will not fit.
const USUAL: usize = 32;

/// The data of the SOA record as it was at a serial (RFC 1035 §3.3.13).
pub fn soa(zone: &Zone, serial: u32) -> Vec<u8> {
    let soa = zone.soa();
    let numbers = [serial, soa.refresh, soa.retry, soa.expire, soa.minimum].map(u32::to_be_bytes);
    [soa.mname, soa.rname, numbers.as_flattened()].concat()
}

/// The NS record of the apex.
pub fn name_server(zone: &Zone) -> Record<'_> {
    let soa = zone.soa();
    Record { owner: &[], rtype: qtype::NS, ttl: soa.ttl, data: soa.mname }
}

/// Gives every record of the zone, those of one set together.
pub fn each(zone: &Zone, mut give: impl FnMut(Record<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut bytes = Vec::new();
    for set in zone.rrsets() {
        for data in &set.data {
            bytes.clear();
            write(zone, data, &mut bytes);
            give(Record { owner: set.owner, rtype: data.rtype(), ttl: set.ttl, data: &bytes })?;
        }
    }
    ControlFlow::Continue(())
}

/// What changed from one zone to a later one; `None` when it is more than `limit` bytes. The cost
/// is that of the contributors that differ.
pub fn between(before: &Zone, after: &Zone, limit: usize) -> Option<Change> {
    let difference = after.changes_since(before, limit / USUAL)?;
    let mut bytes = Vec::new();
    let mut pack = |records: &[crate::zone::Record]| {
        let mut packed = Vec::new();
        for record in records {
            bytes.clear();
            write(after, &record.data, &mut bytes);
            let (owner, rtype) = (&*record.owner, record.data.rtype());
            // Names and services are far from being too long.
            Record { owner, rtype, ttl: record.ttl, data: &bytes }.pack(&mut packed);
        }
        packed
    };
    let change = Change { removed: pack(&difference.removed), added: pack(&difference.added) };
    (change.bytes() <= limit).then_some(change)
}

/// Appends a record's data.
fn write<N: AsRef<[u8]>>(zone: &Zone, data: &Data<N>, out: &mut Vec<u8>) {
    match data {
        Data::A(address) => out.extend(address.octets()),
        Data::Aaaa(address) => out.extend(address.octets()),
        Data::Srv { port, target } => {
            let numbers = [0, zone.srv_weight(), *port].map(u16::to_be_bytes);
            out.extend_from_slice(numbers.as_flattened());
            out.extend_from_slice(target.as_ref());
            out.extend_from_slice(zone.domain());
        }
    }
}
