//! Answers kept for their time, and after it for when no server can be reached. Pure: time is an
//! argument.
//!
//! Room is bounded by entries and by bytes. Who leaves when it is full: the oldest that nobody has
//! asked for since it was last looked at (second chance, also called clock). An insertion looks at
//! no more than [`CHANCES`] entries for each that leaves, however large the cache is.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::request::Key;
use super::response::Response;

/// Entries that were asked for and stay, for each that leaves.
const CHANCES: usize = 8;
/// Room that an entry takes besides its key and response: places in table and queue, in bytes.
const OVERHEAD: usize = 160;
/// For how long a failed search is not repeated, in seconds (RFC 9520 §3.2: at least 1).
pub(super) const FAILURE_TTL: u64 = 2;

/// What the cache may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) entries: usize,
    pub(super) bytes: usize,
    /// For how long after their time answers are kept.
    pub(super) stale: Duration,
}

/// The cache.
#[derive(Debug)]
pub(super) struct Cache {
    bounds: Bounds,
    entries: HashMap<Key, Entry>,
    /// Every key once; the front is looked at next.
    queue: VecDeque<Key>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    response: Arc<Response>,
    since: Instant,
    /// Zero: of no use.
    ttl: Duration,
    /// Until when the servers are not asked again, after they have failed.
    failed_until: Option<Instant>,
    /// Asked for since the queue last came by.
    wanted: bool,
}

/// What is known of a question.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// Within its time, and so old.
    Fresh(Arc<Response>, Duration),
    /// After its time.
    Stale {
        /// The answer.
        response: Arc<Response>,
        /// Whether the servers have failed so recently that they are not asked again.
        is_last_word: bool,
    },
}

impl Entry {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    fn is_of_use(&self, now: Instant, stale: Duration) -> bool {
        let stale = if self.response.is_final() { stale } else { Duration::ZERO };
        !self.ttl.is_zero() && self.age(now) < self.ttl + stale
    }
}

fn cost(key: &Key, response: &Response) -> usize {
    OVERHEAD + key.len() + response.size()
}

impl Cache {
    pub(super) fn new(bounds: Bounds) -> Cache {
        Cache { bounds, entries: HashMap::new(), queue: VecDeque::new(), bytes: 0 }
    }

    /// What is known.
    pub(super) fn get(&mut self, key: &[u8], now: Instant) -> Option<Found> {
        let stale = self.bounds.stale;
        let entry = self.entries.get_mut(key).filter(|entry| entry.is_of_use(now, stale))?;
        entry.wanted = true;
        let (response, age) = (entry.response.clone(), entry.age(now));
        if age < entry.ttl {
            return Some(Found::Fresh(response, age));
        }
        let is_last_word = entry.failed_until.is_some_and(|until| now < until);
        Some(Found::Stale { response, is_last_word })
    }

    /// Keeps an answer for the time that it says; one that says 0 only replaces what was known.
    pub(super) fn put(&mut self, key: Key, response: Arc<Response>, now: Instant) {
        if response.ttl == 0 {
            self.forget(&key);
            return;
        }
        let ttl = Duration::from_secs(response.ttl.into());
        self.insert(key, response, ttl, now);
    }

    /// Notes that no server had an answer: what is known stays, and is the last word for
    /// [`FAILURE_TTL`]. If nothing is, `failure` is what is known for that long.
    pub(super) fn put_failure(&mut self, key: Key, failure: Option<Arc<Response>>, now: Instant) {
        let time = Duration::from_secs(FAILURE_TTL);
        let stale = self.bounds.stale;
        match self.entries.get_mut(&key).filter(|entry| entry.is_of_use(now, stale)) {
            Some(entry) => entry.failed_until = Some(now + time),
            None => {
                if let Some(failure) = failure {
                    self.insert(key, failure, time, now);
                }
            }
        }
    }

    fn insert(&mut self, key: Key, response: Arc<Response>, ttl: Duration, now: Instant) {
        let cost = cost(&key, &response);
        if cost > self.bounds.bytes || self.bounds.entries == 0 {
            self.forget(&key);
            return;
        }
        let entry = Entry { response, since: now, ttl, failed_until: None, wanted: false };
        self.bytes += cost;
        match self.entries.insert(key.clone(), entry) {
            Some(old) => self.bytes -= self::cost(&key, &old.response),
            None => self.queue.push_back(key),
        }
        while self.entries.len() > self.bounds.entries || self.bytes > self.bounds.bytes {
            self.evict(now);
        }
    }

    /// What is known is no longer true. Its place goes when the queue comes by.
    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.ttl = Duration::ZERO;
        }
    }

    /// Lets one entry go.
    fn evict(&mut self, now: Instant) {
        for looks in 0.. {
            let Some(key) = self.queue.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&key) else { return };
            if entry.wanted && looks < CHANCES && entry.is_of_use(now, self.bounds.stale) {
                entry.wanted = false;
                self.queue.push_back(key);
                continue;
            }
            self.bytes -= cost(&key, &entry.response);
            self.entries.remove(&key);
            return;
        }
    }

    /// Answers that are kept.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Room that they take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
