//! One request on its way: what is sent to a task, and what the answer's way back depends on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::body::{Framing, Progress};
use super::patch::{After, ResponseChanges};
use super::response::Asked;
use crate::http::access_log::{Begun, Ended};
use crate::http::admission::Unproven;
use crate::route::Pool;
use crate::worker::Shared;

/// A request that goes to a task of a pool. Allocated for each request, so that a connection
/// without one holds no space for it.
#[derive(Debug)]
pub(crate) struct Job {
    /// Where it goes.
    pub(crate) pool: Arc<Pool>,
    /// The head as the task gets it, and what came of the body with it; more of the body as long as
    /// it may have to be sent again.
    pub(crate) out: Vec<u8>,
    /// How much of `out` the present task has taken.
    pub(crate) sent: usize,
    /// How far the body has come from the client.
    pub(crate) body: Progress,
    /// Whether `out` is all that came.
    pub(crate) replayable: bool,
    /// Whether sending it twice does no harm.
    pub(crate) idempotent: bool,
    pub(crate) asked: Asked,
    /// The client speaks HTTP/1.0.
    pub(crate) http10: bool,
    /// The client wants to go on with its connection.
    pub(crate) keep_alive: bool,
    /// It came over TLS.
    pub(crate) secure: bool,
    /// The client.
    pub(crate) source: SocketAddr,
    /// The value of the sticky cookie that came.
    pub(crate) cookie: Option<Box<[u8]>>,
    /// What a consistent hash goes by.
    pub(crate) key: Option<Box<[u8]>>,
    /// The host it was for, where the answer's `Location` is rewritten.
    pub(crate) host: Option<Box<str>>,
    /// How long the task may be silent, if its labels say so.
    pub(crate) response_timeout: Option<Duration>,
    /// A password that has to be checked first.
    pub(crate) unproven: Option<Unproven>,
    /// Its line in the access log.
    pub(crate) log: Option<Box<Begun>>,
    /// The task that got it last.
    pub(crate) task: Option<SocketAddr>,
    /// When its head was complete.
    pub(crate) started: Instant,
    /// How long the task took until the head of its answer.
    pub(crate) latency: Option<Duration>,
    /// The status of the answer; 0 = none yet.
    pub(crate) status: u16,
    /// Bytes of an answer have gone to the client.
    pub(crate) begun: bool,
    /// Bytes of the body, and of what goes to the client.
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Job {
    /// Whether it may be sent again after it was sent to a task that gave no answer.
    pub(crate) fn may_repeat(&self) -> bool {
        !self.begun && self.replayable && (self.idempotent || self.sent == 0)
    }

    /// Forgets what only a repetition would need.
    pub(crate) fn release(&mut self) {
        self.replayable = false;
        if self.sent == self.out.len() {
            (self.out, self.sent) = (Vec::new(), 0);
        }
    }

    /// What changes of the answer's head.
    pub(crate) fn response_changes<'a>(
        &'a self,
        body: Framing,
        after: After,
        task_cookie: Option<&'a str>,
    ) -> ResponseChanges<'a> {
        let rules = &self.pool.rules;
        let sticky = rules.sticky.as_ref().map(|sticky| {
            let news = task_cookie.filter(|task| self.cookie.as_deref() != Some(task.as_bytes()));
            (sticky.cookie.as_str(), news)
        });
        let host = self.host.as_deref().unwrap_or_default();
        let location = rules.location_prefix.as_deref().map(|prefix| (prefix, host));
        ResponseChanges { body, after, sticky, location, hsts: rules.hsts && self.secure }
    }

    /// Counts it at its pool, and logs it. `reason`: why Waymark answered itself.
    pub(crate) fn finish(&mut self, shared: &Shared, now: Instant, reason: &str) {
        self.count_answer(now);
        self.end(shared, now, reason);
    }

    /// Counts its answer, of which the head at least has gone out.
    pub(crate) fn count_answer(&self, now: Instant) {
        let counters = &self.pool.counters;
        counters.latency.count(now - self.started);
        if let Some(class) = counters.requests.get(usize::from(self.status / 100)) {
            class.fetch_add(1, Relaxed);
        }
    }

    /// Counts its bytes, and logs it: nothing of it moves any more.
    pub(crate) fn end(&mut self, shared: &Shared, now: Instant, reason: &str) {
        let counters = &self.pool.counters;
        counters.bytes_in.fetch_add(self.bytes_in, Relaxed);
        counters.bytes_out.fetch_add(self.bytes_out, Relaxed);
        if let (Some(log), Some(begun)) = (&shared.access_log, self.log.take()) {
            log.end(
                &begun,
                &Ended {
                    status: self.status,
                    bytes_in: self.bytes_in,
                    bytes_out: self.bytes_out,
                    duration: now - self.started,
                    service: &self.pool.name,
                    task: self.task,
                    reason,
                },
            );
        }
    }
}
