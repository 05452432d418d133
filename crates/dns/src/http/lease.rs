//! `/v1/lease?task=…` and `/v1/lease?name=…`: for how long an address that was handed out may still
//! be in somebody's cache. Who drains a task takes its name away first and then waits for this.

use std::time::Instant;

use serde::Serialize;
use waymark_catalog::Output;
use waymark_http::query::Query;
use waymark_model::TaskId;

use super::answer::{self, Answer};
use crate::output::Dns;
use crate::wire;

/// The lease of a task, or the longest of those that a name leads to.
#[derive(Serialize)]
struct Lease {
    /// Whether an address may still be cached.
    leased: bool,
    /// For how long at most; 0 when it is over or was never handed out.
    seconds: f64,
    /// The newest catalog version that every answer is made from.
    version: u64,
    /// The tasks it is about.
    tasks: Vec<TaskLease>,
}

#[derive(Serialize)]
struct TaskLease {
    id: String,
    seconds: f64,
}

/// Answers for a task's id or a name.
pub fn lease(dns: &Dns, query: &Query) -> Answer {
    let given = |name| query.get(name).filter(|text| !text.is_empty());
    let tasks = match (given("task"), given("name")) {
        (Some(task), None) => vec![TaskId::from_text(task)],
        (None, Some(name)) => tasks_of(dns, name),
        _ => return answer::bad_request("say either task=ID or name=NAME"),
    };
    // Asked before the leases: what is true of this version is true of them.
    let version = dns.applied();
    let now = Instant::now();
    let tasks: Vec<TaskLease> = tasks
        .iter()
        .map(|task| {
            let until = dns.in_use(task).lease_until;
            let left = until.map(|until| until.saturating_duration_since(now)).unwrap_or_default();
            TaskLease { id: task.as_str().to_owned(), seconds: rounded(left.as_secs_f64()) }
        })
        .collect();
    let seconds = tasks.iter().map(|task| task.seconds).fold(0.0, f64::max);
    answer::json(&Lease { leased: seconds > 0.0, seconds, version, tasks })
}

/// The tasks that a name leads to now, each once.
fn tasks_of(dns: &Dns, name: &str) -> Vec<TaskId> {
    let zone = dns.zone();
    let absolute = wire::absolute(&name.to_ascii_lowercase());
    let domain = &zone.apex().domain;
    let Some(name) = absolute.as_deref().and_then(|name| wire::relative_to(name, domain)) else {
        return Vec::new();
    };
    let mut tasks: Vec<TaskId> = Vec::new();
    for found in zone.find(name) {
        let leases = found.records.values(found.entry).iter().map(|value| value.lease());
        let named = leases.filter_map(|place| found.records.tasks().get(place as usize));
        tasks.extend(named.map(|task| task.id().clone()));
    }
    tasks.sort_unstable();
    tasks.dedup();
    tasks
}

/// To milliseconds, upwards: nobody may believe that it is over too early.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).ceil() / 1000.0
}
