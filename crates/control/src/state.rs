//! The control plane's state as everything reads it: one immutable value, replaced as a whole.

use std::sync::Arc;
use std::time::Duration;

use imbl::{OrdMap, OrdSet};
use waymark_health::ReadinessState;
use waymark_model::service_ports::ServicePorts;
use waymark_model::{Agent, App, AppId, Root, Task, TaskId, TaskState, Timestamp, Version};

// The plan is in the form that Marathon's clients see.
pub use waymark_marathon_api::deployment::{Action, ActionKind, Step};

use crate::DeploymentId;

/// The tasks of one app by id.
pub type AppTasks = OrdMap<TaskId, Arc<Task>>;

/// Everything the control plane knows. Cloning is cheap and shares what did not change.
#[derive(Clone, Debug)]
pub struct State {
    /// This Waymark's framework id; made once, kept in the store.
    pub framework_id: Arc<str>,
    /// The framework's name (`marathon`): the label under the DNS domain.
    pub framework_name: Arc<str>,
    /// This machine.
    pub agent: Arc<Agent>,
    /// What is wanted.
    pub root: Root,
    /// Who owns which service port.
    pub service_ports: ServicePorts,
    /// The tasks that are not yet known to be gone, by app. Apps without tasks have no entry.
    pub tasks: OrdMap<AppId, AppTasks>,
    /// Which app a task belongs to.
    pub task_apps: OrdMap<TaskId, AppId>,
    /// Running deployments.
    pub deployments: OrdMap<DeploymentId, Arc<Deployment>>,
    /// Launch delays of apps that crashed.
    pub delays: OrdMap<AppId, Delay>,
    /// The last failure of each app.
    pub failures: OrdMap<AppId, Arc<Failure>>,
    /// Why an app's launches wait, one sentence (`no free host port: …`).
    pub waiting: OrdMap<AppId, Arc<str>>,
    /// The catalog version that shows this state.
    pub catalog_version: Version,
    /// What readiness checks have answered, for tasks that were launched by a deployment.
    pub readiness: OrdMap<TaskId, Arc<ReadinessState>>,
    /// Why nothing can be stored at present, one sentence.
    pub store_failing: Option<Arc<str>>,
}

/// A change on its way: the plan as data and how far it has got.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// The id.
    pub id: DeploymentId,
    /// The root version it leads to.
    pub version: Timestamp,
    /// The plan: steps one after another, actions of a step side by side.
    pub steps: Vec<Step>,
    /// Index of the step that is being carried out.
    pub current: usize,
    /// Apps it holds locked.
    pub affected: OrdSet<AppId>,
    /// What was wanted of each app before (`None` = it is new); still wanted until its step.
    pub before: OrdMap<AppId, Option<Arc<App>>>,
}

/// An app's launch delay after crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// The present delay.
    pub delay: Duration,
    /// From when it counts; the next launch is not before `reference + delay`.
    pub reference: Timestamp,
}

/// How a task of an app failed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The task.
    pub task: TaskId,
    /// Where it ran.
    pub host: String,
    /// The agent's id.
    pub agent: String,
    /// Its last state.
    pub state: TaskState,
    /// What happened, one line.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// The version of the app it ran.
    pub version: Timestamp,
}

/// How many of an app's tasks are in which condition, by Marathon's counting rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Decided on or starting (`TASK_STAGING` only).
    pub staged: u32,
    /// State exactly `TASK_RUNNING`.
    pub running: u32,
    /// At least one health result and all alive.
    pub healthy: u32,
    /// A health result that is not alive.
    pub unhealthy: u32,
}

impl State {
    /// The app of this id.
    pub fn app(&self, id: &AppId) -> Option<&Arc<App>> {
        self.root.apps.get(id)
    }

    /// The app's tasks in order of their ids.
    pub fn tasks_of(&self, id: &AppId) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.get(id).into_iter().flat_map(|tasks| tasks.values())
    }

    /// The task of this id.
    pub fn task(&self, id: &TaskId) -> Option<&Arc<Task>> {
        self.tasks.get(self.task_apps.get(id)?)?.get(id)
    }

    /// Counts the app's tasks.
    pub fn counts(&self, id: &AppId) -> Counts {
        let mut counts = Counts::default();
        for task in self.tasks_of(id) {
            counts.staged += u32::from(task.told_state() == TaskState::Staging);
            counts.running += u32::from(task.told_state() == TaskState::Running);
            if task.health.iter().any(Option::is_some) {
                let alive = task.health.iter().flatten().all(|r| r.alive);
                counts.healthy += u32::from(alive);
                counts.unhealthy += u32::from(!alive);
            }
        }
        counts
    }

    /// Service ports that more than one app uses, one sentence each.
    pub fn service_port_conflicts(&self) -> Vec<String> {
        let used: Vec<(u16, &AppId)> = self.service_ports.used().collect();
        used.windows(2)
            .filter_map(|pair| match pair {
                [(port, one), (same, other)] if port == same => {
                    Some(format!("service port {port} is used by app {one} and by app {other}"))
                }
                _ => None,
            })
            .collect()
    }

    /// The running deployments that hold the app.
    pub fn deployments_of<'a>(
        &'a self,
        id: &'a AppId,
    ) -> impl Iterator<Item = &'a Arc<Deployment>> {
        self.deployments.values().filter(move |d| d.affected.contains(id))
    }
}
