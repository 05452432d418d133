//! The shell around [`Schedule`]: makes what is due, a bounded number at a time, and reports.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use tracing::debug;
use waymark_model::{TaskId, Timestamp};

use crate::probe::{Client, CommandRunner, Finding};
use crate::schedule::{Due, Schedule};
use crate::state::{Outcome, Response};
use crate::target::{CheckId, Target};

/// How many probes are made at once by default; the others wait their turn (Marathon's
/// `--max_concurrent_marathon_health_checks`).
pub const MAX_CONCURRENT: usize = 256;

/// Settings of a [`Prober`].
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How many probes are made at once, at least 1.
    pub max_concurrent: usize,
    /// Where the randomness that spreads probes over time begins.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config { max_concurrent: MAX_CONCURRENT, seed: 0 }
    }
}

/// What one probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// The task.
    pub task: TaskId,
    /// Which of its checks.
    pub check: CheckId,
    /// What was found.
    pub outcome: Outcome,
    /// The answer; for readiness checks only, and only if there was one.
    pub response: Option<Response>,
    /// When the probe ended.
    pub at: Timestamp,
    /// How long it took.
    pub latency: Duration,
}

/// Probes tasks until they are forgotten. Dropping it ends all probing.
///
/// Reports of one check come in the order of its probes. A full report channel slows probing down.
/// A report may still arrive just after its task was forgotten.
pub struct Prober {
    shared: Arc<Shared>,
    driver: AbortHandle,
}

struct Shared {
    schedule: Mutex<Schedule>,
    /// The schedule has got something that may be due before what the driver waits for.
    wake: Notify,
    /// One permit a probe being made.
    limit: Arc<Semaphore>,
    client: Client,
    reports: mpsc::Sender<ProbeReport>,
}

impl Prober {
    /// Starts probing on the current tokio runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(
        config: Config,
        runner: Arc<dyn CommandRunner>,
        reports: mpsc::Sender<ProbeReport>,
    ) -> Prober {
        let permits = config.max_concurrent.clamp(1, Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            schedule: Mutex::new(Schedule::new(config.seed)),
            wake: Notify::new(),
            limit: Arc::new(Semaphore::new(permits)),
            client: Client::new(runner),
            reports,
        });
        let driver = tokio::spawn(drive(shared.clone())).abort_handle();
        Prober { shared, driver }
    }

    /// Probes a task from now on, the first time at once. Replaces an earlier watch of the task.
    pub fn watch(&self, target: Target) {
        self.shared.schedule().watch(target, Instant::now());
        self.shared.wake.notify_one();
    }

    /// Probes a task no longer. Unknown tasks are no error.
    pub fn forget(&self, task: &TaskId) {
        self.shared.schedule().forget(task);
    }

    /// How many checks are being watched.
    pub fn watched(&self) -> usize {
        self.shared.schedule().len()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Shared {
    /// No code panics while it holds the lock, so a poisoned schedule is as good as any.
    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next probe to make.
    async fn due(&self) -> Due {
        loop {
            let (due, next) = {
                let mut schedule = self.schedule();
                (schedule.take_due(Instant::now()), schedule.next_due())
            };
            match (due, next) {
                (Some(due), _) => return due,
                // Whether it is time or something new came: look again.
                (None, Some(at)) => drop(timeout_at(at, self.wake.notified()).await),
                (None, None) => self.wake.notified().await,
            }
        }
    }
}

/// Makes probes as they become due. Those being made end with this.
async fn drive(shared: Arc<Shared>) {
    let mut running = JoinSet::new();
    while let Ok(permit) = shared.limit.clone().acquire_owned().await {
        let due = shared.due().await;
        while running.try_join_next().is_some() {}
        running.spawn(make(shared.clone(), due, permit));
    }
}

/// Makes one probe, reports it, and schedules the next.
async fn make(shared: Arc<Shared>, due: Due, _permit: OwnedSemaphorePermit) {
    let Finding { outcome, response } = shared.client.probe(&due.task, &due.probe).await;
    let success = outcome == Outcome::Success;
    debug!(task = %due.task, check = ?due.probe.check, ?outcome, "probed");
    if shared.schedule().is_watched(due.id) {
        let report = ProbeReport {
            task: due.task.clone(),
            check: due.probe.check,
            outcome,
            response,
            at: wall_clock(),
            latency: due.begun.elapsed(),
        };
        // The receiver is gone when Waymark stops.
        let _ = shared.reports.send(report).await;
    }
    shared.schedule().finish(&due, success, Instant::now());
    shared.wake.notify_one();
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::ZERO + since
}

#[cfg(test)]
mod tests;
