//! `/v2/deployments`: the deployments that run. Tools poll it and take "the id is no longer there"
//! for success, so a deployment is listed as long as the state holds it.

use http::StatusCode;
use waymark_marathon_api::{ApiError, Deployment as DeploymentView};

use super::answer::{self, Answer};
use super::{Api, readiness};
use crate::announce::plan;
use crate::{Deployment, State};

/// `GET /v2/deployments`
pub(super) fn list(api: &Api) -> Result<Answer, ApiError> {
    let state = api.handle.state();
    let deployments: Vec<_> = state.deployments.values().map(|d| view(&state, d)).collect();
    Ok(answer::json(StatusCode::OK, &deployments))
}

fn view(state: &State, deployment: &Deployment) -> DeploymentView {
    let current = deployment.steps.get(deployment.current);
    let apps = current.into_iter().flat_map(|step| &step.actions).map(|action| &action.app);
    let results = apps.flat_map(|app| {
        readiness::results(state, app).into_iter().map(|result| (app.clone(), result))
    });
    DeploymentView {
        plan: plan(deployment),
        // Counted from 1 there.
        current_step: deployment.current + 1,
        readiness: results.collect(),
    }
}
