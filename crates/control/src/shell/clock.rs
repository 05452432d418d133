//! A clock that never goes back: the wall clock at the start plus the time since.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use waymark_model::Timestamp;

/// The time, in the core's terms and in the runtime's.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    started: Instant,
}

impl Clock {
    /// A clock that starts now, and not before `not_before`, the latest time on record.
    pub fn start(not_before: Timestamp) -> Clock {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = (Timestamp::ZERO + since).max(not_before);
        Clock { wall, started: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.wall + self.started.elapsed()
    }

    /// When the runtime's clock shows `at`. Whole milliseconds have to be over.
    pub fn instant(&self, at: Timestamp) -> Instant {
        self.started + at.since(self.wall).min(Duration::from_secs(86_400 * 365))
    }
}
