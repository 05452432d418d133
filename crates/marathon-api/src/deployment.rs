//! Deployments as `/v2/deployments` and the event stream show them.

use std::sync::Arc;

use serde::ser::{Serialize, Serializer};
use waymark_model::{AppId, TaskId, Timestamp};

use crate::wire::{self, Json, List, Text};

/// What one action does to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActionKind {
    /// `StartApplication`: makes the app, with no instances yet.
    Start,
    /// `StopApplication`: kills all instances, then forgets the app.
    Stop,
    /// `ScaleApplication`: starts or kills instances up to the wanted number.
    Scale,
    /// `RestartApplication`: replaces all instances.
    Restart,
}

impl ActionKind {
    /// Marathon's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            ActionKind::Start => "StartApplication",
            ActionKind::Stop => "StopApplication",
            ActionKind::Scale => "ScaleApplication",
            ActionKind::Restart => "RestartApplication",
        }
    }
}

/// One action of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What is done.
    pub kind: ActionKind,
    /// To which app.
    pub app: AppId,
}

/// One step: its actions run side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The actions.
    pub actions: Vec<Action>,
}

/// The plan of a deployment: steps that run one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The deployment's id, a UUID.
    pub id: Arc<str>,
    /// The version of the root group that it carries out.
    pub version: Timestamp,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The apps that the plan touches, each once, in order of their first action.
    pub fn affected_apps(&self) -> Vec<&AppId> {
        let mut apps = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for action in self.steps.iter().flat_map(|s| &s.actions) {
            if seen.insert(&action.app) {
                apps.push(&action.app);
            }
        }
        apps
    }
}

/// A deployment that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Its plan.
    pub plan: Arc<Plan>,
    /// The running step, counted from 1; 0 before the first.
    pub current_step: usize,
    /// What the readiness checks of the running step's apps have answered.
    pub readiness: Vec<(AppId, ReadinessCheckResult)>,
}

/// What a readiness check has last answered for one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadinessCheckResult {
    /// The check's name.
    pub name: String,
    /// The task.
    pub task: TaskId,
    /// Whether the answer meant ready.
    pub ready: bool,
    /// The answer, when the check keeps it.
    pub last_response: Option<ReadinessResponse>,
}

/// The HTTP answer to a readiness check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadinessResponse {
    /// Status code; 504 when nothing answered.
    pub status: u16,
    /// `Content-Type`
    pub content_type: String,
    /// The body.
    pub body: String,
}

/// The answer to an accepted change: `{"version":…,"deploymentId":…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentResult {
    /// The version of the root group that it made.
    pub version: Timestamp,
    /// The deployment that carries it out.
    pub deployment_id: Arc<str>,
}

impl Serialize for DeploymentResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| {
            o.put("version", Text(self.version))?;
            o.put("deploymentId", &*self.deployment_id)
        })
    }
}

impl Serialize for Json<'_, Action> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| {
            o.put("action", self.0.kind.as_str())?;
            o.put("app", self.0.app.as_str())
        })
    }
}

impl Serialize for Json<'_, Step> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| o.put("actions", List(&self.0.actions)))
    }
}

impl Serialize for Json<'_, Plan> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| {
            o.put("id", &*self.0.id)?;
            o.put("version", Text(self.0.version))?;
            o.put("steps", List(&self.0.steps))
        })
    }
}

/// An action of the running step, with what its readiness checks say.
struct CurrentAction<'a> {
    action: &'a Action,
    readiness: &'a [(AppId, ReadinessCheckResult)],
}

impl Serialize for CurrentAction<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of_app = self.readiness.iter().filter(|(app, _)| *app == self.action.app);
        wire::object(serializer, |o| {
            o.put("action", self.action.kind.as_str())?;
            o.put("app", self.action.app.as_str())?;
            o.put("readinessCheckResults", of_app.map(|(_, r)| Json(r)).collect::<Vec<_>>())
        })
    }
}

impl Serialize for Deployment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let plan = &*self.plan;
        let affected: Vec<&str> = plan.affected_apps().into_iter().map(AppId::as_str).collect();
        let current = self.current_step.checked_sub(1).and_then(|at| plan.steps.get(at));
        let actions: Vec<_> = current
            .into_iter()
            .flat_map(|step| &step.actions)
            .map(|action| CurrentAction { action, readiness: &self.readiness })
            .collect();
        wire::object(serializer, |o| {
            o.put("id", &*plan.id)?;
            o.put("version", Text(plan.version))?;
            o.put("affectedApps", affected)?;
            o.put("affectedPods", [(); 0])?;
            o.put("steps", List(&plan.steps))?;
            o.put("currentActions", actions)?;
            o.put("currentStep", self.current_step)?;
            o.put("totalSteps", plan.steps.len())
        })
    }
}

impl Serialize for Json<'_, ReadinessCheckResult> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| {
            o.put("name", &self.0.name)?;
            o.put("taskId", self.0.task.as_str())?;
            o.put("ready", self.0.ready)?;
            o.put_some("lastResponse", self.0.last_response.as_ref().map(Json))
        })
    }
}

impl Serialize for Json<'_, ReadinessResponse> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| {
            o.put("status", self.0.status)?;
            o.put("contentType", &self.0.content_type)?;
            o.put("body", &self.0.body)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use waymark_model::PathId;

    #[test]
    fn shape() {
        let app = PathId::parse("/shop/web").unwrap();
        let step = |kind| Step { actions: vec![Action { kind, app: app.clone() }] };
        let plan = Arc::new(Plan {
            id: "b3f1".into(),
            version: Timestamp(1),
            steps: vec![step(ActionKind::Start), step(ActionKind::Scale)],
        });
        let readiness = ReadinessCheckResult {
            name: "readinessCheck".into(),
            task: TaskId::from_text("shop_web.instance-1._app.1"),
            ready: false,
            last_response: Some(ReadinessResponse {
                status: 503,
                content_type: "text/plain".into(),
                body: "no".into(),
            }),
        };
        let deployment =
            Deployment { plan, current_step: 2, readiness: vec![(app.clone(), readiness)] };
        expect![[r#"{"id":"b3f1","version":"1970-01-01T00:00:00.001Z","affectedApps":["/shop/web"],"affectedPods":[],"steps":[{"actions":[{"action":"StartApplication","app":"/shop/web"}]},{"actions":[{"action":"ScaleApplication","app":"/shop/web"}]}],"currentActions":[{"action":"ScaleApplication","app":"/shop/web","readinessCheckResults":[{"name":"readinessCheck","taskId":"shop_web.instance-1._app.1","ready":false,"lastResponse":{"status":503,"contentType":"text/plain","body":"no"}}]}],"currentStep":2,"totalSteps":2}"#]]
            .assert_eq(&wire::to_text(&deployment));

        let result = DeploymentResult { version: Timestamp(1), deployment_id: "b3f1".into() };
        expect![[r#"{"version":"1970-01-01T00:00:00.001Z","deploymentId":"b3f1"}"#]]
            .assert_eq(&wire::to_text(&result));
    }
}
