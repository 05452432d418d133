//! `/ping`, `/v2/info` and `/v2/leader`: who is there.

use http::StatusCode;
use serde_json::json;
use waymark_marathon_api::ApiError;

use super::answer::{self, Answer};
use super::{Api, ApiRequest, accept};

/// `pong`: as text, for JSON clients as a JSON string, 204 for all others, as Marathon does.
pub(super) fn ping(request: &ApiRequest) -> Result<Answer, ApiError> {
    let offers = ["text/plain", "application/json"];
    Ok(match accept::choose(request.accept.as_deref(), &offers) {
        Some(0) => answer::bytes(StatusCode::OK, answer::TEXT, "pong"),
        Some(_) => answer::bytes(StatusCode::OK, answer::JSON, "\"pong\""),
        None => answer::empty(StatusCode::NO_CONTENT),
    })
}

/// Name, version and the settings that clients look at. Settings that Waymark does not have are
/// left out rather than invented.
pub(super) fn info(api: &Api) -> Result<Answer, ApiError> {
    let state = api.handle.state();
    let config = &api.config;
    let port = config.advertised.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let info = json!({
        "name": &*state.framework_name,
        "version": config.version,
        "buildref": config.version,
        "elected": true,
        "leader": config.advertised,
        "frameworkId": &*state.framework_id,
        "marathon_config": {
            "framework_name": &*state.framework_name,
            "ha": false,
            "hostname": state.agent.hostname,
            "local_port_min": state.service_ports.range().start(),
            "local_port_max": state.service_ports.range().end(),
        },
        "zookeeper_config": {},
        "http_config": { "http_port": port, "https_port": null },
    });
    Ok(answer::json(StatusCode::OK, &info))
}

/// One control plane is always its own leader.
pub(super) fn leader(api: &Api) -> Result<Answer, ApiError> {
    Ok(answer::json(StatusCode::OK, &json!({ "leader": api.config.advertised })))
}
