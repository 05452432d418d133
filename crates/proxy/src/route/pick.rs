//! Which task of a pool takes the next request or connection. Pure but for the seat that is taken:
//! the clock and randomness are arguments.
//!
//! The rules, in this order:
//! 1. Tasks that nothing speaks against get everything.
//! 2. When all of those have been tried for this request, or failed a moment ago, or fail the
//!    balancer's own check: those of them that are left. So what the balancer believes never empties
//!    a pool.
//! 3. Where the catalog calls no task ready: the unhealthy ones. A wrong health check must not cost
//!    the service.
//! 4. Never: tasks that drain, that were never found healthy, that would be a loop.
//!
//! A task with its most is passed over; when only such are left there is a queue.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use waymark_routing::{Balance, HashKey};

use super::pool::{Affinity, Candidate, Pool, Reason};
use crate::balance::{
    Key, first, least_connections, peak_ewma, random, rendezvous, round_robin, two_choices,
};
use crate::usage::{CheckState, Endpoint, Seat};

/// What a pick depends on besides the pool.
pub(crate) struct Look<'a> {
    pub(crate) affinity: &'a Affinity<'a>,
    /// Endpoints that were tried for this request.
    pub(crate) tried: &'a [Arc<Endpoint>],
    /// Only a look: nobody's turn is over.
    pub(crate) peek: bool,
    /// Milliseconds on the workers' clock; read only when needed.
    pub(crate) now: &'a dyn Fn() -> u64,
    /// A random number from 0 to n - 1.
    pub(crate) below: &'a dyn Fn(u32) -> u32,
}

/// What became of a pick.
#[derive(Debug)]
pub(crate) enum Pick {
    /// A seat at a task.
    Seat(Seat),
    /// Every task that would do has its most.
    Full,
    /// No task would do.
    Nobody,
}

/// Which candidates are looked at, in order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tier {
    Good,
    Doubtful,
    LastResort,
}

impl Pool {
    /// Picks a task and takes a seat at it.
    pub(crate) fn pick(&self, look: &Look<'_>) -> Pick {
        // A task may become full between the look and the seat; then another look.
        for _ in 0..=self.candidates.len() {
            match self.choose(look) {
                Choice::Candidate(candidate) => {
                    if let Some(seat) = candidate.endpoint.take_seat(self.rules.max_connections) {
                        self.counters.seats.fetch_add(1, Relaxed);
                        return Pick::Seat(seat);
                    }
                }
                Choice::Full => return Pick::Full,
                Choice::Nobody => return Pick::Nobody,
            }
        }
        Pick::Full
    }

    /// The candidate that a pick would take a seat at.
    pub(crate) fn choose<'p>(&'p self, look: &Look<'_>) -> Choice<'p> {
        for tier in [Tier::Good, Tier::Doubtful, Tier::LastResort] {
            let view = View { pool: self, look, tier, full: Cell::new(false) };
            if let Some(candidate) = view.choose() {
                return Choice::Candidate(candidate);
            }
            if view.full.get() {
                return Choice::Full;
            }
            if tier == Tier::Doubtful && !self.ready.is_empty() {
                break;
            }
        }
        Choice::Nobody
    }

    /// Why a candidate would not be taken now; `None` = it may be.
    pub(crate) fn left_out(&self, candidate: &Candidate, look: &Look<'_>) -> Option<Reason> {
        if candidate.withheld.is_some() {
            return candidate.withheld;
        }
        if tried(candidate, look) {
            return Some(Reason::Tried);
        }
        doubt(&candidate.endpoint, look).or_else(|| self.is_full(candidate).then_some(Reason::Full))
    }

    fn is_full(&self, candidate: &Candidate) -> bool {
        self.rules.max_connections.is_some_and(|most| candidate.endpoint.active() >= most)
    }
}

/// What a look at the candidates finds.
pub(crate) enum Choice<'p> {
    Candidate(&'p Candidate),
    Full,
    Nobody,
}

fn tried(candidate: &Candidate, look: &Look<'_>) -> bool {
    look.tried.iter().any(|tried| Arc::ptr_eq(tried, &candidate.endpoint))
}

/// What the balancer itself holds against an endpoint.
fn doubt(endpoint: &Endpoint, look: &Look<'_>) -> Option<Reason> {
    if endpoint.is_ejected(look.now) {
        Some(Reason::Ejected)
    } else if endpoint.check() == CheckState::Failed {
        Some(Reason::CheckFailed)
    } else {
        None
    }
}

/// The candidates of one tier.
struct View<'p, 'l> {
    pool: &'p Pool,
    look: &'l Look<'l>,
    tier: Tier,
    /// Whether one of them was passed over because it has its most.
    full: Cell<bool>,
}

impl<'p> View<'p, '_> {
    fn len(&self) -> usize {
        match self.tier {
            Tier::Good | Tier::Doubtful => self.pool.ready.len(),
            Tier::LastResort => self.pool.candidates.len(),
        }
    }

    fn get(&self, position: usize) -> Option<&'p Candidate> {
        match self.tier {
            Tier::Good | Tier::Doubtful => {
                self.pool.candidates.get(*self.pool.ready.get(position)?)
            }
            Tier::LastResort => self.pool.candidates.get(position),
        }
    }

    /// The candidate at a position, if it may be taken.
    fn taking_part(&self, position: usize) -> Option<&'p Candidate> {
        let candidate = self.get(position)?;
        let in_tier = match self.tier {
            Tier::Good => doubt(&candidate.endpoint, self.look).is_none(),
            Tier::Doubtful => true,
            Tier::LastResort => candidate.withheld == Some(Reason::Unhealthy),
        };
        if !in_tier || tried(candidate, self.look) {
            return None;
        }
        if self.pool.is_full(candidate) {
            self.full.set(true);
            return None;
        }
        Some(candidate)
    }

    fn choose(&self) -> Option<&'p Candidate> {
        if let Some(candidate) = self.sticky() {
            return Some(candidate);
        }
        let takes_part = |position: usize| self.taking_part(position).is_some();
        let count = self.len();
        let below = |n: u32| (self.look.below)(n);
        let load = |position: usize| Some(self.taking_part(position)?.endpoint.active());
        let position = match &self.pool.rules.balance {
            Balance::RoundRobin => round_robin(count, self.turn(), takes_part),
            Balance::LeastConnections => least_connections((0..count).map(load), below),
            Balance::TwoChoices => two_choices(count, below, |position| self.cost(position)),
            Balance::Hash(by) => {
                let number = |position: usize| Some(self.taking_part(position)?.endpoint.number());
                rendezvous(self.key(by), (0..count).map(number))
            }
            Balance::Random => random(count, |n| index_below(n, below), takes_part),
            Balance::First => first(count, takes_part),
        };
        // Not `taking_part`: a look at a changing load may have another answer by now.
        self.get(position?)
    }

    /// The task that the client's cookie names, if it may be taken.
    fn sticky(&self) -> Option<&'p Candidate> {
        self.pool.rules.sticky.as_ref()?;
        let cookie = self.look.affinity.cookie?;
        let named = |position: &usize| {
            self.get(*position).is_some_and(|c| c.endpoint.sticky().as_bytes() == cookie)
        };
        self.taking_part((0..self.len()).find(named)?)
    }

    fn turn(&self) -> u32 {
        let turn = &self.pool.state.turn;
        if self.look.peek { turn.load(Relaxed) } else { turn.fetch_add(1, Relaxed) }
    }

    fn cost(&self, position: usize) -> Option<f32> {
        let endpoint = &self.taking_part(position)?.endpoint;
        // A microsecond at least, so that tasks not measured yet differ by what they have to do.
        Some(peak_ewma(endpoint.latency((self.look.now)()).max(1.0), endpoint.active()))
    }

    /// What a consistent hash goes by; the client's address where the request has none.
    fn key(&self, by: &HashKey) -> Key {
        let affinity = self.look.affinity;
        let source = || affinity.source.map_or(Key::of(b""), |s| Key::of_address(s.ip()));
        match by {
            HashKey::Source => source(),
            HashKey::Path | HashKey::Header(_) | HashKey::Cookie(_) => {
                affinity.key.map_or_else(source, Key::of)
            }
        }
    }
}

fn index_below(n: usize, below: impl Fn(u32) -> u32) -> usize {
    usize::try_from(below(u32::try_from(n).unwrap_or(u32::MAX))).unwrap_or(0)
}

#[cfg(test)]
#[path = "pick_tests.rs"]
mod tests;
