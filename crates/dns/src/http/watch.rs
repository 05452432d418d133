//! `/v1/watch?name=…[&type=…][&index=…][&wait=…]`: a name's records, once they differ from those
//! that the client knows. As one answer that may be long in coming, or as server-sent events.
//!
//! An index is a digest of the records: a client that passes the one it was last given is answered
//! as soon as there is another, whatever happened in between, also by another server or after a
//! restart. Changes are told in their last state; what came and went meanwhile is not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use serde::Serialize;
use sha1::{Digest, Sha1};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use waymark_catalog::Output;
use waymark_http::query::Query;

use super::answer::{self, Answer};
use super::config::Shared;
use crate::zone::Lookup;

/// What a client wants to know about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subject {
    name: String,
    /// All types when absent.
    kind: Option<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Kind {
    A,
    #[serde(rename = "AAAA")]
    Aaaa,
    #[serde(rename = "SRV")]
    Srv,
}

/// A name's records at one moment.
#[derive(Debug, Serialize)]
struct State {
    name: String,
    /// Digest of the records.
    index: String,
    /// The catalog version they are from.
    version: u64,
    /// Whether the name exists.
    exists: bool,
    records: Vec<Record>,
}

#[derive(Debug, Serialize)]
struct Record {
    #[serde(rename = "type")]
    kind: Kind,
    /// The address, or the target with its final dot.
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

/// Answers a watch.
pub async fn watch(
    shared: Arc<Shared>,
    query: &Query,
    headers: &HeaderMap,
    events: bool,
) -> Answer {
    let subject = match Subject::read(query) {
        Ok(subject) => subject,
        Err(reason) => return answer::bad_request(reason),
    };
    let wait = match wait(query, &shared) {
        Ok(wait) => wait,
        Err(reason) => return answer::bad_request(reason),
    };
    if matches!(shared.dns.lookup(&subject.name), Lookup::Outside) {
        return answer::bad_request("the name is not in the domain that is served here");
    }
    let Ok(place) = shared.watchers.clone().try_acquire_owned() else {
        return answer::text(
            http::StatusCode::SERVICE_UNAVAILABLE,
            "503: Too many watches; try again later",
        );
    };
    let known = query.get("index").map(str::to_owned);
    if events {
        let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).map(str::to_owned);
        return stream(shared, subject, last.or(known), place);
    }
    let state = next(&shared, &subject, known.as_deref(), Some(Instant::now() + wait)).await;
    drop(place);
    match state {
        Some(state) => answer::json(&state),
        None => match State::now(&shared, &subject) {
            // The wait is over, and it is as it was.
            Some(state) => answer::json(&state),
            None => answer::not_ready(),
        },
    }
}

impl Subject {
    fn read(query: &Query) -> Result<Subject, &'static str> {
        let name = query.get("name").filter(|name| !name.is_empty());
        let name = name.ok_or("say which name: /v1/watch?name=web.marathon.mesos")?;
        let kind = match query.get("type").map(str::to_ascii_uppercase).as_deref() {
            None | Some("" | "ANY") => None,
            Some("A") => Some(Kind::A),
            Some("AAAA") => Some(Kind::Aaaa),
            Some("SRV") => Some(Kind::Srv),
            Some(_) => return Err("the type must be A, AAAA or SRV"),
        };
        Ok(Subject { name: name.to_lowercase(), kind })
    }
}

/// `wait=30`, `wait=30s`, `wait=5m`, `wait=500ms`.
fn wait(query: &Query, shared: &Shared) -> Result<Duration, &'static str> {
    let limits = &shared.config.limits;
    let Some(text) = query.get("wait").filter(|text| !text.is_empty()) else {
        return Ok(limits.usual_wait);
    };
    parse_wait(text)
        .map(|wait| wait.min(limits.longest_wait))
        .ok_or("wait must be a time such as 30s, 5m or 500ms")
}

fn parse_wait(text: &str) -> Option<Duration> {
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(millis).map(Duration::from_millis)
}

/// The next state that is not the known one; `None` when the time is over, or all stops.
async fn next(
    shared: &Shared,
    subject: &Subject,
    known: Option<&str>,
    until: Option<Instant>,
) -> Option<State> {
    let mut changes = shared.dns.versions();
    let mut stopped = shared.stopped.clone();
    loop {
        // Marked as seen before looking, so that a change in between is not missed.
        changes.borrow_and_update();
        if let Some(state) = State::now(shared, subject).filter(|s| Some(&*s.index) != known) {
            return Some(state);
        }
        let over = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = changes.changed() => changed.ok()?,
            () = over => return None,
            () = waymark_http::stop_asked(&mut stopped) => return None,
        }
    }
}

impl State {
    /// The records as they are; `None` while nothing is known.
    fn now(shared: &Shared, subject: &Subject) -> Option<State> {
        let version = shared.dns.applied();
        let (exists, addresses, services) = match shared.dns.lookup(&subject.name) {
            Lookup::NotReady => return None,
            Lookup::Outside | Lookup::Missing => (false, Vec::new(), Vec::new()),
            Lookup::Found { addresses, services } => (true, addresses, services),
        };
        let addresses = addresses.into_iter().map(|ip| Record {
            kind: if ip.is_ipv4() { Kind::A } else { Kind::Aaaa },
            value: ip.to_string(),
            port: None,
        });
        let services = services.into_iter().map(|(target, port)| Record {
            kind: Kind::Srv,
            value: format!("{}.", target.trim_end_matches('.')),
            port: Some(port),
        });
        let wanted = |record: &Record| subject.kind.is_none_or(|kind| kind == record.kind);
        let records: Vec<Record> = addresses.chain(services).filter(wanted).collect();
        let index = digest(exists, &records);
        Some(State { name: subject.name.clone(), index, version, exists, records })
    }
}

fn digest(exists: bool, records: &[Record]) -> String {
    let mut digest = Sha1::new();
    digest.update([u8::from(exists)]);
    for record in records {
        digest.update(record.value.as_bytes());
        digest.update(record.port.unwrap_or(0).to_be_bytes());
    }
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Events: one with the first state, one with each other after it, and a sign of life in between.
fn stream(
    shared: Arc<Shared>,
    subject: Subject,
    known: Option<String>,
    place: OwnedSemaphorePermit,
) -> Answer {
    // One event may wait; while the client does not take it, changes fall together.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut known = known;
        loop {
            let beat = Instant::now() + shared.config.limits.heartbeat;
            let event = match next(&shared, &subject, known.as_deref(), Some(beat)).await {
                Some(state) => {
                    let event = event(&state);
                    known = Some(state.index);
                    event
                }
                None if *shared.stopped.borrow() => break,
                // A comment, which clients pass over.
                None => Bytes::from_static(b":\n\n"),
            };
            if sender.send(event).await.is_err() {
                break;
            }
        }
        drop(place);
    });
    let mut answer = Response::new(Events { receiver }.boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

fn event(state: &State) -> Bytes {
    // It has no line breaks.
    let data = serde_json::to_string(state).unwrap_or_default();
    Bytes::from(format!("event: records\nid: {}\ndata: {data}\n\n", state.index))
}

/// The body of a stream of events.
struct Events {
    receiver: mpsc::Receiver<Bytes>,
}

impl Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.receiver.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects() {
        let read = |text: &str| Subject::read(&Query::parse(text));
        let subject = |kind| Ok(Subject { name: "a.mesos".to_owned(), kind });
        assert_eq!(read("name=A.mesos"), subject(None));
        assert_eq!(read("name=a.mesos&type=srv"), subject(Some(Kind::Srv)));
        assert_eq!(read("name=a.mesos&type=AAAA"), subject(Some(Kind::Aaaa)));
        assert!(read("").is_err() && read("name=").is_err() && read("name=a&type=MX").is_err());
    }

    #[test]
    fn waits() {
        for (text, millis) in
            [("30", Some(30_000)), ("5m", Some(300_000)), ("0", Some(0)), ("20ms", Some(20))]
        {
            assert_eq!(parse_wait(text), millis.map(Duration::from_millis), "{text}");
        }
        for text in ["", "s", "-1", "1h", "1.5s", "99999999999999999999"] {
            assert_eq!(parse_wait(text), None, "{text}");
        }
    }

    #[test]
    fn an_index_changes_with_the_records() {
        let record = |value: &str, port| Record { kind: Kind::Srv, value: value.to_owned(), port };
        let one = digest(true, &[record("a", Some(1))]);
        assert_eq!(one.len(), 16);
        assert_eq!(one, digest(true, &[record("a", Some(1))]));
        for other in [
            digest(true, &[record("a", Some(2))]),
            digest(true, &[record("b", Some(1))]),
            digest(true, &[]),
            digest(false, &[]),
        ] {
            assert_ne!(one, other);
        }
        assert_ne!(digest(true, &[]), digest(false, &[]));
    }
}
