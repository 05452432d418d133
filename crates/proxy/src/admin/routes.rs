//! `/v1/routes`: everything that is routed, in the order in which it is looked at; and what is not,
//! with the reason.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use waymark_http::query::Query;

use super::services::{host_text, id, path_text};
use crate::Proxy;
use crate::route::{Front, HostRules, Pool, RouteTable, Rule, ServiceRoute};
use crate::stats::{ListenerState, PortStats};
use crate::tls::{CertificateState, CertificateStatus};

/// What of the routes is asked for.
struct Filter<'q> {
    app: Option<&'q str>,
    host: Option<String>,
    port: Option<u16>,
    listener: Option<&'q str>,
}

impl Filter<'_> {
    fn new(query: &Query) -> Filter<'_> {
        Filter {
            app: query.get("app"),
            host: query.get("host").map(str::to_ascii_lowercase),
            port: query.get("port").and_then(|port| port.parse().ok()),
            listener: query.get("listener"),
        }
    }

    fn listener(&self, kind: &str) -> bool {
        self.listener.is_none_or(|wanted| wanted == kind)
    }

    fn pool(&self, pool: &Pool) -> bool {
        self.app.is_none_or(|app| pool.id.app.as_str() == app)
    }
}

/// Every route, and the load balancer's own ports. `?app=`, `?host=`, `?port=` and `?listener=`
/// (`shared`, `service`, `appid`) take some.
pub(super) fn list(proxy: &Proxy, query: &Query) -> Value {
    let table = proxy.table();
    let routes = routes(&table, &Filter::new(query));
    json!({ "version": table.version, "listeners": listeners(proxy), "routes": routes })
}

/// Every route of a table that nobody serves.
pub fn preview(table: &RouteTable) -> Value {
    json!({ "version": table.version, "routes": routes(table, &Filter::new(&Query::default())) })
}

fn routes(table: &RouteTable, filter: &Filter<'_>) -> Vec<Value> {
    let mut routes = Vec::new();
    if filter.listener("shared") && filter.port.is_none() {
        hosts(table, filter, &mut routes);
    }
    if filter.listener("service") && filter.host.is_none() {
        let wanted = table.listeners.values().filter(|route| {
            filter.port.is_none_or(|port| port == route.key.port) && filter.pool(&route.pool)
        });
        routes.extend(wanted.map(|route| service(route)));
    }
    if filter.listener("appid") && filter.host.is_none() && filter.port.is_none() {
        routes.extend(table.pools.values().filter(|pool| filter.pool(pool)).filter_map(|pool| {
            let app = pool.id.app.as_str();
            let own = table.app(app).is_some_and(|first| Arc::ptr_eq(first, pool));
            own.then(|| {
                json!({
                    "listener": "appid", "app": app, "service": id(&pool.id),
                    "tasks": pool.candidates.len(), "pastPassword": pool.rules.auth.is_some(),
                })
            })
        }));
    }
    routes
}

/// The load balancer's own ports.
pub(super) fn listeners(proxy: &Proxy) -> Vec<Value> {
    let describe = |(front, stats): &(Front, PortStats)| {
        let name = match front {
            Front::Http => "http",
            Front::Https => "https",
            Front::AppId => "appid",
            Front::Service(_) => "service",
        };
        let mut entry = json!({ "listener": name, "port": stats.port });
        state(&mut entry, &stats.listener);
        entry
    };
    proxy.fronts().iter().map(describe).collect()
}

fn state(entry: &mut Value, state: &ListenerState) {
    let (word, reason) = match state {
        ListenerState::Pending => ("pending", None),
        ListenerState::Listening => ("listening", None),
        ListenerState::Failed(reason) => ("failed", Some(reason.as_str())),
        ListenerState::Reserved => ("reserved", Some("Waymark itself listens there")),
    };
    entry["state"] = json!(word);
    if let Some(reason) = reason {
        entry["reason"] = json!(reason);
    }
}

/// Hosts in order of their names, each with its rules in the order in which they are tried.
fn hosts(table: &RouteTable, filter: &Filter<'_>, routes: &mut Vec<Value>) {
    let mut hosts: Vec<&Arc<HostRules>> = table.hosts.iter().collect();
    hosts.sort_by_cached_key(|rules| host_text(&rules.host));
    for rules in hosts {
        let host = host_text(&rules.host);
        if filter.host.as_ref().is_some_and(|wanted| *wanted != host) {
            continue;
        }
        for pool in rules.passthrough.iter().filter(|pool| filter.pool(pool)) {
            routes.push(json!({
                "listener": "https", "host": host, "passthrough": true, "service": id(&pool.id),
                "tasks": pool.candidates.len(),
            }));
        }
        let wanted = |rule: &&Arc<Rule>| rule.shares.iter().any(|share| filter.pool(&share.pool));
        routes.extend(rules.rules.iter().filter(wanted).map(|rule| one_rule(&host, rule)));
    }
}

fn one_rule(host: &str, rule: &Rule) -> Value {
    let mut entry = Map::new();
    entry.insert("listener".to_owned(), json!("http, https"));
    entry.insert("host".to_owned(), json!(host));
    if let Some(path) = &rule.path {
        entry.insert("path".to_owned(), json!(path_text(path)));
    }
    entry.insert("priority".to_owned(), json!(rule.priority));
    match rule.shares.as_slice() {
        [only] => {
            entry.insert("service".to_owned(), json!(id(&only.pool.id)));
            entry.insert("tasks".to_owned(), json!(only.pool.candidates.len()));
            if only.pool.rules.redirect_to_https {
                entry.insert("redirectToHttps".to_owned(), json!(true));
            }
            if let Some(auth) = &only.pool.rules.auth {
                entry.insert("realm".to_owned(), json!(auth.realm));
            }
        }
        several => {
            let shares = several.iter().map(|share| {
                let tasks = share.pool.candidates.len();
                json!({ "service": id(&share.pool.id), "weight": share.weight, "tasks": tasks })
            });
            entry.insert("shares".to_owned(), shares.collect());
        }
    }
    if !rule.shadowed.is_empty() {
        entry.insert("shadowed".to_owned(), rule.shadowed.iter().map(id).collect());
    }
    Value::Object(entry)
}

fn service(route: &ServiceRoute) -> Value {
    let pool = &route.pool;
    let key = &route.key;
    let apps: Vec<&str> = route.apps.iter().map(|app| app.as_str()).collect();
    let mut entry = json!({
        "listener": "service",
        "port": key.port,
        "protocol": if key.udp { "udp" } else { "tcp" },
        "mode": match pool.rules.mode {
            waymark_routing::Mode::Http => "http",
            waymark_routing::Mode::Tcp => "tcp",
        },
        "service": id(&pool.id),
        "tasks": pool.candidates.len(),
        // Who comes here is not asked for the password of its host names.
        "pastPassword": pool.rules.auth.is_some(),
    });
    if let Some(ip) = key.ip {
        entry["address"] = json!(ip);
    }
    if apps.len() > 1 {
        entry["apps"] = json!(apps);
    }
    state(&mut entry, &route.port.listener());
    entry
}

/// `/v1/quarantine`: apps whose labels are not, or not wholly, in effect.
pub fn quarantine(table: &RouteTable) -> Value {
    let quarantined: Vec<Value> = table
        .quarantined
        .iter()
        .map(|(app, quarantined)| {
            let errors = quarantined.errors.iter();
            json!({
                "app": app.as_str(),
                "since": quarantined.since.to_string(),
                "effect": match quarantined.kept {
                    true => "its last good routes stay",
                    false => "it has no routes",
                },
                "errors": errors.map(|e| json!({ "label": e.label, "reason": e.reason }))
                    .collect::<Vec<_>>(),
            })
        })
        .collect();
    let unapplied: Vec<Value> = table
        .unapplied
        .iter()
        .map(|(app, labels)| {
            let labels = labels.iter().map(|u| json!({ "label": u.label, "reason": u.reason }));
            json!({ "app": app.as_str(), "labels": labels.collect::<Vec<_>>() })
        })
        .collect();
    let displaced: Vec<Value> = table
        .displaced
        .iter()
        .map(|(app, by)| json!({ "app": app.as_str(), "by": by.as_str() }))
        .collect();
    json!({ "quarantined": quarantined, "unapplied": unapplied, "displaced": displaced })
}

fn state_word(state: CertificateState) -> &'static str {
    match state {
        CertificateState::Served => "served",
        CertificateState::Kept => "kept",
        CertificateState::Refused => "refused",
        CertificateState::SelfSigned => "self-signed",
    }
}

/// `/v1/certificates`
pub(super) fn certificates(proxy: &Proxy) -> Value {
    let certificates = proxy.certificates();
    let describe = |certificate: &CertificateStatus| {
        json!({
            "file": certificate.file.display().to_string(),
            "state": state_word(certificate.state),
            "reason": certificate.reason,
            "names": certificate.names,
            "notBefore": certificate.not_before,
            "notAfter": certificate.not_after,
        })
    };
    let list: Vec<Value> = certificates.status().iter().map(describe).collect();
    let authorities = proxy.authorities().into_iter().map(|authorities| {
        json!({
            "file": authorities.file.display().to_string(),
            "state": state_word(authorities.state),
            "reason": authorities.reason,
        })
    });
    let stats = certificates.stats();
    json!({
        "certificates": list,
        "authorities": authorities.collect::<Vec<Value>>(),
        "handshakes": { "full": stats.full, "resumed": stats.resumed, "active": stats.active },
    })
}
