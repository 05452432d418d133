//! One question, asked of the servers of a zone until one has the answer.
//!
//! Servers are asked in the order of the list, those that were silent lately last. The next one is
//! asked when the one before has failed, and also when it has been silent for [`PATIENCE`]: it may
//! still answer meanwhile, up to its time-out. Two more rounds ask those again that were silent,
//! since packets get lost. In a race the first two are asked at once. The whole has a deadline.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::exchange::{Failure, Line, Outgoing};
use super::guard::Own;
use super::health::{Change, Health};
use super::response::{Caps, Response};
use super::stats::{UpstreamCounters, UpstreamStats, add, value};

/// For how long a server may be silent until the next one is asked as well.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// How often a silent server is asked for one question, unless it is known to be silent.
pub(super) const ROUNDS: usize = 3;

/// All servers, and how they are asked.
#[derive(Debug)]
pub(super) struct Servers {
    upstreams: Vec<Upstream>,
    own: Own,
    ways: Ways,
    sockets: Semaphore,
}

/// How servers are asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways {
    pub(super) timeout: Duration,
    pub(super) deadline: Duration,
    pub(super) race: bool,
    /// Sockets at the same time.
    pub(super) sockets: usize,
    pub(super) caps: Caps,
}

#[derive(Debug)]
struct Upstream {
    address: SocketAddr,
    health: Mutex<Health>,
    counters: UpstreamCounters,
    /// Whether the log knows that this server turned out to be this one.
    loop_told: AtomicBool,
}

/// What a search brought.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// What the name has.
    Answer(Arc<Response>),
    /// No better than this: an error that all servers have given, or an answer that is cut.
    Poor(Arc<Response>),
    /// Silence.
    Nothing,
}

/// A search under way.
struct Search {
    servers: Arc<Servers>,
    outgoing: Arc<Outgoing>,
    /// Places of the servers that are still to be asked, in order.
    plan: std::vec::IntoIter<usize>,
    tries: JoinSet<(usize, Result<Response, Failure>)>,
    running: Vec<Try>,
    /// Servers that need not be asked again.
    done: Vec<usize>,
    poor: Option<Response>,
}

struct Try {
    place: usize,
    since: Instant,
    heard: Arc<AtomicBool>,
}

impl Servers {
    pub(super) fn new(addresses: &[SocketAddr], own: Own, ways: Ways) -> Servers {
        let upstream = |address: &SocketAddr| Upstream {
            address: *address,
            health: Mutex::default(),
            counters: UpstreamCounters::default(),
            loop_told: AtomicBool::new(false),
        };
        let sockets = Semaphore::new(ways.sockets.min(Semaphore::MAX_PERMITS));
        Servers { upstreams: addresses.iter().map(upstream).collect(), own, ways, sockets }
    }

    /// Asks the servers at these places.
    pub(super) async fn search(
        self: &Arc<Servers>,
        group: &[usize],
        outgoing: Arc<Outgoing>,
    ) -> Verdict {
        self.probe_due(group, &outgoing);
        // Servers that are known to be silent are not asked twice.
        let rounds = if self.are_down(group) { 1 } else { ROUNDS };
        let plan: Vec<usize> = self.order(group).repeat(rounds);
        let search = Search {
            servers: self.clone(),
            outgoing,
            plan: plan.into_iter(),
            tries: JoinSet::new(),
            running: Vec::new(),
            done: Vec::new(),
            poor: None,
        };
        search.run().await
    }

    /// Whether none of these servers answers, as far as known.
    pub(super) fn are_down(&self, group: &[usize]) -> bool {
        self.members(group).all(|(_, upstream)| !upstream.health().is_up())
    }

    fn members(&self, group: &[usize]) -> impl Iterator<Item = (usize, &Upstream)> {
        group.iter().filter_map(|place| Some((*place, self.upstreams.get(*place)?)))
    }

    /// The servers in the order in which they are asked.
    fn order(&self, group: &[usize]) -> Vec<usize> {
        let mut order: Vec<(bool, usize)> = self
            .members(group)
            .map(|(place, upstream)| (!upstream.health().is_up(), place))
            .collect();
        // Stable: the order of the list among equals.
        order.sort_by_key(|(is_down, _)| *is_down);
        order.into_iter().map(|(_, place)| place).collect()
    }

    /// Asks those in the background whose pause is over, when there are others to wait for.
    fn probe_due(self: &Arc<Servers>, group: &[usize], outgoing: &Arc<Outgoing>) {
        if self.are_down(group) {
            return;
        }
        for (place, upstream) in self.members(group) {
            if upstream.health().begin_probe(Instant::now().into_std(), self.ways.deadline) {
                self.probe(place, outgoing);
            }
        }
    }

    fn probe(self: &Arc<Servers>, place: usize, outgoing: &Arc<Outgoing>) {
        let question = self.clone().ask(place, outgoing.clone(), Arc::default());
        tokio::spawn(question);
    }

    /// One try with one server; what comes of it is noted.
    async fn ask(
        self: Arc<Servers>,
        place: usize,
        outgoing: Arc<Outgoing>,
        heard: Arc<AtomicBool>,
    ) -> (usize, Result<Response, Failure>) {
        let Some(upstream) = self.upstreams.get(place) else {
            return (place, Err(Failure::Timeout));
        };
        let Ok(_socket) = self.sockets.try_acquire() else {
            return (place, Err(Failure::Local(io::ErrorKind::QuotaExceeded.into())));
        };
        add(&upstream.counters.tries);
        let line = Line {
            server: upstream.address,
            own: &self.own,
            timeout: self.ways.timeout,
            caps: self.ways.caps,
            counters: &upstream.counters,
            heard: &heard,
        };
        let edns = upstream.health().edns(Instant::now().into_std());
        let mut result = line.ask(&outgoing, edns).await;
        if edns && matches!(result, Err(Failure::NotUnderstood)) {
            result = line.ask(&outgoing, false).await;
            if result.is_ok() {
                upstream.health().does_no_edns(Instant::now().into_std());
            }
        }
        upstream.note(&result);
        (place, result)
    }

    /// Counters and health.
    pub(super) fn stats(&self) -> Vec<UpstreamStats> {
        self.upstreams.iter().map(Upstream::stats).collect()
    }
}

impl Search {
    async fn run(mut self) -> Verdict {
        let deadline = Instant::now() + self.servers.ways.deadline;
        self.start();
        if self.servers.ways.race {
            self.start();
        }
        while !self.running.is_empty() {
            let patience = self.running.last().map_or(deadline, |last| last.since + PATIENCE);
            tokio::select! {
                ended = self.tries.join_next() => match ended {
                    Some(Ok((place, result))) => {
                        if let Some(response) = self.judge(place, result) {
                            self.leave(false);
                            return Verdict::Answer(Arc::new(response));
                        }
                        self.start();
                    }
                    Some(Err(_)) | None => break,
                },
                () = sleep_until(patience), if self.plan.len() > 0 => self.start(),
                () = sleep_until(deadline) => break,
            }
        }
        self.leave(true);
        match self.poor.take() {
            Some(poor) => Verdict::Poor(Arc::new(poor)),
            None => Verdict::Nothing,
        }
    }

    /// Asks the next server of the plan, if there is one that makes sense.
    fn start(&mut self) {
        let Some(place) = self.plan.find(|place| !self.done.contains(place)) else { return };
        let heard = Arc::<AtomicBool>::default();
        let question = self.servers.clone().ask(place, self.outgoing.clone(), heard.clone());
        self.tries.spawn(question);
        self.running.push(Try { place, since: Instant::now(), heard });
    }

    /// The answer, if this is one.
    fn judge(&mut self, place: usize, result: Result<Response, Failure>) -> Option<Response> {
        if let Some(n) = self.running.iter().position(|running| running.place == place) {
            self.running.remove(n);
        }
        match result {
            Ok(response) if response.is_final() => return Some(response),
            Ok(response) => {
                // A cut answer is better than an error.
                if self.poor.as_ref().is_none_or(|poor| !poor.is_final()) {
                    self.poor = Some(response);
                }
            }
            Err(Failure::Cut(response)) => self.poor = Some(*response),
            Err(Failure::Timeout) => return None,
            Err(_) => {}
        }
        self.done.push(place);
        None
    }

    /// Ends the tries that are still running: servers that have been silent for long have failed.
    fn leave(&mut self, all_failed: bool) {
        self.tries.abort_all();
        let now = Instant::now();
        for running in &self.running {
            let Some(upstream) = self.servers.upstreams.get(running.place) else { continue };
            if running.heard.load(Ordering::Relaxed) {
                continue;
            }
            if all_failed || now >= running.since + PATIENCE {
                upstream.failed();
            } else if self.servers.ways.race
                && upstream
                    .health()
                    .begin_probe_of_loser(now.into_std(), self.servers.ways.deadline)
            {
                self.servers.probe(running.place, &self.outgoing);
            }
        }
    }
}

impl Upstream {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, result: &Result<Response, Failure>) {
        match result {
            Ok(_) | Err(Failure::Cut(_) | Failure::NotUnderstood) => {
                add(&self.counters.answers);
                let change = self.health().answered(Instant::now().into_std());
                self.tell(change);
            }
            Err(Failure::Timeout) => self.failed(),
            Err(Failure::Network(error)) => {
                tracing::debug!(server = %self.address, %error, "a name server cannot be asked");
                add(&self.counters.errors);
                self.failed_so();
            }
            Err(Failure::Loop) => {
                if !self.loop_told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(server = %self.address, "this name server is this server itself");
                }
                add(&self.counters.errors);
                self.failed_so();
            }
            Err(Failure::Local(error)) => {
                tracing::debug!(%error, "no socket to ask a name server");
                add(&self.counters.errors);
            }
        }
    }

    /// It was silent.
    fn failed(&self) {
        add(&self.counters.timeouts);
        self.failed_so();
    }

    fn failed_so(&self) {
        let change = self.health().failed(Instant::now().into_std());
        self.tell(change);
    }

    fn tell(&self, change: Option<Change>) {
        match change {
            Some(Change::Down) => {
                tracing::warn!(server = %self.address, "a name server does not answer");
            }
            Some(Change::Up) => {
                tracing::info!(server = %self.address, "a name server answers again")
            }
            None => {}
        }
    }

    fn stats(&self) -> UpstreamStats {
        let counters = &self.counters;
        UpstreamStats {
            address: self.address,
            up: self.health().is_up(),
            tries: value(&counters.tries),
            answers: value(&counters.answers),
            timeouts: value(&counters.timeouts),
            errors: value(&counters.errors),
            tcp: value(&counters.tcp),
            strays: value(&counters.strays),
        }
    }
}
