//! The one with the fewest open requests or connections.

/// The position of the candidate with the fewest connections; among equals each is as likely.
/// `below(n)` is a random number from 0 to n - 1. A candidate with `None` takes no part. `None`
/// when nobody takes part.
///
/// Each load is read once: other threads change them meanwhile.
pub(crate) fn least_connections(
    loads: impl Iterator<Item = Option<u32>>,
    mut below: impl FnMut(u32) -> u32,
) -> Option<usize> {
    let mut best: Option<(u32, usize)> = None;
    let mut equals = 0;
    for (position, load) in loads.enumerate() {
        let Some(load) = load else { continue };
        match best {
            Some((least, _)) if load > least => {}
            Some((least, _)) if load == least => {
                // The nth of n equals takes the place of the one before with a chance of 1 in n.
                equals += 1;
                if below(equals) == 0 {
                    best = Some((load, position));
                }
            }
            _ => {
                equals = 1;
                best = Some((load, position));
            }
        }
    }
    best.map(|(_, position)| position)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pick(loads: &[Option<u32>]) -> Option<usize> {
        least_connections(loads.iter().copied(), |_| 0)
    }

    #[test]
    fn picks_the_least_loaded() {
        assert_eq!(pick(&[]), None);
        assert_eq!(pick(&[None, None]), None);
        assert_eq!(pick(&[Some(3), Some(1), Some(2)]), Some(1));
        assert_eq!(pick(&[Some(3), None, Some(4)]), Some(0));
    }

    #[test]
    fn loads_may_change_while_they_are_looked_at() {
        let mut load = 10;
        let falling = std::iter::repeat_with(|| {
            load -= 1;
            Some(load)
        });
        assert_eq!(least_connections(falling.take(5), |_| 0), Some(4));
    }

    proptest! {
        #[test]
        fn ties_are_spread_evenly(loads in prop::collection::vec(prop::option::of(0u32..3), 1..7)) {
            let Some(least) = loads.iter().copied().flatten().min() else { return Ok(()) };
            // What is drawn below depends on the loads alone, so all outcomes can be gone through.
            let mut bounds = Vec::new();
            least_connections(loads.iter().copied(), |n| { bounds.push(n); 0 });
            let outcomes: u32 = bounds.iter().product();
            let mut times = vec![0u32; loads.len()];
            for mut outcome in 0..outcomes {
                let draw = |n| { let drawn = outcome % n; outcome /= n; drawn };
                times[least_connections(loads.iter().copied(), draw).unwrap()] += 1;
            }
            let tied = loads.iter().filter(|load| **load == Some(least)).count() as u32;
            for (load, times) in loads.iter().zip(times) {
                prop_assert_eq!(times, if *load == Some(least) { outcomes / tied } else { 0 });
            }
        }
    }
}
