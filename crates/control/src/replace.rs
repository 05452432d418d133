//! Replacing tasks: which must leave and how many to launch, from what is wanted and what is there.
//!
//! ```text
//! app + its tasks ──► steps() ──► tasks to take out of service, number of launches
//! ```
//!
//! It is level-triggered: it looks at the present only, never at how it came about. A crash of the
//! control plane in the middle of a rolling upgrade therefore needs no recovery; the next call
//! simply goes on. Scaling, upgrading, restarting, stopping and replacing crashed tasks are all the
//! same function.
//!
//! The rules are Marathon's (`minimumHealthCapacity`, `maximumOverCapacity`, `killSelection`) with
//! one addition: a task that is told to leave drains before it is killed. It stops counting as
//! capacity when it starts to leave, and occupies room until it is gone.
//!
//! # Why no output can lose the last task
//!
//! An old task is told to leave only when enough new ones serve. Both facts are published by the
//! same writer, the second never before the first, and an output applies whole snapshots: one that
//! has "old is draining" from version *v* has "new is ready" from a version ≤ *v*, too. So the
//! order of versions alone guarantees that no output is left without a task, and steps need not
//! wait for outputs to catch up.

use std::cmp::Reverse;

use waymark_model::{App, KillSelection, Task, TaskId, TaskState};

use crate::AppTasks;

/// Why a task has to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// There are more tasks than wanted.
    Scale,
    /// It runs an older definition.
    Upgrade,
    /// Its app is no longer wanted.
    Stop,
    /// Its health checks failed too often.
    Unhealthy,
    /// It did not get to run in time.
    Overdue,
    /// Somebody asked for it.
    Request,
    /// Waymark itself is stopping.
    Shutdown,
    /// It was leaving when the control plane started, or is not known to it.
    Unknown,
}

impl Reason {
    /// All reasons, in order.
    pub const ALL: [Reason; 8] = [
        Reason::Scale,
        Reason::Upgrade,
        Reason::Stop,
        Reason::Unhealthy,
        Reason::Overdue,
        Reason::Request,
        Reason::Shutdown,
        Reason::Unknown,
    ];

    /// A short name for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Scale => "scale",
            Reason::Upgrade => "upgrade",
            Reason::Stop => "stop",
            Reason::Unhealthy => "unhealthy",
            Reason::Overdue => "overdue",
            Reason::Request => "request",
            Reason::Shutdown => "shutdown",
            Reason::Unknown => "unknown",
        }
    }
}

/// How many tasks of an app must serve and how many may exist while it is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Tasks that stay in service, old or new.
    pub min_serving: usize,
    /// Tasks that may exist at once, those that leave included.
    pub max_live: usize,
}

impl Capacity {
    /// `ceil(n·minimumHealthCapacity)` and `floor(n·(1 + maximumOverCapacity))`. When the two are
    /// equal nothing could move, so one more may exist, as Marathon does.
    ///
    /// When old tasks have a fixed host port that new ones need (`alone`), the two cannot run beside
    /// each other on one machine, whatever the strategy says: the old go first. (Marathon would wait
    /// for another agent for ever.)
    pub fn of(app: &App, alone: bool) -> Capacity {
        let n = app.instances as usize;
        if alone {
            return Capacity { min_serving: 0, max_live: n };
        }
        // Products such as 100 × 0.07 come out a hair above the whole number.
        const HAIR: f64 = 1e-9;
        let strategy = &app.upgrade_strategy;
        let min = (n as f64 * strategy.minimum_health_capacity.clamp(0.0, 1.0) - HAIR).ceil();
        let max =
            (n as f64 * (1.0 + strategy.maximum_over_capacity.clamp(0.0, 1.0)) + HAIR).floor();
        let (min_serving, max_live) = (min.max(0.0) as usize, (max as usize).max(n));
        let stuck = min_serving == max_live;
        Capacity { min_serving, max_live: max_live + usize::from(stuck) }
    }
}

/// What is to be done now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Tasks that must leave, and why.
    pub leave: Vec<(TaskId, Reason)>,
    /// How many tasks of the wanted definition to launch; backoff may allow fewer.
    pub launch: usize,
}

/// Whether the task runs the configuration of `app`. Scaling does not make a task outdated.
pub fn is_current(task: &Task, app: &App) -> bool {
    task.app.last_config_change_at == app.last_config_change_at
}

/// Whether the task has been told to leave.
pub fn is_leaving(task: &Task) -> bool {
    task.draining_since.is_some() || task.state == TaskState::Killing
}

/// Whether the task counts as a full replacement: it serves, and its readiness check has passed.
pub fn qualifies(task: &Task) -> bool {
    task.is_serving() && task.ready
}

/// Whether the task may have been given traffic: only then there is anything to drain.
pub fn has_served(task: &Task) -> bool {
    let succeeded = |r: &Option<waymark_model::HealthResult>| {
        r.as_ref().is_some_and(|r| r.alive || r.first_success.is_some())
    };
    task.state == TaskState::Running
        && (task.app.health_checks.is_empty() || task.health.iter().all(succeeded))
}

/// Whether `app` (`None` = not wanted) has exactly the tasks that are wanted, all qualified.
pub fn is_reached(app: Option<&App>, tasks: Option<&AppTasks>) -> bool {
    let count = tasks.map_or(0, AppTasks::len);
    let Some(app) = app else { return count == 0 };
    let right = |t: &Task| is_current(t, app) && !is_leaving(t) && qualifies(t);
    count == app.instances as usize && tasks.is_none_or(|tasks| tasks.values().all(|t| right(t)))
}

/// The next steps for one app. `app` is what is wanted, `None` when nothing is.
pub fn steps(app: Option<&App>, tasks: Option<&AppTasks>, capacity: Capacity) -> Steps {
    let staying = || tasks.into_iter().flat_map(AppTasks::values).filter(|t| !is_leaving(t));
    let Some(app) = app else {
        return Steps {
            leave: staying().map(|t| (t.id.clone(), Reason::Stop)).collect(),
            launch: 0,
        };
    };
    let n = app.instances as usize;
    let (mut current, mut old): (Vec<&Task>, Vec<&Task>) =
        staying().map(|t| &**t).partition(|t| is_current(t, app));
    // Tasks that leave take room, but a former scale-down must not keep a crashed task from being
    // replaced: no more of them count than are wanted.
    let all = tasks.map_or(0, AppTasks::len);
    let live = current.len() + old.len() + (all - current.len() - old.len()).min(n);
    let launch = n.saturating_sub(current.len()).min(capacity.max_live.saturating_sub(live));

    sort_for_leaving(&mut current, app.kill_selection);
    let surplus = current.len().saturating_sub(n);
    let mut leave: Vec<_> =
        current.drain(..surplus).map(|t| (t.id.clone(), Reason::Scale)).collect();

    sort_for_leaving(&mut old, app.kill_selection);
    let serving = current.iter().filter(|t| qualifies(t)).count();
    let outdated = leaving_old(&old, serving, capacity.min_serving);
    leave.extend(old.iter().take(outdated).map(|t| (t.id.clone(), Reason::Upgrade)));
    Steps { leave, launch }
}

/// How many of `old`, which is sorted for leaving, may go when `serving` new tasks qualify.
///
/// Those that do not run are no capacity. Of those that run, `min_serving` stay together with the
/// new ones, whether or not they are healthy at this moment: a moment of bad health of all of them
/// at the start of an upgrade must not end them all. The unhealthy go first, so a serving task goes
/// only while at least `min_serving` others serve.
fn leaving_old(old: &[&Task], serving: usize, min_serving: usize) -> usize {
    let running = old.iter().filter(|t| t.state == TaskState::Running).count();
    let spare = (running + serving).saturating_sub(min_serving).min(running);
    old.len() - running + spare
}

/// Sorts by who leaves first: staging, starting, running without serving, not ready yet, then by the
/// app's kill selection. (Marathon does not look at health here; a task that serves is worth more.)
fn sort_for_leaving(tasks: &mut [&Task], selection: KillSelection) {
    let rank = |t: &Task| match t.state {
        TaskState::Staging => 0,
        TaskState::Starting => 1,
        _ if !t.is_serving() => 2,
        _ if !t.ready => 3,
        _ => 4,
    };
    match selection {
        KillSelection::YoungestFirst => {
            tasks.sort_by_key(|t| (rank(t), Reverse((t.staged_at, t.id.clone()))));
        }
        KillSelection::OldestFirst => {
            tasks.sort_by_key(|t| (rank(t), t.staged_at, t.id.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
