//! In turn, at random, and the first.

/// The candidate whose turn it is, of `count`. A turn that falls on one that takes no part goes to
/// the others evenly, not always to the neighbour, which would get twice its share.
pub(crate) fn round_robin(
    count: usize,
    turn: u32,
    takes_part: impl Fn(usize) -> bool,
) -> Option<usize> {
    let due = usize::try_from(turn).unwrap_or(0).checked_rem(count)?;
    if takes_part(due) {
        return Some(due);
    }
    let others = (0..count).filter(|position| takes_part(*position)).count();
    // By the round and not by the turn: the turns that fall on one candidate have one remainder.
    let round = usize::try_from(turn).unwrap_or(0) / count;
    let nth = (round + due).checked_rem(others)?;
    (0..count).filter(|position| takes_part(*position)).nth(nth)
}

/// Any candidate, each as likely as another. `below(n)` is a random number from 0 to n - 1.
pub(crate) fn random(
    count: usize,
    mut below: impl FnMut(usize) -> usize,
    takes_part: impl Fn(usize) -> bool,
) -> Option<usize> {
    if count == 0 {
        return None;
    }
    let drawn = below(count);
    if takes_part(drawn) {
        return Some(drawn);
    }
    let others = (0..count).filter(|position| takes_part(*position)).count();
    let nth = if others == 0 { return None } else { below(others) };
    (0..count).filter(|position| takes_part(*position)).nth(nth)
}

/// The first candidate that takes part.
pub(crate) fn first(count: usize, takes_part: impl Fn(usize) -> bool) -> Option<usize> {
    (0..count).find(|position| takes_part(*position))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_takes_part() {
        assert_eq!(round_robin(0, 7, |_| true), None);
        assert_eq!(round_robin(3, 7, |_| false), None);
        assert_eq!(random(0, |_| 0, |_| true), None);
        assert_eq!(first(3, |_| false), None);
        assert_eq!(first(3, |p| p > 0), Some(1));
    }

    proptest! {
        #[test]
        fn turns_are_shared_evenly(who in prop::collection::vec(any::<bool>(), 1..9)) {
            let taking_part = who.iter().filter(|w| **w).count();
            prop_assume!(taking_part > 0);
            // After a round for every number of those who might replace, all have had the same.
            let turns = who.len() * taking_part;
            let mut times = vec![0usize; who.len()];
            for turn in 0..turns {
                times[round_robin(who.len(), turn as u32, |p| who[p]).unwrap()] += 1;
            }
            for (times, takes_part) in times.iter().zip(&who) {
                prop_assert_eq!(*times, if *takes_part { who.len() } else { 0 });
            }
        }
    }
}
