//! From the document that somebody wrote to the app of one colour that is created: id, service port
//! and labels, as zdd.py writes them.

use std::time::Duration;

use serde_json::{Value, json};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::former::{label, started_at};
use crate::port;

const GROUP: &str = "HAPROXY_DEPLOYMENT_GROUP";
const ALT_PORT: &str = "HAPROXY_DEPLOYMENT_ALT_PORT";
const COLOUR: &str = "HAPROXY_DEPLOYMENT_COLOUR";
const STARTED_AT: &str = "HAPROXY_DEPLOYMENT_STARTED_AT";

/// As Python's `isoformat` writes a time without zone.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");

/// The part of it that every writer of ISO 8601 has.
const SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// What the command line says about numbers of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Tasks of the new app at first, at least one.
    pub initial: u32,
    /// Tasks of the new app to stop with, leaving both colours; 0 for a whole deployment.
    pub new_instances: u32,
}

/// Why a document cannot be deployed. zdd.py's exit status for these is 4.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Something compulsory is not there.
    #[error("{hint} (missing: {field})")]
    Missing {
        /// What is missing.
        field: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Something is there and unusable.
    #[error("{field} is {value}, which is {problem}")]
    Wrong {
        /// Which one.
        field: &'static str,
        /// What it says.
        value: String,
        /// Why not.
        problem: &'static str,
    },
}

/// The deployment group that an app says it is in.
pub fn group(app: &Value) -> Option<&str> {
    label(app, GROUP)
}

/// Leaves out every null of an object, at all depths: older Marathons write them and newer ones
/// refuse them.
pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, v)| !v.is_null());
            Value::Object(kept.map(|(name, v)| (name, without_nulls(v))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Whether a document has what a deployment needs.
pub fn validate(document: &Value) -> Result<(), DocumentError> {
    let missing = |field, hint| DocumentError::Missing { field, hint };
    let id = document.get("id").and_then(Value::as_str);
    id.filter(|id| !id.trim_matches('/').is_empty())
        .ok_or(missing("id", "the document needs the app's id"))?;
    if document.get("labels").is_none_or(|labels| !labels.is_object()) {
        let hint = "the document needs labels, HAPROXY_DEPLOYMENT_GROUP at least";
        return Err(missing("labels", hint));
    }
    group(document)
        .filter(|group| !group.trim_matches('/').is_empty())
        .ok_or(missing(GROUP, "this label says which apps are colours of one another"))?;
    alt_port(document)?;
    own_port(document)?;
    Ok(())
}

fn alt_port(document: &Value) -> Result<u16, DocumentError> {
    let hint = "this label says which service port the other colour has";
    let text = label(document, ALT_PORT);
    let text = text.ok_or(DocumentError::Missing { field: ALT_PORT, hint })?;
    text.trim().parse().ok().filter(|port| *port > 0).ok_or_else(|| DocumentError::Wrong {
        field: ALT_PORT,
        value: format!("{text:?}"),
        problem: "no port number",
    })
}

fn own_port(document: &Value) -> Result<u16, DocumentError> {
    let hint = "the document needs a service port of its own choice: servicePort of its first port \
                mapping, or port of its first port definition";
    port::service_port(document).ok_or(DocumentError::Missing { field: "service port", hint })
}

/// The app to create, from a valid document, the deployment before and the time (UTC).
///
/// The first deployment is blue and has the document's own port and number of tasks. A later one has the
/// other colour, the port that the last one does not have, as many tasks as `wanted` says, and aims at
/// as many tasks as the last one has; the document's own number then has no meaning, as in zdd.py.
pub fn prepare(
    mut document: Value,
    last: Option<&Value>,
    wanted: Wanted,
    now: Duration,
) -> Result<Value, DocumentError> {
    validate(&document)?;
    let port = own_port(&document)?;
    let (colour, next_port, target, hybrid) = match last {
        None => ("blue", port, instances(&document), 0),
        Some(last) => {
            let target = instances(last);
            let hybrid = wanted.new_instances.min(target);
            let most = if hybrid > 0 { hybrid } else { target };
            document["instances"] = json!(wanted.initial.max(1).min(most));
            (next_colour(last), next_port(last)?, target, hybrid)
        }
    };
    let id = document.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let started = start_time(now, last);
    let labels = [
        ("HAPROXY_APP_ID", id.clone()),
        ("HAPROXY_0_PORT", port.to_string()),
        ("HAPROXY_DEPLOYMENT_NEW_INSTANCES", hybrid.to_string()),
        ("HAPROXY_DEPLOYMENT_TARGET_INSTANCES", target.to_string()),
        (COLOUR, colour.to_owned()),
        (STARTED_AT, started),
    ];
    for (name, value) in labels {
        document["labels"][name] = value.into();
    }
    let slash = if id.starts_with('/') { "" } else { "/" };
    document["id"] = format!("{slash}{id}-{colour}").into();
    port::set_service_port(&mut document, next_port);
    Ok(document)
}

/// Marathon's default is one.
fn instances(app: &Value) -> u32 {
    app.get("instances").and_then(Value::as_u64).map_or(1, |n| u32::try_from(n).unwrap_or(u32::MAX))
}

fn next_colour(last: &Value) -> &'static str {
    if label(last, COLOUR) == Some("blue") { "green" } else { "blue" }
}

/// The one of its two ports that the last deployment does not have. zdd.py looks at `ports` alone, which
/// Marathon from 1.5 on never writes, and then gives both colours the same.
fn next_port(last: &Value) -> Result<u16, DocumentError> {
    let alt = alt_port(last)?;
    if port::service_port(last) != Some(alt) {
        return Ok(alt);
    }
    let own = label(last, "HAPROXY_0_PORT").and_then(|text| text.trim().parse().ok());
    let hint =
        "the last deployment has HAPROXY_DEPLOYMENT_ALT_PORT and no label for its other port";
    own.filter(|port| *port > 0).ok_or(DocumentError::Missing { field: "HAPROXY_0_PORT", hint })
}

/// Balancers tell the newer from the older by this label: it is always later than the last one,
/// whichever clock and time zone that was written by.
fn start_time(now: Duration, last: Option<&Value>) -> String {
    let text = |at: OffsetDateTime| at.format(TIME).unwrap_or_default();
    let mine = text(OffsetDateTime::UNIX_EPOCH + now);
    let before = last.map(started_at).filter(|before| *before >= mine.as_str());
    let before = before.and_then(|before| before.get(..19));
    match before.and_then(|seconds| PrimitiveDateTime::parse(seconds, SECONDS).ok()) {
        Some(before) => text(before.assume_utc() + Duration::from_secs(1)),
        None => mine,
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
