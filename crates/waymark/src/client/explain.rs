//! `waymark explain`: where a request goes and why, as the data path decides it.

use std::fmt::Write;

use clap::ArgMatches;
use serde::Deserialize;

use super::api::{Api, typed};
use super::error::ClientError;
use super::pretty;

/// `GET /v1/explain`, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Explanation {
    listener: String,
    host: Option<String>,
    rules: Vec<Rule>,
    decision: String,
    reason: String,
    status: Option<u16>,
    location: Option<String>,
    service: Option<Service>,
    candidates: Vec<Candidate>,
    pick: Option<Pick>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rule {
    host: String,
    path: String,
    priority: i64,
    services: Vec<String>,
    met: bool,
    why_not: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Service {
    app: String,
    index: usize,
    port: u16,
    name: String,
    balance: String,
    shared_by: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Candidate {
    task: String,
    address: String,
    active: u32,
    left_out: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pick {
    task: String,
    although: Option<String>,
}

/// What is shown, and whether a task would be picked.
pub fn explain(api: &Api, matches: &ArgMatches) -> Result<(String, bool), ClientError> {
    let document = api.get(&path(matches)).map_err(|error| match error {
        // It is the command line that makes no sense.
        ClientError::BadRequest(text) => ClientError::Usage(text),
        error => error,
    })?;
    let explanation: Explanation = typed(document.clone())?;
    let picked = explanation.pick.is_some();
    let shown = if matches.get_flag("json") { pretty(&document) } else { text(&explanation) };
    Ok((shown, picked))
}

/// The question as a path with its query.
fn path(matches: &ArgMatches) -> String {
    let mut path = "/v1/explain?".to_owned();
    for (name, argument) in [("method", "method"), ("url", "url"), ("from", "from")] {
        if let Some(value) = matches.get_one::<String>(argument) {
            let _ = write!(path, "{name}={}&", encode(value));
        }
    }
    for header in matches.get_many::<String>("header").into_iter().flatten() {
        let _ = write!(path, "header={}&", encode(header));
    }
    path.pop();
    path
}

/// Percent-encodes all but unreserved characters (RFC 3986 §2.3).
fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

fn text(e: &Explanation) -> String {
    let mut out = format!("listener  {}\n", e.listener);
    if let Some(host) = &e.host {
        let _ = writeln!(out, "host      {host}");
    }
    for (n, rule) in e.rules.iter().enumerate() {
        let label = if n == 0 { "rules" } else { "" };
        let outcome = match (&rule.why_not, rule.met) {
            (_, true) => "met",
            (Some(why), _) => why,
            (None, false) => "not met",
        };
        let services = rule.services.join(", ");
        let _ = writeln!(
            out,
            "{label:<8}  {} {}, priority {} -> {services}: {outcome}",
            rule.host, rule.path, rule.priority
        );
    }
    let status = e.status.map_or(String::new(), |status| format!(" {status}"));
    let _ = writeln!(out, "decision  {}{status}: {}", e.decision, e.reason);
    if let Some(location) = &e.location {
        let _ = writeln!(out, "location  {location}");
    }
    if let Some(service) = &e.service {
        let _ = writeln!(
            out,
            "service   {}:{} ({}), port {}, balance {}",
            service.app, service.index, service.name, service.port, service.balance
        );
        if !service.shared_by.is_empty() {
            let _ = writeln!(out, "shared by {}", service.shared_by.join(", "));
        }
    }
    tasks(&mut out, e);
    out
}

fn tasks(out: &mut String, e: &Explanation) {
    for (n, candidate) in e.candidates.iter().enumerate() {
        let label = if n == 0 { "tasks" } else { "" };
        let picked = e.pick.as_ref().filter(|pick| pick.task == candidate.task);
        let word = match (picked, &candidate.left_out) {
            (Some(Pick { although: Some(word), .. }), _) => {
                format!("PICKED, for want of a better one: {}", sentence(word))
            }
            (Some(_), _) => "PICKED".to_owned(),
            (None, Some(word)) => format!("left out: {}", sentence(word)),
            (None, None) => "may be picked".to_owned(),
        };
        let _ = writeln!(
            out,
            "{label:<8}  {} {} ({} open): {word}",
            candidate.task, candidate.address, candidate.active
        );
    }
}

/// The reasons for which a task is left out.
fn sentence(word: &str) -> &str {
    match word {
        "health-unknown" => "its health check has not succeeded yet",
        "unhealthy" => "its health check fails",
        "draining" => "it is about to be stopped",
        "loop" => "its address is the service port itself",
        "ejected" => "it failed a moment ago",
        "check-failed" => "the load balancer's own check of it fails",
        "full" => "it has as many requests or connections as it may",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(document: Value) -> String {
        text(&typed(document).unwrap())
    }

    #[test]
    fn a_request_that_finds_a_task() {
        let document = json!({
            "version": 7, "listener": "http", "host": "shop.test",
            "rules": [
                {"host": "shop.test", "path": "prefix /api", "priority": 1,
                 "services": ["api_10001 100"], "met": false, "why_not": "the path is another"},
                {"host": "shop.test", "path": "every", "priority": 0,
                 "services": ["web_10000 100"], "met": true},
            ],
            "decision": "forward", "reason": "a task answers",
            "service": {"app": "/web", "index": 0, "port": 10000, "name": "web_10000",
                        "balance": "RoundRobin"},
            "candidates": [
                {"task": "web.1", "address": "10.0.0.1:31000", "active": 2},
                {"task": "web.2", "address": "10.0.0.2:31000", "active": 0, "left_out": "unhealthy"},
            ],
            "pick": {"task": "web.1", "address": "10.0.0.1:31000"},
        });
        assert_eq!(
            shown(document),
            "listener  http\n\
             host      shop.test\n\
             rules     shop.test prefix /api, priority 1 -> api_10001 100: the path is another\n\
             \x20         shop.test every, priority 0 -> web_10000 100: met\n\
             decision  forward: a task answers\n\
             service   /web:0 (web_10000), port 10000, balance RoundRobin\n\
             tasks     web.1 10.0.0.1:31000 (2 open): PICKED\n\
             \x20         web.2 10.0.0.2:31000 (0 open): left out: its health check fails\n"
        );
    }

    #[test]
    fn a_request_that_finds_none() {
        let document = json!({
            "listener": "service 9", "rules": [], "decision": "no-route", "status": 503,
            "reason": "no exposed service has port 9", "candidates": [],
        });
        assert_eq!(
            shown(document),
            "listener  service 9\ndecision  no-route 503: no exposed service has port 9\n"
        );
    }

    #[test]
    fn questions_are_encoded() {
        let line = [
            "waymark",
            "explain",
            "GET",
            "http://a.test/x?y=1&z",
            "--from",
            "::1",
            "--header",
            "A: b",
        ];
        let matches = crate::cli::command().try_get_matches_from(line).unwrap();
        assert_eq!(
            path(matches.subcommand_matches("explain").unwrap()),
            "/v1/explain?method=GET&url=http%3A%2F%2Fa.test%2Fx%3Fy%3D1%26z&from=%3A%3A1&\
             header=A%3A%20b"
        );
    }
}
