//! How a task leaves: out of service, drained, killed.
//!
//! ```text
//! leave() ──► draining ──(Drained, or drain_timeout)──► Killing ──► terminal status
//!     └── never served, unhealthy, overdue, shutdown ────►┘
//! ```
//!
//! A draining task has left names and routing; connections that are open may finish. Whatever
//! makes waiting pointless or harmful skips the drain. To others it is being killed from the moment
//! at which it begins to drain ([`Task::told_state`]), and that is announced once.

use std::sync::Arc;

use waymark_model::{AppId, Task, TaskId, TaskState, Timestamp};

use super::effects::Kill;
use super::{Context, Core, DEFAULT_KILL_GRACE, Happening, KILL_RETRY};
use crate::replace::{self, Reason};

/// What is remembered of a task that leaves.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    reason: Reason,
    /// When its kill was last ordered; `None` while it drains.
    killed_at: Option<Timestamp>,
}

impl Core {
    /// Takes a task out of service and kills it, now or when it has drained.
    pub(super) fn leave(&mut self, task: &Arc<Task>, reason: Reason, cx: &mut Context<'_>) {
        let hurry = matches!(reason, Reason::Unhealthy | Reason::Overdue | Reason::Shutdown);
        if hurry || !replace::has_served(task) {
            return self.kill_now(task, reason, cx);
        }
        if replace::is_leaving(task) {
            return;
        }
        self.leaving.insert(task.id.clone(), Leaving { reason, killed_at: None });
        let task = self.put_task(Task { draining_since: Some(cx.now), ..Task::clone(task) }, cx);
        cx.out.drain.push(task.id.clone());
        cx.happened(Happening::Status { task, message: String::new() });
    }

    /// Kills a task without waiting any longer. Does nothing when that was ordered already.
    pub(super) fn kill_now(&mut self, task: &Arc<Task>, reason: Reason, cx: &mut Context<'_>) {
        let before = self.leaving.get(&task.id);
        if before.is_some_and(|l| l.killed_at.is_some()) {
            return;
        }
        let reason = before.map_or(reason, |l| l.reason);
        self.order_kill(task, reason, false, cx);
        cx.out.forget.push(task.id.clone());
        if task.state != TaskState::Killing {
            let told = task.told_state() == TaskState::Killing;
            let task = Task {
                state: TaskState::Killing,
                draining_since: task.draining_since.or(Some(cx.now)),
                ..Task::clone(task)
            };
            let task = self.put_task(task, cx);
            if !told {
                cx.happened(Happening::Status { task, message: String::new() });
            }
        }
    }

    fn order_kill(&mut self, task: &Task, reason: Reason, again: bool, cx: &mut Context<'_>) {
        let grace = task.app.kill_grace_period.unwrap_or(DEFAULT_KILL_GRACE);
        cx.out.kills.push(Kill { task: task.id.clone(), grace, reason, again });
        self.leaving.insert(task.id.clone(), Leaving { reason, killed_at: Some(cx.now) });
    }

    /// Nothing uses the task any more.
    pub(super) fn drained(&mut self, id: &TaskId, cx: &mut Context<'_>) {
        if let Some(task) = self.state.task(id).cloned()
            && replace::is_leaving(&task)
        {
            self.kill_now(&task, Reason::Unknown, cx);
        }
    }

    /// Drives the app's leaving tasks on, and tells when to look again.
    pub(super) fn drive_leaving(&mut self, app: &AppId, cx: &mut Context<'_>) -> Option<Timestamp> {
        let leaving: Vec<Arc<Task>> =
            self.state.tasks_of(app).filter(|t| replace::is_leaving(t)).cloned().collect();
        leaving.iter().filter_map(|task| self.drive(task, cx)).min()
    }

    fn drive(&mut self, task: &Arc<Task>, cx: &mut Context<'_>) -> Option<Timestamp> {
        let known = self.leaving.get(&task.id).cloned();
        let Some(Leaving { reason, killed_at }) = known else {
            // It was leaving before this process started, and that it was killed is not certain.
            return self.resume_leaving(task, cx);
        };
        let Some(killed_at) = killed_at else {
            let deadline = task.draining_since.unwrap_or(cx.now) + self.settings.drain_timeout;
            if deadline > cx.now {
                return Some(deadline);
            }
            self.kill_now(task, reason, cx);
            return Some(cx.now + KILL_RETRY);
        };
        if killed_at + KILL_RETRY > cx.now {
            return Some(killed_at + KILL_RETRY);
        }
        self.order_kill(task, reason, true, cx);
        Some(cx.now + KILL_RETRY)
    }

    fn resume_leaving(&mut self, task: &Arc<Task>, cx: &mut Context<'_>) -> Option<Timestamp> {
        if task.state == TaskState::Killing {
            self.kill_now(task, Reason::Unknown, cx);
            return Some(cx.now + KILL_RETRY);
        }
        self.leaving.insert(task.id.clone(), Leaving { reason: Reason::Unknown, killed_at: None });
        cx.out.drain.push(task.id.clone());
        Some(task.draining_since.unwrap_or(cx.now) + self.settings.drain_timeout)
    }

    /// Kills everything and launches nothing more.
    pub(super) fn shut_down(&mut self, cx: &mut Context<'_>) {
        self.shutdown = true;
        let all: Vec<Arc<Task>> =
            self.state.tasks.values().flat_map(|t| t.values()).cloned().collect();
        for task in &all {
            self.kill_now(task, Reason::Shutdown, cx);
        }
    }
}
