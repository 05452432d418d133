//! What `whoami` answers: one function a path.

use std::fmt::Write;
use std::io::Write as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use serde_json::{Value, json};

use super::identity::Identity;

/// `/echo` answers 413 to more than this.
const MAX_ECHO_BYTES: usize = 8 << 20;
/// `/slow` waits no longer than this.
const MAX_SLOW: Duration = Duration::from_secs(600);
/// `/bytes` sends no more than this.
const MAX_BYTES: u64 = 16 << 30;

/// A short answer, or the stream of `/bytes`.
pub type Answer = Response<Either<Full<Bytes>, Filler>>;

/// Answers one request.
pub async fn answer(identity: &Identity, peer: SocketAddr, request: Request<Incoming>) -> Answer {
    let number = identity.count_request();
    let query = request.uri().query().unwrap_or("").to_owned();
    match request.uri().path() {
        "/health" => health(identity.is_up()),
        "/health/down" => switch(identity, request.method(), false),
        "/health/up" => switch(identity, request.method(), true),
        "/slow" => {
            let wait = Duration::from_millis(parameter(&query, "ms").unwrap_or(1000));
            tokio::time::sleep(wait.min(MAX_SLOW)).await;
            who(identity, peer, &request, number)
        }
        "/bytes" => {
            let left = parameter(&query, "n").unwrap_or(1024).min(MAX_BYTES);
            respond(StatusCode::OK, "application/octet-stream", Either::Right(Filler { left }))
        }
        "/echo" => echo(request).await,
        "/exit" => exit(parameter(&query, "code").unwrap_or(0)),
        _ => who(identity, peer, &request, number),
    }
}

fn health(up: bool) -> Answer {
    if up { text(StatusCode::OK, "up\n") } else { text(StatusCode::SERVICE_UNAVAILABLE, "down\n") }
}

fn switch(identity: &Identity, method: &Method, up: bool) -> Answer {
    if method != Method::POST && method != Method::GET {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "use GET or POST\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
        return response;
    }
    identity.set_up(up);
    text(StatusCode::OK, if up { "now up\n" } else { "now down\n" })
}

async fn echo(request: Request<Incoming>) -> Answer {
    let too_long = || text(StatusCode::PAYLOAD_TOO_LARGE, "more than 8 MiB, or cut short\n");
    let kind = request.headers().get(CONTENT_TYPE).cloned();
    if request.body().size_hint().lower() > MAX_ECHO_BYTES as u64 {
        return too_long();
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_ECHO_BYTES).collect().await else {
        return too_long();
    };
    let mut response = full(StatusCode::OK, "application/octet-stream", body.to_bytes());
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

/// Ends the process as a crash would: nothing is finished, nothing answered.
fn exit(code: i32) -> ! {
    // What was written so far is worth more than a clean buffer.
    let _ = std::io::stdout().flush();
    std::process::exit(code)
}

fn who(identity: &Identity, peer: SocketAddr, request: &Request<Incoming>, number: u64) -> Answer {
    let query = request.uri().query().unwrap_or("");
    let all = parameter::<String>(query, "env").is_some_and(|v| v == "all");
    let accepts = request.headers().get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let document = document(identity, peer, request, number, all);
    if accepts.contains("application/json") || parameter::<String>(query, "json").is_some() {
        full(StatusCode::OK, "application/json", format!("{document:#}\n").into())
    } else {
        text(StatusCode::OK, &as_text(&document))
    }
}

fn document(
    identity: &Identity,
    peer: SocketAddr,
    request: &Request<Incoming>,
    number: u64,
    all: bool,
) -> Value {
    let ports: Vec<&str> =
        identity.variable("PORTS").split(',').filter(|p| !p.is_empty()).collect();
    let environment: serde_json::Map<String, Value> =
        identity.environment(all).map(|(k, v)| (k.to_owned(), v.into())).collect();
    let mut headers = serde_json::Map::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match headers.get_mut(name.as_str()) {
            Some(Value::String(first)) => {
                let _ = write!(first, ", {value}");
            }
            _ => {
                headers.insert(name.to_string(), value.into());
            }
        }
    }
    json!({
        "name": identity.name,
        "taskId": identity.variable("MESOS_TASK_ID"),
        "appId": identity.variable("MARATHON_APP_ID"),
        "appVersion": identity.variable("MARATHON_APP_VERSION"),
        "host": identity.variable("HOST"),
        "ports": ports,
        "pid": std::process::id(),
        "healthy": identity.is_up(),
        "request": {
            "number": number,
            "method": request.method().as_str(),
            "path": request.uri().path(),
            "query": request.uri().query().unwrap_or(""),
            "peer": peer.to_string(),
            "headers": headers,
        },
        "env": environment,
    })
}

/// One `key: value` a line; nested keys are joined by dots.
fn as_text(document: &Value) -> String {
    let mut lines = String::new();
    let mut write_line = |key: &str, value: &Value| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
            }
            other => other.to_string(),
        };
        let _ = writeln!(lines, "{key}: {value}");
    };
    const ORDER: [&str; 8] =
        ["name", "taskId", "appId", "appVersion", "host", "ports", "pid", "healthy"];
    for key in ORDER {
        write_line(key, &document[key]);
    }
    for part in ["request", "env"] {
        for (key, value) in document[part].as_object().into_iter().flatten() {
            match value.as_object() {
                Some(inner) => inner.iter().for_each(|(k, v)| write_line(&format!("{key}.{k}"), v)),
                None => write_line(key, value),
            }
        }
    }
    lines
}

/// A parameter of the query; `None` when it is missing or of another kind. Values are taken as
/// they stand: none that is asked for needs decoding.
fn parameter<T: FromStr>(query: &str, name: &str) -> Option<T> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.parse().ok())
}

fn text(status: StatusCode, body: &str) -> Answer {
    full(status, "text/plain; charset=utf-8", body.to_owned().into())
}

fn full(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    respond(status, kind, Either::Left(Full::new(body)))
}

fn respond(status: StatusCode, kind: &'static str, body: Either<Full<Bytes>, Filler>) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A body of so many bytes, made as it is sent.
pub struct Filler {
    left: u64,
}

/// What the body repeats.
static CHUNK: [u8; 16 << 10] = [b'w'; 16 << 10];

impl Body for Filler {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK.len());
        if length == 0 {
            return Poll::Ready(None);
        }
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&CHUNK[..length])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
