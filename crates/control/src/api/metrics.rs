//! `/metrics`: everything measured, in OpenMetrics text (Prometheus).
//!
//! What the state holds is counted when it is asked for; what only passes by (requests, streams) is
//! counted here as it happens; the other parts write their own families.

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use waymark_marathon_api::ApiError;
use waymark_model::TaskState;

use super::Api;
use super::answer::{self, Answer};
use crate::State;

/// The type of the answer.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the API counts as it happens.
#[derive(Default)]
pub(crate) struct ApiMetrics {
    requests: Family<RequestLabels, Counter>,
    /// Event streams that ended because their client was too slow.
    pub(crate) subscribers_cut: Counter,
    /// Events written to event streams.
    pub(crate) events_sent: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutputLabel {
    output: &'static str,
}

impl ApiMetrics {
    /// Counts an answered request. Methods that nobody knows share one label: clients must not be
    /// able to make new series.
    pub(crate) fn count(&self, method: &Method, status: StatusCode) {
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = known.into_iter().find(|m| *m == method.as_str()).unwrap_or("other");
        self.requests.get_or_create(&RequestLabels { method, code: status.as_u16() }).inc();
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("waymark_api_requests", "Requests answered", self.requests.clone());
        registry.register(
            "waymark_event_subscribers_cut",
            "Event streams ended because their client was too slow",
            self.subscribers_cut.clone(),
        );
        registry.register(
            "waymark_events_sent",
            "Events written to event streams",
            self.events_sent.clone(),
        );
    }
}

pub(super) fn scrape(api: &Api) -> Result<Answer, ApiError> {
    let mut registry = Registry::default();
    api.metrics.register(&mut registry);
    register_state(&mut registry, &api.handle.state());
    register_outputs(&mut registry, api);
    let failed = |_| ApiError::internal("The metrics cannot be written");
    let mut text = String::new();
    encode_registry(&mut text, &registry).map_err(failed)?;
    for source in &api.config.extra_metrics {
        source(&mut text);
    }
    encode_eof(&mut text).map_err(failed)?;
    Ok(answer::bytes(StatusCode::OK, OPEN_METRICS, text))
}

fn register_state(registry: &mut Registry, state: &State) {
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    gauge("waymark_apps", "Apps", state.root.apps.len() as u64);
    gauge("waymark_deployments", "Deployments that run", state.deployments.len() as u64);
    gauge("waymark_delayed_apps", "Apps with a launch delay", state.delays.len() as u64);
    gauge("waymark_catalog_version", "Version of the catalog", state.catalog_version);
    let tasks = Family::<StateLabel, Gauge>::default();
    use TaskState::{Killing, Running, Staging, Starting};
    for known in [Staging, Starting, Running, Killing] {
        let _ = tasks.get_or_create(&StateLabel { state: known.as_str() });
    }
    for task in state.tasks.values().flat_map(|tasks| tasks.values()) {
        tasks.get_or_create(&StateLabel { state: task.told_state().as_str() }).inc();
    }
    registry.register("waymark_tasks", "Tasks by state", tasks);
}

fn register_outputs(registry: &mut Registry, api: &Api) {
    let applied = Family::<OutputLabel, Gauge>::default();
    for (output, version) in api.config.outputs.each_applied() {
        let value = i64::try_from(version).unwrap_or(i64::MAX);
        applied.get_or_create(&OutputLabel { output }).set(value);
    }
    registry.register(
        "waymark_output_applied_version",
        "Newest catalog version that an output serves",
        applied,
    );
    let free = api.subscribers.available_permits();
    let subscribers = Gauge::<i64>::default();
    let open = api.config.limits.subscribers.saturating_sub(free);
    subscribers.set(i64::try_from(open).unwrap_or(i64::MAX));
    registry.register("waymark_event_subscribers", "Open event streams", subscribers);
}
