//! Looking ahead: in a large zone most of an answer's time is spent waiting for memory, one access
//! after the other, since each tells where the next one is. Over a batch of queries the first
//! accesses of all are made together, then the second ones, and so on: the waits overlap.
//!
//! Changes nothing and answers nothing; what is found here is found again in a cache.

use std::hint::black_box;

use super::Zone;
use crate::records::Value;

/// The most names that are looked at together.
pub(crate) const AHEAD: usize = 32;
/// Below this many names a zone stays in the processor's caches by itself.
const LARGE: usize = 8_192;

impl Zone {
    /// Brings what answers about these names (relative, in lower case) are made from nearer.
    pub(crate) fn look_ahead<'n>(&self, names: impl Iterator<Item = &'n [u8]>) {
        if self.len() < LARGE {
            return;
        }
        let mut places = [None; AHEAD];
        for (place, name) in places.iter_mut().zip(names) {
            *place = self.index.candidates(name).first().map(|(_, place)| *place);
        }
        let found = places.map(|place| Some((self.slots.get(place?.slot)?, place?.entry)));
        let entries = found.map(|found| {
            let (records, entry) = found?;
            Some((records, records.entry(entry)?))
        });
        let values = entries.map(|entry| {
            let (records, entry) = entry?;
            black_box(records.name(entry).first());
            Some((records, *records.values(entry).first()?))
        });
        let leases = values.map(|value| {
            let (records, value) = value?;
            match value {
                Value::Address { address, .. } => drop(black_box(records.address(address))),
                Value::Service { target, .. } | Value::Name { target } => {
                    let target = records.entry(target)?;
                    black_box(records.name(target).first());
                    black_box(records.values(target).first());
                }
            }
            records.lease(value.lease())
        });
        leases.iter().flatten().for_each(|lease| lease.note(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::*;

    /// Whatever is asked for, nothing happens, and more names than are looked at are no harm.
    #[test]
    fn looks_and_changes_nothing() {
        let leases = leases();
        let tasks = |n: usize| {
            let mut one = task(&format!("t{n}.1"), "10.0.0.4");
            one.host_ports = vec![31005];
            one.discovery = vec![port(8080, Some("http"), "tcp")];
            one
        };
        let apps = (0..2000).map(|n| app(&format!("/a{n}"), [tasks(n)]));
        let zone = zone_of(&catalog(7, apps), &leases);
        assert!(zone.len() > LARGE);
        let names = [
            &b"\x02a7\x08marathon"[..],
            b"\x05_http\x03_a7\x04_tcp\x08marathon",
            b"\x05slave",
            b"\x03no",
            b"",
        ];
        zone.look_ahead(names.iter().copied());
        zone.look_ahead(names.iter().copied().cycle().take(2 * AHEAD + 3));
        zone.look_ahead(std::iter::empty());
        let task = waymark_model::TaskId::from_text("t7.1");
        assert_eq!(leases.until(&task), None, "no lease is noted");
    }
}
