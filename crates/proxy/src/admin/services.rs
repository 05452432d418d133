//! `/v1/services`: each service with its rules, its tasks, and what is held against each of them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;
use serde_json::{Value, json};
use waymark_http::query::Query;
use waymark_routing::{HostPattern, Mode, PathPattern};

use crate::Proxy;
use crate::route::{Affinity, Candidate, Look, Pool, PoolId, Reason, balance_text};

/// One service.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceView {
    id: String,
    app: String,
    index: usize,
    name: String,
    port: u16,
    mode: &'static str,
    hosts: Vec<String>,
    paths: Vec<String>,
    balance: String,
    /// What requests meet when there is no ready task: a sentence.
    condition: &'static str,
    /// What keeps requests from all of its tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    ready: usize,
    tasks: usize,
    waiting: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    counters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoints: Option<Vec<EndpointView>>,
}

/// One task of a service.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointView {
    task: String,
    server: String,
    address: String,
    /// `ready`, or a word for why not.
    state: String,
    reason: &'static str,
    active: u32,
    total: u64,
    connect_errors: u64,
    response_errors: u64,
    ejections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<String>,
}

/// Every service, without its tasks. `?app=` takes those of one app.
pub(super) fn list(proxy: &Proxy, query: &Query) -> Value {
    let table = proxy.table();
    let app = query.get("app");
    let pools = table.pools.values().filter(|pool| pool.id.shared.is_none());
    let services: Vec<ServiceView> = pools
        .filter(|pool| app.is_none_or(|app| pool.id.app.as_str() == app))
        .map(|pool| view(proxy, pool, false))
        .collect();
    json!({ "version": table.version, "services": services })
}

/// The service of an id as [`id`] writes it, of a name as backends have it (`shop_web_10000`), or of
/// an app that has one service only.
pub(super) fn one(proxy: &Proxy, wanted: &str) -> Result<ServiceView, String> {
    let table = proxy.table();
    let wanted = wanted.trim_matches('/');
    let bare = |pool: &Pool| id(&pool.id).trim_start_matches('/').to_owned();
    let pools = || table.pools.values().filter(|pool| pool.id.shared.is_none());
    if let Some(pool) = pools().find(|pool| bare(pool) == wanted || pool.name == wanted) {
        return Ok(view(proxy, pool, true));
    }
    let of_app: Vec<&Arc<Pool>> =
        pools().filter(|pool| pool.id.app.as_str().trim_start_matches('/') == wanted).collect();
    match of_app.as_slice() {
        [only] => Ok(view(proxy, only, true)),
        [] => Err(format!("There is no service '{wanted}'; /v1/services lists all")),
        several => {
            let ids: Vec<String> = several.iter().map(|pool| id(&pool.id)).collect();
            Err(format!("The app has several services: {}", ids.join(", ")))
        }
    }
}

/// `/shop/web:0`: the app and the position of the port.
pub(super) fn id(pool: &PoolId) -> String {
    format!("{}:{}", pool.app, pool.index)
}

/// Each candidate with what is held against it at `now`, in milliseconds on the workers' clock.
pub(super) fn states(pool: &Pool, now: u64) -> impl Iterator<Item = (&Candidate, Option<Reason>)> {
    pool.candidates.iter().map(move |candidate| {
        let affinity = Affinity::default();
        let look =
            Look { affinity: &affinity, tried: &[], peek: true, now: &|| now, below: &|_| 0 };
        (candidate, pool.left_out(candidate, &look))
    })
}

fn view(proxy: &Proxy, pool: &Pool, whole: bool) -> ServiceView {
    let states: Vec<(&Candidate, Option<Reason>)> = states(pool, proxy.clock_ms()).collect();
    let ready = states.iter().filter(|(_, reason)| reason.is_none()).count();
    ServiceView {
        id: id(&pool.id),
        app: pool.id.app.to_string(),
        index: pool.id.index,
        name: pool.name.clone(),
        port: pool.port,
        mode: match pool.rules.mode {
            Mode::Http => "http",
            Mode::Tcp => "tcp",
        },
        hosts: pool.rules.hosts.iter().map(host_text).collect(),
        paths: pool.rules.paths.iter().map(path_text).collect(),
        balance: balance_text(&pool.rules.balance),
        condition: condition(&states),
        problem: whole.then(|| proxy.problem(pool)).flatten(),
        ready,
        tasks: states.len(),
        waiting: pool.queue_len(),
        counters: whole.then(|| counters(pool)),
        endpoints: whole
            .then(|| states.iter().map(|(c, reason)| endpoint(pool, c, *reason)).collect()),
    }
}

fn counters(pool: &Pool) -> Value {
    let c = &pool.counters;
    let requests: Vec<u64> = c.requests.iter().map(|n| n.load(Relaxed)).collect();
    json!({
        "total": c.seats.load(Relaxed),
        "requests": {
            "none": requests.first(), "1xx": requests.get(1), "2xx": requests.get(2),
            "3xx": requests.get(3), "4xx": requests.get(4), "5xx": requests.get(5),
        },
        "bytesIn": c.bytes_in.load(Relaxed),
        "bytesOut": c.bytes_out.load(Relaxed),
        "retries": c.retries.load(Relaxed),
        "retriesDenied": c.retries_denied.load(Relaxed),
        "connectErrors": c.connect_errors.load(Relaxed),
        "responseErrors": c.response_errors.load(Relaxed),
        "queued": c.queued.load(Relaxed),
        "queueRefused": c.queue_refused.load(Relaxed),
        "held": c.held.load(Relaxed),
        "refused": c.refused.load(Relaxed),
    })
}

fn endpoint(pool: &Pool, candidate: &Candidate, reason: Option<Reason>) -> EndpointView {
    let endpoint = &candidate.endpoint;
    let counters = &endpoint.counters;
    EndpointView {
        task: endpoint.task.to_string(),
        server: endpoint.server.clone(),
        address: endpoint.address.to_string(),
        state: word(reason).to_owned(),
        reason: sentence(reason),
        active: endpoint.active(),
        total: counters.seats.load(Relaxed),
        connect_errors: counters.connect_errors.load(Relaxed),
        response_errors: counters.response_errors.load(Relaxed),
        ejections: counters.ejections.load(Relaxed),
        cookie: pool.rules.sticky.is_some().then(|| endpoint.sticky().to_owned()),
    }
}

/// What becomes of a request now, by the rules of [`Pool::pick`].
fn condition(states: &[(&Candidate, Option<Reason>)]) -> &'static str {
    let any = |wanted: &[Option<Reason>]| states.iter().any(|(_, r)| wanted.contains(r));
    if states.is_empty() {
        "there is no task: requests get 503, connections are held and then reset"
    } else if any(&[None]) {
        "ready tasks get everything"
    } else if any(&[Some(Reason::Full)]) {
        "every ready task has its most: requests wait"
    } else if any(&[Some(Reason::Ejected), Some(Reason::CheckFailed)]) {
        "tasks that failed a moment ago are tried all the same, since there is no better one"
    } else if any(&[Some(Reason::Unhealthy)]) {
        "no task is ready: unhealthy ones are tried as the last resort"
    } else {
        "no task may get anything: requests get 503, connections are held and then reset"
    }
}

/// A word for what is held against a task.
pub(super) fn word(reason: Option<Reason>) -> &'static str {
    match reason {
        None => "ready",
        Some(Reason::HealthUnknown) => "health-unknown",
        Some(Reason::Unhealthy) => "unhealthy",
        Some(Reason::Draining) => "draining",
        Some(Reason::Loop) => "loop",
        Some(Reason::Ejected) => "ejected",
        Some(Reason::CheckFailed) => "check-failed",
        Some(Reason::Full) => "full",
        Some(Reason::Tried) => "tried",
    }
}

/// The same as a sentence.
pub(super) fn sentence(reason: Option<Reason>) -> &'static str {
    match reason {
        None => "it may get requests",
        Some(Reason::HealthUnknown) => "its health check has not succeeded yet",
        Some(Reason::Unhealthy) => "its health check fails",
        Some(Reason::Draining) => "it is about to be stopped",
        Some(Reason::Loop) => "its address is this service port itself",
        Some(Reason::Ejected) => "it failed a moment ago and is tried last for a while",
        Some(Reason::CheckFailed) => "the load balancer's own check of it fails",
        Some(Reason::Full) => "it has as many requests or connections as it may",
        Some(Reason::Tried) => "it was tried for this request",
    }
}

pub(super) fn host_text(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Under(parent) => format!("*.{parent}"),
        HostPattern::Any => "*".to_owned(),
    }
}

/// A path as `WAYMARK_n_PATH` and its relatives write it.
pub(super) fn path_text(path: &PathPattern) -> String {
    match path {
        PathPattern::Prefix { text, ignore_case: false } => format!("{text}*"),
        PathPattern::Prefix { text, ignore_case: true } => format!("{text}* (any case)"),
        PathPattern::Segments(text) => format!("{}/…", text.trim_end_matches('/')),
        PathPattern::Exact(text) => format!("={text}"),
        PathPattern::Regex(regex) => format!("~{regex}"),
    }
}
