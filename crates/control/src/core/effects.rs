//! What the core wants done, as data.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use waymark_model::{App, AppId, GroupId, Task, TaskId, Timestamp};

use crate::replace::Reason;
use crate::{Accepted, Deployment, DeploymentId, Refusal};

/// Something in the store. Writes name only the key: what is written is what the core holds under
/// it at that moment ([`super::Core::stored`]), so writes can be merged, delayed and repeated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The version of the root.
    Root,
    /// An app's current definition.
    App(AppId),
    /// A group.
    Group(GroupId),
    /// A task.
    Task(TaskId),
    /// A running deployment.
    Deployment(DeploymentId),
    /// The last failure of an app.
    Failure(AppId),
}

/// What is to be done, in this order: store the writes, then act, then answer. Kills need not wait
/// for the store; launches and answers must.
#[derive(Debug, Default)]
pub struct Effects {
    /// What has to be stored.
    pub writes: BTreeSet<Key>,
    /// Tasks to launch once they are stored.
    pub launches: Vec<Arc<Task>>,
    /// Tasks to end, with the time from TERM to KILL.
    pub kills: Vec<Kill>,
    /// Tasks whose health and readiness have to be probed from now on.
    pub watch: Vec<Arc<Task>>,
    /// Tasks not to be probed any more.
    pub forget: Vec<TaskId>,
    /// Tasks that drain: tell [`super::Input::Drained`] when nothing uses them any more.
    pub drain: Vec<TaskId>,
    /// Apps whose catalog entry may have changed.
    pub catalog: BTreeSet<AppId>,
    /// What happened, for the event stream, in order.
    pub happenings: Vec<Happening>,
    /// The answer to a request.
    pub answer: Option<Result<Accepted, Refusal>>,
}

impl Effects {
    /// Adds what a later input wants done. Answers are each input's own and are not merged.
    pub fn merge(&mut self, later: Effects) {
        self.writes.extend(later.writes);
        self.launches.extend(later.launches);
        self.kills.extend(later.kills);
        self.watch.extend(later.watch);
        self.forget.extend(later.forget);
        self.drain.extend(later.drain);
        self.catalog.extend(later.catalog);
        self.happenings.extend(later.happenings);
    }
}

/// A task to be ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Which.
    pub task: TaskId,
    /// Time from TERM to KILL.
    pub grace: Duration,
    /// Why, for metrics.
    pub reason: Reason,
    /// Whether this is a repetition.
    pub again: bool,
}

/// Something worth an event.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The root below `group` has a new version.
    RootChanged {
        /// The smallest group that holds all that changed.
        group: GroupId,
        /// The new version of the root.
        version: Timestamp,
    },
    /// An app got a configuration with health checks.
    ChecksAdded(Arc<App>),
    /// An app with health checks lost its configuration.
    ChecksRemoved(AppId),
    /// A deployment began its current step.
    StepBegun(Arc<Deployment>),
    /// A deployment finished its current step.
    StepDone(Arc<Deployment>),
    /// A deployment has finished.
    DeploymentDone(Arc<Deployment>),
    /// A deployment was cancelled by another.
    DeploymentCancelled(Arc<Deployment>),
    /// A task was decided on.
    Launching(Arc<Task>),
    /// A task got another state.
    Status {
        /// The task, in that state.
        task: Arc<Task>,
        /// One line from the executor; may be empty.
        message: String,
    },
    /// A probe failed and counts.
    ProbeFailed {
        /// The task.
        task: Arc<Task>,
        /// Which of its health checks.
        check: usize,
    },
    /// A task became alive or stopped to be.
    Health {
        /// The task.
        task: Arc<Task>,
        /// Which.
        alive: bool,
    },
    /// A task is killed because of its health.
    UnhealthyKill {
        /// The task.
        task: Arc<Task>,
        /// What failed.
        reason: String,
    },
    /// The last task of a removed app is gone.
    AppTerminated(AppId),
    /// The executor told the end of a task that nobody knows.
    UnknownTerminated(TaskId),
}
