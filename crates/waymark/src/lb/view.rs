//! `/v1/source`: the Marathon that is followed, as JSON.

use std::time::Instant;

use serde_json::{Value, json};
use waymark_catalog::Standing;
use waymark_sources::marathon::MarathonReport;

/// How old its word is, how it comes, and what is wrong.
pub fn source(word: &Standing, report: &MarathonReport, now: Instant) -> Value {
    let (state, age, reason) = match word {
        Standing::Silent { reason } => ("silent", None, reason.as_deref()),
        Standing::Fresh(age) => ("fresh", Some(age), None),
        Standing::Stale { age, reason } => ("stale", Some(age), Some(&**reason)),
    };
    let last_event = report.last_event.map(|at| now.saturating_duration_since(at).as_secs_f64());
    json!({
        "kind": "marathon",
        "state": state,
        "ageSeconds": age.map(|age| age.as_secs_f64()),
        "reason": reason,
        "mode": report.mode.as_str(),
        "endpoint": report.endpoint,
        "leader": report.leader,
        "version": report.version,
        "framework": report.framework,
        "apps": report.apps,
        "doubted": report.doubted,
        "pods": report.pods,
        "lastEventSeconds": last_event,
        "lastFailure": report.last_failure,
        "unresolvedHosts": report.unresolved_hosts,
        "problems": report.problems.iter().map(|(app, problem)| {
            json!({ "app": app.as_str(), "problem": problem })
        }).collect::<Vec<_>>(),
    })
}
