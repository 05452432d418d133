//! How long requests took, in fixed buckets: as Prometheus counts them, without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the buckets, in microseconds; the last bucket has none.
pub const BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// How long requests took. Written by the workers, read by statistics.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Latency {
    /// One request more.
    pub(crate) fn count(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// Requests in each bucket (not cumulated); the last one has no bound.
    pub fn buckets(&self) -> [u64; BOUNDS_US.len() + 1] {
        std::array::from_fn(|n| self.buckets.get(n).map_or(0, |bucket| bucket.load(Relaxed)))
    }

    /// The sum of all of them, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        // Beyond 2^53 µs, 285 years, the lowest digits are lost.
        self.sum_us.load(Relaxed) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let latency = Latency::default();
        for us in [0, 500, 501, 1_000, 10_000_000, 10_000_001, u64::MAX / 2] {
            latency.count(Duration::from_micros(us));
        }
        let buckets = latency.buckets();
        assert_eq!((buckets[0], buckets[1], buckets[13], buckets[14]), (2, 2, 1, 2));
        assert_eq!(buckets.iter().sum::<u64>(), 7);
    }
}
