//! Finding the apps that make HAProxy refuse a configuration, so that one bad app does not stop all others.
//!
//! marathon-lb adds apps one by one, with one HAProxy run for each. Here the longest beginning that HAProxy takes is found
//! by halving: the same apps are left out, after a number of runs that grows with the bad apps and not with all. Asks and
//! decides only; whoever calls renders and validates.

/// Longest search: with 10,000 apps a bad one costs 15 runs.
pub const MOST_RUNS: usize = 200;

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// HAProxy takes all without a change of these.
    Without(Vec<String>),
    /// HAProxy refuses even when every suspect is left as it was: no app is the reason.
    NoApp,
}

/// Finds which of the suspects to leave as they were. `takes` says whether HAProxy takes everything without the changes of
/// the apps it is given; it was refused with none left out.
///
/// When the limit of runs is reached, all suspects that were not yet found good are left out, in the belief that some of
/// them are fine but none is worth more runs now.
///
/// # Errors
/// Those of `takes`: then there is no result.
pub async fn search<E>(
    suspects: &[String],
    mut takes: impl AsyncFnMut(&[String]) -> Result<bool, E>,
) -> Result<Found, E> {
    if !takes(suspects).await? {
        return Ok(Found::NoApp);
    }
    let mut out: Vec<String> = Vec::new();
    let mut good = 0;
    let mut runs = 1;
    while good < suspects.len() && runs < MOST_RUNS {
        // With `low` suspects from the beginning let in it is taken; with `high` it is refused, or not known.
        let (mut low, mut high) = (good, suspects.len() + 1);
        if !out.is_empty() {
            runs += 1;
            if takes(&out).await? {
                return Ok(Found::Without(out));
            }
        }
        high -= 1;
        while high - low > 1 && runs < MOST_RUNS {
            let middle = low + (high - low) / 2;
            let left_out: Vec<String> =
                out.iter().chain(suspects.iter().skip(middle)).cloned().collect();
            runs += 1;
            if takes(&left_out).await? {
                low = middle;
            } else {
                high = middle;
            }
        }
        out.extend(suspects.get(low).cloned());
        good = low + 1;
    }
    out.extend(suspects.iter().skip(good).cloned());
    Ok(Found::Without(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Searches among `n` apps of which some are bad, and returns what was found and the number of runs.
    fn run(n: usize, bad: &[usize]) -> (Found, usize) {
        let name = |n: usize| format!("/app-{n:05}");
        let suspects: Vec<String> = (0..n).map(name).collect();
        let bad: BTreeSet<String> = bad.iter().map(|n| name(*n)).collect();
        let mut runs = 0;
        let takes = async |out: &[String]| {
            runs += 1;
            Ok::<_, ()>(bad.iter().all(|bad| out.contains(bad)))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(search(&suspects, takes)).unwrap();
        (found, runs)
    }

    #[test]
    fn bad_apps_are_found_in_few_runs() {
        for (n, bad) in [
            (1, vec![0]),
            (2, vec![1]),
            (7, vec![0, 3, 6]),
            (10_000, vec![9_999]),
            (10_000, vec![0]),
            (1000, vec![500, 501]),
        ] {
            let (found, runs) = run(n, &bad);
            let wanted: Vec<String> = bad.iter().map(|n| format!("/app-{n:05}")).collect();
            assert_eq!(found, Found::Without(wanted), "{bad:?} of {n}");
            let each = n.next_power_of_two().ilog2() as usize + 2;
            assert!(runs <= 1 + bad.len() * each, "{runs} runs for {bad:?} of {n}");
        }
    }

    #[test]
    fn a_fault_of_no_app_is_said() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found =
            runtime.block_on(search(&["/a".to_owned()], async |_: &[String]| Ok::<_, ()>(false)));
        assert_eq!(found, Ok(Found::NoApp));
    }

    #[test]
    fn too_many_bad_apps_end_the_search() {
        let bad: Vec<usize> = (0..500).collect();
        let (Found::Without(out), runs) = run(600, &bad) else { panic!() };
        assert!(runs <= MOST_RUNS + 1, "{runs}");
        assert_eq!(out.len(), 600);
    }
}
