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

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;
use waymark_routing::Balance;

use super::connection::Connection;
use super::exchange::{End, Exchange};
use super::io::ClientIo;
use super::job::Job;
use super::patch::After;
use crate::acquire::{Refusal, Search};
use crate::http::local::Answer;
use crate::route::Affinity;
use crate::upstream::{self, DialError, Keep, Stream};
use crate::usage::Seat;

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
    /// The task took no connection, and it is to blame or not; what the client is told if no other
    /// does.
    NotConnected(Seat, bool, Answer),
    /// The task gave no answer, and the request can go to another one.
    NotAnswered(Seat, Answer),
}

/// Forwards a request until it is answered, by a task or by Waymark.
pub(crate) async fn forward<S: ClientIo>(connection: &mut Connection<S>, job: &mut Job) -> Outcome {
    let worker = connection.worker.clone();
    let mut search = Search::new(&worker, &job.pool);
    let mut failure = None;
    let outcome = loop {
        let affinity = Affinity {
            source: Some(job.source),
            cookie: job.cookie.as_deref(),
            key: job.key.as_deref(),
        };
        let seat = match search.seat(&affinity).await {
            Ok(seat) => seat,
            Err(refusal) => break refused(refusal, failure),
        };
        let limit = search.time_for(&seat);
        let again = match attempt(connection, job, seat, limit).await {
            Attempt::Done(outcome) => break outcome,
            Attempt::NotConnected(seat, to_blame, answer) => {
                failure = Some(answer);
                search.connect_failed(seat, to_blame)
            }
            Attempt::NotAnswered(seat, answer) => {
                failure = Some(answer);
                search.request_failed(seat)
            }
        };
        if let Err(refusal) = again {
            break refused(refusal, failure);
        }
    };
    finish(connection, job, outcome)
}

/// What the client is told when there is no task: what the last one tried did, else why none was.
fn refused(refusal: Refusal, failure: Option<Answer>) -> Outcome {
    let answer = failure.unwrap_or_else(|| Answer::new(refusal.status(), refusal.to_string()));
    Outcome::Answer(answer, true)
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

/// Sends the request to the task of the seat.
async fn attempt<S: ClientIo>(
    connection: &mut Connection<S>,
    job: &mut Job,
    seat: Seat,
    limit: Duration,
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
    match Box::pin(upstream::dial(endpoint.address, limit)).await {
        Ok(mut server) => {
            let end = exchange(connection, job, &mut server).await;
            settle(connection, job, server, seat, end)
        }
        Err(DialError::Task(_)) => {
            let answer = Answer::unavailable("no task takes the connection");
            Attempt::NotConnected(seat, true, answer)
        }
        Err(DialError::Path(_)) => {
            Attempt::NotConnected(seat, false, Answer::unavailable("no way to the task"))
        }
        Err(DialError::Here(_)) => {
            let answer = Answer::unavailable("no connection can be opened");
            Attempt::Done(Outcome::Answer(answer, true))
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
            seat.succeeded();
            if job.pool.rules.balance == Balance::TwoChoices {
                seat.took(job.started.elapsed(), worker.shared.clock_ms());
            }
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
            debug!(task = %seat.endpoint().address, %error, "a task gave no answer");
            let answer = Answer::new(502, "the task gave no answer");
            if job.may_repeat() {
                return Attempt::NotAnswered(seat, answer);
            }
            seat.response_failed(worker.shared.clock_ms());
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
            seat.response_failed(worker.shared.clock_ms());
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
