//! Answers: how bodies, errors and what every answer carries are put into HTTP.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde::Serialize;
use std::convert::Infallible;
use waymark_marathon_api::{ApiError, DeploymentResult, to_text};

use crate::{Accepted, Refusal};

/// An answer's body: bytes, or a stream of events.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;
/// An answer.
pub type Answer = Response<Body>;

/// Exactly this, without a charset: marathon-acme compares the whole value.
pub const JSON: &str = "application/json";
/// The type of plain text.
pub const TEXT: &str = "text/plain;charset=utf-8";

/// The id of the deployment that an answer's request started.
pub const DEPLOYMENT_ID: HeaderName = HeaderName::from_static("marathon-deployment-id");
/// The leader's URL.
pub const LEADER: HeaderName = HeaderName::from_static("x-marathon-leader");
/// The version of the catalog that shows what the answer says.
pub const CATALOG_VERSION: HeaderName = HeaderName::from_static("x-waymark-catalog-version");
/// Warnings in one answer's header; more are left out there and stand in `/v1/status`.
pub const MAX_WARNING_HEADERS: usize = 8;

/// A value as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    bytes(status, JSON, to_text(value))
}

/// Bytes of the given type.
pub fn bytes(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default().boxed_unsync());
    *answer.status_mut() = status;
    answer
}

/// An error, in Marathon's form.
pub fn error(error: &ApiError) -> Answer {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    bytes(status, JSON, error.body())
}

/// The answer to a change: its version and deployment.
pub fn deployment(status: StatusCode, accepted: &Accepted) -> Answer {
    // Every change has one; clients that wait until an id is no longer listed are served by any.
    let deployment_id = accepted.deployment.clone().unwrap_or_default();
    let result = DeploymentResult { version: accepted.version, deployment_id };
    announced(json(status, &result), accepted)
}

/// Adds the headers that tell about an accepted change: deployment and warnings.
pub fn announced(mut answer: Answer, accepted: &Accepted) -> Answer {
    let headers = answer.headers_mut();
    if let Some(id) = accepted.deployment.as_deref().and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert(DEPLOYMENT_ID, id);
    }
    for warning in accepted.warnings.iter().take(MAX_WARNING_HEADERS) {
        if let Some(value) = warning_value(warning) {
            headers.append(header::WARNING, value);
        }
    }
    answer
}

/// `299 waymark "text"` (RFC 7234 §5.5: a miscellaneous persistent warning).
fn warning_value(text: &str) -> Option<HeaderValue> {
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::from_str(&format!("299 waymark \"{quoted}\"")).ok()
}

/// What every answer carries: nobody may cache it or frame it.
pub fn add_common_headers(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (header::PRAGMA, "no-cache"),
        (header::EXPIRES, "0"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_XSS_PROTECTION, "1; mode=block"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// A refusal of the control plane, in Marathon's form.
pub fn refusal(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Invalid(violations) => ApiError::invalid(violations),
        Refusal::NotFound(message) => ApiError::not_found(message),
        Refusal::Exists(message) => ApiError::conflict(message),
        Refusal::BadRequest(message) => ApiError::bad_request(message),
        Refusal::Locked(deployments) => ApiError::locked(deployments.iter().map(|id| &**id)),
        Refusal::PortsExhausted { min, max } => ApiError::ports_exhausted(min, max),
        Refusal::TooManyDeployments(limit) => ApiError::too_many_deployments(limit),
        Refusal::Storage(_) | Refusal::Stopping => ApiError::unavailable(refusal.to_string()),
    }
}
