//! Names outside the domain: asked of other servers, and kept for a while.
//!
//! ```text
//! client's query ─► request ─► route ─► cache ─► join ─► search ─► exchange ─► other servers
//! (server)                                │                 │        (sockets)
//! client's reply ◄──────── response ◄─────┴─────────────────┘
//! ```
//!
//! The server hands over queries for names that it does not answer itself, of clients that may ask
//! for them. [`Forwarder::begin`] answers at once what can be answered without waiting, and never
//! waits; for the rest it gives a [`Pending`] that is to be awaited elsewhere. `request`, `route`,
//! `cache`, `health`, `response` and `guard` are pure, with time as an argument; `exchange` has the
//! sockets.
//!
//! Names of the own domain never come here, DS among them: that the domain is not signed is
//! answered by the domain itself (RFC 4035 §3.1.4.1). Mesos-DNS asks its resolvers for DS.
//!
//! What must never happen here: asking this server itself (see `guard`), waiting without end,
//! growing without bound, handing one hop's EDNS options to the next.

mod cache;
mod config;
mod exchange;
#[cfg(test)]
mod fixtures;
mod guard;
mod health;
mod join;
mod packet;
mod request;
mod response;
mod route;
mod search;
mod stats;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use config::{
    DNS_PORT, ForwardConfig, ForwardConfigError, RESOLVERS, ZONE_RESOLVERS, resolver_address,
};
pub use guard::{MAX_HOPS, TRAIL_OPTION};
pub use stats::{ForwardStats, UpstreamStats};

use crate::answer::Transport;
use crate::message::Rcode;
use cache::{Bounds, Cache, Found};
use exchange::Outgoing;
use guard::{MARK, Own, Trail};
use join::{Flight, Flights, Seat, Wait};
use packet::{CD, RD};
use request::{Key, Request, Unreadable};
use response::{Caps, ExtendedError, Freshness, Given, Response};
use route::{Group, Zones};
use search::{Servers, Verdict, Ways};
use stats::{Counters, add, value};

/// For how long a client waits until it gets a known answer after its time (RFC 8767 §5).
const STALE_AFTER: Duration = Duration::from_millis(1800);

/// Sockets for each open question, on average: more are tried only while few questions are open.
const SOCKETS: usize = 2;

/// Asks other servers for clients. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Forwarder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` = nothing outside the domain is answered.
    zones: Option<Zones>,
    servers: Arc<Servers>,
    cache: Mutex<Cache>,
    flights: Arc<Flights<Verdict>>,
    waiting: AtomicUsize,
    waiting_limit: usize,
    set_truncate_bit: bool,
    randomise_case: bool,
    /// This forwarder's number in trails.
    mark: [u8; MARK],
    counters: Counters,
}

/// What becomes of a query at once.
#[derive(Debug)]
pub enum Begun {
    /// The reply is written.
    Reply,
    /// Nothing is to be sent.
    Silence,
    /// Others have to be asked.
    Pending(Box<Pending>),
}

/// A query that waits for an answer from others.
#[derive(Debug)]
pub struct Pending {
    forwarder: Forwarder,
    query: Vec<u8>,
    options: Vec<u8>,
    limit: usize,
    transport: Transport,
    key: Key,
    group: Group,
    stale: Option<Arc<Response>>,
    _waiter: Waiter,
}

/// A place among those who wait.
#[derive(Debug)]
struct Waiter(Arc<Inner>);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Forwarder {
    /// A forwarder with an empty cache. The error names the setting that is wrong.
    pub fn new(config: &ForwardConfig) -> Result<Forwarder, ForwardConfigError> {
        let own = Own::new(&config.own_addresses, guard::machine_addresses());
        let zones = config.external_on.then(|| config::zones(config, &own)).transpose()?;
        let caps = Caps { ttl: config.max_ttl, negative: config.max_negative_ttl };
        let ways = Ways {
            timeout: config.timeout,
            deadline: config.deadline,
            race: config.race,
            sockets: config.in_flight.saturating_mul(SOCKETS),
            caps,
        };
        let servers = zones.as_ref().map_or(&[][..], Zones::servers);
        let bounds = Bounds {
            entries: config.cache_entries,
            bytes: config.cache_bytes,
            stale: config.serve_stale,
        };
        Ok(Forwarder(Arc::new(Inner {
            servers: Arc::new(Servers::new(servers, own, ways)),
            zones,
            cache: Mutex::new(Cache::new(bounds)),
            flights: Flights::new(config.in_flight),
            waiting: AtomicUsize::new(0),
            waiting_limit: config.waiting,
            set_truncate_bit: config.set_truncate_bit,
            randomise_case: config.randomise_case,
            mark: rand::random(),
            counters: Counters::default(),
        })))
    }

    /// The reply to a query, in at most `limit` bytes and over UDP no more than the client says it
    /// takes; `None` = nothing is to be sent. Takes no longer than the deadline. To be called on a
    /// tokio runtime with time and I/O.
    pub async fn forward(
        &self,
        query: &[u8],
        limit: usize,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match self.begin(query, limit, transport, &[], &mut out) {
            Begun::Reply => Some(out),
            Begun::Silence => None,
            Begun::Pending(pending) => Some(pending.reply().await),
        }
    }

    /// Answers into `out` what can be answered without asking others. Never waits, needs no
    /// runtime. `options` are whole EDNS options of this hop (a cookie), that replies to clients
    /// with EDNS get as well.
    pub fn begin(
        &self,
        query: &[u8],
        limit: usize,
        transport: Transport,
        options: &[u8],
        out: &mut Vec<u8>,
    ) -> Begun {
        let inner = &self.0;
        let request = match Request::read(query, limit, transport) {
            Ok(request) => request,
            Err(Unreadable::Silence) => return Begun::Silence,
            Err(Unreadable::Bad(header, rcode)) => {
                response::write_header_only(&header, rcode, out);
                return Begun::Reply;
            }
        };
        add(&inner.counters.queries);
        let group = match inner.admit(&request) {
            Ok(group) => group,
            Err((rcode, error)) => {
                response::write_error(&request, rcode, error, options, out);
                return Begun::Reply;
            }
        };
        let key = request.key();
        // The cache is free again before the reply is written.
        let found = inner.cache().get(&key, Instant::now());
        let stale = match found {
            Some(Found::Fresh(response, age)) => {
                add(&inner.counters.cache_hits);
                let error = (!response.is_final()).then_some(ExtendedError::CachedError);
                inner.give(&request, &response, Freshness::Kept(age), error, options, out);
                return Begun::Reply;
            }
            Some(Found::Stale { response, is_last_word: true }) => {
                inner.give_stale(&request, &response, options, out);
                return Begun::Reply;
            }
            Some(Found::Stale { response, .. }) => Some(response),
            None => None,
        };
        let Some(waiter) = inner.wait() else {
            inner.overload(&request, stale.as_deref(), options, out);
            return Begun::Reply;
        };
        Begun::Pending(Box::new(Pending {
            forwarder: self.clone(),
            query: query.to_vec(),
            options: options.to_vec(),
            limit,
            transport,
            key,
            group,
            stale,
            _waiter: waiter,
        }))
    }

    /// Counters and states.
    pub fn stats(&self) -> ForwardStats {
        let inner = &self.0;
        let counters = &inner.counters;
        let (cache_entries, cache_bytes) = {
            let cache = inner.cache();
            (cache.len(), cache.bytes())
        };
        ForwardStats {
            queries: value(&counters.queries),
            cache_hits: value(&counters.cache_hits),
            stale: value(&counters.stale),
            joined: value(&counters.joined),
            lookups: value(&counters.lookups),
            failed: value(&counters.failed),
            refused: value(&counters.refused),
            overload: value(&counters.overload),
            loops: value(&counters.loops),
            cache_entries,
            cache_bytes,
            in_flight: inner.flights.len(),
            upstreams: inner.servers.stats(),
        }
    }
}

impl Pending {
    /// The reply, once others have answered, or not: it takes no longer than the deadline.
    pub async fn reply(self) -> Vec<u8> {
        let mut out = Vec::new();
        // It was read before, so it can be read again.
        let Ok(request) = Request::read(&self.query, self.limit, self.transport) else {
            return out;
        };
        let inner = &self.forwarder.0;
        let mut wait = match inner.flights.board(&self.key) {
            Seat::First(flight, wait) => {
                add(&inner.counters.lookups);
                tokio::spawn(self.forwarder.0.clone().fly(flight, self.search_of(&request)));
                wait
            }
            Seat::Joined(wait) => {
                add(&inner.counters.joined);
                wait
            }
            Seat::Full => {
                inner.overload(&request, self.stale.as_deref(), &self.options, &mut out);
                return out;
            }
        };
        match self.verdict(&mut wait).await {
            Verdict::Answer(response) => {
                inner.give(&request, &response, Freshness::New, None, &self.options, &mut out);
            }
            verdict => self.make_do(&request, verdict, &mut out),
        }
        out
    }

    /// What the search brought; nothing when a client that can have a stale answer has waited long
    /// enough.
    async fn verdict(&self, wait: &mut Wait<Verdict>) -> Verdict {
        let servers = &self.forwarder.0.servers;
        let landed = match &self.stale {
            Some(_) if servers.are_down(&self.group) => None,
            Some(_) => tokio::time::timeout(STALE_AFTER, wait.landed()).await.ok().flatten(),
            None => wait.landed().await,
        };
        landed.unwrap_or(Verdict::Nothing)
    }

    /// The best reply without a good answer.
    fn make_do(&self, request: &Request<'_>, verdict: Verdict, out: &mut Vec<u8>) {
        let inner = &self.forwarder.0;
        match (verdict, &self.stale) {
            // Cut, but true.
            (Verdict::Poor(response), _) if response.is_final() => {
                inner.give(request, &response, Freshness::New, None, &self.options, out);
            }
            (_, Some(stale)) => inner.give_stale(request, stale, &self.options, out),
            (Verdict::Poor(response), None) => {
                inner.give(request, &response, Freshness::New, None, &self.options, out);
            }
            (_, None) => {
                let error = Some(ExtendedError::NoReachableAuthority);
                response::write_error(request, Rcode::ServFail, error, &self.options, out);
            }
        }
    }

    fn search_of(&self, request: &Request<'_>) -> Lookup {
        let mut question = request.question.name.clone();
        question.extend(request.question.qtype.to_be_bytes());
        question.extend(request.question.class.to_be_bytes());
        let (whole_marks, _) = request.trail().as_chunks::<MARK>();
        let mut trail = whole_marks.concat();
        trail.extend(self.forwarder.0.mark);
        let outgoing = Outgoing {
            question,
            first: request.header.first & RD,
            second: request.header.second & CD,
            dnssec_ok: request.dnssec_ok(),
            trail,
            randomise: self.forwarder.0.randomise_case,
        };
        Lookup { key: self.key.clone(), group: self.group.clone(), outgoing: Arc::new(outgoing) }
    }
}

/// What is searched.
struct Lookup {
    key: Key,
    group: Group,
    outgoing: Arc<Outgoing>,
}

impl Inner {
    /// Searches, keeps what is found, and tells all who wait. Goes on when they no longer do.
    async fn fly(self: Arc<Inner>, flight: Flight<Verdict>, lookup: Lookup) {
        let Lookup { key, group, outgoing } = lookup;
        let question = outgoing.question.clone();
        let verdict = self.servers.search(&group, outgoing).await;
        let now = Instant::now();
        match &verdict {
            Verdict::Answer(response) => self.cache().put(key, response.clone(), now),
            Verdict::Poor(response) => {
                add(&self.counters.failed);
                let failure = (!response.is_final()).then(|| response.clone());
                self.cache().put_failure(key, failure, now);
            }
            Verdict::Nothing => {
                add(&self.counters.failed);
                let failure = Arc::new(Response::failure(&question));
                self.cache().put_failure(key, Some(failure), now);
            }
        }
        flight.land(verdict);
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The servers for a query, or the code that it gets without anybody being asked.
    fn admit(&self, request: &Request<'_>) -> Result<Group, (Rcode, Option<ExtendedError>)> {
        if let Some(rcode) = request.refused() {
            add(&self.counters.refused);
            return Err((rcode, None));
        }
        if guard::judge(request.trail(), self.mark) == Trail::Loop {
            add(&self.counters.loops);
            return Err((Rcode::ServFail, Some(ExtendedError::Other)));
        }
        let group = self.zones.as_ref().map(|zones| zones.find(&request.question.name));
        match group.filter(|group| !group.is_empty()) {
            Some(group) => Ok(group.clone()),
            None => {
                add(&self.counters.refused);
                Err((Rcode::Refused, None))
            }
        }
    }

    /// A place among those who wait, if there is one.
    fn wait(self: &Arc<Inner>) -> Option<Waiter> {
        let waiter = Waiter(self.clone());
        // Its drop takes back what is counted here.
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        (before < self.waiting_limit).then_some(waiter)
    }

    fn overload(
        &self,
        request: &Request<'_>,
        stale: Option<&Response>,
        options: &[u8],
        out: &mut Vec<u8>,
    ) {
        add(&self.counters.overload);
        match stale {
            Some(stale) => self.give_stale(request, stale, options, out),
            None => {
                let error = Some(ExtendedError::Other);
                response::write_error(request, Rcode::ServFail, error, options, out);
            }
        }
    }

    fn give_stale(
        &self,
        request: &Request<'_>,
        response: &Response,
        options: &[u8],
        out: &mut Vec<u8>,
    ) {
        add(&self.counters.stale);
        self.give(request, response, Freshness::Stale, None, options, out);
    }

    fn give(
        &self,
        request: &Request<'_>,
        response: &Response,
        freshness: Freshness,
        error: Option<ExtendedError>,
        options: &[u8],
        out: &mut Vec<u8>,
    ) {
        let set_truncate_bit = self.set_truncate_bit;
        let given = Given { freshness, error, options, set_truncate_bit };
        response.write(request, given, out);
    }
}

#[cfg(test)]
mod tests;
