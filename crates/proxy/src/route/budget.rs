//! How many retries a pool gets: a share of its traffic, so that a service in trouble is not asked
//! twice as much, and a few a second besides, so that one with little traffic gets any.
//!
//! Nothing is counted for a request that needs no retry: seats are counted anyway, and the budget
//! looks at their number when one is wanted.

use std::sync::{Mutex, PoisonError};

/// The time over which traffic is looked at, in milliseconds.
const WINDOW_MS: u64 = 10_000;

/// Retries that every pool gets, for each second of the window.
const FREE_PER_SECOND: u64 = 10;

/// The retries of one pool.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: u64,
    /// Seats that had been taken when it began.
    seats: u64,
    retries: u64,
}

impl RetryBudget {
    /// Whether one more retry is within `percent` of the traffic; if so it is counted. `seats` is
    /// the number taken so far, `now` in milliseconds.
    pub(crate) fn take(&self, percent: u32, seats: u64, now: u64) -> bool {
        // The numbers are whole whatever happened to who had the lock before.
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began == 0 || now.saturating_sub(window.began) > WINDOW_MS {
            *window = Window { began: now.max(1), seats, retries: 0 };
        }
        let traffic = seats.saturating_sub(window.seats);
        let allowed =
            traffic.saturating_mul(u64::from(percent)) / 100 + FREE_PER_SECOND * WINDOW_MS / 1000;
        let granted = percent > 0 && window.retries < allowed;
        window.retries += u64::from(granted);
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_the_traffic_and_a_few() {
        let budget = RetryBudget::default();
        let granted = |seats, now| (0..1000).filter(|_| budget.take(20, seats, now)).count();
        assert_eq!(granted(5_000, 1), 100, "what came before the first retry is not looked at");
        assert_eq!(granted(5_500, 2), 100, "a fifth of 500 more");
        assert_eq!(granted(5_500, 3), 0);
        assert_eq!(granted(5_500, 20_000), 100, "another window");
        assert!(!RetryBudget::default().take(0, 100, 1), "none at all");
    }
}
