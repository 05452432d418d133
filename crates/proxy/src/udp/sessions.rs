//! Sessions in the order of their last use. Pure: time is an argument.
//!
//! There are two such orders: of sessions that a flood with false sources can make, and of those
//! whose client is known to be there. The former make room for others first.

use std::collections::HashMap;
use std::hash::Hash;

/// Who has a session, and since when it is unused; the one unused for longest can be found at once.
#[derive(Debug)]
pub(crate) struct Sessions<K, V> {
    places: HashMap<K, usize, foldhash::fast::RandomState>,
    entries: Vec<Entry<K, V>>,
    /// Of clients that nothing is known of.
    new: Ends,
    /// Of clients that were proven.
    proven: Ends,
}

/// The ends of an order.
#[derive(Debug, Default)]
struct Ends {
    /// The entry unused for longest.
    oldest: Option<usize>,
    newest: Option<usize>,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    used: u64,
    proven: bool,
    older: Option<usize>,
    newer: Option<usize>,
}

impl<K: Hash + Eq + Clone, V> Sessions<K, V> {
    pub(crate) fn new() -> Sessions<K, V> {
        Sessions {
            places: HashMap::default(),
            entries: Vec::new(),
            new: Ends::default(),
            proven: Ends::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The session of this key, used now.
    pub(crate) fn touch(&mut self, key: &K, now: u64) -> Option<&V> {
        let place = *self.places.get(key)?;
        self.unlink(place);
        self.link_newest(place);
        let entry = self.entries.get_mut(place)?;
        entry.used = now;
        Some(&entry.value)
    }

    /// The client of this key has just shown that it is there: its session makes room last.
    pub(crate) fn prove(&mut self, key: &K, now: u64) {
        let Some(place) = self.places.get(key).copied() else { return };
        self.unlink(place);
        if let Some(entry) = self.entries.get_mut(place) {
            (entry.proven, entry.used) = (true, now);
        }
        self.link_newest(place);
    }

    /// A new session, used now. The key must have none.
    pub(crate) fn insert(&mut self, key: K, value: V, now: u64) {
        let place = self.entries.len();
        self.places.insert(key.clone(), place);
        let entry = Entry { key, value, used: now, proven: false, older: None, newer: None };
        self.entries.push(entry);
        self.link_newest(place);
        debug_assert_eq!(self.places.len(), self.entries.len());
    }

    /// All sessions with the time of their last use, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&V, u64)> {
        self.entries.iter().map(|entry| (&entry.value, entry.used))
    }

    /// Takes the session of this key out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.places.remove(key)?;
        self.unlink(place);
        let removed = self.entries.swap_remove(place);
        // The last entry has moved into the gap: its neighbours and its key must know.
        if let Some(moved) = self.entries.get(place) {
            let (older, newer, proven) = (moved.older, moved.newer, moved.proven);
            if let Some(known) = self.places.get_mut(&moved.key) {
                *known = place;
            }
            self.set_newer_of(older, Some(place), proven);
            self.set_older_of(newer, Some(place), proven);
        }
        Some(removed.value)
    }

    /// Takes a session out to make room: the one unused for longest, of a proven client only when
    /// there is no other.
    pub(crate) fn pop_oldest(&mut self) -> Option<V> {
        let key = self.entries.get(self.new.oldest.or(self.proven.oldest)?)?.key.clone();
        self.remove(&key)
    }

    /// Takes one session out that was last used at `end` or before.
    pub(crate) fn pop_unused_since(&mut self, end: u64) -> Option<V> {
        let oldest = [self.new.oldest, self.proven.oldest].into_iter().flatten();
        let mut entries = oldest.filter_map(|place| self.entries.get(place));
        let key = entries.find(|entry| entry.used <= end)?.key.clone();
        self.remove(&key)
    }

    fn unlink(&mut self, place: usize) {
        let Some(entry) = self.entries.get(place) else { return };
        let (older, newer, proven) = (entry.older, entry.newer, entry.proven);
        self.set_newer_of(older, newer, proven);
        self.set_older_of(newer, older, proven);
    }

    fn link_newest(&mut self, place: usize) {
        let Some(proven) = self.entries.get(place).map(|entry| entry.proven) else { return };
        let before = self.ends(proven).newest;
        if let Some(entry) = self.entries.get_mut(place) {
            (entry.older, entry.newer) = (before, None);
        }
        self.set_newer_of(before, Some(place), proven);
        self.ends(proven).newest = Some(place);
    }

    fn ends(&mut self, proven: bool) -> &mut Ends {
        if proven { &mut self.proven } else { &mut self.new }
    }

    /// Sets what comes after an entry; before all of them, in their order's end.
    fn set_newer_of(&mut self, place: Option<usize>, newer: Option<usize>, proven: bool) {
        match place {
            None => self.ends(proven).oldest = newer,
            Some(place) => {
                if let Some(entry) = self.entries.get_mut(place) {
                    entry.newer = newer;
                }
            }
        }
    }

    fn set_older_of(&mut self, place: Option<usize>, older: Option<usize>, proven: bool) {
        match place {
            None => self.ends(proven).newest = older,
            Some(place) => {
                if let Some(entry) = self.entries.get_mut(place) {
                    entry.older = older;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Use(u8),
        Prove(u8),
        Remove(u8),
        Oldest,
        Unused(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..12u8).prop_map(Step::Use),
            (0..12u8).prop_map(Step::Prove),
            (0..12u8).prop_map(Step::Remove),
            Just(Step::Oldest),
            (0..40u8).prop_map(Step::Unused),
        ]
    }

    /// A list that is kept in order the slow way: key, last use, and whether it is proven.
    #[derive(Default)]
    struct List(Vec<(u8, u64, bool)>);

    impl List {
        fn take(&mut self, what: impl Fn(&(u8, u64, bool)) -> bool) -> Option<(u8, u64, bool)> {
            self.0.iter().position(what).map(|place| self.0.remove(place))
        }

        fn oldest(&mut self, end: u64) -> Option<u8> {
            let new = self.0.iter().find(|(_, _, proven)| !proven).copied();
            let proven = self.0.iter().find(|(_, _, proven)| *proven).copied();
            let due = [new, proven].into_iter().flatten().find(|(_, used, _)| *used <= end)?;
            self.take(|entry| *entry == due).map(|(key, ..)| key)
        }
    }

    proptest! {
        #[test]
        fn sessions_leave_in_the_order_of_use_and_proven_ones_last(
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let (mut sessions, mut list) = (Sessions::new(), List::default());
            for (now, step) in (0..).zip(steps) {
                match step {
                    Step::Use(key) => {
                        let known = list.take(|(k, ..)| *k == key);
                        list.0.push((key, now, known.is_some_and(|(.., proven)| proven)));
                        prop_assert_eq!(sessions.touch(&key, now).copied(), known.map(|_| key));
                        if known.is_none() {
                            sessions.insert(key, key, now);
                        }
                    }
                    Step::Prove(key) => {
                        if list.take(|(k, ..)| *k == key).is_some() {
                            list.0.push((key, now, true));
                        }
                        sessions.prove(&key, now);
                    }
                    Step::Remove(key) => {
                        let known = list.take(|(k, ..)| *k == key);
                        prop_assert_eq!(sessions.remove(&key), known.map(|(key, ..)| key));
                    }
                    Step::Oldest => {
                        prop_assert_eq!(sessions.pop_oldest(), list.oldest(u64::MAX));
                    }
                    Step::Unused(for_long) => {
                        let end = now.saturating_sub(u64::from(for_long));
                        prop_assert_eq!(sessions.pop_unused_since(end), list.oldest(end));
                    }
                }
                prop_assert_eq!(sessions.len(), list.0.len());
                prop_assert_eq!(sessions.is_empty(), list.0.is_empty());
            }
        }
    }
}
