//! What happened to requests before they met a service, and beside it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of all workers together.
#[derive(Debug, Default)]
pub(crate) struct HttpCounters {
    /// Requests that were refused as malformed, too long, or of another protocol.
    pub(crate) malformed: AtomicU64,
    /// Clients that took too long with a head.
    pub(crate) slow_heads: AtomicU64,
    /// Clients that let a body stand still.
    pub(crate) slow_bodies: AtomicU64,
    /// Clients that stood still in the middle of their answer.
    pub(crate) slow_clients: AtomicU64,
    /// Requests without a route.
    pub(crate) no_route: AtomicU64,
    /// Requests refused for their source or for the lack of a right password.
    pub(crate) denied: AtomicU64,
    /// Requests refused because too many passwords waited to be checked.
    pub(crate) unchecked: AtomicU64,
    /// Requests that met a kept connection which its task had closed, and went out again.
    pub(crate) repeated: AtomicU64,
    /// Answers of tasks that took too long to begin.
    pub(crate) slow_answers: AtomicU64,
    /// Answers of tasks that were malformed.
    pub(crate) bad_answers: AtomicU64,
}

/// The same, as they were at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // As above.
pub struct HttpTotals {
    pub malformed: u64,
    pub slow_heads: u64,
    pub slow_bodies: u64,
    pub slow_clients: u64,
    pub no_route: u64,
    pub denied: u64,
    pub unchecked: u64,
    pub repeated: u64,
    pub slow_answers: u64,
    pub bad_answers: u64,
    /// Lines of the access log that were not written.
    pub log_lines_dropped: u64,
}

impl HttpCounters {
    pub(crate) fn totals(&self, log_lines_dropped: u64) -> HttpTotals {
        HttpTotals {
            malformed: self.malformed.load(Relaxed),
            slow_heads: self.slow_heads.load(Relaxed),
            slow_bodies: self.slow_bodies.load(Relaxed),
            slow_clients: self.slow_clients.load(Relaxed),
            no_route: self.no_route.load(Relaxed),
            denied: self.denied.load(Relaxed),
            unchecked: self.unchecked.load(Relaxed),
            repeated: self.repeated.load(Relaxed),
            slow_answers: self.slow_answers.load(Relaxed),
            bad_answers: self.bad_answers.load(Relaxed),
            log_lines_dropped,
        }
    }
}
