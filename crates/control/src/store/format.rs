//! The JSON of stored records. Apps have Marathon's own form; see
//! [`waymark_marathon_api::app_to_stored`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use waymark_model::{
    Agent, App, AppId, Group, HealthResult, PathId, Task, TaskId, TaskState, Timestamp,
};

use crate::{Action, ActionKind, Deployment, DeploymentId, Failure, Step};

/// Finds the definition of an app at a version.
pub type Definitions<'a> = dyn Fn(&AppId, Timestamp) -> Option<Arc<App>> + 'a;

#[derive(Serialize, Deserialize)]
pub struct GroupRecord {
    dependencies: Vec<String>,
    version: u64,
}

impl From<&Group> for GroupRecord {
    fn from(group: &Group) -> Self {
        let dependencies = group.dependencies.iter().map(PathId::to_string).collect();
        GroupRecord { dependencies, version: group.version.0 }
    }
}

impl GroupRecord {
    pub fn read(self) -> Result<Group, String> {
        let dependencies =
            self.dependencies.iter().map(|d| path_id(d)).collect::<Result<_, _>>()?;
        Ok(Group { dependencies, version: Timestamp(self.version) })
    }
}

/// The agent is not part of it: it is this machine.
#[derive(Serialize, Deserialize)]
pub struct TaskRecord {
    app: String,
    version: u64,
    state: String,
    host_ports: Vec<Option<u16>>,
    addresses: Vec<IpAddr>,
    staged_at: u64,
    started_at: Option<u64>,
    health: Vec<Option<HealthRecord>>,
    ready: bool,
    draining_since: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct HealthRecord {
    alive: bool,
    consecutive_failures: u32,
    first_success: Option<u64>,
    last_success: Option<u64>,
    last_failure: Option<u64>,
    last_failure_cause: Option<String>,
}

impl From<&Task> for TaskRecord {
    fn from(task: &Task) -> Self {
        let health = |r: &HealthResult| HealthRecord {
            alive: r.alive,
            consecutive_failures: r.consecutive_failures,
            first_success: r.first_success.map(|t| t.0),
            last_success: r.last_success.map(|t| t.0),
            last_failure: r.last_failure.map(|t| t.0),
            last_failure_cause: r.last_failure_cause.clone(),
        };
        TaskRecord {
            app: task.app.id.to_string(),
            version: task.app.version.0,
            state: task.state.as_str().to_owned(),
            host_ports: task.host_ports.clone(),
            addresses: task.addresses.clone(),
            staged_at: task.staged_at.0,
            started_at: task.started_at.map(|t| t.0),
            health: task.health.iter().map(|r| r.as_ref().map(health)).collect(),
            ready: task.ready,
            draining_since: task.draining_since.map(|t| t.0),
        }
    }
}

impl TaskRecord {
    pub fn read(
        self,
        id: &str,
        agent: &Arc<Agent>,
        definitions: &Definitions<'_>,
    ) -> Result<Task, String> {
        let app_id = path_id(&self.app)?;
        let app = definitions(&app_id, Timestamp(self.version)).ok_or_else(|| {
            format!("the definition of {app_id} at {} is missing", Timestamp(self.version))
        })?;
        let state = TaskState::parse(&self.state).ok_or_else(|| format!("state {}", self.state))?;
        let health = |r: HealthRecord| HealthResult {
            alive: r.alive,
            consecutive_failures: r.consecutive_failures,
            first_success: r.first_success.map(Timestamp),
            last_success: r.last_success.map(Timestamp),
            last_failure: r.last_failure.map(Timestamp),
            last_failure_cause: r.last_failure_cause,
        };
        Ok(Task {
            id: TaskId::from_text(id),
            app,
            agent: agent.clone(),
            state,
            host_ports: self.host_ports,
            addresses: self.addresses,
            staged_at: Timestamp(self.staged_at),
            started_at: self.started_at.map(Timestamp),
            health: self.health.into_iter().map(|r| r.map(health)).collect(),
            ready: self.ready,
            draining_since: self.draining_since.map(Timestamp),
        })
    }
}

#[derive(Serialize, Deserialize)]
pub struct DeploymentRecord {
    version: u64,
    /// Steps of actions of (name, app).
    steps: Vec<Vec<(String, String)>>,
    current: usize,
    /// App → the version that was wanted before.
    before: BTreeMap<String, Option<u64>>,
}

impl From<&Deployment> for DeploymentRecord {
    fn from(deployment: &Deployment) -> Self {
        let action = |a: &Action| (a.kind.as_str().to_owned(), a.app.to_string());
        DeploymentRecord {
            version: deployment.version.0,
            steps: deployment
                .steps
                .iter()
                .map(|s| s.actions.iter().map(action).collect())
                .collect(),
            current: deployment.current,
            before: deployment
                .before
                .iter()
                .map(|(id, app)| (id.to_string(), app.as_ref().map(|a| a.version.0)))
                .collect(),
        }
    }
}

impl DeploymentRecord {
    pub fn read(self, id: &str, definitions: &Definitions<'_>) -> Result<Deployment, String> {
        let step = |actions: Vec<(String, String)>| {
            let actions = actions.iter().map(|(kind, app)| action(kind, app));
            Ok::<_, String>(Step { actions: actions.collect::<Result<_, _>>()? })
        };
        let steps = self.steps.into_iter().map(step).collect::<Result<Vec<_>, _>>()?;
        let before = |(app, version): (String, Option<u64>)| {
            let app = path_id(&app)?;
            let definition = version.map(|version| {
                definitions(&app, Timestamp(version))
                    .ok_or_else(|| format!("the definition of {app} at {version} is missing"))
            });
            Ok::<_, String>((app.clone(), definition.transpose()?))
        };
        Ok(Deployment {
            id: DeploymentId::from(id),
            version: Timestamp(self.version),
            affected: steps.iter().flat_map(|s| &s.actions).map(|a| a.app.clone()).collect(),
            steps,
            current: self.current,
            before: self.before.into_iter().map(before).collect::<Result<_, _>>()?,
        })
    }
}

fn action(kind: &str, app: &str) -> Result<Action, String> {
    use ActionKind::{Restart, Scale, Start, Stop};
    let kind = [Start, Stop, Scale, Restart]
        .into_iter()
        .find(|k| k.as_str() == kind)
        .ok_or_else(|| format!("action {kind}"))?;
    Ok(Action { kind, app: path_id(app)? })
}

#[derive(Serialize, Deserialize)]
pub struct FailureRecord {
    task: String,
    host: String,
    agent: String,
    state: String,
    message: String,
    at: u64,
    version: u64,
}

impl From<&Failure> for FailureRecord {
    fn from(failure: &Failure) -> Self {
        FailureRecord {
            task: failure.task.to_string(),
            host: failure.host.clone(),
            agent: failure.agent.clone(),
            state: failure.state.as_str().to_owned(),
            message: failure.message.clone(),
            at: failure.at.0,
            version: failure.version.0,
        }
    }
}

impl FailureRecord {
    pub fn read(self) -> Result<Failure, String> {
        let state = TaskState::parse(&self.state).ok_or_else(|| format!("state {}", self.state))?;
        Ok(Failure {
            task: TaskId::from_text(&self.task),
            host: self.host,
            agent: self.agent,
            state,
            message: self.message,
            at: Timestamp(self.at),
            version: Timestamp(self.version),
        })
    }
}

pub fn path_id(text: &str) -> Result<PathId, String> {
    PathId::parse(text).map_err(|e| format!("id {text:?}: {e}"))
}
