//! What answers say about an app's tasks as a whole.

use serde::ser::{Serialize, Serializer};
use waymark_model::{AppId, Task, TaskId, TaskState, Timestamp};

use crate::wire::{self, Json, Text};

/// The four counters of an app. A task may be in several of them, or in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// `TASK_STAGING`, or not confirmed at all.
    pub staged: usize,
    /// Exactly `TASK_RUNNING`.
    pub running: usize,
    /// At least one health result, and all of them alive.
    pub healthy: usize,
    /// A health result that is not alive.
    pub unhealthy: usize,
}

impl TaskCounts {
    /// Counts tasks the way Marathon does: tasks without health checks, or without results yet, are
    /// neither healthy nor unhealthy.
    pub fn of<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> TaskCounts {
        let mut counts = TaskCounts::default();
        for task in tasks {
            counts.staged += usize::from(task.told_state() == TaskState::Staging);
            counts.running += usize::from(task.told_state() == TaskState::Running);
            let mut results = task.health.iter().flatten().peekable();
            if results.peek().is_some() {
                let alive = results.all(|r| r.alive);
                counts.healthy += usize::from(alive);
                counts.unhealthy += usize::from(!alive);
            }
        }
        counts
    }
}

/// `lastTaskFailure`: how a task of the app last failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFailure {
    /// The app.
    pub app: AppId,
    /// The agent's host name.
    pub host: String,
    /// What the executor said.
    pub message: String,
    /// The state it ended in.
    pub state: TaskState,
    /// The task.
    pub task: TaskId,
    /// When.
    pub timestamp: Timestamp,
    /// The version of the app that it ran.
    pub version: Timestamp,
    /// The agent's id.
    pub agent_id: String,
}

impl TaskFailure {
    /// The failure of `task`, which is in its last state.
    pub fn of(task: &Task, message: &str, at: Timestamp) -> TaskFailure {
        TaskFailure {
            app: task.app.id.clone(),
            host: task.agent.hostname.clone(),
            message: message.to_owned(),
            state: task.state,
            task: task.id.clone(),
            timestamp: at,
            version: task.app.version,
            agent_id: task.agent.id.clone(),
        }
    }
}

impl Serialize for Json<'_, TaskFailure> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let failure = self.0;
        wire::object(serializer, |o| {
            o.put("appId", failure.app.as_str())?;
            o.put("host", &failure.host)?;
            o.put("message", &failure.message)?;
            o.put("state", failure.state.as_str())?;
            o.put("taskId", failure.task.as_str())?;
            o.put("timestamp", Text(failure.timestamp))?;
            o.put("version", Text(failure.version))?;
            o.put("slaveId", &failure.agent_id)
        })
    }
}
