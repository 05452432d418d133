//! Answers of our own to gRPC clients: they read `grpc-status`, not the HTTP status.
//!
//! Pure. The form is gRPC's "Trailers-Only" (gRPC over HTTP/2, "Responses"), the numbers those of
//! its table for HTTP statuses.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether the request comes from a gRPC client (`application/grpc`, `application/grpc+proto`…).
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let rest =
        headers.get(CONTENT_TYPE).and_then(|t| t.as_bytes().strip_prefix(b"application/grpc"));
    matches!(rest, Some([] | [b'+' | b';' | b' ', ..]))
}

/// The answer in place of one with this status. It ends the stream: there are no contents.
pub(crate) fn answer(status: u16, why: &str) -> Response<()> {
    let mut answer = Response::new(());
    *answer.status_mut() = StatusCode::OK;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS.clone(), HeaderValue::from_static(code(status)));
    if let Ok(why) = HeaderValue::from_str(&message(why)) {
        headers.insert(GRPC_MESSAGE.clone(), why);
    }
    answer
}

/// gRPC's code for an HTTP status.
fn code(status: u16) -> &'static str {
    match status {
        400 | 431 => "13",             // INTERNAL
        401 => "16",                   // UNAUTHENTICATED
        403 => "7",                    // PERMISSION_DENIED
        404 => "12",                   // UNIMPLEMENTED
        429 | 502 | 503 | 504 => "14", // UNAVAILABLE
        _ => "2",                      // UNKNOWN
    }
}

/// `grpc-message` is percent-encoded outside of printable ASCII.
fn message(why: &str) -> String {
    let mut message = String::with_capacity(why.len());
    for byte in why.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => message.push_str(&format!("%{byte:02X}")),
            _ => message.push(char::from(byte)),
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_the_content_type() {
        let cases = [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ];
        for (value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_grpc(&headers), expected, "{value}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn statuses_become_codes() {
        let answer = answer(503, "no task: 100 % are gone\u{e9}");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["grpc-status"], "14");
        assert_eq!(answer.headers()["grpc-message"], "no task: 100 %25 are gone%C3%A9");
        let codes = [(401, "16"), (403, "7"), (404, "12"), (504, "14"), (400, "13"), (418, "2")];
        for (status, expected) in codes {
            assert_eq!(super::answer(status, "").headers()["grpc-status"], expected, "{status}");
        }
    }
}
