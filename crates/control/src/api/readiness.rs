//! What readiness checks have answered, as answers show it.

use std::sync::Arc;

use waymark_marathon_api::deployment::{ReadinessCheckResult, ReadinessResponse};
use waymark_model::{AppId, Task};

use crate::State;

/// The latest results of an app's tasks, those that were launched by a deployment.
pub(super) fn results(state: &State, app: &AppId) -> Vec<ReadinessCheckResult> {
    let result = |task: &Arc<Task>| {
        let found = state.readiness.get(&task.id)?;
        let check = task.app.readiness_checks.first()?;
        let response = |r: &waymark_health::Response| ReadinessResponse {
            status: r.status,
            content_type: r.content_type.clone(),
            body: r.body.clone(),
        };
        Some(ReadinessCheckResult {
            name: check.name.clone(),
            task: task.id.clone(),
            ready: found.ready,
            last_response: found.last_response.as_ref().map(response),
        })
    };
    state.tasks_of(app).filter_map(result).collect()
}
