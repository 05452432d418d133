//! The journal: what changed from one version of the zone to the next, for as many versions as fit
//! its bounds. IXFR is answered from it (RFC 1995).
//!
//! Input: changes in the order of their versions. Output: the change since any version it still
//! knows, condensed: a record that came and went in between is not in it. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use waymark_model::Version;

use super::record;
use super::serial;

/// What was taken from a zone and what was added to it, without the SOA; packed records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The records that are no more.
    pub removed: Vec<u8>,
    /// The records that are new.
    pub added: Vec<u8>,
}

impl Change {
    /// The length of the records.
    pub fn bytes(&self) -> usize {
        self.removed.len() + self.added.len()
    }

    /// The number of records.
    pub fn records(&self) -> usize {
        record::split(&self.removed).count() + record::split(&self.added).count()
    }
}

/// The bounds of a journal. What exceeds them pushes out the oldest steps; secondaries that are at
/// versions before those get the whole zone.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Steps at most.
    pub steps: usize,
    /// Bytes of records at most, over all steps.
    pub bytes: usize,
}

/// The changes between successive versions.
#[derive(Debug)]
pub struct Journal {
    bounds: Bounds,
    steps: VecDeque<Arc<Step>>,
    bytes: usize,
}

/// The way from one version to a later one.
#[derive(Debug)]
pub struct Step {
    from: Version,
    to: Version,
    change: Change,
}

impl Journal {
    /// A journal without steps.
    pub fn new(bounds: Bounds) -> Journal {
        Journal { bounds, steps: VecDeque::new(), bytes: 0 }
    }

    /// Adds the step that leads from the version which the last one led to.
    pub fn push(&mut self, from: Version, to: Version, change: Change) {
        if self.steps.back().is_some_and(|last| last.to != from) {
            self.clear();
        }
        self.bytes += change.bytes();
        self.steps.push_back(Arc::new(Step { from, to, change }));
        while self.bytes > self.bounds.bytes || self.steps.len() > self.bounds.steps {
            let Some(oldest) = self.steps.pop_front() else { break };
            self.bytes -= oldest.change.bytes();
        }
    }

    /// Forgets everything: the next change is not known.
    pub fn clear(&mut self) {
        self.steps.clear();
        self.bytes = 0;
    }

    /// The steps from a serial to now; `None` when it is not known. They are to be condensed, which
    /// takes longer than this.
    pub fn since(&self, from: u32) -> Option<Vec<Arc<Step>>> {
        let first = self.steps.iter().position(|step| serial::of(step.from) == from)?;
        Some(self.steps.iter().skip(first).cloned().collect())
    }

    /// Bytes of records in it.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Makes one change of the changes of successive steps.
pub fn condense(steps: &[Arc<Step>]) -> Change {
    if let [step] = steps {
        return step.change.clone();
    }
    // A record's presence alternates, so the sum is how it differs in the end: −1, 0 or 1.
    let mut sums: BTreeMap<&[u8], i32> = BTreeMap::new();
    for step in steps {
        for record in record::split(&step.change.removed) {
            *sums.entry(record).or_default() -= 1;
        }
        for record in record::split(&step.change.added) {
            *sums.entry(record).or_default() += 1;
        }
    }
    let mut change = Change::default();
    for (record, sum) in sums {
        match sum {
            ..0 => change.removed.extend_from_slice(record),
            0 => {}
            1.. => change.added.extend_from_slice(record),
        }
    }
    change
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::transfer::record::Record;

    /// A zone as a set of packed records.
    type Zone = BTreeSet<Vec<u8>>;

    fn packed(number: u8, ttl: u32) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(
            Record { owner: &[1, number], rtype: 1, ttl, data: &[10, 0, 0, number] }.pack(&mut out)
        );
        out
    }

    fn between(before: &Zone, after: &Zone) -> Change {
        Change {
            removed: before.difference(after).flatten().copied().collect(),
            added: after.difference(before).flatten().copied().collect(),
        }
    }

    /// What a secondary does; a record that is not there, or there already, is an error to it.
    fn replay(zone: &Zone, change: &Change) -> Zone {
        let mut zone = zone.clone();
        for record in record::split(&change.removed) {
            assert!(zone.remove(record), "not there");
        }
        for record in record::split(&change.added) {
            assert!(zone.insert(record.to_vec()), "there already");
        }
        zone
    }

    proptest! {
        /// From every version it knows, a secondary gets to the last one; it knows the latest ones
        /// and never exceeds its bounds.
        #[test]
        fn leads_from_every_known_version_to_the_last(
            zones in prop::collection::vec(
                prop::collection::btree_map(0u8..12, 1u32..3, 0..12), 2..30),
            steps in 1usize..20,
            bytes in 0usize..2000,
            start in prop_oneof![Just(1u64), Just(u64::from(u32::MAX) - 7)],
        ) {
            let zones: Vec<Zone> = zones
                .into_iter()
                .map(|zone| zone.into_iter().map(|(n, ttl)| packed(n, ttl)).collect())
                .collect();
            let version = |n: usize| start + 3 * n as u64;
            let mut journal = Journal::new(Bounds { steps, bytes });
            for (n, pair) in zones.windows(2).enumerate() {
                journal.push(version(n), version(n + 1), between(&pair[0], &pair[1]));
                prop_assert!(journal.steps.len() <= steps && journal.bytes() <= bytes);
            }
            let last = zones.last().unwrap();
            let mut known = 0;
            for (n, zone) in zones.iter().enumerate().take(zones.len() - 1) {
                match journal.since(serial::of(version(n))) {
                    Some(way) => {
                        known += 1;
                        let change = condense(&way);
                        prop_assert_eq!(&replay(zone, &change), last);
                        prop_assert_eq!(change.records(), zone.symmetric_difference(last).count());
                    }
                    None => prop_assert_eq!(known, 0, "a gap"),
                }
            }
            prop_assert_eq!(known, journal.steps.len());
            prop_assert!(journal.since(serial::of(version(zones.len() - 1))).is_none());
            prop_assert!(journal.since(serial::of(version(0) + 1)).is_none());
        }
    }

    #[test]
    fn a_gap_forgets_what_was_before() {
        let mut journal = Journal::new(Bounds { steps: 9, bytes: 999 });
        let change = Change { removed: packed(1, 1), added: packed(2, 1) };
        journal.push(1, 2, change.clone());
        journal.push(3, 4, change.clone());
        assert!(journal.since(1).is_none());
        assert_eq!(condense(&journal.since(3).unwrap()), change);
        assert_eq!(journal.bytes(), change.bytes());
        journal.clear();
        assert!(journal.since(3).is_none());
        assert_eq!(journal.bytes(), 0);
    }
}
