//! How long to pause before the next attempt (pure).

use std::time::Duration;

/// The pause after the first failure.
const FIRST: Duration = Duration::from_millis(100);

/// The pause after `failures` failures before the last one: doubled each time up to `max`, then
/// spread over the upper half by `chance` (0 to 1), so that many do not come back at once.
pub(crate) fn pause(failures: u32, max: Duration, chance: f64) -> Duration {
    let full = FIRST.saturating_mul(1 << failures.min(16)).min(max);
    full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit() {
        let max = Duration::from_secs(5);
        let of = |failures| pause(failures, max, 1.0);
        assert_eq!([of(0), of(1), of(4)], [100, 200, 1600].map(Duration::from_millis));
        assert_eq!([of(6), of(u32::MAX)], [max; 2]);
        assert_eq!(pause(0, max, 0.0), Duration::from_millis(50));
    }
}
