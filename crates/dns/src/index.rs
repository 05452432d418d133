//! Where a name is found: a persistent hash table from names to entries of contributors.
//!
//! Two levels: shards chosen by the hash's high bits, each a list sorted by the hash, so that its
//! other bits tell about where to look. Copies share their shards; a change copies the shards it
//! touches (a few kilobytes each) and the list of shards. Entries hold 12 bytes and no name: the
//! finder compares the name where it is kept.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::FixedState;

/// Where an entry is: which contributor, which of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The contributor.
    pub slot: u32,
    /// The place of the entry in its table.
    pub entry: u32,
}

/// Entries in order of their hashes.
type Shard = Arc<[(u32, Place)]>;

/// The table.
#[derive(Clone)]
pub struct Index {
    /// Seeded, so that no set of app names lands in one shard on purpose.
    hasher: FixedState,
    /// A power of two of them.
    shards: Arc<[Shard]>,
    len: usize,
}

const FIRST_SHARDS: usize = 16;
/// More than this many entries a shard on average double the number of shards. A change copies so
/// many entries for each name, and a pointer for each shard: at 200,000 names these balance.
const SHARD_ENTRIES: usize = 192;

impl Index {
    /// An empty table.
    pub fn new(seed: u64) -> Index {
        let empty = Shard::default();
        Index {
            hasher: FixedState::with_seed(seed),
            shards: std::iter::repeat_n(empty, FIRST_SHARDS).collect(),
            len: 0,
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The places that may have the name: all that do, and seldom one that does not.
    pub fn candidates(&self, name: &[u8]) -> &[(u32, Place)] {
        let hash = self.hash(name);
        let shard = self.shards.get(self.shard_of(hash)).map_or(&[][..], |shard| shard);
        let from = shard.get(self.first_of(shard, hash)..).unwrap_or_default();
        let length = from.iter().take_while(|(h, _)| *h == hash).count();
        from.get(..length).unwrap_or_default()
    }

    /// All places, those of one hash side by side.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Place)> {
        self.shards.iter().flat_map(|shard| shard.iter().copied())
    }

    /// The hash by which a name is found.
    pub fn hash(&self, name: &[u8]) -> u32 {
        // The low half; any part of this hash is as good as another.
        self.hasher.hash_one(name) as u32
    }

    /// Removes and adds entries, given by the hashes of their names. Touches each shard once.
    pub fn change(&mut self, mut removed: Vec<(u32, Place)>, mut added: Vec<(u32, Place)>) {
        // Stable sorts make use of what is sorted already.
        removed.sort();
        added.sort();
        while self.len + added.len() > self.shards.len() * SHARD_ENTRIES + removed.len() {
            self.grow();
        }
        let (mut removed, mut added) = (&removed[..], &added[..]);
        let mut shards = std::mem::take(&mut self.shards);
        if !removed.is_empty() || !added.is_empty() {
            let list = Arc::make_mut(&mut shards);
            let shift = shift(list.len());
            while let Some((hash, _)) = removed.first().into_iter().chain(added.first()).min() {
                let number = hash >> shift;
                let ends =
                    |list: &[(u32, Place)]| list.partition_point(|(h, _)| h >> shift == number);
                let (remove, removed_rest) = removed.split_at(ends(removed));
                let (add, added_rest) = added.split_at(ends(added));
                (removed, added) = (removed_rest, added_rest);
                if let Some(shard) = list.get_mut(number as usize) {
                    self.len -= shard.len();
                    *shard = merge(shard, remove, add);
                    self.len += shard.len();
                }
            }
        }
        self.shards = shards;
    }

    /// The high bits choose the shard, so that doubling splits each in two neighbours.
    fn shard_of(&self, hash: u32) -> usize {
        (hash >> shift(self.shards.len())) as usize
    }

    fn grow(&mut self) {
        let shift = shift(self.shards.len() * 2);
        let halves = self.shards.iter().flat_map(|shard| {
            let (low, high) = shard.split_at(shard.partition_point(|(h, _)| h >> shift & 1 == 0));
            [Shard::from(low), Shard::from(high)]
        });
        self.shards = halves.collect();
    }

    /// The place in a shard of the first entry with at least this hash. Hashes are spread evenly,
    /// so a proportion leads close to it.
    fn first_of(&self, shard: &[(u32, Place)], hash: u32) -> usize {
        let within = u64::from(hash) & ((1 << shift(self.shards.len())) - 1);
        let mut at = ((within * shard.len() as u64) >> shift(self.shards.len())) as usize;
        let less = |at: usize| shard.get(at).is_some_and(|(h, _)| *h < hash);
        while less(at) {
            at += 1;
        }
        while at > 0 && !less(at - 1) {
            at -= 1;
        }
        at
    }
}

/// What remains of 32 bits below those that tell so many shards apart.
fn shift(shards: usize) -> u32 {
    u32::BITS - shards.trailing_zeros()
}

/// A sorted list without some of its entries and with some more, all sorted.
fn merge(list: &[(u32, Place)], removed: &[(u32, Place)], added: &[(u32, Place)]) -> Shard {
    let mut removed = removed.iter().peekable();
    let mut added = added.iter().peekable();
    let mut merged = Vec::with_capacity(list.len() + added.len());
    for entry in list {
        while removed.next_if(|gone| *gone < entry).is_some() {}
        while let Some(new) = added.next_if(|new| *new <= entry) {
            merged.push(*new);
        }
        if removed.next_if_eq(&entry).is_none() && merged.last() != Some(entry) {
            merged.push(*entry);
        }
    }
    merged.extend(added);
    merged.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Behaves as a set of (name, place), and copies stay as they were.
        #[test]
        fn is_a_set(
            steps in prop::collection::vec(
                prop::collection::vec((any::<bool>(), 0u16..400, 0u32..3), 0..60), 1..30),
            seed: u64,
        ) {
            let mut index = Index::new(seed);
            let mut model = BTreeSet::new();
            let mut copies = Vec::new();
            for (n, step) in steps.into_iter().enumerate() {
                // What is removed is there, what is added is not.
                let (mut removed, mut added) = (BTreeSet::new(), BTreeSet::new());
                for (add, name, entry) in step {
                    let item = (name, Place { slot: 0, entry });
                    match add {
                        true if !model.contains(&item) => added.insert(item),
                        false if model.contains(&item) => removed.insert(item),
                        _ => false,
                    };
                }
                let hashed = |items: &BTreeSet<(u16, Place)>| -> Vec<(u32, Place)> {
                    let hash = |(name, place): &(u16, Place)| (index.hash(&name.to_be_bytes()), *place);
                    items.iter().map(hash).collect()
                };
                let (gone, new) = (hashed(&removed), hashed(&added));
                index.change(gone, new);
                model = model.difference(&removed).chain(&added).copied().collect();
                if n % 7 == 0 {
                    copies.push((index.clone(), model.clone()));
                }
            }
            copies.push((index, model));
            for (index, model) in copies {
                prop_assert_eq!(index.len(), model.len());
                prop_assert_eq!(index.iter().count(), model.len());
                prop_assert!(index.iter().is_sorted());
                for name in 0u16..400 {
                    for entry in 0..3 {
                        let place = Place { slot: 0, entry };
                        prop_assert_eq!(
                            index.candidates(&name.to_be_bytes()).iter().any(|(_, p)| *p == place),
                            model.contains(&(name, place))
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn grows() {
        let mut index = Index::new(1);
        let names = 40_000u32;
        let entry = |index: &Index, name: u32| {
            (index.hash(&name.to_be_bytes()), Place { slot: name, entry: 0 })
        };
        for name in 0..names / 2 {
            index.change(Vec::new(), vec![entry(&index, name)]);
        }
        let rest = (names / 2..names).map(|name| entry(&index, name)).collect();
        index.change(Vec::new(), rest);
        assert!(index.shards.len() * SHARD_ENTRIES >= names as usize);
        for name in 0..names {
            assert!(index.candidates(&name.to_be_bytes()).iter().any(|(_, p)| p.slot == name));
        }
        let all = (0..names).map(|name| entry(&index, name)).collect();
        index.change(all, Vec::new());
        assert_eq!(index.len(), 0);
    }
}
