//! Sessions in the order of their last use. Pure: time is an argument.

use std::collections::HashMap;
use std::hash::Hash;

/// Who has a session, and since when it is unused; the one unused for longest can be found at once.
#[derive(Debug)]
pub(crate) struct Sessions<K, V> {
    places: HashMap<K, usize, foldhash::fast::RandomState>,
    entries: Vec<Entry<K, V>>,
    /// The entry unused for longest.
    oldest: Option<usize>,
    newest: Option<usize>,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    used: u64,
    older: Option<usize>,
    newer: Option<usize>,
}

impl<K: Hash + Eq + Clone, V> Sessions<K, V> {
    pub(crate) fn new() -> Sessions<K, V> {
        Sessions { places: HashMap::default(), entries: Vec::new(), oldest: None, newest: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[cfg(test)]
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

    /// A new session, used now. The key must have none.
    pub(crate) fn insert(&mut self, key: K, value: V, now: u64) {
        let place = self.entries.len();
        self.places.insert(key.clone(), place);
        self.entries.push(Entry { key, value, used: now, older: None, newer: None });
        self.link_newest(place);
        debug_assert_eq!(self.places.len(), self.entries.len());
    }

    /// Takes the session of this key out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.places.remove(key)?;
        self.unlink(place);
        let removed = self.entries.swap_remove(place);
        // The last entry has moved into the gap: its neighbours and its key must know.
        if let Some(moved) = self.entries.get(place) {
            let (older, newer) = (moved.older, moved.newer);
            if let Some(known) = self.places.get_mut(&moved.key) {
                *known = place;
            }
            self.set_newer_of(older, Some(place));
            self.set_older_of(newer, Some(place));
        }
        Some(removed.value)
    }

    /// Takes the session out that is unused for longest.
    pub(crate) fn pop_oldest(&mut self) -> Option<V> {
        let key = self.entries.get(self.oldest?)?.key.clone();
        self.remove(&key)
    }

    /// Takes one session out that was last used at `end` or before.
    pub(crate) fn pop_unused_since(&mut self, end: u64) -> Option<V> {
        let used = self.entries.get(self.oldest?)?.used;
        (used <= end).then(|| self.pop_oldest()).flatten()
    }

    fn unlink(&mut self, place: usize) {
        let Some(entry) = self.entries.get(place) else { return };
        let (older, newer) = (entry.older, entry.newer);
        self.set_newer_of(older, newer);
        self.set_older_of(newer, older);
    }

    fn link_newest(&mut self, place: usize) {
        let before = self.newest;
        if let Some(entry) = self.entries.get_mut(place) {
            (entry.older, entry.newer) = (before, None);
        }
        self.set_newer_of(before, Some(place));
        self.newest = Some(place);
    }

    fn set_newer_of(&mut self, place: Option<usize>, newer: Option<usize>) {
        match place {
            None => self.oldest = newer,
            Some(place) => {
                if let Some(entry) = self.entries.get_mut(place) {
                    entry.newer = newer;
                }
            }
        }
    }

    fn set_older_of(&mut self, place: Option<usize>, older: Option<usize>) {
        match place {
            None => self.newest = older,
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
        Remove(u8),
        Oldest,
        Unused(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..12u8).prop_map(Step::Use),
            (0..12u8).prop_map(Step::Remove),
            Just(Step::Oldest),
            (0..40u8).prop_map(Step::Unused),
        ]
    }

    proptest! {
        /// The same as a list that is kept in order the slow way.
        #[test]
        fn sessions_leave_in_the_order_of_use(steps in prop::collection::vec(step(), 0..200)) {
            let mut sessions = Sessions::new();
            let mut list: Vec<(u8, u64)> = Vec::new();
            for (now, step) in (0..).zip(steps) {
                match step {
                    Step::Use(key) => {
                        let known = list.iter().position(|(k, _)| *k == key);
                        known.map(|place| list.remove(place));
                        list.push((key, now));
                        prop_assert_eq!(sessions.touch(&key, now).copied(), known.map(|_| key));
                        if known.is_none() {
                            sessions.insert(key, key, now);
                        }
                    }
                    Step::Remove(key) => {
                        let known = list.iter().position(|(k, _)| *k == key);
                        prop_assert_eq!(sessions.remove(&key), known.map(|p| list.remove(p).0));
                    }
                    Step::Oldest => {
                        let oldest = (!list.is_empty()).then(|| list.remove(0).0);
                        prop_assert_eq!(sessions.pop_oldest(), oldest);
                    }
                    Step::Unused(for_long) => {
                        let end = now.saturating_sub(u64::from(for_long));
                        let due = list.first().is_some_and(|(_, used)| *used <= end);
                        let oldest = due.then(|| list.remove(0).0);
                        prop_assert_eq!(sessions.pop_unused_since(end), oldest);
                    }
                }
                prop_assert_eq!((sessions.len(), sessions.is_empty()), (list.len(), list.is_empty()));
            }
        }
    }
}
