//! The changes: a task of the measured app ends, its replacement becomes healthy.

use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::cluster::{Cluster, SRV_NAME, host_port};
use crate::usage;
use crate::watch::Watcher;

/// Changes before those that count.
const WARM_UP: usize = 20;
/// Changes whose latency is measured.
const CHANGES: usize = 1_000;
/// Changes over which processor time is counted.
const COUNTED: usize = 500;

/// Latencies until the first DNS answer with the task, and until the first connection to it.
pub fn latencies(cluster: &mut Cluster) -> Outcome<[Vec<Duration>; 2]> {
    let by_name = Watcher::of_name(cluster.dns, SRV_NAME)?;
    let by_port = Watcher::of_service(cluster.service()?);
    let mut latencies = [Vec::new(), Vec::new()];
    for change in 0..WARM_UP + CHANGES {
        let task = cluster.replace_oldest()?;
        let port = host_port(&task)?;
        by_name.look_for(port)?;
        by_port.look_for(port)?;
        // They are under way, in no fixed step with what follows.
        sleep(Duration::from_micros(1_000 + change as u64 * 37 % 1_000));
        let healthy = Instant::now();
        cluster.become_healthy(&task);
        for (watcher, latencies) in [&by_name, &by_port].into_iter().zip(&mut latencies) {
            let found = watcher.found()?;
            if found < healthy {
                return Err("a task was found before it was healthy".into());
            }
            if change >= WARM_UP {
                latencies.push(found - healthy);
            }
        }
        cluster.wait_until_served(&task)?;
    }
    Ok(latencies)
}

/// Processor time of the whole process for one change, from the end of a task until its
/// replacement is served. Nobody asks meanwhile.
pub fn cost(cluster: &mut Cluster) -> Outcome<Duration> {
    let before = usage::cpu_time()?;
    for _ in 0..COUNTED {
        let task = cluster.replace_oldest()?;
        cluster.become_healthy(&task);
        cluster.wait_until_served(&task)?;
    }
    Ok((usage::cpu_time()? - before) / u32::try_from(COUNTED)?)
}

/// Median, 99th percentile and maximum, shown in milliseconds.
pub struct Spread(Duration, Duration, Duration);

impl Spread {
    /// The spread of these values.
    pub fn of(mut values: Vec<Duration>) -> Spread {
        values.sort();
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).saturating_sub(1);
            values.get(rank).copied().unwrap_or_default()
        };
        Spread(at(50), at(99), at(100))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [self.0, self.1, self.2].map(|d| d.as_secs_f64() * 1e3);
        write!(f, "{p50:.2} / {p99:.2} / {max:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(Spread::of(values).to_string(), "100.00 / 198.00 / 200.00");
        assert_eq!(Spread::of(Vec::new()).to_string(), "0.00 / 0.00 / 0.00");
    }
}
