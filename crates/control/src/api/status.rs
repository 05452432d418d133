//! `GET /v1/status`: how this Waymark is, on one page. Waymark's own.

use http::StatusCode;
use serde::Serialize;
use waymark_marathon_api::ApiError;
use waymark_model::Version;

use super::answer::{self, Answer};
use super::{Api, ListenerStatus};

/// The most conflicts of service ports that the page lists.
const MAX_CONFLICTS: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    version: String,
    catalog_version: Version,
    outputs: Vec<OutputStatus>,
    apps: usize,
    tasks: usize,
    warnings: Vec<String>,
    limitations: Vec<String>,
    service_ports: Vec<ListenerStatus>,
    since: String,
}

#[derive(Serialize)]
struct OutputStatus {
    name: &'static str,
    applied: Version,
}

pub(super) fn status(api: &Api) -> Result<Answer, ApiError> {
    let state = api.handle.state();
    let config = &api.config;
    let mut warnings = state.service_port_conflicts();
    warnings.truncate(MAX_CONFLICTS);
    warnings.extend(state.store_failing.iter().map(|reason| reason.to_string()));
    warnings.extend(config.warnings.iter().flat_map(|source| source()));
    let outputs = config.outputs.each_applied();
    let status = Status {
        version: config.version.clone(),
        catalog_version: state.catalog_version,
        outputs: outputs.map(|(name, applied)| OutputStatus { name, applied }).collect(),
        apps: state.root.apps.len(),
        tasks: state.task_apps.len(),
        warnings,
        limitations: config.executor.limitations(),
        service_ports: (config.listeners)(),
        since: api.started.to_string(),
    };
    Ok(answer::json(StatusCode::OK, &status))
}
