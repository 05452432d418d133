//! Where a name is found: a persistent hash table from names to entries of contributors.
//!
//! Two levels: shards chosen by the hash's low bits, each a list sorted by the hash, so that its
//! high bits tell about where to look. Copies share their shards; a change copies the shards it
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
    pub fn candidates(&self, name: &[u8]) -> impl Iterator<Item = Place> {
        let hash = self.hash(name);
        let shard = self.shards.get(self.shard_of(hash)).map_or(&[][..], |shard| shard);
        let from = shard.get(first_of(shard, hash)..).unwrap_or_default();
        from.iter().take_while(move |(h, _)| *h == hash).map(|(_, place)| *place)
    }

    /// Adds an entry.
    pub fn insert(&mut self, name: &[u8], place: Place) {
        if self.len >= self.shards.len() * SHARD_ENTRIES {
            self.grow();
        }
        let hash = self.hash(name);
        if let Some(shard) = self.shard_mut(hash)
            && let Err(at) = shard.binary_search(&(hash, place))
        {
            let (before, behind) = shard.split_at(at);
            *shard = before.iter().chain(&[(hash, place)]).chain(behind).copied().collect();
            self.len += 1;
        }
    }

    /// Removes an entry.
    pub fn remove(&mut self, name: &[u8], place: Place) {
        let hash = self.hash(name);
        if let Some(shard) = self.shard_mut(hash)
            && let Ok(at) = shard.binary_search(&(hash, place))
        {
            let (before, from) = shard.split_at(at);
            let behind = from.get(1..).unwrap_or_default();
            *shard = before.iter().chain(behind).copied().collect();
            self.len -= 1;
        }
    }

    fn hash(&self, name: &[u8]) -> u32 {
        // The low half; any part of this hash is as good as another.
        self.hasher.hash_one(name) as u32
    }

    /// The low bits choose the shard, so that doubling splits each in two.
    fn shard_of(&self, hash: u32) -> usize {
        hash as usize & (self.shards.len() - 1)
    }

    fn shard_mut(&mut self, hash: u32) -> Option<&mut Shard> {
        let shard = self.shard_of(hash);
        Arc::make_mut(&mut self.shards).get_mut(shard)
    }

    fn grow(&mut self) {
        let bit = self.shards.len();
        let half = |high: bool| {
            self.shards.iter().map(move |shard| {
                let keep = |(hash, _): &&(u32, Place)| (*hash as usize & bit != 0) == high;
                shard.iter().filter(keep).copied().collect::<Shard>()
            })
        };
        self.shards = half(false).chain(half(true)).collect();
    }
}

/// The place of the first entry with at least this hash. Hashes are spread evenly, so a proportion
/// leads close to it.
fn first_of(shard: &[(u32, Place)], hash: u32) -> usize {
    let mut at = ((u64::from(hash) * shard.len() as u64) >> 32) as usize;
    let less = |at: usize| shard.get(at).is_some_and(|(h, _)| *h < hash);
    while less(at) {
        at += 1;
    }
    while at > 0 && !less(at - 1) {
        at -= 1;
    }
    at
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
            steps in prop::collection::vec((any::<bool>(), 0u16..400, 0u32..3), 1..600),
            seed: u64,
        ) {
            let mut index = Index::new(seed);
            let mut model = BTreeSet::new();
            let mut copies = Vec::new();
            for (n, (add, name, entry)) in steps.into_iter().enumerate() {
                let place = Place { slot: 0, entry };
                if add {
                    index.insert(&name.to_be_bytes(), place);
                    model.insert((name, place));
                } else {
                    index.remove(&name.to_be_bytes(), place);
                    model.remove(&(name, place));
                }
                if n % 97 == 0 {
                    copies.push((index.clone(), model.clone()));
                }
            }
            copies.push((index, model));
            for (index, model) in copies {
                prop_assert_eq!(index.len(), model.len());
                for name in 0u16..400 {
                    for entry in 0..3 {
                        let place = Place { slot: 0, entry };
                        prop_assert_eq!(
                            index.candidates(&name.to_be_bytes()).any(|p| p == place),
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
        for name in 0..names {
            index.insert(&name.to_be_bytes(), Place { slot: name, entry: 0 });
        }
        assert!(index.shards.len() * SHARD_ENTRIES >= names as usize);
        for name in 0..names {
            assert!(index.candidates(&name.to_be_bytes()).any(|p| p.slot == name));
        }
    }
}
