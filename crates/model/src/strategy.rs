//! How an app's tasks are replaced, delayed, chosen for killing and given up.

use std::time::Duration;

/// How far a replacement may go below and above the wanted number of instances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpgradeStrategy {
    /// Share (0..=1) of the instances that must stay healthy.
    pub minimum_health_capacity: f64,
    /// Share (0..=1) of instances that may run above the wanted number.
    pub maximum_over_capacity: f64,
}

impl Default for UpgradeStrategy {
    fn default() -> Self {
        UpgradeStrategy { minimum_health_capacity: 1.0, maximum_over_capacity: 1.0 }
    }
}

/// The delay before a crashed task is launched again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first delay (`backoffSeconds`, default 1 s).
    pub initial: Duration,
    /// The factor from one delay to the next (`backoffFactor`, default 1.15, at least 1).
    pub factor: f64,
    /// The longest delay (`maxLaunchDelaySeconds`, default 300 s).
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { initial: Duration::from_secs(1), factor: 1.15, max: Duration::from_secs(300) }
    }
}

/// Which tasks go first when an app is scaled down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KillSelection {
    /// `YOUNGEST_FIRST`
    #[default]
    YoungestFirst,
    /// `OLDEST_FIRST`
    OldestFirst,
}

/// What happens to tasks that cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreachableStrategy {
    /// `"disabled"`: never replaced.
    Disabled,
    /// Replaced, then forgotten, after the given times.
    Enabled {
        /// Until a replacement starts.
        inactive_after: Duration,
        /// Until the task is forgotten.
        expunge_after: Duration,
    },
}

impl Default for UnreachableStrategy {
    fn default() -> Self {
        UnreachableStrategy::Enabled {
            inactive_after: Duration::ZERO,
            expunge_after: Duration::ZERO,
        }
    }
}
