//! What happened, as the events that Marathon would send, and as log lines.

use std::sync::Arc;

use tracing::{debug, info, warn};
use waymark_marathon_api::deployment::Plan;
use waymark_marathon_api::{Condition, Event, Instance};
use waymark_model::{App, AppId, TaskId, TaskState};

use crate::Deployment;
use crate::core::Happening;

/// The events of one happening, in Marathon's order.
pub fn events(happening: &Happening) -> Vec<Event> {
    match happening {
        Happening::RootChanged { group, version } => {
            vec![Event::GroupChangeSuccess { group: group.clone(), version: *version }]
        }
        Happening::ChecksAdded(app) => checks_added(app),
        Happening::ChecksRemoved(app) => vec![Event::RemoveHealthCheck { app: app.clone() }],
        Happening::StepBegun(d) => {
            vec![Event::DeploymentInfo { plan: plan(d), step: d.current }]
        }
        Happening::StepDone(d) => {
            vec![Event::DeploymentStepSuccess { plan: plan(d), step: d.current }]
        }
        Happening::DeploymentDone(d) => vec![Event::DeploymentSuccess { plan: plan(d) }],
        Happening::DeploymentCancelled(d) => {
            let plan = plan(d);
            let reason = Some("The deployment was cancelled by another one.".to_owned());
            vec![
                Event::DeploymentStepFailure { plan: plan.clone(), step: d.current },
                Event::DeploymentFailed { plan, reason },
            ]
        }
        Happening::Launching(task) => {
            let instance = Instance::from(&**task);
            let nowhere = Instance { agent_id: None, host: None, ..instance.clone() };
            vec![
                Event::InstanceChanged { instance: nowhere, condition: Condition::Scheduled },
                Event::InstanceChanged { instance, condition: Condition::Provisioned },
            ]
        }
        Happening::Status { task, message } => vec![
            Event::StatusUpdate { task: task.clone(), message: message.clone() },
            Event::instance_changed(task),
        ],
        Happening::ProbeFailed { task, check } => {
            let check = task.app.health_checks.get(*check).cloned();
            let event = |check| Event::FailedHealthCheck { task: task.clone(), check };
            check.map(event).into_iter().collect()
        }
        Happening::Health { task, alive } => vec![
            Event::HealthStatusChanged { task: task.clone(), alive: *alive },
            Event::instance_health_changed(task),
        ],
        Happening::UnhealthyKill { task, reason } => {
            vec![Event::UnhealthyInstanceKill { task: task.clone(), reason: reason.clone() }]
        }
        Happening::AppTerminated(app) => vec![Event::AppTerminated { app: app.clone() }],
        Happening::UnknownTerminated(task) => vec![Event::UnknownInstanceTerminated {
            instance: task.instance_id(),
            app: named_app(task),
            condition: Condition::Of(TaskState::Lost),
        }],
    }
}

fn checks_added(app: &App) -> Vec<Event> {
    let event = |check: &waymark_model::HealthCheck| Event::AddHealthCheck {
        app: app.id.clone(),
        version: app.version,
        check: check.clone(),
    };
    app.health_checks.iter().map(event).collect()
}

/// The plan of a deployment as Marathon's JSON shows it.
pub(crate) fn plan(deployment: &Deployment) -> Arc<Plan> {
    Arc::new(Plan {
        id: deployment.id.clone(),
        version: deployment.version,
        steps: deployment.steps.clone(),
    })
}

/// The app that a task's id names: its path begins the id, with `_` for `/`.
fn named_app(task: &TaskId) -> AppId {
    let instance = task.instance_id();
    let path = instance.split(".instance-").next().unwrap_or_default().replace('_', "/");
    AppId::parse(&path).unwrap_or_else(|_| AppId::root())
}

/// Writes to the log what operators want to know.
pub fn log(happening: &Happening) {
    match happening {
        Happening::RootChanged { group, version } => debug!(%group, %version, "root changed"),
        Happening::StepBegun(d) if d.current == 0 && !d.steps.is_empty() => {
            info!(deployment = %d.id, steps = d.steps.len(), apps = d.affected.len(), "deploying");
        }
        Happening::DeploymentDone(d) if !d.steps.is_empty() => {
            info!(deployment = %d.id, "deployed");
        }
        Happening::DeploymentCancelled(d) => info!(deployment = %d.id, "deployment cancelled"),
        Happening::Launching(task) => info!(task = %task.id, "launching"),
        Happening::Status { task, message } if failed(task.state) => {
            warn!(task = %task.id, state = task.state.as_str(), message, "task ended");
        }
        Happening::Status { task, message } => {
            info!(task = %task.id, state = task.told_state().as_str(), message, "task changed");
        }
        Happening::Health { task, alive: true } => info!(task = %task.id, "task is healthy"),
        Happening::Health { task, alive: false } => warn!(task = %task.id, "task is unhealthy"),
        Happening::UnhealthyKill { task, reason } => {
            warn!(task = %task.id, reason, "killing an unhealthy task");
        }
        Happening::AppTerminated(app) => info!(%app, "app is gone"),
        Happening::UnknownTerminated(task) => debug!(%task, "an unknown task ended"),
        _ => {}
    }
}

fn failed(state: TaskState) -> bool {
    matches!(state, TaskState::Failed | TaskState::Error | TaskState::Lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_of_an_unknown_task() {
        for (task, app) in [
            ("shop_web.instance-2f6c._app.1", "/shop/web"),
            ("web.instance-2f6c._app.1", "/web"),
            ("Ä", "/"),
            ("", "/"),
        ] {
            assert_eq!(named_app(&TaskId::from_text(task)).as_str(), app);
        }
    }
}
