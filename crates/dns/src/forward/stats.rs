//! Counters of the forwarder.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of the counters since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardStats {
    /// Queries from clients.
    pub queries: u64,
    /// Answered from the cache within their time.
    pub cache_hits: u64,
    /// Answered from the cache after their time.
    pub stale: u64,
    /// Waited for the answer to the same question of another client.
    pub joined: u64,
    /// Questions that went to other servers.
    pub lookups: u64,
    /// Lookups that no server had an answer to.
    pub failed: u64,
    /// Answered REFUSED or with an error without asking anybody.
    pub refused: u64,
    /// Answered SERVFAIL since too many questions were open, or too many clients were waiting.
    pub overload: u64,
    /// Queries that had been here before.
    pub loops: u64,
    /// Answers in the cache now.
    pub cache_entries: usize,
    /// Room that they take, in bytes.
    pub cache_bytes: usize,
    /// Open questions now.
    pub in_flight: usize,
    /// The other servers, in the order of the settings.
    pub upstreams: Vec<UpstreamStats>,
}

/// A snapshot of one server's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamStats {
    /// Its address.
    pub address: SocketAddr,
    /// Whether it answers, as far as known: others are asked before one that does not.
    pub up: bool,
    /// Tries: questions sent.
    pub tries: u64,
    /// Tries that ended with an answer of whatever code.
    pub answers: u64,
    /// Tries without an answer in time.
    pub timeouts: u64,
    /// Tries that the network refused.
    pub errors: u64,
    /// Tries that went on over TCP.
    pub tcp: u64,
    /// Packets from its address that answered nothing we had asked.
    pub strays: u64,
}

/// The counters of the whole.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) queries: AtomicU64,
    pub(super) cache_hits: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) joined: AtomicU64,
    pub(super) lookups: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) overload: AtomicU64,
    pub(super) loops: AtomicU64,
}

/// The counters of one server.
#[derive(Debug, Default)]
pub(super) struct UpstreamCounters {
    pub(super) tries: AtomicU64,
    pub(super) answers: AtomicU64,
    pub(super) timeouts: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) tcp: AtomicU64,
    pub(super) strays: AtomicU64,
}

/// Adds one.
pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Reads.
pub(super) fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
