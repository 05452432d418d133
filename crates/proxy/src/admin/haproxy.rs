//! What people and scripts ask marathon-lb's HAProxy for: its page, and the maps.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::Value;
use waymark_routing::{HostPattern, Mode};

use super::csv::{mode_of, server_status};
use super::services::states;
use crate::Proxy;
use crate::route::{Pool, RouteTable};

/// HAProxy's page for monitors.
pub(super) const HEALTHY: &str = "<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n";

/// `/_haproxy_getvhostmap`: host names that one service has whole, with its backend.
pub(super) fn vhost_map(table: &RouteTable) -> String {
    let mut out = String::new();
    for pool in http_pools(table) {
        if !pool.rules.paths.is_empty() || pool.rules.auth.is_some() {
            continue;
        }
        for host in &pool.rules.hosts {
            let _ = match host {
                HostPattern::Exact(name) => writeln!(out, "{name} {}", pool.name),
                HostPattern::Under(parent) => writeln!(out, "*.{parent} {}", pool.name),
                HostPattern::Any => writeln!(out, "* {}", pool.name),
            };
        }
    }
    out
}

/// `/_haproxy_getappmap`: app ids with the backend of the app's first port in mode http.
pub(super) fn app_map(table: &RouteTable) -> String {
    let mut out = String::new();
    let mut last = None;
    for pool in http_pools(table) {
        if last != Some(&pool.id.app) {
            let _ = writeln!(out, "{} {}", pool.id.app, pool.name);
            last = Some(&pool.id.app);
        }
    }
    out
}

fn http_pools(table: &RouteTable) -> impl Iterator<Item = &Arc<Pool>> {
    table.pools.values().filter(|pool| pool.id.shared.is_none() && pool.rules.mode == Mode::Http)
}

/// `/haproxy?stats` for people.
pub(super) fn page(proxy: &Proxy, version: &str, source: &Value) -> String {
    let table = proxy.table();
    let (totals, now) = (proxy.totals(), proxy.clock_ms());
    let mut out = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>Waymark {version}</title>\
         <style>body{{font-family:sans-serif}}table{{border-collapse:collapse}}\
         td,th{{border:1px solid #ccc;padding:2px 8px;text-align:left}}\
         .down{{background:#fbb}}.maint{{background:#fea}}</style></head><body>\
         <h1>Waymark {version}</h1><p>{} services, {} connections, catalog version {}. \
         <a href=\"/haproxy?stats;csv\">CSV</a> <a href=\"/metrics\">metrics</a> \
         <a href=\"/v1/routes\">routes</a> <a href=\"/v1/services\">services</a> \
         <a href=\"/v1/quarantine\">quarantine</a> <a href=\"/v1/certificates\">certificates</a> \
         <a href=\"/v1/source\">source</a></p>\n<p{}>{}</p>\n<table><tr><th>service<th>port<th>mode<th>server\
         <th>address<th>status<th>open<th>total</tr>\n",
        table.pools.values().filter(|pool| pool.id.shared.is_none()).count(),
        totals.connections,
        table.version,
        if source["state"] == "fresh" { "" } else { " class=\"down\"" },
        escape(&word_of(source)),
    );
    for pool in table.pools.values().filter(|pool| pool.id.shared.is_none()) {
        for (candidate, reason) in states(pool, now) {
            let endpoint = &candidate.endpoint;
            let status = server_status(pool, reason);
            let class = match status {
                "DOWN" => "down",
                "MAINT" => "maint",
                _ => "up",
            };
            let _ = writeln!(
                out,
                "<tr class=\"{class}\"><td>{}<td>{}<td>{}<td>{}<td>{}<td>{status}<td>{}<td>{}</tr>",
                escape(&pool.name),
                pool.port,
                mode_of(pool),
                escape(&endpoint.server),
                endpoint.address,
                endpoint.active(),
                endpoint.counters.seats.load(Relaxed),
            );
        }
    }
    out + "</table></body></html>\n"
}

/// A sentence on how old the source's word is.
fn word_of(source: &Value) -> String {
    let text = |name: &str| source[name].as_str().unwrap_or_default();
    let place = match text("endpoint") {
        "" => text("kind").to_owned(),
        endpoint => format!("{} {endpoint}", text("kind")),
    };
    let age = source["ageSeconds"].as_f64();
    let age = age.map_or("no word yet".to_owned(), |age| format!("last word {age:.1} s ago"));
    match text("reason") {
        "" => format!("Source {place}: {}, {age}.", text("state")),
        reason => format!("Source {place}: {}, {age}: {reason}.", text("state")),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_age_of_the_source_is_a_sentence() {
        for (source, wanted) in [
            (
                json!({"kind": "marathon", "endpoint": "http://m:8080", "state": "fresh",
                       "ageSeconds": 0.42, "reason": null}),
                "Source marathon http://m:8080: fresh, last word 0.4 s ago.",
            ),
            (
                json!({"kind": "marathon", "state": "stale", "ageSeconds": 61.0,
                       "reason": "refused"}),
                "Source marathon: stale, last word 61.0 s ago: refused.",
            ),
            (
                json!({"kind": "marathon", "state": "silent"}),
                "Source marathon: silent, no word yet.",
            ),
        ] {
            assert_eq!(word_of(&source), wanted);
        }
    }
}
