//! A request's way to a task: a seat, a connection, an exchange; again on another task where that
//! does no harm.
//!
//! What is repeated, and when:
//! * a connection that cannot be opened: always, on another task;
//! * a kept connection that turns out to be dead before a byte of an answer: on a new connection to
//!   the same task, if the request is idempotent (RFC 9110 §9.2.2) or nothing of it was sent;
//! * a new connection that breaks before a byte of an answer: idempotent requests, on another task.
//!
//! Each only while all that was sent is still here to be sent again.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;
use tracing::debug;

use super::connection::Connection;
use super::exchange::{End, Exchange};
use super::io::ClientIo;
use super::job::Job;
use super::patch::After;
use crate::config::DOWN_FOR;
use crate::http::local::Answer;
use crate::upstream::{self, DialError, Keep, Stream};
use crate::usage::{Endpoint, Seat};
use crate::worker::Worker;

/// How often a request goes to another task, at most, where its service's labels say nothing
/// (HAProxy's `retries 3` of marathon-lb).
const RETRIES: u32 = 3;

/// How a request ended, for its client's connection.
pub(crate) enum Outcome {
    /// Answered; the next request may come.
    Next,
    /// Answered or not: it is over, and the connection too.
    Close,
    /// Answered before the request was read to its end.
    Linger,
    /// Waymark answers; whether the connection stays.
    Answer(Answer, bool),
    /// The connections belong together from now on, and the seat to them.
    Upgraded(Stream, Seat),
}

/// What one attempt led to.
enum Attempt {
    Done(Outcome),
    /// The request can go to another task.
    Failed(Answer),
}

/// Forwards a request until it is answered, by a task or by Waymark.
pub(crate) async fn forward<S: ClientIo>(connection: &mut Connection<S>, job: &mut Job) -> Outcome {
    let retries = job.pool.rules.retries.attempts.unwrap_or(RETRIES);
    let mut tried = Vec::new();
    let mut failure = Answer::unavailable("no task is ready");
    let outcome = loop {
        let Some(seat) = acquire(&connection.worker, job, &tried) else {
            break Outcome::Answer(failure, true);
        };
        let endpoint = seat.endpoint().clone();
        match attempt(connection, job, seat).await {
            Attempt::Done(outcome) => break outcome,
            Attempt::Failed(answer) => failure = answer,
        }
        tried.push(endpoint);
        if tried.len() > retries as usize {
            break Outcome::Answer(failure, true);
        }
        job.pool.counters.retries.fetch_add(1, Relaxed);
    };
    finish(connection, job, outcome)
}

/// Counts a request that is over, and readies its connection for the next.
fn finish<S: ClientIo>(connection: &mut Connection<S>, job: &mut Job, outcome: Outcome) -> Outcome {
    let outcome = match outcome {
        Outcome::Answer(answer, keep) => {
            job.status = answer.status;
            Outcome::Answer(answer, keep && job.keep_alive && job.body.is_done())
        }
        Outcome::Next => {
            connection.next(Instant::now());
            Outcome::Next
        }
        outcome => outcome,
    };
    job.count();
    outcome
}

/// A seat at a task that was not tried yet.
fn acquire(worker: &Worker, job: &Job, tried: &[Arc<Endpoint>]) -> Option<Seat> {
    let open = job.pool.candidates.iter().filter(|candidate| {
        let tried = tried.iter().any(|tried| Arc::ptr_eq(tried, &candidate.endpoint));
        candidate.withheld.is_none() && !tried
    });
    let open: Vec<_> = open.collect();
    let n = worker.random_below(u32::try_from(open.len()).unwrap_or(u32::MAX));
    open.get(n as usize).map(|candidate| candidate.endpoint.take_seat())
}

/// Sends the request to the task of the seat.
async fn attempt<S: ClientIo>(
    connection: &mut Connection<S>,
    job: &mut Job,
    seat: Seat,
) -> Attempt {
    let worker = connection.worker.clone();
    let endpoint = seat.endpoint();
    let kept = worker.http.idle.take(endpoint, &job.pool.rules, !job.idempotent);
    if let Some(mut server) = kept {
        match exchange(connection, job, &mut server).await {
            End::NoAnswer(error) if job.may_repeat() => {
                debug!(task = %endpoint.address, %error, "a kept connection was dead");
                worker.http.idle.forget(endpoint);
            }
            end => return settle(connection, job, server, seat, end),
        }
    }
    match Box::pin(open(&worker, job, endpoint)).await {
        Ok(mut server) => {
            let end = exchange(connection, job, &mut server).await;
            settle(connection, job, server, seat, end)
        }
        Err(error) => {
            job.pool.counters.connect_errors.fetch_add(1, Relaxed);
            match error {
                DialError::Task(_) => {
                    let down = u64::try_from(DOWN_FOR.as_millis()).unwrap_or(u64::MAX);
                    endpoint.mark_down(worker.shared.clock_ms() + down);
                    Attempt::Failed(Answer::unavailable("no task takes the connection"))
                }
                DialError::Path(_) => Attempt::Failed(Answer::unavailable("no way to the task")),
                DialError::Here(_) => {
                    let answer = Answer::unavailable("no connection can be opened");
                    Attempt::Done(Outcome::Answer(answer, true))
                }
            }
        }
    }
}

async fn exchange<S: ClientIo>(
    connection: &mut Connection<S>,
    job: &mut Job,
    server: &mut Stream,
) -> End {
    let Connection { worker, client, .. } = connection;
    Exchange::new(worker, client, server, job, None).run().await
}

/// A new connection to the task.
async fn open(worker: &Worker, job: &Job, endpoint: &Endpoint) -> Result<Stream, DialError> {
    let config = &worker.shared.config;
    let limit = job.pool.rules.timeouts.connect.unwrap_or(config.connect_timeout);
    let others = job.pool.candidates.len() > 1;
    let limit = if others { limit.min(config.try_timeout) } else { limit };
    let stream = upstream::dial(endpoint.address, limit).await?;
    endpoint.mark_up();
    Ok(stream)
}

/// What follows from the end of an exchange, for the task's connection and the client's.
fn settle<S: ClientIo>(
    connection: &Connection<S>,
    job: &mut Job,
    server: Stream,
    seat: Seat,
    end: End,
) -> Attempt {
    let worker = &connection.worker;
    let errors = &job.pool.counters.response_errors;
    Attempt::Done(match end {
        End::Answered { after, keep_for } => {
            if let Some(time) = keep_for {
                let most = worker.shared.config.limits.upstream_idle_connections;
                let (keep, descriptors) = (Keep { most, time }, &worker.shared.descriptors);
                let rules = &job.pool.rules;
                worker.http.idle.put(seat.endpoint(), rules, server, keep, descriptors);
            }
            match after {
                After::Close if job.body.is_done() => Outcome::Close,
                After::Close => Outcome::Linger,
                _ => Outcome::Next,
            }
        }
        End::Upgraded => Outcome::Upgraded(server, seat),
        End::NoAnswer(error) => {
            errors.fetch_add(1, Relaxed);
            debug!(task = %seat.endpoint().address, %error, "a task gave no answer");
            let answer = Answer::new(502, "the task gave no answer");
            if job.may_repeat() {
                return Attempt::Failed(answer);
            }
            Outcome::Answer(answer, true)
        }
        End::BadAnswer(bad) => {
            errors.fetch_add(1, Relaxed);
            debug!(task = %seat.endpoint().address, %bad, "a task's answer is malformed");
            Outcome::Answer(
                Answer::new(502, format!("the task's answer is malformed: {bad}")),
                true,
            )
        }
        End::SlowAnswer => {
            errors.fetch_add(1, Relaxed);
            Outcome::Answer(Answer::new(504, "the task did not answer in time"), true)
        }
        End::Broken => {
            errors.fetch_add(1, Relaxed);
            connection.client.io.reset();
            Outcome::Close
        }
        End::ClientGone => Outcome::Close,
        End::BadBody(bad) => Outcome::Answer(Answer::new(bad.status(), bad.to_string()), false),
        End::SlowBody => {
            Outcome::Answer(Answer::new(408, "the request's body did not come in time"), false)
        }
    })
}
