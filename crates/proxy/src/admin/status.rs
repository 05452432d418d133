//! `/v1/status` of the stats port: whether the load balancer serves, in numbers. What they are the
//! numbers of, the other views tell.

use std::time::Duration;

use serde_json::{Value, json};

use super::routes::listeners;
use crate::Proxy;
use crate::stats::ListenerState;

/// The most service ports without a listener that are told; `/v1/routes` has all.
const MAX_FAILING: usize = 100;

/// `up` is how long it runs; `source` is what `/v1/source` says.
pub(super) fn status(proxy: &Proxy, version: &str, up: Duration, source: Value) -> Value {
    let table = proxy.table();
    let totals = proxy.totals();
    let failing: Vec<Value> = table
        .listeners
        .values()
        .filter_map(|route| {
            let reason = match route.port.listener() {
                ListenerState::Listening => return None,
                ListenerState::Pending => "not listened on yet".to_owned(),
                ListenerState::Failed(reason) => reason,
                ListenerState::Reserved => "Waymark itself listens there".to_owned(),
            };
            let app = route.apps.first().map_or("", |app| app.as_str());
            Some(json!({ "port": route.key.port, "app": app, "reason": reason }))
        })
        .take(MAX_FAILING)
        .collect();
    json!({
        "kind": "load-balancer",
        "version": version,
        "upSeconds": up.as_secs(),
        "catalogVersion": table.version,
        "appliedVersion": proxy.output().applied(),
        "source": source,
        "listeners": listeners(proxy),
        "servicePorts": table.listeners.len(),
        "servicePortsFailing": failing,
        "services": table.pools.values().filter(|pool| pool.id.shared.is_none()).count(),
        "hosts": table.hosts.len(),
        "connections": totals.connections,
        "quarantined": table.quarantined.len(),
        "unapplied": table.unapplied.len(),
        "displaced": table.displaced.len(),
    })
}
