//! Zone transfers: real secondaries get the zone whole (AXFR, RFC 5936) or what has changed since
//! the version they have (IXFR, RFC 1995), and are told when it changes (NOTIFY, RFC 1996).
//!
//! ```text
//! Dns, zone by zone ──► journal ──► notify ──► "it has changed" ──► secondaries
//!                          │                                            │
//!                          └──► answers in many messages ◄── query ─────┘
//! ```
//!
//! The journal follows the zone only as often as somebody is told, and before each transfer; so a
//! burst of changes is one step, and publishing a zone never waits for this. What holds an old
//! zone here holds a copy ([`Zone::clone`] shares all that is in it), not the one that answers are
//! made from: a slow secondary delays no drain.
//!
//! Transfers go over TCP only. IXFR over UDP is answered with the present SOA, as to say "come by
//! TCP" (RFC 1995 §2): source addresses of UDP are anybody's to choose. Signatures (TSIG) are not
//! supported, so access is by address; signed queries are refused.
//!
//! Not transferred: the reverse names (PTR), which belong to other zones, and what is made anew for
//! every answer.

mod config;
mod contents;
mod journal;
mod messages;
mod notify;
mod query;
mod record;
mod serial;

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use waymark_model::Version;

pub use self::config::{MAX_SECONDARIES, TransferConfig};
use self::journal::{Bounds, Change, Journal, Step, condense};
use self::messages::Messages;
use self::notify::Announcement;
use self::record::Record;
use crate::message::{self, CLASS_IN, Owner, Query, Rcode, Reply, Section, UDP_MINIMUM, qtype};
use crate::zone::Zone;

/// For how long secondaries may lag behind us in ordinary times, in seconds: NOTIFY's interval and
/// a transfer. Tasks that lose their names are leased for so long beyond the TTL.
pub(crate) const LAG: u32 = 2;
/// Steps that the journal keeps at most.
const JOURNAL_STEPS: usize = 4096;
/// Messages that are made before the client has taken the one before.
const MESSAGES_AHEAD: usize = 2;

/// Gives the zone to secondaries. Made once, shared by those who serve queries.
pub(crate) struct Transfers {
    config: TransferConfig,
    slots: Arc<Semaphore>,
    state: Mutex<State>,
    news: watch::Sender<Announcement>,
    counters: Counters,
}

/// The journal, and the zone that its last step leads to.
struct State {
    zone: Option<Zone>,
    journal: Journal,
}

#[derive(Default)]
struct Counters {
    whole: AtomicU64,
    changes: AtomicU64,
    unchanged: AtomicU64,
    refused: AtomicU64,
}

/// What has been transferred since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferStats {
    /// Whole zones (AXFR, and IXFR where the changes are not known or are more than the zone).
    pub whole: u64,
    /// Changes (IXFR).
    pub changes: u64,
    /// Queries for changes by who is up to date.
    pub unchanged: u64,
    /// Queries that were refused: not allowed, too many at once, signed, or not for this zone.
    pub refused: u64,
    /// Bytes of changes in the journal.
    pub journal_bytes: u64,
}

/// A transfer under way; ends when it is dropped.
pub(crate) struct Transfer {
    messages: mpsc::Receiver<Vec<u8>>,
    _slot: OwnedSemaphorePermit,
}

impl Transfer {
    /// The next message, without the length that goes before it on TCP; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        self.messages.recv().await
    }
}

/// In which form a secondary gets the zone.
enum Form {
    Whole,
    Since(u32, Change),
    Unchanged,
}

impl Transfers {
    pub(crate) fn new(config: TransferConfig) -> Arc<Transfers> {
        let bounds = Bounds { steps: JOURNAL_STEPS, bytes: config.journal_bytes };
        Arc::new(Transfers {
            slots: Arc::new(Semaphore::new(config.at_once.min(Semaphore::MAX_PERMITS))),
            state: Mutex::new(State { zone: None, journal: Journal::new(bounds) }),
            news: watch::Sender::default(),
            counters: Counters::default(),
            config,
        })
    }

    /// Whether there may be secondaries.
    pub(crate) fn is_used(&self) -> bool {
        self.config.is_used()
    }

    /// What has been transferred.
    pub(crate) fn stats(&self) -> TransferStats {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TransferStats {
            whole: value(&self.counters.whole),
            changes: value(&self.counters.changes),
            unchanged: value(&self.counters.unchanged),
            refused: value(&self.counters.refused),
            journal_bytes: self.lock().journal.bytes() as u64,
        }
    }

    /// Begins the transfer that a query of type AXFR or IXFR over TCP asks for; without one, `out`
    /// is the answer. To be called within a runtime, on which the messages are made.
    pub(crate) fn begin(
        self: &Arc<Self>,
        zone: &Zone,
        packet: &[u8],
        peer: IpAddr,
        out: &mut Vec<u8>,
    ) -> Option<Transfer> {
        match self.try_begin(zone, packet, peer) {
            Ok(transfer) => Some(transfer),
            Err(rcode) => {
                count(&self.counters.refused);
                if let Ok(query) = message::read(packet) {
                    Reply::to(&query, usize::from(UDP_MINIMUM), out).finish(rcode, false, false);
                }
                None
            }
        }
    }

    fn try_begin(
        self: &Arc<Self>,
        zone: &Zone,
        packet: &[u8],
        peer: IpAddr,
    ) -> Result<Transfer, Rcode> {
        let query = self.admit(zone, packet, peer)?;
        let serial = match (query.qtype, query::extras(packet).serial) {
            (qtype::AXFR, _) => None,
            (_, None) => return Err(Rcode::FormErr),
            (_, serial) => serial,
        };
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            tracing::warn!(%peer, limit = self.config.at_once, "too many zone transfers at once");
            return Err(Rcode::Refused);
        };
        let (sender, messages) = mpsc::channel(MESSAGES_AHEAD);
        let (transfers, zone, packet) = (self.clone(), zone.clone(), packet.to_vec());
        tokio::task::spawn_blocking(move || {
            transfers.respond(zone, &packet, serial, peer, |m| sender.blocking_send(m).is_ok());
        });
        Ok(Transfer { messages, _slot: slot })
    }

    /// Answers IXFR over UDP, if this peer may transfer the zone; otherwise leaves `out` as it is.
    pub(crate) fn answer_udp(&self, zone: &Zone, packet: &[u8], peer: IpAddr, out: &mut Vec<u8>) {
        let Ok(query) = self.admit(zone, packet, peer) else { return };
        let mut reply = Reply::to(&query, usize::from(UDP_MINIMUM), out);
        let soa = contents::soa(zone, zone.soa().serial);
        let at = Owner::At(message::HEADER as u16);
        let written = reply.record(Section::Answer, at, qtype::SOA, zone.soa().ttl, |data| {
            data.extend_from_slice(&soa);
        });
        reply.finish(Rcode::NoError, true, written.is_none());
    }

    /// Reads a query and says whether this peer may have the answer.
    fn admit<'p>(&self, zone: &Zone, packet: &'p [u8], peer: IpAddr) -> Result<Query<'p>, Rcode> {
        let query = message::read(packet).map_err(|_| Rcode::FormErr)?;
        if query.edns.is_some_and(|edns| edns.version > 0) {
            return Err(Rcode::BadVers);
        }
        let is_ours = query.class == CLASS_IN && query.name.as_bytes() == zone.domain();
        if !is_ours || !self.config.allow.allows(peer) {
            return Err(Rcode::Refused);
        }
        if query::extras(packet).signed {
            // Not louder: over UDP anybody can have it written, as often as they like.
            tracing::debug!(%peer, "zone transfer refused: it is signed, and TSIG is not supported");
            return Err(Rcode::Refused);
        }
        if zone.version() == 0 { Err(Rcode::ServFail) } else { Ok(query) }
    }

    /// Makes all messages, one after the other as `send` takes them.
    fn respond(
        &self,
        zone: Zone,
        packet: &[u8],
        serial: Option<u32>,
        peer: IpAddr,
        send: impl FnMut(Vec<u8>) -> bool,
    ) {
        let Ok(query) = message::read(packet) else { return };
        let (zone, form) = self.form(zone, serial);
        let mut messages = Messages::new(&query, send);
        let version = zone.version();
        match &form {
            Form::Whole => {
                count(&self.counters.whole);
                tracing::info!(%peer, version, "the whole zone goes to a secondary");
            }
            Form::Since(serial, change) => {
                count(&self.counters.changes);
                let records = change.records();
                tracing::debug!(%peer, version, serial, records, "changes go to a secondary");
            }
            Form::Unchanged => count(&self.counters.unchanged),
        }
        let _ = write(&zone, form, |record| {
            if messages.record(record) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        messages.finish();
    }

    /// The newest zone, and how who has `serial` gets it.
    fn form(&self, zone: Zone, serial: Option<u32>) -> (Zone, Form) {
        let mut state = self.lock();
        let zone = state.catch_up(zone, self.config.journal_bytes);
        let current = zone.soa().serial;
        let Some(serial) = serial else { return (zone, Form::Whole) };
        if serial == current || serial::is_later(serial, current) {
            return (zone, Form::Unchanged);
        }
        let steps: Option<Vec<Arc<Step>>> = state.journal.since(serial);
        drop(state);
        let change = steps.map(|steps| condense(&steps));
        // A name has a record at least: with more changes than names, the whole is less.
        let form = match change.filter(|change| change.records() <= zone.len()) {
            Some(change) => Form::Since(serial, change),
            None => Form::Whole,
        };
        (zone, form)
    }

    /// Follows the zone, tells all secondaries of its changes, for ever. `zone` gives the newest
    /// zone after each of its `versions`.
    pub(crate) async fn follow(
        self: &Arc<Self>,
        mut versions: watch::Receiver<Version>,
        zone: impl Fn() -> Zone,
    ) {
        let mut secondaries = JoinSet::new();
        if self.config.notify.len() > MAX_SECONDARIES {
            tracing::warn!(limit = MAX_SECONDARIES, "too many secondaries: not all are notified");
        }
        for secondary in self.config.notify.iter().take(MAX_SECONDARIES) {
            let news = self.news.subscribe();
            secondaries.spawn(notify::tell(*secondary, self.config.notify_from, news));
        }
        loop {
            if *versions.borrow_and_update() > 0 {
                self.announce(zone()).await;
                tokio::time::sleep(notify::INTERVAL).await;
            }
            if versions.changed().await.is_err() {
                return;
            }
        }
    }

    /// Brings the journal up to date, and then tells everybody.
    async fn announce(self: &Arc<Self>, zone: Zone) {
        let transfers = self.clone();
        let work = tokio::task::spawn_blocking(move || {
            let mut state = transfers.lock();
            let zone = state.catch_up(zone, transfers.config.journal_bytes);
            let soa = contents::soa(&zone, zone.soa().serial);
            let (version, message) =
                (zone.version(), notify::message(zone.domain(), zone.soa().ttl, &soa));
            transfers.news.send_replace(Announcement { version, message });
        });
        if let Err(e) = work.await {
            tracing::error!(error = %e, "cannot follow the zone for secondaries");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A step is pushed whole, and the zone is replaced after it: a panic in between would at
        // worst make the next step start too early, which `Journal::push` takes for a gap.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds the step to a zone, if it is newer than the one known; gives the newest.
    fn catch_up(&mut self, newest: Zone, limit: usize) -> Zone {
        if let Some(known) = &self.zone {
            let (from, to) = (known.version(), newest.version());
            if from >= to {
                return known.clone();
            }
            match contents::between(known, &newest, limit) {
                Some(change) => self.journal.push(from, to, change),
                None => self.journal.clear(),
            }
        }
        self.zone = Some(newest.clone());
        newest
    }
}

/// Gives the records of a transfer in their order: for the whole zone RFC 5936 §2.2, for changes
/// RFC 1995 §4.
fn write(
    zone: &Zone,
    form: Form,
    mut give: impl FnMut(Record<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let (ttl, soa) = (zone.soa().ttl, contents::soa(zone, zone.soa().serial));
    let old;
    let record = |data| Record { owner: &[], rtype: qtype::SOA, ttl, data };
    give(record(&soa))?;
    match form {
        Form::Unchanged => return ControlFlow::Continue(()),
        Form::Whole => {
            give(contents::name_server(zone))?;
            contents::each(zone, &mut give)?;
        }
        Form::Since(serial, change) => {
            old = contents::soa(zone, serial);
            give(record(&old))?;
            record::unpack(&change.removed).try_for_each(&mut give)?;
            give(record(&soa))?;
            record::unpack(&change.added).try_for_each(&mut give)?;
        }
    }
    give(record(&soa))
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
