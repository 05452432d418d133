//! What the API is told by the program that runs it, and its limits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde::Serialize;
use waymark_catalog::Outputs;
use waymark_executors::Executor;

/// Writes metrics in OpenMetrics text, whole families, without the closing `# EOF`.
pub type MetricsSource = Box<dyn Fn(&mut String) + Send + Sync>;
/// Says what users should know, one sentence each; empty when all is well.
pub type WarningSource = Box<dyn Fn() -> Vec<String> + Send + Sync>;
/// Says how each service port's listener is.
pub type ListenerSource = Box<dyn Fn() -> Vec<ListenerStatus> + Send + Sync>;

/// Another part's answer.
pub type View = Pin<Box<dyn Future<Output = Option<Response<Full<Bytes>>>> + Send>>;
/// Answers `GET` for a path and query that the API itself does not know; `None` = nor does it.
pub type ViewSource = Box<dyn Fn(&str, Option<&str>) -> View + Send + Sync>;

/// What the API needs to know besides the state.
pub struct ApiConfig {
    /// `host:port` at which clients reach this API; shown as the leader.
    pub advertised: String,
    /// Waymark's version.
    pub version: String,
    /// Where sandboxes and the executor's limitations are asked for.
    pub executor: Arc<dyn Executor>,
    /// What serves the catalog, for `/v1/status`.
    pub outputs: Outputs,
    /// How the listeners of service ports are, for `/v1/status`.
    pub listeners: ListenerSource,
    /// Warnings of other parts (a store that fails), for `/v1/status`.
    pub warnings: Vec<WarningSource>,
    /// Metrics of other parts (DNS, load balancer), for `/metrics`.
    pub extra_metrics: Vec<MetricsSource>,
    /// Answers of another part (the load balancer's routes).
    pub views: Option<ViewSource>,
    /// The limits.
    pub limits: ApiLimits,
}

impl ApiConfig {
    /// A configuration without other parts, with default limits.
    pub fn new(advertised: String, executor: Arc<dyn Executor>) -> ApiConfig {
        ApiConfig {
            advertised,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            executor,
            outputs: Outputs::default(),
            listeners: Box::new(Vec::new),
            warnings: Vec::new(),
            extra_metrics: Vec::new(),
            views: None,
            limits: ApiLimits::default(),
        }
    }
}

/// Everything that bounds what clients can make the API hold or do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiLimits {
    /// Open connections; one above is answered 503 and closed.
    pub connections: usize,
    /// Bytes of a request's line and headers; more is answered 431.
    pub header_bytes: usize,
    /// Number of a request's headers; more is answered 431.
    pub headers: usize,
    /// Bytes of a request's body; more is answered 413.
    pub body_bytes: usize,
    /// Time for a request's headers, waiting on an idle connection included; then it is closed.
    pub header_timeout: Duration,
    /// Time from a request's headers to its answer; then 503, and what it asked may still happen.
    pub request_timeout: Duration,
    /// Time a client may take nothing of what is written to it; then it is cut off.
    pub write_timeout: Duration,
    /// Event streams at once; one above is answered 503.
    pub subscribers: usize,
    /// Lists of all apps or tasks that are made at once; further requests for them wait.
    pub lists: usize,
    /// Time between heartbeats on an event stream (Marathon: 10 s).
    pub heartbeat: Duration,
    /// Time that open requests get to end when the API stops.
    pub stop_timeout: Duration,
}

impl Default for ApiLimits {
    fn default() -> ApiLimits {
        ApiLimits {
            connections: 4096,
            header_bytes: 64 * 1024,
            headers: 100,
            body_bytes: 4 * 1024 * 1024,
            header_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            subscribers: 256,
            lists: 4,
            heartbeat: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// How the listener of one service port is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerStatus {
    /// The service port.
    pub port: u16,
    /// The app whose port it is.
    pub app: String,
    /// The position in the app's port list.
    pub index: usize,
    /// `listening`, or a word for why not (`failed`).
    pub state: String,
    /// Why it does not listen.
    pub reason: Option<String>,
    /// Connections open now.
    pub active: u64,
    /// Connections taken so far.
    pub accepted: u64,
}
