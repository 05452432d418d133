//! A task: one running copy of an app.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::{Agent, App, AppId, HealthResult, Timestamp};

/// The id of a task: `<safe path>.instance-<uuid>._app.<n>`, as Marathon 1.5 and later form it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(Arc<str>);

/// The id of an instance: the task's id without `._app.<n>`.
pub type InstanceId = String;

impl TaskId {
    /// The id of incarnation `n` of an instance of `app`; `uuid` is the caller's randomness.
    pub fn new(app: &AppId, uuid: &str, n: u32) -> TaskId {
        TaskId(Arc::from(format!("{}.instance-{uuid}._app.{n}", app.safe_path())))
    }

    /// Takes an id that was made before (stored, or sent by a client).
    pub fn from_text(text: &str) -> TaskId {
        TaskId(Arc::from(text))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The instance this task belongs to.
    pub fn instance_id(&self) -> InstanceId {
        match self.0.rfind("._app.") {
            Some(at) => self.0[..at].to_owned(),
            None => self.0.to_string(),
        }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state of a task, by Mesos's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Decided and stored, the executor has not confirmed it.
    Staging,
    /// The executor is preparing it.
    Starting,
    /// It runs.
    Running,
    /// It was told to end.
    Killing,
    /// It ended by itself with success.
    Finished,
    /// It ended by itself with failure.
    Failed,
    /// It ended because it was told to.
    Killed,
    /// It could not be started as defined.
    Error,
    /// It is gone and nobody knows how.
    Lost,
}

impl TaskState {
    /// `TASK_RUNNING` and so on.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskState::Staging => "TASK_STAGING",
            TaskState::Starting => "TASK_STARTING",
            TaskState::Running => "TASK_RUNNING",
            TaskState::Killing => "TASK_KILLING",
            TaskState::Finished => "TASK_FINISHED",
            TaskState::Failed => "TASK_FAILED",
            TaskState::Killed => "TASK_KILLED",
            TaskState::Error => "TASK_ERROR",
            TaskState::Lost => "TASK_LOST",
        }
    }

    /// The state named so.
    pub fn parse(text: &str) -> Option<TaskState> {
        use TaskState::*;
        [Staging, Starting, Running, Killing, Finished, Failed, Killed, Error, Lost]
            .into_iter()
            .find(|s| s.as_str() == text)
    }

    /// Whether nothing runs any more.
    pub fn is_terminal(self) -> bool {
        use TaskState::*;
        matches!(self, Finished | Failed | Killed | Error | Lost)
    }
}

/// One running copy of an app, from the decision to launch it until it is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The id.
    pub id: TaskId,
    /// The definition it was launched from: ports and names are read from here, never from the
    /// app's current definition, so that a rollout cannot pair old tasks with new ports.
    pub app: Arc<App>,
    /// Where it runs.
    pub agent: Arc<Agent>,
    /// Its state.
    pub state: TaskState,
    /// Host port by position; `None` where the definition wants none.
    pub host_ports: Vec<Option<u16>>,
    /// Addresses of its own (bridge and container networks); empty in host mode.
    pub addresses: Vec<IpAddr>,
    /// When it was decided on.
    pub staged_at: Timestamp,
    /// When it first ran.
    pub started_at: Option<Timestamp>,
    /// What each health check found, by position; `None` until the first result.
    pub health: Vec<Option<HealthResult>>,
    /// Whether its readiness check has passed (true when there is none).
    pub ready: bool,
    /// Set when it is being taken out of service before it is killed: since when.
    pub draining_since: Option<Timestamp>,
}

impl Task {
    /// The app it belongs to.
    pub fn app_id(&self) -> &AppId {
        &self.app.id
    }

    /// The state that others are told. A task that drains still runs, but is on its way out, which
    /// Marathon calls killing: load balancers that follow send it nothing new from then on.
    pub fn told_state(&self) -> TaskState {
        match self.state {
            TaskState::Running if self.draining_since.is_some() => TaskState::Killing,
            state => state,
        }
    }

    /// `Some(true)` when every health check has a result and all are alive, `Some(false)` when a
    /// result is not alive, `None` while unknown or without checks.
    pub fn healthy(&self) -> Option<bool> {
        if self.health.iter().flatten().any(|r| !r.alive) {
            return Some(false);
        }
        (!self.health.is_empty() && self.health.iter().all(Option::is_some)).then_some(true)
    }

    /// Whether it should get traffic: running, not draining, and healthy if it has health checks.
    /// A task whose checks have no result yet gets none.
    pub fn is_serving(&self) -> bool {
        self.state == TaskState::Running
            && self.draining_since.is_none()
            && (self.app.health_checks.is_empty() || self.healthy() == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PathId;

    #[test]
    fn ids() {
        let id = TaskId::new(&PathId::parse("/shop/web").unwrap(), "2f6c", 1);
        assert_eq!(id.as_str(), "shop_web.instance-2f6c._app.1");
        assert_eq!(id.instance_id(), "shop_web.instance-2f6c");
        assert_eq!(TaskId::from_text("old.1234").instance_id(), "old.1234");
    }

    #[test]
    fn states() {
        assert_eq!(TaskState::parse("TASK_KILLING"), Some(TaskState::Killing));
        assert_eq!(TaskState::parse("TASK_X"), None);
        assert!(TaskState::Lost.is_terminal() && !TaskState::Killing.is_terminal());
    }
}
