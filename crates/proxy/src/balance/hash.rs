//! The same candidate for the same key, by rendezvous hashing (Thaler and Ravishankar, "A
//! Name-Based Mapping Scheme for Rendezvous"): every candidate has a score for the key, the highest
//! takes it.
//!
//! Chosen over a ring or Maglev's table because it needs neither memory nor building, is exactly
//! even, and moves no key but those of the candidate that came or went. A look at every candidate
//! costs a nanosecond each. All balancers score alike, over restarts too.

use std::net::IpAddr;

/// What a choice goes by, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    /// FNV-1a: stable over versions and machines, which the standard library's hash is not.
    pub(crate) fn of(bytes: &[u8]) -> Key {
        let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Key(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
    }

    /// Of an address; one written as IPv6 for IPv4 is that IPv4 address.
    pub(crate) fn of_address(address: IpAddr) -> Key {
        match address.to_canonical() {
            IpAddr::V4(v4) => Key::of(&v4.octets()),
            IpAddr::V6(v6) => Key::of(&v6.octets()),
        }
    }

    /// As a number, to score with.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// The candidate with the highest score for the key. Each has a number of its own; `None` takes no
/// part.
pub(crate) fn rendezvous(key: Key, candidates: impl Iterator<Item = Option<u64>>) -> Option<usize> {
    let scored = candidates
        .enumerate()
        .filter_map(|(position, own)| Some((mix(key.0 ^ mix(own?)), position)));
    scored.max_by_key(|(score, _)| *score).map(|(_, position)| position)
}

/// SplitMix64's finalizer: every bit of the result depends on every bit of the number.
fn mix(number: u64) -> u64 {
    let a = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    b ^ (b >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn own(n: usize) -> u64 {
        Key::of(format!("10_0_0_{n}_31000").as_bytes()).number()
    }

    fn pick(key: u32, who: &[bool]) -> Option<usize> {
        let candidates = who.iter().enumerate().map(|(n, takes_part)| takes_part.then(|| own(n)));
        rendezvous(Key::of(&key.to_be_bytes()), candidates)
    }

    proptest! {
        #[test]
        fn only_the_keys_of_the_leaving_one_move(
            who in prop::collection::vec(any::<bool>(), 1..12),
            leaving in any::<prop::sample::Index>(),
            key in any::<u32>(),
        ) {
            let leaving = leaving.index(who.len());
            let before = pick(key, &who);
            let mut without = who.clone();
            without[leaving] = false;
            let after = pick(key, &without);
            if before == Some(leaving) {
                prop_assert!(after.is_none_or(|p| without[p]));
            } else {
                prop_assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn keys_are_spread_evenly() {
        let mut times = [0u32; 10];
        for key in 0..100_000 {
            times[pick(key, &[true; 10]).unwrap()] += 1;
        }
        assert!(times.iter().all(|t| (9_500..10_500).contains(t)), "{times:?}");
    }

    #[test]
    fn a_key_is_the_same_everywhere() {
        assert_eq!(Key::of(b"abc").number(), 0xe71f_a219_0541_574b, "FNV-1a, published vector");
        let v4 = Key::of_address("10.0.0.1".parse().unwrap());
        assert_eq!(v4, Key::of_address("::ffff:10.0.0.1".parse().unwrap()));
    }
}
