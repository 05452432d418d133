//! The tasks behind one service, with everything that is counted and limited for them together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use waymark_model::AppId;
use waymark_routing::PortRouting;

use crate::table::Reason;
use crate::usage::Endpoint;

/// One port of one app, or of apps that are merged into one (blue/green).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId {
    /// The app; of a merged one, the deployment group.
    pub app: AppId,
    /// Position in the app's port list.
    pub index: usize,
}

/// The tasks behind one service. Made anew when they change; counters and limits go on.
#[derive(Debug)]
pub struct Pool {
    /// Whose it is.
    pub id: PoolId,
    /// `web_10000`: the app's id without its first slash, slashes as underscores, and the service
    /// port; marathon-lb's backend name.
    pub name: String,
    /// What the app's labels say.
    pub rules: Arc<PortRouting>,
    /// Its tasks, in order of address.
    pub candidates: Vec<Candidate>,
    /// What happened in it, since it exists.
    pub counters: Arc<PoolCounters>,
}

/// A task of a pool.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The task's address and load.
    pub endpoint: Arc<Endpoint>,
    /// Why it gets nothing new; `None` when it does.
    pub withheld: Option<Reason>,
}

/// By what a client is known to have been somewhere before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Affinity<'a> {
    /// The client.
    pub source: Option<SocketAddr>,
    /// The value of the sticky cookie.
    pub cookie: Option<&'a [u8]>,
    /// What a consistent hash goes by: a header's or cookie's value, or the path.
    pub key: Option<&'a [u8]>,
}

/// What happened in one pool. Written by the workers, read by statistics.
#[derive(Debug, Default)]
pub struct PoolCounters {
    /// Answers by the first digit of their status, 1 to 5; at 0 requests without an answer.
    pub requests: [AtomicU64; 6],
    /// Bytes from clients.
    pub bytes_in: AtomicU64,
    /// Bytes to clients.
    pub bytes_out: AtomicU64,
    /// Attempts on another task after one failed.
    pub retries: AtomicU64,
    /// Attempts to connect that failed.
    pub connect_errors: AtomicU64,
    /// Requests that a task did not answer, or not to the end.
    pub response_errors: AtomicU64,
}
