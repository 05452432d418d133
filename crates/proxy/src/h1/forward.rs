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

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;
use waymark_routing::{BackendProtocol, Balance};

use super::connection::Connection;
use super::exchange::{End, Exchange};
use super::io::{Client, ClientIo};
use super::job::Job;
use super::patch::After;
use crate::acquire::{Refusal, Search};
use crate::h2;
use crate::http::admission;
use crate::http::local::Answer;
use crate::port::count;
use crate::proxy_protocol::Addresses;
use crate::route::Affinity;
use crate::upstream::{self, ALPN_H1, DialError, Keep, Opening, Stream};
use crate::usage::Seat;
use crate::worker::{Shared, Worker};

/// How a request ended, for its client's connection.
pub(crate) enum Outcome {
    /// Answered; the next request may come.
    Next,
    /// Answered; its connection ends in order.
    Close,
    /// Not answered, or not to the end, which the client must not take for one.
    Abort,
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
    let refused = match job.unproven.take() {
        Some(unproven) => {
            let checked = admission::check(&connection.worker, &job.pool, unproven);
            or_gone(&connection.worker, &mut connection.client, Box::pin(checked)).await
        }
        None => Some(None),
    };
    let outcome = match refused {
        Some(None) => search(connection, job).await,
        Some(Some(answer)) => Outcome::Answer(answer, true),
        None => Outcome::Abort,
    };
    finish(connection, job, outcome)
}

/// Tries tasks until one has answered, or no other may be tried.
async fn search<S: ClientIo>(connection: &mut Connection<S>, job: &mut Job) -> Outcome {
    let worker = connection.worker.clone();
    let mut search = Search::new(&worker, &job.pool);
    let mut failure = None;
    loop {
        let affinity = Affinity {
            source: Some(job.source),
            cookie: job.cookie.as_deref(),
            key: job.key.as_deref(),
        };
        let found = search.seat(&affinity);
        let seat = match or_gone(&worker, &mut connection.client, found).await {
            Some(Ok(seat)) => seat,
            Some(Err(refusal)) => return refused(refusal, failure),
            None => return Outcome::Abort,
        };
        job.task = Some(seat.endpoint().address);
        let limit = search.time_for(&seat);
        let again = match attempt(connection, job, seat, limit).await {
            Attempt::Done(outcome) => return outcome,
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
            return refused(refusal, failure);
        }
    }
}

/// Waits, but not for a client that has gone, which is `None`: it would keep its place before others,
/// and a task would work for nobody. The client is looked at only when there is a wait.
///
/// An end of its stream is no goodbye: it may still read (RFC 9112 §9.6), and HAProxy without
/// `abortonclose` answers it too. What has gone for good shows by a reset, unless its stream had ended
/// before: nothing is read after that, so it keeps its place until its request or its wait is over.
async fn or_gone<S: ClientIo, T>(
    worker: &Worker,
    client: &mut Client<S>,
    wait: impl Future<Output = T>,
) -> Option<T> {
    let mut wait = pin!(wait);
    poll_fn(|cx| {
        if let Poll::Ready(done) = wait.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        let scratch = &mut *worker.http.scratch.borrow_mut();
        match client.poll_watch(cx, scratch) {
            Poll::Ready(Err(_)) => Poll::Ready(None),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// What the client is told when there is no task: what the last one tried did, else why none was.
fn refused(refusal: Refusal, failure: Option<Answer>) -> Outcome {
    let own = || Answer { status: refusal.status(), ..Answer::unavailable(refusal.to_string()) };
    Outcome::Answer(failure.unwrap_or_else(own), true)
}

/// Counts a request that is over, and readies its connection for the next.
fn finish<S: ClientIo>(connection: &mut Connection<S>, job: &mut Job, outcome: Outcome) -> Outcome {
    let now = Instant::now();
    let shared = connection.worker.shared.clone();
    match outcome {
        Outcome::Answer(answer, keep) => {
            job.status = answer.status;
            job.finish(&shared, now, &answer.reason);
            Outcome::Answer(answer, keep && job.keep_alive && job.body.is_done())
        }
        // What was agreed on goes on: its bytes and its line follow at its end.
        outcome @ Outcome::Upgraded(..) => {
            job.count_answer(now);
            outcome
        }
        outcome => {
            job.finish(&shared, now, "");
            connection.next(now);
            outcome
        }
    }
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
        match exchange(connection, job, &mut server, &seat).await {
            End::NoAnswer(error) if job.may_repeat() => {
                debug!(task = %endpoint.address, %error, "a kept connection was dead");
                count(&worker.shared.http_counters.repeated);
                worker.http.idle.forget(endpoint);
            }
            end => return settle(connection, job, server, seat, end),
        }
    }
    let client = Addresses { source: job.source, destination: connection.conn.local };
    let backend = &job.pool.rules.backend;
    if backend.protocol == BackendProtocol::Http2 {
        let way = h2::Way { endpoint, backend, client, limit };
        return match Box::pin(h2::bridge(&worker, &way)).await {
            Ok(mut server) => {
                let end = exchange(connection, job, &mut server, &seat).await;
                settle(connection, job, server, seat, end)
            }
            Err(error) => not_opened(seat, &error),
        };
    }
    let opening = Opening { endpoint, backend, client, alpn: ALPN_H1, limit };
    let opened = Box::pin(upstream::open(&worker, &opening)).await;
    match opened {
        Ok(mut server) => {
            let end = exchange(connection, job, &mut server, &seat).await;
            settle(connection, job, server, seat, end)
        }
        Err(error) => not_opened(seat, &error),
    }
}

/// What follows from a connection that could not be opened.
fn not_opened(seat: Seat, error: &DialError) -> Attempt {
    debug!(task = %seat.endpoint().address, %error, "a task cannot be reached");
    let answer = error.answer();
    match error {
        DialError::Task(_) => Attempt::NotConnected(seat, true, answer),
        DialError::Path(_) => Attempt::NotConnected(seat, false, answer),
        DialError::Here(_) | DialError::Rules(_) => Attempt::Done(Outcome::Answer(answer, true)),
    }
}

async fn exchange<S: ClientIo>(
    connection: &mut Connection<S>,
    job: &mut Job,
    server: &mut Stream,
    seat: &Seat,
) -> End {
    let Connection { worker, client, .. } = connection;
    let cookie = job.pool.rules.sticky.is_some().then(|| seat.endpoint().sticky());
    Exchange::new(worker, client, server, job, cookie).run().await
}

/// What follows from the end of an exchange, for the task's connection and the client's.
fn settle<S: ClientIo>(
    connection: &Connection<S>,
    job: &mut Job,
    server: Stream,
    seat: Seat,
    end: End,
) -> Attempt {
    take_note(&connection.worker.shared, job, &seat, &end);
    Attempt::Done(match end {
        End::Answered { after, keep_for } => {
            keep(connection, job, server, &seat, keep_for);
            answered(connection, job, after)
        }
        End::Upgraded => Outcome::Upgraded(server, seat),
        End::NoAnswer(error) => {
            debug!(task = %seat.endpoint().address, %error, "a task gave no answer");
            let answer = Answer::new(502, "the task gave no answer");
            if job.may_repeat() {
                return Attempt::NotAnswered(seat, answer);
            }
            Outcome::Answer(answer, true)
        }
        End::BadAnswer(bad) => {
            debug!(task = %seat.endpoint().address, %bad, "a task's answer is malformed");
            let reason = format!("the task's answer is malformed: {bad}");
            Outcome::Answer(Answer::new(502, reason), true)
        }
        End::SlowAnswer => {
            Outcome::Answer(Answer::new(504, "the task did not answer in time"), true)
        }
        End::Broken | End::SlowClient | End::BrokenBody => {
            connection.client.io.reset();
            Outcome::Abort
        }
        End::ClientGone => Outcome::Abort,
        End::BadBody(bad) => Outcome::Answer(Answer::new(bad.status(), bad.to_string()), false),
        End::SlowBody => {
            Outcome::Answer(Answer::new(408, "the request's body did not come in time"), false)
        }
    })
}

/// Counts how an exchange ended, and holds it against the task where that is to blame.
fn take_note(shared: &Shared, job: &Job, seat: &Seat, end: &End) {
    let counters = &shared.http_counters;
    match end {
        End::Answered { .. } | End::Upgraded => succeeded(job, seat, shared.clock_ms()),
        // Another task is tried, which counts this one's failure.
        End::NoAnswer(_) if job.may_repeat() => {}
        End::NoAnswer(_) | End::BadAnswer(_) | End::SlowAnswer | End::Broken => {
            seat.response_failed(shared.clock_ms());
        }
        End::ClientGone | End::SlowClient => {}
        End::BadBody(_) | End::BrokenBody | End::SlowBody => {}
    }
    match end {
        End::BadAnswer(_) => count(&counters.bad_answers),
        End::SlowAnswer => count(&counters.slow_answers),
        End::SlowClient => count(&counters.slow_clients),
        End::SlowBody => count(&counters.slow_bodies),
        End::BadBody(_) | End::BrokenBody => count(&counters.malformed),
        End::Answered { .. } | End::Upgraded | End::NoAnswer(_) => {}
        End::Broken | End::ClientGone => {}
    }
}

/// What becomes of a client's connection after a whole answer.
fn answered<S>(connection: &Connection<S>, job: &Job, after: After) -> Outcome {
    match after {
        After::Close if job.body.is_done() => Outcome::Close,
        After::Close => Outcome::Linger,
        // What a client sent for a protocol that it did not get is no request.
        _ if job.asked.upgrade && !connection.client.pending.is_empty() => Outcome::Linger,
        _ => Outcome::Next,
    }
}

fn succeeded(job: &Job, seat: &Seat, now: u64) {
    seat.succeeded();
    if let Some(latency) = job.latency.filter(|_| job.pool.rules.balance == Balance::TwoChoices) {
        seat.took(latency, now);
    }
}

/// Keeps the task's connection for other requests, if it is of use. One that began with a PROXY
/// header is its client's alone.
fn keep<S: ClientIo>(
    connection: &Connection<S>,
    job: &Job,
    server: Stream,
    seat: &Seat,
    keep_for: Option<Duration>,
) {
    let pool = &job.pool;
    let Some(time) = keep_for.filter(|_| pool.rules.backend.send_proxy.is_none()) else { return };
    let shared = &connection.worker.shared;
    let keep = Keep { most: shared.config.limits.upstream_idle_connections, time };
    let idle = &connection.worker.http.idle;
    idle.put(seat.endpoint(), pool, server, keep, &shared.descriptors);
}
