//! Who is in use: the live counters behind a pool's endpoints, and what is known of each from the
//! traffic it got.
//!
//! A [`Seat`] is taken when an endpoint is picked and given back when the connection or request it
//! stands for has ended; while it exists the task counts as used. This is what a drain waits for.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha1::{Digest, Sha1};
use waymark_model::{Agent, TaskEntry, TaskId};

use crate::balance::Key;
use crate::route::PoolState;

/// How long a task that failed is tried last: at the first failure in a row, and at the most, in
/// milliseconds. It doubles with each failure in between.
const EJECTED_MS: (u64, u64) = (1_000, 30_000);

/// The time in which a latency that is not seen again loses two thirds of its weight, in
/// milliseconds (as in Finagle's peak EWMA).
const LATENCY_DECAY_MS: f32 = 10_000.0;

/// How many requests and connections one task has, over all its ports and all workers.
#[derive(Debug, Default)]
pub(crate) struct TaskUse(AtomicUsize);

/// One task's address in one pool, with its load and its record.
#[derive(Debug)]
pub struct Endpoint {
    /// The task.
    pub task: TaskId,
    /// Where it answers.
    pub address: SocketAddr,
    /// `host_ip_port`, marathon-lb's name of the server: the same on every balancer.
    pub server: String,
    /// Whose address it has; `None` = it has one of its own.
    agent: Option<Arc<Agent>>,
    /// What happened at it, since it exists.
    pub counters: EndpointCounters,
    sticky: [u8; 10],
    number: u64,
    /// In one order with the queue's count, so that who waits and who frees do not miss each other.
    active: AtomicU32,
    /// Failures in a row, as far as they were told apart by time.
    failures: AtomicU32,
    /// Milliseconds on the workers' clock until which it is tried last; 0 = it did not fail.
    ejected_until: AtomicU64,
    /// Milliseconds of the last look in the upper half, microseconds of latency in the lower.
    latency: AtomicU64,
    check: AtomicU8,
    task_use: Arc<TaskUse>,
    pool: Arc<PoolState>,
}

/// What happened at one endpoint. Written by the workers, read by statistics.
#[derive(Debug, Default)]
pub struct EndpointCounters {
    /// Seats taken: connections (tcp) or requests (http).
    pub seats: AtomicU64,
    /// Attempts to connect that failed.
    pub connect_errors: AtomicU64,
    /// Requests that it did not answer, or not to the end.
    pub response_errors: AtomicU64,
    /// Times it was tried last from then on, because it failed.
    pub ejections: AtomicU64,
    /// Bytes from clients.
    pub bytes_in: AtomicU64,
    /// Bytes to clients.
    pub bytes_out: AtomicU64,
}

/// What the balancer's own checks say of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckState {
    /// Nothing: it is not checked, or not yet.
    Unknown = 0,
    /// The last check succeeded.
    Passed = 1,
    /// Too many failed in a row.
    Failed = 2,
}

impl Endpoint {
    /// Connections or requests that are open or being opened.
    pub fn active(&self) -> u32 {
        self.active.load(SeqCst)
    }

    /// The host under which Marathon names the task; the address where the task has one of its own
    /// (a container's network), which is nobody's name.
    pub fn host(&self) -> Cow<'_, str> {
        match &self.agent {
            Some(agent) => agent.hostname.as_str().into(),
            None => self.address.ip().to_string().into(),
        }
    }

    /// The value of a sticky cookie that leads here: the first ten hexadecimal digits of SHA-1 of
    /// the server's name, as marathon-lb writes it.
    pub fn sticky(&self) -> &str {
        std::str::from_utf8(&self.sticky).unwrap_or_default()
    }

    /// A number that only this endpoint has, the same everywhere and always.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it failed so shortly before `now` (read only when needed) that others are better.
    pub(crate) fn is_ejected(&self, now: impl FnOnce() -> u64) -> bool {
        match self.ejected_until.load(Relaxed) {
            0 => false,
            until => now() < until,
        }
    }

    /// It failed: from now on it is tried last, longer for each time in a row. Failures of what was
    /// under way when it was ejected are one failure.
    fn failed(&self, now: u64) {
        let until = self.ejected_until.load(Relaxed);
        if now < until {
            return;
        }
        let before = self.failures.fetch_add(1, Relaxed).min(16);
        let (first, most) = EJECTED_MS;
        self.ejected_until.store(now + (first << before).min(most), Relaxed);
        self.counters.ejections.fetch_add(1, Relaxed);
        self.pool.counters.ejections.fetch_add(1, Relaxed);
    }

    fn succeeded(&self) {
        if self.ejected_until.load(Relaxed) != 0 {
            self.ejected_until.store(0, Relaxed);
            self.failures.store(0, Relaxed);
        }
    }

    /// Moving average of its latency in microseconds, which rises at once and falls slowly; what
    /// was seen long before `now` counts for less.
    pub(crate) fn latency(&self, now: u64) -> f32 {
        let (seen, micros) = halves(self.latency.load(Relaxed));
        let age = (now as u32).wrapping_sub(seen) as f32;
        micros as f32 * (-age / LATENCY_DECAY_MS).exp()
    }

    /// Takes a latency into the average. Two at once may lose one of the two.
    fn record_latency(&self, latency: Duration, now: u64) {
        let latest = latency.as_micros() as f32;
        let before = self.latency(now);
        let (seen, _) = halves(self.latency.load(Relaxed));
        let weight = (-((now as u32).wrapping_sub(seen) as f32) / LATENCY_DECAY_MS).exp();
        // `before` has the age taken off already; what it lost, the new sample gives.
        let average = if latest > before { latest } else { before + latest * (1.0 - weight) };
        self.latency.store(((now & 0xffff_ffff) << 32) | u64::from(average as u32), Relaxed);
    }

    pub(crate) fn check(&self) -> CheckState {
        match self.check.load(Relaxed) {
            1 => CheckState::Passed,
            2 => CheckState::Failed,
            _ => CheckState::Unknown,
        }
    }

    pub(crate) fn set_check(&self, state: CheckState) {
        self.check.store(state as u8, Relaxed);
    }

    /// Counts a request or connection at it from now until the seat is dropped; `None` when it has
    /// `most` already.
    pub(crate) fn take_seat(self: &Arc<Endpoint>, most: Option<u32>) -> Option<Seat> {
        match most {
            None => {
                self.active.fetch_add(1, SeqCst);
            }
            Some(most) => {
                let more = |active: u32| (active < most).then(|| active + 1);
                self.active.try_update(SeqCst, SeqCst, more).ok()?;
            }
        }
        self.task_use.0.fetch_add(1, Relaxed);
        self.counters.seats.fetch_add(1, Relaxed);
        Some(Seat(self.clone()))
    }
}

fn halves(packed: u64) -> (u32, u32) {
    ((packed >> 32) as u32, packed as u32)
}

/// One request or connection counted at an endpoint and its task. Drop it after the socket, never
/// before.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Endpoint>);

impl Seat {
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }

    /// The task did what it was asked.
    pub(crate) fn succeeded(&self) {
        self.0.succeeded();
    }

    /// The task took this long to answer; for balancing by latency. `now` in milliseconds on the
    /// workers' clock, for the two below too.
    pub(crate) fn took(&self, latency: Duration, now: u64) {
        self.0.record_latency(latency, now);
    }

    /// The task did not take a connection, and it is to blame.
    pub(crate) fn connect_failed(&self, now: u64) {
        self.0.counters.connect_errors.fetch_add(1, Relaxed);
        self.0.pool.counters.connect_errors.fetch_add(1, Relaxed);
        self.0.failed(now);
    }

    /// The task broke off before it had answered.
    pub(crate) fn response_failed(&self, now: u64) {
        self.0.counters.response_errors.fetch_add(1, Relaxed);
        self.0.pool.counters.response_errors.fetch_add(1, Relaxed);
        self.0.failed(now);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, SeqCst);
        self.0.task_use.0.fetch_sub(1, Relaxed);
        self.0.pool.queue.freed();
    }
}

/// The use of every task that is in the catalog or still has connections.
#[derive(Debug, Default)]
pub struct Usage {
    tasks: Mutex<HashMap<TaskId, Arc<TaskUse>, foldhash::fast::RandomState>>,
}

impl Usage {
    /// Requests and connections at the task that are open or being opened; 0 for one that is not
    /// known.
    pub fn connections(&self, task: &TaskId) -> usize {
        self.locked().get(task).map_or(0, |counted| counted.0.load(Relaxed))
    }

    /// An endpoint of the task in a pool; all endpoints of one task share its count.
    pub(crate) fn endpoint(
        &self,
        task: &TaskEntry,
        address: SocketAddr,
        pool: &Arc<PoolState>,
    ) -> Arc<Endpoint> {
        let task_use = self.locked().entry(task.id.clone()).or_default().clone();
        let server = server_name(&task.agent.hostname, address);
        Arc::new(Endpoint {
            task: task.id.clone(),
            address,
            counters: EndpointCounters::default(),
            sticky: sticky_value(&server),
            number: Key::of(server.as_bytes()).number(),
            server,
            agent: (task.agent.address == address.ip()).then(|| task.agent.clone()),
            active: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            latency: AtomicU64::new(0),
            check: AtomicU8::new(CheckState::Unknown as u8),
            task_use,
            pool: pool.clone(),
        })
    }

    /// Forgets those of `departed` that no endpoint refers to any more, neither in a table some
    /// worker still has nor through a connection, and leaves the others in the set.
    pub(crate) fn forget(&self, departed: &mut HashSet<TaskId>) {
        if departed.is_empty() {
            return;
        }
        let mut tasks = self.locked();
        departed.retain(|task| match tasks.get(task) {
            // Only this map has it, and only under this lock can anybody get it from the map.
            Some(counted) if Arc::strong_count(counted) == 1 => {
                tasks.remove(task);
                false
            }
            Some(_) => true,
            None => false,
        });
    }

    /// How many tasks are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.locked().len()
    }

    fn locked(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<TaskId, Arc<TaskUse>, foldhash::fast::RandomState>> {
        // Nothing in here can panic halfway, so a poisoned map is whole.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// marathon-lb's name of a server: host, address (unless it is the host) and port, each character
/// that is none of a host name as `_`.
fn server_name(host: &str, address: SocketAddr) -> String {
    let ip = address.ip().to_string();
    let name = match host == ip {
        true => format!("{host}_{}", address.port()),
        false => format!("{host}_{ip}_{}", address.port()),
    };
    name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_")
}

fn sticky_value(server: &str) -> [u8; 10] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digest = Sha1::digest(server.as_bytes());
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let mut value = [0; 10];
    for (place, digit) in value.iter_mut().zip(digits) {
        *place = HEX.get(usize::from(digit)).copied().unwrap_or(b'0');
    }
    value
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
