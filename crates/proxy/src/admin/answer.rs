//! Answers: how documents and errors are put into HTTP.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

/// An answer.
pub type Answer = Response<Full<Bytes>>;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
/// As HAProxy says it of its CSV.
const PLAIN: &str = "text/plain";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn json(document: &impl Serialize) -> Answer {
    match serde_json::to_vec(document) {
        Ok(text) => bytes(StatusCode::OK, JSON, text),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            failed("The answer could not be written")
        }
    }
}

pub(super) fn text(text: String) -> Answer {
    bytes(StatusCode::OK, TEXT, text)
}

pub(super) fn csv(text: String) -> Answer {
    bytes(StatusCode::OK, PLAIN, text)
}

pub(super) fn html(page: &str) -> Answer {
    bytes(StatusCode::OK, HTML, page.to_owned())
}

pub(super) fn metrics(text: String) -> Answer {
    bytes(StatusCode::OK, METRICS, text)
}

pub(super) fn not_found(reason: &str) -> Answer {
    error(StatusCode::NOT_FOUND, reason)
}

pub(super) fn bad_request(reason: &str) -> Answer {
    error(StatusCode::BAD_REQUEST, reason)
}

pub(super) fn forbidden(reason: &str) -> Answer {
    error(StatusCode::FORBIDDEN, reason)
}

pub(super) fn failed(reason: &str) -> Answer {
    error(StatusCode::INTERNAL_SERVER_ERROR, reason)
}

pub(super) fn method_not_allowed(allow: &'static str) -> Answer {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "This method is not for this page");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    answer
}

fn error(status: StatusCode, reason: &str) -> Answer {
    bytes(status, JSON, json!({ "message": reason }).to_string())
}

fn bytes(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    // What is true now may be untrue in a moment.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
