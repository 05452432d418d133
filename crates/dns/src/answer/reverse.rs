//! The names of addresses (PTR): of tasks, agents and masters that the zone knows.

use crate::message::{CLASS_IN, QUESTION_NAME, Query, Reply, Section, qtype};
use crate::records::Value;
use crate::reverse::{Key, address};
use crate::zone::Zone;

/// The names of one address that are told at most; addresses behind which many tasks seem to be
/// (those of bridges, which all agents have) tell nothing of any one of them.
const MAX_NAMES: usize = 256;

/// What is asked for, if it is the name of an address that the zone knows.
pub(super) fn key(zone: &Zone, query: &Query<'_>) -> Option<Key> {
    if !matches!(query.qtype, qtype::PTR | qtype::ANY)
        || query.class != CLASS_IN
        || query.edns.is_some_and(|edns| edns.version > 0)
        || zone.version() == 0
    {
        return None;
    }
    let key = Key::from(address(query.name.as_bytes())?);
    zone.find(key.as_bytes()).next().map(|_| key)
}

/// Writes the names, each once; says whether all fitted.
pub(super) fn names(zone: &Zone, key: &Key, reply: &mut Reply<'_>) -> bool {
    let domain = &zone.apex().domain;
    let mut names: Vec<(&[u8], &[u8])> = Vec::new();
    let mut ttl = zone.apex().rules.ttl;
    for found in zone.find(key.as_bytes()) {
        ttl = ttl.min(found.entry.ttl);
        for value in found.records.values(found.entry) {
            let Value::Name { target } = *value else { continue };
            if names.len() == MAX_NAMES {
                return false;
            }
            let Some(entry) = found.records.entry(target) else { continue };
            let tail: &[u8] = if entry.is_absolute { &[] } else { domain };
            names.push((found.records.name(entry), tail));
        }
    }
    names.sort_unstable();
    names.dedup();
    names.into_iter().all(|(name, tail)| {
        let place = reply.record(Section::Answer, QUESTION_NAME, qtype::PTR, ttl, |data| {
            data.extend_from_slice(name);
            data.extend_from_slice(tail);
        });
        place.is_some()
    })
}
