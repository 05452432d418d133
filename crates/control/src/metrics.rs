//! What the control plane counts as it happens. What the state holds (apps, tasks, deployments) is
//! counted from the state when somebody asks.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::replace::Reason;

/// Counters, gauges and histograms of the control plane.
pub struct Metrics {
    registry: Registry,
    launches: Counter,
    kills: Family<KillLabels, Counter>,
    commits: Histogram,
    commit_failures: Counter,
    handling: Histogram,
    inbox: Gauge<i64, AtomicI64>,
    unsaved: Gauge<i64, AtomicI64>,
    draining: Gauge<i64, AtomicI64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KillLabels {
    reason: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let metrics = Metrics {
            launches: Counter::default(),
            kills: Family::default(),
            // 50 µs … 1.6 s
            commits: Histogram::new(exponential_buckets(50e-6, 2.0, 16)),
            commit_failures: Counter::default(),
            // 2 µs … 65 ms
            handling: Histogram::new(exponential_buckets(2e-6, 2.0, 16)),
            inbox: Gauge::default(),
            unsaved: Gauge::default(),
            draining: Gauge::default(),
            registry: Registry::default(),
        };
        for reason in Reason::ALL {
            let _ = metrics.kills.get_or_create(&KillLabels { reason: reason.as_str() });
        }
        metrics.register(&mut registry);
        Metrics { registry, ..metrics }
    }
}

impl Metrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("waymark_launches", "Tasks launched", self.launches.clone());
        registry.register("waymark_kills", "Tasks killed, by reason", self.kills.clone());
        registry.register(
            "waymark_store_commit_seconds",
            "Time of one durable transaction",
            self.commits.clone(),
        );
        registry.register(
            "waymark_store_failures",
            "Transactions that could not be stored",
            self.commit_failures.clone(),
        );
        registry.register(
            "waymark_core_handle_seconds",
            "Time the core needs for one input",
            self.handling.clone(),
        );
        registry.register(
            "waymark_control_inbox",
            "Inputs handled together the last time",
            self.inbox.clone(),
        );
        registry.register(
            "waymark_store_unsaved",
            "Records that are not stored yet",
            self.unsaved.clone(),
        );
        registry.register(
            "waymark_draining_tasks",
            "Tasks that are out of service and not killed yet",
            self.draining.clone(),
        );
    }

    /// Writes all families in OpenMetrics text, without the closing `# EOF`.
    pub fn write(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = encode_registry(out, &self.registry);
    }

    pub(crate) fn launched(&self) {
        self.launches.inc();
    }

    pub(crate) fn killed(&self, reason: Reason) {
        self.kills.get_or_create(&KillLabels { reason: reason.as_str() }).inc();
    }

    pub(crate) fn committed(&self, time: Duration, stored: bool) {
        self.commits.observe(time.as_secs_f64());
        if !stored {
            self.commit_failures.inc();
        }
    }

    pub(crate) fn handled(&self, time: Duration) {
        self.handling.observe(time.as_secs_f64());
    }

    pub(crate) fn set_inbox(&self, inputs: usize) {
        self.inbox.set(i64::try_from(inputs).unwrap_or(i64::MAX));
    }

    pub(crate) fn set_unsaved(&self, records: usize) {
        self.unsaved.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    pub(crate) fn set_draining(&self, tasks: usize) {
        self.draining.set(i64::try_from(tasks).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_text() {
        let metrics = Metrics::default();
        metrics.killed(Reason::Upgrade);
        metrics.committed(Duration::from_millis(3), false);
        let mut text = String::new();
        metrics.write(&mut text);
        assert!(text.contains("waymark_kills_total{reason=\"upgrade\"} 1"), "{text}");
        assert!(text.contains("waymark_store_failures_total 1"), "{text}");
        assert!(!text.contains("# EOF"));
    }
}
