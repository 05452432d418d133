//! One subscriber: `GET /v2/events` from its first byte to its last.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::{HeaderValue, Method, StatusCode, Version, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use waymark_marathon_api::{ApiError, Event};

use super::frame;
use crate::api::answer::{self, Answer};
use crate::api::{Api, ApiRequest, accept, now, stop_asked};

/// What the client must accept by name.
const EVENT_STREAM: &str = "text/event-stream";

/// Answers with the stream of events from now on, the subscriber's own attachment first.
///
/// The body ends with the connection, without length and without chunks, as Marathon sends it:
/// that is HTTP/1.0's form of a body, so the answer's version is 1.0. Clients of HTTP/1.1 know it.
pub(crate) fn attach(api: &Arc<Api>, request: &ApiRequest) -> Result<Answer, ApiError> {
    if !accept::names(request.accept.as_deref(), EVENT_STREAM) {
        // The status that Marathon's web server gives.
        return Err(ApiError::method_not_allowed());
    }
    let mut answer = answer::empty(StatusCode::OK);
    if request.method == Method::GET {
        *answer.body_mut() = StreamBody::new(subscribe(api, request)?).boxed_unsync();
    }
    *answer.version_mut() = Version::HTTP_10;
    let headers = answer.headers_mut();
    let media_type = HeaderValue::from_static("text/event-stream;charset=utf-8");
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(answer)
}

fn subscribe(
    api: &Arc<Api>,
    request: &ApiRequest,
) -> Result<impl Stream<Item = Result<Frame<Bytes>, Infallible>> + use<>, ApiError> {
    let limit = api.config.limits.subscribers;
    let full = |_| ApiError::unavailable(format!("Too many event streams. Allowed: {limit}."));
    let slot = api.subscribers.clone().try_acquire_owned().map_err(full)?;
    let attached = Event::EventStreamAttached { remote_address: request.peer.ip() };
    // Announced before the subscription starts, so that the subscriber's first event is its own
    // copy and not another one that came in between.
    api.handle.announce(attached.clone());
    let filter = Filter::new(request.query.all("event_type"));
    let mut heartbeat = tokio::time::interval_at(
        Instant::now() + api.config.limits.heartbeat,
        api.config.limits.heartbeat,
    );
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let subscriber = Subscriber {
        first: filter.passes(&attached).then_some(attached),
        filter,
        events: api.handle.subscribe(),
        heartbeat,
        stopped: api.stopped.clone(),
        attachment: Attachment { api: api.clone(), peer: request.peer, _slot: slot },
    };
    Ok(stream::unfold(subscriber, |mut subscriber| async {
        let bytes = subscriber.next().await?;
        Some((Ok(Frame::data(bytes)), subscriber))
    }))
}

/// The types of event a subscriber wants; none named means all.
struct Filter(HashSet<String>);

impl Filter {
    fn new<'a>(types: impl Iterator<Item = &'a str>) -> Filter {
        Filter(types.map(str::to_owned).collect())
    }

    fn passes(&self, event: &Event) -> bool {
        self.0.is_empty() || self.0.contains(event.event_type())
    }
}

struct Subscriber {
    first: Option<Event>,
    filter: Filter,
    events: Receiver<Arc<Event>>,
    heartbeat: Interval,
    stopped: watch::Receiver<bool>,
    attachment: Attachment,
}

impl Subscriber {
    /// The next bytes; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(self.frame(&first));
        }
        loop {
            let received = tokio::select! {
                () = stop_asked(&mut self.stopped) => return None,
                _ = self.heartbeat.tick() => return Some(frame::HEARTBEAT),
                received = self.events.recv() => received,
            };
            match received {
                Ok(event) if self.filter.passes(&event) => return Some(self.frame(&event)),
                Ok(_) => {}
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(missed)) => {
                    let peer = self.attachment.peer;
                    tracing::warn!(%peer, missed, "an event stream's client is too slow: cut off");
                    self.attachment.api.metrics.subscribers_cut.inc();
                    return None;
                }
            }
        }
    }

    fn frame(&self, event: &Event) -> Bytes {
        self.attachment.api.metrics.events_sent.inc();
        frame::event(event.event_type(), &event.to_json(now()))
    }
}

/// A subscriber's place. When it is dropped, however the stream ended, the others hear of it.
struct Attachment {
    api: Arc<Api>,
    peer: SocketAddr,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.api.handle.announce(Event::EventStreamDetached { remote_address: self.peer.ip() });
    }
}
