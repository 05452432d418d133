//! The delay before a crashed task is launched again, as Marathon counts it.
//!
//! A task that ends by itself makes the delay longer; each step forward of any task of the app moves
//! the reference to now. Entries live in [`crate::State::delays`]; they do not survive a restart.

use std::time::Duration;

use waymark_model::{Backoff, Timestamp};

use crate::Delay;

/// The delay after one more crash.
pub fn after_crash(delay: Option<&Delay>, backoff: &Backoff, now: Timestamp) -> Delay {
    let next = match delay {
        None => backoff.initial,
        Some(d) => times(d.delay, backoff.factor).unwrap_or(backoff.max),
    };
    Delay { delay: next.min(backoff.max), reference: now }
}

/// The delay after a task of the app got one step further.
pub fn after_progress(delay: Delay, now: Timestamp) -> Delay {
    Delay { reference: now, ..delay }
}

/// From when the next launch is allowed.
pub fn until(delay: &Delay) -> Timestamp {
    delay.reference + delay.delay
}

/// From when the delay is forgotten.
pub fn expires(delay: &Delay, backoff: &Backoff) -> Timestamp {
    delay.reference + backoff.max + Duration::from_millis(1)
}

fn times(span: Duration, factor: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(span.as_secs_f64() * factor.max(1.0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_maximum_and_no_further() {
        let backoff = Backoff { factor: 2.0, max: Duration::from_secs(5), ..Backoff::default() };
        let mut delay = None;
        for want in [1, 2, 4, 5, 5] {
            delay = Some(after_crash(delay.as_ref(), &backoff, Timestamp(7_000)));
            assert_eq!(delay.unwrap().delay, Duration::from_secs(want));
        }
        assert_eq!(until(&delay.unwrap()), Timestamp(12_000));
        let moved = after_progress(delay.unwrap(), Timestamp(8_000));
        assert_eq!(until(&moved), Timestamp(13_000));
        let huge = Backoff { factor: 1e300, ..backoff };
        assert_eq!(after_crash(Some(&moved), &huge, Timestamp(0)).delay, backoff.max);
    }

    #[test]
    fn never_longer_than_the_maximum_from_the_start() {
        let backoff = Backoff { initial: Duration::from_secs(9), max: Duration::ZERO, factor: 1.0 };
        assert_eq!(after_crash(None, &backoff, Timestamp(0)).delay, Duration::ZERO);
    }
}
