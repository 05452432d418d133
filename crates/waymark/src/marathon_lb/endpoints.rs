//! What marathon-lb's Lua files answer inside HAProxy, answered by Waymark itself: HAProxy's
//! statistics port forwards these paths. Beside them its own: `/v1/quarantine`, `/v1/status`,
//! `/metrics`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use waymark_catalog::Standing;
use waymark_haproxy::apply::{Handle, Status};
use waymark_haproxy::{Conflict, Rendered};
use waymark_sources::marathon::MarathonReport;

use super::follow::Shown;
use crate::lb::view;
use crate::metrics;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Answer = Response<Full<Bytes>>;

/// How old the source's word is, and how it is doing.
pub type SourceView = Box<dyn Fn() -> (Standing, MarathonReport) + Send + Sync>;

/// What the pages are made from.
pub struct Page {
    /// HAProxy's configuration; the maps are beside it.
    pub config: PathBuf,
    /// The Marathon that is followed.
    pub source: SourceView,
    /// What was rendered last.
    pub shown: Shown,
    /// How it is applied.
    pub applied: watch::Receiver<Status>,
    /// Has everything asked for again.
    pub refresh: Arc<Notify>,
    /// Has HAProxy reloaded.
    pub reload: Arc<Handle>,
}

/// Serves until `stopped` turns true.
pub async fn serve(page: Arc<Page>, listener: TcpListener, stopped: watch::Receiver<bool>) {
    let limits = waymark_http::Limits {
        connections: 256,
        header_bytes: 64 * 1024,
        headers: 100,
        header_timeout: Duration::from_secs(30),
        write_timeout: Duration::from_secs(30),
        stop_timeout: Duration::from_secs(2),
    };
    let handler = move |request: Request<Incoming>, _peer| {
        let page = page.clone();
        async move { page.answer(&request.into_parts().0).await }
    };
    waymark_http::serve(listener, limits, None, stopped, handler).await;
}

impl Page {
    async fn answer(&self, request: &Parts) -> Answer {
        let path = request.uri.path();
        let is_signal = path.starts_with("/_mlb_signal/");
        let allowed: &[Method] = match is_signal {
            true => &[Method::GET, Method::POST],
            false => &[Method::GET, Method::HEAD],
        };
        if !allowed.contains(&request.method) {
            return answer(
                StatusCode::METHOD_NOT_ALLOWED,
                TEXT,
                "This method is not for this page\n",
            );
        }
        if is_signal && !waymark_http::origin::is_own(request) {
            return answer(
                StatusCode::FORBIDDEN,
                TEXT,
                "Another site's page may not ask for this\n",
            );
        }
        match path {
            "/_haproxy_getconfig" => self.file(None).await,
            "/_haproxy_getvhostmap" => self.file(Some("domain2backend.map")).await,
            "/_haproxy_getappmap" => self.file(Some("app2backend.map")).await,
            "/_haproxy_getpids" => answer(StatusCode::OK, TEXT, pids()),
            "/_mlb_signal/hup" => {
                self.refresh.notify_one();
                answer(StatusCode::OK, TEXT, "Sent SIGHUP signal to marathon-lb\n")
            }
            "/_mlb_signal/usr1" => {
                self.reload.reload();
                answer(StatusCode::OK, TEXT, "Sent SIGUSR1 signal to marathon-lb\n")
            }
            "/metrics" => answer(StatusCode::OK, METRICS, self.metrics()),
            "/v1/quarantine" => document(&quarantine(&self.shown.borrow(), &self.applied.borrow())),
            "/v1/status" => document(&self.status()),
            "/v1/source" => {
                let (word, report) = (self.source)();
                document(&view::source(&word, &report, Instant::now()))
            }
            _ => answer(StatusCode::NOT_FOUND, TEXT, "There is no such page\n"),
        }
    }

    /// The file as it is now; a map that is absent is empty.
    async fn file(&self, map: Option<&str>) -> Answer {
        let path = map.map_or_else(|| self.config.clone(), |map| self.config.with_file_name(map));
        match tokio::fs::read(&path).await {
            Ok(text) => answer(StatusCode::OK, TEXT, text),
            Err(e) if map.is_some() && e.kind() == std::io::ErrorKind::NotFound => {
                answer(StatusCode::OK, TEXT, "")
            }
            Err(e) => {
                let reason = format!("{}: {e}\n", path.display());
                answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, reason)
            }
        }
    }

    fn status(&self) -> Value {
        let status = self.applied.borrow();
        json!({
            "applied": status.version,
            "wanted": status.wanted,
            "ageSeconds": status.age(Instant::now()).as_secs_f64(),
            "error": status.error,
            "reloads": status.reloads,
            "reloadsAvoided": status.reloads_avoided,
            "commands": status.commands,
            "failures": status.failures,
            "leavingServers": status.leaving,
            "oldWorkers": status.lingering.workers,
        })
    }

    fn metrics(&self) -> String {
        let mut out = String::new();
        let (word, report) = (self.source)();
        metrics::marathon(&mut out, &word, &report);
        metrics::haproxy(&mut out, &self.applied.borrow(), &self.shown.borrow(), Instant::now());
        out.push_str("# EOF\n");
        out
    }
}

/// Whose latest definition is not in effect, and which services want the same.
fn quarantine(rendered: &Rendered, status: &Status) -> Value {
    let mut refused: Vec<_> = rendered.refused.iter().collect();
    let known = |app: &str| rendered.refused.iter().any(|refused| refused.app == app);
    refused.extend(status.refused.iter().filter(|refused| !known(&refused.app)));
    json!({
        "apps": refused.iter().map(|refused| json!({
            "app": refused.app, "reason": refused.reason, "lastGoodFormServed": refused.kept,
        })).collect::<Vec<_>>(),
        "conflicts": rendered.conflicts.iter().map(conflict).collect::<Vec<_>>(),
    })
}

fn conflict(conflict: &Conflict) -> String {
    match conflict {
        Conflict::Name { backend, written, left_out } => {
            format!("{written} and {left_out} both want the name {backend}; {left_out} is left out")
        }
        Conflict::Bind { address, port, backends: [first, second] } => format!(
            "{first} and {second} are both bound to {address}:{port}; the kernel spreads \
             connections over them"
        ),
    }
}

/// The process ids of programs named haproxy, as `pidof` prints them: zdd.py counts them, and takes
/// more than two for a reload that is not over.
fn pids() -> String {
    let Ok(processes) = std::fs::read_dir("/proc") else { return String::new() };
    let mut pids: Vec<u32> = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|name| name.trim_end() == "haproxy")
        })
        .collect();
    pids.sort_unstable_by(|a, b| b.cmp(a));
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    pids.join(" ") + "\n"
}

fn document(document: &Value) -> Answer {
    answer(StatusCode::OK, JSON, document.to_string())
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    answer
}
