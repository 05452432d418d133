//! `waymark status` of a load balancer alone: its source, its ports, its routes, and what is wrong.

use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Api, typed};
use super::view::rough;
use super::{Shown, pretty, routes};

/// The most routes that are shown.
const MAX_ROUTES: usize = 40;

/// `GET /v1/status` of the stats port, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    version: String,
    up_seconds: u64,
    catalog_version: u64,
    applied_version: u64,
    source: Source,
    listeners: Vec<Listener>,
    service_ports: usize,
    service_ports_failing: Vec<Failing>,
    services: usize,
    hosts: usize,
    connections: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Source {
    kind: String,
    endpoint: Option<String>,
    state: String,
    mode: Option<String>,
    age_seconds: Option<f64>,
    reason: Option<String>,
    apps: Option<usize>,
    pods: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Listener {
    listener: String,
    port: u16,
    state: String,
    reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Failing {
    port: u16,
    app: String,
    reason: String,
}

/// Whether the document is a load balancer's, not that of `waymark run`.
pub fn is_of(document: &Value) -> bool {
    document["kind"] == "load-balancer"
}

/// Everything that can be said shortly.
pub fn status(api: &Api, document: Value, as_json: bool) -> Shown {
    let (routed, troubles) = (api.get("/v1/routes")?, api.get("/v1/quarantine")?);
    if as_json {
        return Ok(pretty(&json!({
            "api": api.url(),
            "status": document,
            "routes": routed["routes"],
            "quarantine": troubles,
        })));
    }
    let status: Status = typed(document)?;
    let mut out = text(api.url(), &status);
    out.push_str(&format!("\n{}", routes::table(&routed, MAX_ROUTES)));
    out.push_str(&routes::troubles(&troubles));
    Ok(out)
}

fn text(url: &str, status: &Status) -> String {
    let behind = status.catalog_version.saturating_sub(status.applied_version);
    let behind = if behind == 0 { String::new() } else { format!(" ({behind} behind)") };
    let mut out = format!(
        "Waymark {} (load balancer) at {url}, up {}\n\n\
         source   {}\n\
         catalog  version {}{behind}\n\
         routes   {} services, {} host names, {} service ports\n\
         traffic  {} connections open\n",
        status.version,
        rough(std::time::Duration::from_secs(status.up_seconds)),
        source(&status.source),
        status.catalog_version,
        status.services,
        status.hosts,
        status.service_ports,
        status.connections,
    );
    for port in &status.listeners {
        let reason = port.reason.as_deref().map_or(String::new(), |reason| format!(": {reason}"));
        out.push_str(&format!("{:<7}  port {} {}{reason}\n", port.listener, port.port, port.state));
    }
    if !status.service_ports_failing.is_empty() {
        out.push_str("\nservice ports without a listener\n");
        for port in &status.service_ports_failing {
            out.push_str(&format!("  {} {}: {}\n", port.port, port.app, port.reason));
        }
    }
    out
}

fn source(source: &Source) -> String {
    let mut parts = vec![source.kind.clone()];
    parts.extend(source.endpoint.clone());
    let mut text = format!("{}: {}", parts.join(" "), source.state);
    match source.age_seconds {
        Some(age) => text.push_str(&format!(", last word {age:.1} s ago")),
        None => text.push_str(", no word yet"),
    }
    let apps = source.apps.map(|apps| format!(", {apps} apps"));
    let pods = source.pods.filter(|pods| *pods > 0);
    let pods = pods.map(|pods| format!(", {pods} pods (not followed)"));
    let mode = source.mode.as_ref().map(|mode| format!(" ({mode})"));
    let reason = source.reason.as_ref().map(|reason| format!(": {reason}"));
    text.extend([mode, apps, pods, reason].into_iter().flatten());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_in_lines() {
        let document = json!({
            "kind": "load-balancer", "version": "0.1.0", "upSeconds": 61, "catalogVersion": 7,
            "appliedVersion": 6, "services": 2, "hosts": 1, "servicePorts": 2, "connections": 3,
            "source": {"kind": "marathon", "endpoint": "http://m:8080", "state": "stale",
                       "mode": "lost", "ageSeconds": 12.34, "reason": "refused", "apps": 5,
                       "pods": 1},
            "listeners": [{"listener": "http", "port": 80, "state": "listening"}],
            "servicePortsFailing": [{"port": 10000, "app": "/a", "reason": "in use"}],
        });
        assert!(is_of(&document) && !is_of(&json!({"tasks": 1})));
        assert_eq!(
            text("http://127.0.0.1:9090", &typed(document).unwrap()),
            "Waymark 0.1.0 (load balancer) at http://127.0.0.1:9090, up 61s\n\n\
             source   marathon http://m:8080: stale, last word 12.3 s ago (lost), 5 apps, 1 pods \
             (not followed): refused\n\
             catalog  version 7 (1 behind)\n\
             routes   2 services, 1 host names, 2 service ports\n\
             traffic  3 connections open\n\
             http     port 80 listening\n\
             \nservice ports without a listener\n  10000 /a: in use\n"
        );
    }
}
