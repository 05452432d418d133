//! The DNS server as the rest of the program sees it: follows the catalog, says how far it has
//! got, and until when addresses it gave out may be cached.
//!
//! ```text
//! Reader ──► Dns::follow ──► Zone, published whole ──► workers' answers
//!                 │                                        │
//!                 └──► applied            leases ◄─────────┘
//! ```
//!
//! **When a version counts as applied.** A drain relies on this order: once `applied() ≥ V`, no
//! answer is made from a zone older than V, and every lease that such an answer noted is visible.
//!
//! - A worker takes the zone, makes its answers and lets go again, without waiting in between.
//! - The follower exchanges the zone. From then on a worker can only take the new one; those that
//!   still hold the old one hold a counted reference to it (`ArcSwap::swap` turns their short-hand
//!   ones into counted ones before it returns).
//! - It then waits until its own reference is the last (`Arc::get_mut` succeeds), and only then
//!   stores the new version. A worker's drop of its reference *releases*, the success of `get_mut`
//!   *acquires*, and so do the store and load of the version: the worker's lease notes, made
//!   before its drop, are seen by everybody who sees the version.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;
use waymark_catalog::{InUse, Output, Reader, Standing};
use waymark_model::{Catalog, TaskId, Version};

use crate::answer::Transport;
use crate::build::Builder;
use crate::config::{ConfigError, DnsConfig};
use crate::cookie::Cookies;
use crate::lease::{Clock, Leases, Moment};
use crate::message;
use crate::respond::{Client, Here, Now, Responder, Verdict};
use crate::server::Places;
use crate::stats::{Counters, Stats};
use crate::tasks::own_ttl;
use crate::transfer::{self, TransferStats, Transfers};
use crate::zone::{Lookup, Zone};

/// The DNS server. Made once, shared by its follower, its workers and those who ask it.
pub struct Dns {
    pub(crate) config: DnsConfig,
    zone: ArcSwap<Zone>,
    /// Until somebody follows the catalog with it.
    builder: Mutex<Option<Builder>>,
    leases: Leases,
    applied: AtomicU64,
    versions: watch::Sender<Version>,
    pub(crate) transfers: Arc<Transfers>,
    counters: Mutex<Vec<Arc<Counters>>>,
    pub(crate) places: Arc<Places>,
    pub(crate) cookies: Cookies,
    is_stale: AtomicBool,
    /// When to look at the source's freshness again.
    look_again: AtomicU64,
    started: Instant,
    /// The wall clock's seconds since 1970 at the start.
    started_unix: u64,
}

/// How often the follower looks whether the old zone is free before it sleeps in between.
const EAGER_LOOKS: usize = 64;
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// How often answers look whether the source of the names is lost, in milliseconds.
const FRESHNESS_MS: u64 = 250;

impl Dns {
    /// A server without names yet. The error names the setting that is wrong.
    pub fn new(config: DnsConfig) -> Result<Dns, ConfigError> {
        let started = Instant::now();
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let builder = Builder::new(&config)?;
        Ok(Dns {
            zone: ArcSwap::from_pointee(builder.zone().clone()),
            builder: Mutex::new(Some(builder)),
            leases: Leases::new(Clock::new(started)),
            applied: AtomicU64::new(0),
            versions: watch::Sender::new(0),
            transfers: Transfers::new(config.transfer.clone()),
            counters: Mutex::default(),
            places: Arc::new(Places::new(
                config.tcp_connections,
                config.tcp_connections_per_client,
            )),
            cookies: Cookies::new(rand::random()),
            is_stale: AtomicBool::new(false),
            look_again: AtomicU64::new(0),
            started,
            started_unix: unix.map_or(0, |since| since.as_secs()),
            config,
        })
    }

    /// Makes names from the catalog until its writer is gone; the last names stay then. To run
    /// once, best on another thread than the workers: the first catalog may keep it busy for a
    /// while.
    pub async fn follow(&self, mut reader: Reader) {
        let builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut builder) = builder else {
            tracing::error!("the names follow a catalog already");
            return;
        };
        let mut seen = Arc::new(Catalog::default());
        let mut next = Some(reader.latest());
        while let Some(catalog) = next {
            if catalog.version != seen.version {
                self.apply(&mut builder, &seen, &catalog).await;
                seen = catalog;
            }
            next = reader.changed().await;
        }
    }

    /// Tells secondaries of every change, and keeps what they need to get the changes alone; for
    /// ever, or not at all when the settings name none. To run beside [`Dns::follow`].
    pub async fn notify(&self) {
        if self.transfers.is_used() {
            self.transfers.follow(self.versions.subscribe(), || self.snapshot()).await;
        }
    }

    /// The version that counts as applied, as it changes.
    pub fn versions(&self) -> watch::Receiver<Version> {
        self.versions.subscribe()
    }

    /// What secondaries have got.
    pub fn transfer_stats(&self) -> TransferStats {
        self.transfers.stats()
    }

    /// Replaces the zone made from `before` by one made from `after`.
    async fn apply(&self, builder: &mut Builder, before: &Catalog, after: &Catalog) {
        let gone = builder.advance(before, after, &self.leases);
        if before.version == 0 && self.config.leased_at_start {
            self.lease_all(after);
        }
        let mut old = self.zone.swap(Arc::new(builder.zone().clone()));
        let mut looks = 0;
        while Arc::get_mut(&mut old).is_none() {
            looks += 1;
            if looks < EAGER_LOOKS {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        let now = Instant::now();
        if self.transfers.is_used() {
            self.lease_to_secondaries(now, &old, builder.zone());
        }
        self.applied.store(after.version, Ordering::Release);
        drop(old);
        self.leases.release(now, &gone);
        self.versions.send_replace(after.version);
        tracing::debug!(version = after.version, "names follow the catalog");
    }

    /// Secondaries hand out what is gone a little longer, and note no leases here.
    fn lease_to_secondaries(&self, now: Instant, before: &Zone, after: &Zone) {
        let now = self.moment(now);
        for records in after.slots.changes(&before.slots).filter_map(|(_, before, _)| before) {
            let end = now.lease_end(records.longest_ttl.saturating_add(transfer::LAG));
            records.leases().iter().for_each(|lease| lease.note(end));
        }
    }

    /// A copy of the zone, to be kept for as long as one likes: it delays nothing.
    pub fn snapshot(&self) -> Zone {
        Zone::clone(&self.zone.load())
    }

    /// Counts every task as told to somebody at the start, also those that have no names (yet).
    fn lease_all(&self, catalog: &Catalog) {
        // Secondaries go on with what the process before gave them until they hear of this one.
        let (from, lag) = match self.transfers.is_used() {
            true => (Instant::now(), transfer::LAG),
            false => (self.started, 0),
        };
        let start = self.moment(from);
        let end = |labels| {
            let ttl = own_ttl(labels).unwrap_or(self.config.ttl);
            start.lease_end(ttl.saturating_add(lag))
        };
        for app in catalog.apps.values() {
            self.leases.assume(app.tasks.iter().map(|task| &task.id), end(&app.labels));
        }
        for task in catalog.cluster.groups.values().flat_map(|group| &group.tasks) {
            self.leases.assume([&task.id].into_iter(), end(&task.labels));
        }
    }

    /// What is under a name at the moment.
    pub fn lookup(&self, name: &str) -> Lookup {
        self.zone.load().lookup(name)
    }

    /// The reply to one packet as the server would send it to a client, without sockets; `None`
    /// when it would send nothing, or ask others. Makes room anew for each: for tests and tools.
    pub fn reply(&self, packet: &[u8], client: IpAddr, transport: Transport) -> Option<Vec<u8>> {
        let (zone, mut out) = (self.zone(), Vec::new());
        let mut responder = Responder::unlimited(self.config.seed);
        let client = Client { address: client, transport };
        let read = message::read(packet);
        match responder.respond(self.here(&zone), client, read, &mut out) {
            Verdict::Reply(_) => Some(out),
            _ => None,
        }
    }

    /// Number of names with records, counted once for each app that has them.
    pub fn names(&self) -> usize {
        self.zone.load().len()
    }

    /// The counters of all workers.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for counters in self.counters.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            counters.add_to(&mut stats);
        }
        stats
    }

    /// Counters for one more worker.
    pub(crate) fn add_worker(&self) -> Arc<Counters> {
        let counters = Arc::<Counters>::default();
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).push(counters.clone());
        counters
    }

    /// The zone for a few answers. Whoever holds it delays what counts as applied: never over an
    /// `await`.
    pub(crate) fn zone(&self) -> Guard<Arc<Zone>> {
        self.zone.load()
    }

    /// The time of answers made now.
    pub(crate) fn moment(&self, now: Instant) -> Moment {
        self.leases.clock().moment(now)
    }

    /// Whether the source of the names is lost; looked at a few times a second.
    fn is_stale(&self, now: Moment) -> bool {
        let Some(freshness) = &self.config.freshness else { return false };
        if now.tick >= self.look_again.load(Ordering::Relaxed) {
            self.look_again.store(now.tick + FRESHNESS_MS, Ordering::Relaxed);
            let is_stale = matches!(freshness.standing(now.instant), Standing::Stale { .. });
            self.is_stale.store(is_stale, Ordering::Relaxed);
        }
        self.is_stale.load(Ordering::Relaxed)
    }

    /// What a batch of answers is made from.
    pub(crate) fn here<'h>(&'h self, zone: &'h Zone) -> Here<'h> {
        let now = Instant::now();
        let (moment, since_start) = (self.moment(now), now.saturating_duration_since(self.started));
        Here {
            zone,
            policy: &self.config.policy,
            cookies: &self.cookies,
            is_stale: self.is_stale(moment),
            now: Now {
                moment,
                since_start,
                unix: (self.started_unix + since_start.as_secs()) as u32,
            },
        }
    }
}

impl Output for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    fn applied(&self) -> Version {
        self.applied.load(Ordering::Acquire)
    }

    fn in_use(&self, task: &TaskId) -> InUse {
        InUse { connections: 0, lease_until: self.leases.until(task) }
    }
}

#[cfg(test)]
mod tests;
