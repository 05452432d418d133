//! From a pool to a seat at one of its tasks: at once if one may take one more, else after a wait.
//!
//! In: the worker's table, as it is at the moment of the pick, whatever the table was in which the
//! pool was found. Out: a seat, or why there is none. Who waits does so for one of two things:
//!
//! * for **room**, when every task has its most: in the pool's queue, which is bounded;
//! * for **a task**, when none is ready or each has been tried: held for a moment, which bridges the
//!   time between a task's end and its replacement.
//!
//! A pick and its seat happen in one stretch of code without an `await`: see
//! [`crate::output::ProxyOutput`].

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::config::HOLD_RETRY;
use crate::port::count;
use crate::route::{Affinity, Look, Pick, Pool};
use crate::usage::{Endpoint, Seat};
use crate::worker::Worker;

/// Why there is no task for a request or connection.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No task was ready (503).
    #[error("no task is ready")]
    NoEndpoint,
    /// Tasks were ready and none took it, or no more retries were allowed (502).
    #[error("no task took it")]
    Failed,
    /// Every task had its most, and as many as may were waiting (503).
    #[error("too many wait for a task")]
    QueueFull,
    /// Every task had its most for as long as it may wait (503).
    #[error("no task had room in time")]
    QueueTimeout,
    /// The service is gone (503).
    #[error("the service is gone")]
    Gone,
}

impl Refusal {
    /// The status that a client of HTTP is told, as HAProxy has it: 503, or 502 when a task was to
    /// blame.
    pub(crate) fn status(self) -> u16 {
        match self {
            Refusal::Failed => 502,
            _ => 503,
        }
    }
}

/// The search of one request or connection for a task, over all its attempts.
pub(crate) struct Search<'a> {
    worker: &'a Worker,
    pool: Arc<Pool>,
    tried: Vec<Arc<Endpoint>>,
    attempts: u32,
    /// Those of them in which a task got the request.
    unanswered: u32,
    started: Instant,
    /// By when a task must have taken it.
    deadline: Instant,
    /// How long it may take until one has, from the start or from a task's failure to answer.
    patience: Duration,
    held: Option<SemaphorePermit<'a>>,
}

impl<'a> Search<'a> {
    /// A search that begins now.
    pub(crate) fn new(worker: &'a Worker, pool: &Arc<Pool>) -> Search<'a> {
        let config = &worker.shared.config;
        let started = Instant::now();
        let patience = pool.rules.timeouts.connect.unwrap_or(config.connect_timeout);
        Search {
            worker,
            pool: pool.clone(),
            tried: Vec::new(),
            attempts: 0,
            unanswered: 0,
            started,
            deadline: started + patience,
            patience,
            held: None,
        }
    }

    /// A seat at a task that was not tried yet, if one is to be had without waiting; or why there is
    /// none.
    pub(crate) fn seat_at_once(
        &mut self,
        affinity: &Affinity<'_>,
    ) -> Option<Result<Seat, Refusal>> {
        match self.pick(affinity) {
            Ok(Pick::Seat(seat)) => Some(Ok(seat)),
            Ok(Pick::Full | Pick::Nobody) => None,
            Err(refusal) => Some(Err(refusal)),
        }
    }

    /// A seat at a task that was not tried yet.
    pub(crate) async fn seat(&mut self, affinity: &Affinity<'_>) -> Result<Seat, Refusal> {
        loop {
            match self.pick(affinity)? {
                Pick::Seat(seat) => return Ok(seat),
                Pick::Full => {
                    if let Some(seat) = self.queue(affinity).await? {
                        return Ok(seat);
                    }
                }
                Pick::Nobody => self.hold().await?,
            }
        }
    }

    /// How long an attempt at a task may take: all the time that is left when there is no other to
    /// be tried after it.
    pub(crate) fn time_for(&self, seat: &Seat) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let others = self.has_others(seat.endpoint());
        if others { left.min(self.worker.shared.config.try_timeout) } else { left }
    }

    /// Whether there is a ready task besides this one that was not tried.
    fn has_others(&self, than: &Arc<Endpoint>) -> bool {
        let untried = |e: &Arc<Endpoint>| !self.tried.iter().any(|tried| Arc::ptr_eq(tried, e));
        let mut ready = self.pool.candidates.iter().filter(|c| c.withheld.is_none());
        ready.any(|c| !Arc::ptr_eq(&c.endpoint, than) && untried(&c.endpoint))
    }

    /// The task of this seat took no connection, and it is to blame or not. Says whether another
    /// attempt may be made: within the time and, when it goes to another task, within the attempts
    /// and the budget. With no other task left the search goes on as long as it may be held.
    pub(crate) fn connect_failed(&mut self, seat: Seat, to_blame: bool) -> Result<(), Refusal> {
        if to_blame {
            seat.connect_failed(self.worker.shared.clock_ms());
        }
        if self.leave(seat)? { self.may_try_again() } else { Ok(()) }
    }

    /// The task of this seat took a connection and gave no answer. Says whether another attempt may
    /// be made; the time begins anew. A task that takes requests has had them, so that each further
    /// one is within the attempts and the budget, also when there is only this task.
    pub(crate) fn request_failed(&mut self, seat: Seat) -> Result<(), Refusal> {
        seat.response_failed(self.worker.shared.clock_ms());
        self.deadline = Instant::now() + self.patience;
        self.leave(seat)?;
        self.unanswered += 1;
        self.may_try_again()
    }

    /// Gives up the seat at a task that was tried; returns whether there are others to be tried.
    fn leave(&mut self, seat: Seat) -> Result<bool, Refusal> {
        let others = self.has_others(seat.endpoint());
        self.tried.push(seat.endpoint().clone());
        drop(seat);
        if Instant::now() >= self.deadline {
            return Err(Refusal::Failed);
        }
        Ok(others)
    }

    /// Counts another attempt, if it may be made.
    fn may_try_again(&mut self) -> Result<(), Refusal> {
        self.attempts += 1;
        let config = &self.worker.shared.config;
        let retries = &self.pool.rules.retries;
        let percent = retries.budget_percent.unwrap_or(config.retry_percent);
        let most = retries.attempts.unwrap_or(config.retry_attempts);
        if self.attempts > most || !self.pool.may_retry(percent, self.worker.shared.clock_ms()) {
            return Err(Refusal::Failed);
        }
        Ok(())
    }

    /// Picks among the tasks of the pool as the worker's table has it now.
    fn pick(&mut self, affinity: &Affinity<'_>) -> Result<Pick, Refusal> {
        let table = self.worker.table();
        let present = table.present(&self.pool).ok_or(Refusal::Gone)?;
        if !Arc::ptr_eq(present, &self.pool) {
            self.pool = present.clone();
        }
        let look = Look {
            affinity,
            tried: &self.tried,
            peek: false,
            now: &|| self.worker.shared.clock_ms(),
            below: &|n| self.worker.random_below(n),
        };
        Ok(self.pool.pick(&look))
    }

    /// Waits in the queue until a task has room; `None` when no task would do any more.
    async fn queue(&mut self, affinity: &Affinity<'_>) -> Result<Option<Seat>, Refusal> {
        let config = &self.worker.shared.config;
        let rules = self.pool.rules.clone();
        let counters = self.pool.counters.clone();
        // The state outlives the pool: places and the word that a task is freed go on with it.
        let state = self.pool.state.clone();
        let longest = u32::try_from(config.limits.queue_length).unwrap_or(u32::MAX);
        let Some(place) = state.queue.enter(rules.queue.unwrap_or(longest)) else {
            count(&counters.queue_refused);
            return Err(Refusal::QueueFull);
        };
        count(&counters.queued);
        let patience = rules.timeouts.queue.unwrap_or(config.limits.queue_timeout);
        let end = Instant::now() + patience;
        // Who comes first looks again: a task may have been freed before there was a place. Others
        // wait for their turn.
        let mut look = place.first;
        loop {
            if look {
                match self.pick(affinity)? {
                    Pick::Seat(seat) => {
                        // Waiting for room is not the task's slowness to accept.
                        self.deadline = self.deadline.max(Instant::now() + config.try_timeout);
                        return Ok(Some(seat));
                    }
                    Pick::Full => {}
                    Pick::Nobody => return Ok(None),
                }
            }
            look = true;
            let change = async {
                tokio::select! {
                    () = place.freed() => {}
                    () = self.worker.table_changed.notified() => {}
                }
            };
            if timeout_at(end, change).await.is_err() {
                count(&counters.queue_refused);
                return Err(Refusal::QueueTimeout);
            }
        }
    }

    /// Waits until another look is worth while: until the table has changed or, when there are tasks
    /// that refuse, for a moment.
    async fn hold(&mut self) -> Result<(), Refusal> {
        let shared = &self.worker.shared;
        let refusal = if self.tried.is_empty() { Refusal::NoEndpoint } else { Refusal::Failed };
        if self.held.is_none() {
            self.held = Some(shared.held.try_acquire().map_err(|_| refusal)?);
            count(&self.pool.counters.held);
        }
        let now = Instant::now();
        let end = self.deadline.min(self.started + shared.config.hold);
        if now >= end {
            return Err(refusal);
        }
        let until = if self.tried.is_empty() { end } else { end.min(now + HOLD_RETRY) };
        // Both wake-ups, the table's and the clock's, lead to another look.
        let _ = timeout_at(until, self.worker.table_changed.notified()).await;
        self.tried.clear();
        // Connections may be tried anew, what tasks did not answer stays counted.
        self.attempts = self.unanswered;
        Ok(())
    }
}
