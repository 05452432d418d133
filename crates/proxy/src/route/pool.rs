//! The tasks behind one service, with everything that is counted and limited for them together.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use serde::Serialize;
use waymark_model::{AppId, HealthCheck};
use waymark_routing::PortRouting;

use super::budget::RetryBudget;
use super::queue::Queue;
use super::table::ListenKey;
use crate::http::latency::Latency;
use crate::usage::Endpoint;

/// One port of one app, or of apps that are merged into one (blue/green).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId {
    /// The app; of a merged one, the deployment group.
    pub app: AppId,
    /// Position in the app's port list.
    pub index: usize,
    /// The service port that this is the pool of, if several services have it: with the tasks of all
    /// of them, under the rules of this one, the first.
    pub shared: Option<ListenKey>,
}

/// The tasks behind one service. Made anew when they change; counters and limits go on.
#[derive(Debug)]
pub struct Pool {
    /// Whose it is.
    pub id: PoolId,
    /// `web_10000`: the app's id without its first slash, slashes as underscores, and the service
    /// port; marathon-lb's backend name.
    pub name: String,
    /// The service port, as its label may have changed it.
    pub port: u16,
    /// What the app's labels say.
    pub rules: Arc<PortRouting>,
    /// The app's check of this port, if it has one.
    pub check: Option<Arc<PoolCheck>>,
    /// Its tasks, in order of address.
    pub candidates: Vec<Candidate>,
    /// Positions of the candidates that nothing speaks against.
    pub(crate) ready: Vec<usize>,
    /// What happened in it, since it exists.
    pub counters: Arc<PoolCounters>,
    pub(crate) state: Arc<PoolState>,
    /// Whether a newer table has another pool in its place, or none. Set before that table is
    /// published.
    retired: AtomicBool,
}

/// What a pool's tasks are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolCheck {
    /// The check, as the app declares it.
    pub check: HealthCheck,
    /// Position of the service whose port it goes to, unless it names a literal one.
    pub service: usize,
}

/// A task of a pool.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The task's address and load.
    pub endpoint: Arc<Endpoint>,
    /// Why it gets nothing new; `None` when it does.
    pub withheld: Option<Reason>,
    /// Where the balancer's own check of it goes, if not to its address.
    pub check_address: Option<SocketAddr>,
}

/// Why a task gets nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A health check has not succeeded yet.
    HealthUnknown,
    /// A health check fails; tried when the pool has no ready task at all.
    Unhealthy,
    /// It is about to be stopped.
    Draining,
    /// Its address is the service port itself: a connection would come back for ever.
    Loop,
    /// It failed a moment ago; tried when all others are tried.
    Ejected,
    /// The balancer's own check of it fails; tried when all others are tried.
    CheckFailed,
    /// It has as many requests or connections as it may.
    Full,
    /// It was tried for this request.
    Tried,
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
    /// Seats taken: connections (tcp) or requests (http) that got a task, retries included.
    pub seats: AtomicU64,
    /// Answers by the first digit of their status, 1 to 5; at 0 requests without an answer.
    pub requests: [AtomicU64; 6],
    /// Bytes from clients.
    pub bytes_in: AtomicU64,
    /// Bytes to clients.
    pub bytes_out: AtomicU64,
    /// Attempts on another task after one failed.
    pub retries: AtomicU64,
    /// Retries that the budget did not allow.
    pub retries_denied: AtomicU64,
    /// Attempts to connect that failed.
    pub connect_errors: AtomicU64,
    /// Requests that a task did not answer, or not to the end.
    pub response_errors: AtomicU64,
    /// Times one of its tasks was tried last from then on, because it failed.
    pub ejections: AtomicU64,
    /// Requests or connections that waited because every task had its most.
    pub queued: AtomicU64,
    /// Those of them that waited too long, or found too many waiting.
    pub queue_refused: AtomicU64,
    /// Requests or connections that were held until a task was ready.
    pub held: AtomicU64,
    /// Requests or connections that got no task.
    pub refused: AtomicU64,
    /// How long requests took, from their head to the end of their answer.
    pub latency: Latency,
}

/// What goes on when a pool is made anew.
#[derive(Debug, Default)]
pub(crate) struct PoolState {
    pub(crate) counters: Arc<PoolCounters>,
    /// Whose turn it is, in round robin.
    pub(crate) turn: AtomicU32,
    pub(crate) queue: Queue,
    pub(crate) budget: RetryBudget,
}

/// What a pool is made from.
pub(super) struct PoolParts {
    pub(super) id: PoolId,
    pub(super) port: u16,
    pub(super) rules: Arc<PortRouting>,
    pub(super) check: Option<Arc<PoolCheck>>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) state: Arc<PoolState>,
}

impl Pool {
    pub(super) fn new(parts: PoolParts) -> Pool {
        let PoolParts { id, port, rules, check, candidates, state } = parts;
        let nothing_against = |(position, candidate): (usize, &Candidate)| {
            candidate.withheld.is_none().then_some(position)
        };
        Pool {
            name: backend_name(&id.app, port),
            ready: candidates.iter().enumerate().filter_map(nothing_against).collect(),
            id,
            port,
            rules,
            check,
            candidates,
            counters: state.counters.clone(),
            state,
            retired: AtomicBool::new(false),
        }
    }

    /// Whether not everybody may use it: by a password, or by the source.
    pub(super) fn has_guard(&self) -> bool {
        self.rules.auth.is_some() || !self.rules.allowed.is_empty()
    }

    /// Whether a source may use it (`HAPROXY_n_BACKEND_NETWORK_ALLOWED_ACL`).
    pub fn allows(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.rules.allowed.is_empty() || self.rules.allowed.iter().any(|net| net.contains(&source))
    }

    /// How many wait for one of its tasks to have room.
    pub fn queue_len(&self) -> u32 {
        self.state.queue.waiting()
    }

    /// Whether one more retry is within `percent` of its traffic; if so it is counted. `now` in
    /// milliseconds on the workers' clock.
    pub(crate) fn may_retry(&self, percent: u32, now: u64) -> bool {
        let granted = self.state.budget.take(percent, self.counters.seats.load(Relaxed), now);
        let counter = if granted { &self.counters.retries } else { &self.counters.retries_denied };
        counter.fetch_add(1, Relaxed);
        granted
    }

    /// Whether the newest table has another pool in its place, or none.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Relaxed);
    }
}

/// Equal are two pools with the very same endpoints and counters, not merely with equal ones.
impl PartialEq for Pool {
    fn eq(&self, other: &Pool) -> bool {
        let same = |(a, b): (&Candidate, &Candidate)| {
            Arc::ptr_eq(&a.endpoint, &b.endpoint)
                && a.withheld == b.withheld
                && a.check_address == b.check_address
        };
        Arc::ptr_eq(&self.state, &other.state)
            && self.id == other.id
            && self.port == other.port
            && self.check == other.check
            && (Arc::ptr_eq(&self.rules, &other.rules) || self.rules == other.rules)
            && self.candidates.len() == other.candidates.len()
            && self.candidates.iter().zip(&other.candidates).all(same)
    }
}

/// marathon-lb's name of a backend.
pub(super) fn backend_name(app: &AppId, port: u16) -> String {
    format!("{}_{port}", app.as_str().trim_start_matches('/').replace('/', "_"))
}
