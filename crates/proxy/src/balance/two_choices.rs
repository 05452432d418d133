//! The better of two random ones: nearly as even as looking at all, at the cost of two looks, and
//! without every balancer running to the same best one at once (Mitzenmacher, "The Power of Two
//! Choices in Randomized Load Balancing").

/// The cheaper of two random candidates of `count`; with one of the two not taking part (`None`),
/// the other; with neither, the cheapest of all. `below(n)` is a random number from 0 to n - 1.
pub(crate) fn two_choices(
    count: usize,
    mut below: impl FnMut(u32) -> u32,
    cost: impl Fn(usize) -> Option<f32>,
) -> Option<usize> {
    let drawn = u32::try_from(count).ok().filter(|n| *n > 0)?;
    let a = usize::try_from(below(drawn)).ok()?;
    if drawn > 1 {
        let b = usize::try_from(below(drawn - 1)).ok()?;
        let b = if b >= a { b + 1 } else { b };
        match (cost(a), cost(b)) {
            (Some(of_a), Some(of_b)) => return Some(if of_b < of_a { b } else { a }),
            (Some(_), None) => return Some(a),
            (None, Some(_)) => return Some(b),
            (None, None) => {}
        }
    }
    let all = (0..count).filter_map(|position| Some((cost(position)?, position)));
    all.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, position)| position)
}

/// The cost of a further request to a task: what one takes, times how many it would then have
/// (as Finagle's peak EWMA balancer does). `latency` in any unit.
pub(crate) fn peak_ewma(latency: f32, in_flight: u32) -> f32 {
    latency * (in_flight as f32 + 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_dearest_is_never_picked_and_those_left_out_neither(
            costs in prop::collection::vec(prop::option::of(0u8..250), 2..9),
            draws in prop::collection::vec(any::<u32>(), 2),
        ) {
            let mut draws = draws.into_iter();
            let cost = |p: usize| costs[p].map(f32::from);
            let picked = two_choices(costs.len(), |n| draws.next().unwrap() % n, cost);
            let Some(picked) = picked else {
                prop_assert!(costs.iter().all(Option::is_none));
                return Ok(());
            };
            prop_assert!(costs[picked].is_some());
            if costs.iter().all(Option::is_some) {
                let cheaper_or_equal = costs.iter().filter(|c| **c >= costs[picked]).count();
                prop_assert!(cheaper_or_equal >= 2, "better than at least one other, or equal");
            }
        }
    }

    #[test]
    fn a_slow_task_gets_little() {
        // Four tasks, one ten times as slow; requests stay as long as they take.
        let latency = [1.0, 1.0, 10.0, 1.0];
        let mut in_flight = [0u32; 4];
        let mut ends: Vec<(u32, usize)> = Vec::new();
        let mut times = [0u32; 4];
        let mut seed = 7u32;
        let mut below = |n: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % n
        };
        for now in 0..10_000u32 {
            ends.retain(|(end, task)| {
                let open = *end > now;
                in_flight[*task] -= u32::from(!open);
                open
            });
            let cost = |p: usize| Some(peak_ewma(latency[p], in_flight[p]));
            let task = two_choices(4, &mut below, cost).unwrap();
            times[task] += 1;
            in_flight[task] += 1;
            ends.push((now + 10 * latency[task] as u32, task));
        }
        assert!(times[2] * 4 < times[0], "{times:?}");
    }
}
