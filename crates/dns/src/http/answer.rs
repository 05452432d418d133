//! Answers: how bodies and errors are put into HTTP, as Mesos-DNS does.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde::Serialize;

use super::json;

/// An answer's body: bytes, or a stream of events.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;
/// An answer.
pub type Answer = Response<Body>;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A value as JSON.
pub fn json(value: &impl Serialize) -> Answer {
    bytes(StatusCode::OK, JSON, json::text(value))
}

/// A value as JSON, with another status than 200.
pub fn json_as(status: StatusCode, value: &impl Serialize) -> Answer {
    bytes(status, JSON, json::text(value))
}

/// A text.
pub fn text(status: StatusCode, text: &str) -> Answer {
    bytes(status, TEXT, text.to_owned())
}

/// Metrics.
pub fn metrics(text: String) -> Answer {
    bytes(StatusCode::OK, METRICS, text)
}

/// No such path.
pub fn not_found() -> Answer {
    text(StatusCode::NOT_FOUND, "404: Page Not Found")
}

/// Another method than GET.
pub fn method_not_allowed() -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    answer
}

/// The client takes no JSON.
pub fn not_acceptable() -> Answer {
    text(StatusCode::NOT_ACCEPTABLE, "406: Not Acceptable")
}

/// The client does not say who it is, or not rightly.
pub fn unauthorized() -> Answer {
    let mut answer = text(StatusCode::UNAUTHORIZED, "401: Unauthorized");
    let challenge = HeaderValue::from_static(waymark_http::CHALLENGE);
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    answer
}

/// Nothing is known yet, so that "nothing found" would be untrue.
pub fn not_ready() -> Answer {
    text(StatusCode::SERVICE_UNAVAILABLE, "503: No state is known yet")
}

/// What is asked for makes no sense.
pub fn bad_request(reason: &str) -> Answer {
    text(StatusCode::BAD_REQUEST, &format!("400: {reason}"))
}

/// Bytes of the given type.
fn bytes(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}
