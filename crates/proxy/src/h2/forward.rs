//! A request's way to a task: a seat, a connection, an exchange; again on another task where that
//! does no harm.
//!
//! What is repeated, and when: a connection that cannot be opened and a stream that the task says
//! it has not looked at, always; an exchange that broke before an answer, if the request is
//! idempotent (RFC 9110 §9.2.2). Each only while nothing has gone to the client and nothing of the
//! request's contents has been taken from it.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use thiserror::Error;
use tracing::debug;
use waymark_routing::{BackendProtocol, Balance};

use super::connections::{Way, descriptor};
use super::exchange::{Broken, Exchange};
use super::job::Job;
use super::pump::{Client, Failure, Patience, pump, reason};
use super::to_h1::ToH1;
use super::to_h2::ToH2;
use crate::acquire::{Refusal, Search};
use crate::http::admission;
use crate::http::local::Answer;
use crate::port::count;
use crate::proxy_protocol::Addresses;
use crate::route::Affinity;
use crate::upstream::{self, ALPN_H1, DialError, Keep, Opening, Stream};
use crate::usage::{Endpoint, Seat};
use crate::worker::Worker;

/// How a request ended.
pub(crate) enum End {
    /// With a task's answer.
    Answered,
    /// Waymark answers.
    Answer(Answer),
    /// The stream is reset, because the answer broke off.
    Broken(h2::Reason),
    /// The client has gone.
    Gone,
}

/// What one attempt led to.
enum Attempt {
    End(End),
    /// The task did not take it, and is to blame or not; it can go to another one.
    NotTaken(bool, Answer),
    /// The task broke off; it can go to another one.
    NotAnswered(Answer),
}

/// Forwards a request until it is answered, by a task or by Waymark.
pub(crate) async fn forward(worker: &Rc<Worker>, job: &mut Job, client: &mut Client) -> End {
    if let Some(unproven) = job.unproven.take() {
        let checked = Box::pin(admission::check(worker, &job.pool, unproven));
        match or_gone(client, checked).await {
            Ok(None) => {}
            Ok(Some(answer)) => return End::Answer(answer),
            Err(_) => return End::Gone,
        }
    }
    let mut search = Search::new(worker, &job.pool);
    let mut failure = None;
    loop {
        let affinity = Affinity {
            source: Some(job.source),
            cookie: job.cookie.as_deref(),
            key: job.key.as_deref(),
        };
        let found = match search.seat_at_once(&affinity) {
            Some(found) => Ok(found),
            // Boxed, as most requests do without: every stream would carry the space for it.
            None => or_gone(client, Box::pin(search.seat(&affinity))).await,
        };
        let seat = match found {
            Ok(Ok(seat)) => seat,
            Ok(Err(refusal)) => return refused(refusal, failure),
            Err(_) => return End::Gone,
        };
        job.task = Some(seat.endpoint().address);
        let limit = search.time_for(&seat);
        let again = match attempt(worker, job, client, &seat, limit).await {
            Attempt::End(end) => return end,
            Attempt::NotTaken(to_blame, answer) => {
                failure = Some(answer);
                search.connect_failed(seat, to_blame)
            }
            Attempt::NotAnswered(answer) => {
                failure = Some(answer);
                search.request_failed(seat)
            }
        };
        if let Err(refusal) = again {
            return refused(refusal, failure);
        }
    }
}

/// What the client is told when there is no task: what the last one tried did, else why none was.
fn refused(refusal: Refusal, failure: Option<Answer>) -> End {
    End::Answer(failure.unwrap_or_else(|| Answer::new(refusal.status(), refusal.to_string())))
}

/// Sends the request to the task of the seat.
async fn attempt(
    worker: &Rc<Worker>,
    job: &mut Job,
    client: &mut Client,
    seat: &Seat,
    limit: Duration,
) -> Attempt {
    let started = Instant::now();
    let end = match job.pool.rules.backend.protocol {
        BackendProtocol::Http1 => by_h1(worker, job, client, seat, limit).await,
        BackendProtocol::Http2 => Box::pin(by_h2(worker, job, client, seat, limit)).await,
    };
    match end {
        Ok(()) => {
            seat.succeeded();
            if job.pool.rules.balance == Balance::TwoChoices {
                seat.took(started.elapsed(), worker.shared.clock_ms());
            }
            Attempt::End(End::Answered)
        }
        Err(error) => judge(worker, job, client, seat, error),
    }
}

/// Why an attempt failed.
#[derive(Debug, Error)]
enum Failed {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Exchange(#[from] Failure),
    #[error("it takes no WebSocket over HTTP/2")]
    NoUpgrade,
}

/// On a kept connection, or a new one if there is none that is alive.
async fn by_h1(
    worker: &Rc<Worker>,
    job: &mut Job,
    client: &mut Client,
    seat: &Seat,
    limit: Duration,
) -> Result<(), Failed> {
    let endpoint = seat.endpoint();
    // The client's connection has paid for itself alone, and may have many streams.
    let _descriptor = descriptor(worker)?;
    let kept = worker.http.idle.take(endpoint, &job.pool.rules, !job.is_idempotent());
    if let Some(stream) = kept {
        // A box of its own, as small as its stream's: the allocator has lists of such pieces.
        match Box::pin(exchange_h1(worker, job, client, seat, stream)).await {
            Err(Failure::Task(error @ Broken::Connection(_)))
                if may_repeat(job, client, &error) =>
            {
                debug!(task = %endpoint.address, %error, "a kept connection was dead");
                count(&worker.shared.http_counters.repeated);
                worker.http.idle.forget(endpoint);
            }
            end => return Ok(end?),
        }
    }
    let opened = Box::pin(open(worker, job, endpoint, limit));
    let stream = or_gone(client, opened).await??;
    Ok(Box::pin(exchange_h1(worker, job, client, seat, stream)).await?)
}

async fn open(
    worker: &Worker,
    job: &Job,
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<Stream, DialError> {
    let opening = Opening {
        endpoint,
        backend: &job.pool.rules.backend,
        client: Addresses { source: job.source, destination: job.destination },
        alpn: ALPN_H1,
        limit,
    };
    upstream::open(worker, &opening).await
}

async fn exchange_h1(
    worker: &Rc<Worker>,
    job: &mut Job,
    client: &mut Client,
    seat: &Seat,
    stream: Stream,
) -> Result<(), Failure> {
    let limits = &worker.shared.config.limits;
    let mut exchange = ToH1::new(stream, &job.for_h1(), limits);
    carry(worker, job, client, seat, &mut exchange).await?;
    // A connection that began with a PROXY header is its client's alone.
    let idle = exchange.into_idle(limits.upstream_idle);
    if let Some((stream, time)) = idle.filter(|_| job.pool.rules.backend.send_proxy.is_none()) {
        let keep = Keep { most: limits.upstream_idle_connections, time };
        let (pool, descriptors) = (&job.pool, &worker.shared.descriptors);
        worker.http.idle.put(seat.endpoint(), pool, stream, keep, descriptors);
    }
    Ok(())
}

/// On a stream of a connection that other requests use too.
async fn by_h2(
    worker: &Rc<Worker>,
    job: &mut Job,
    client: &mut Client,
    seat: &Seat,
    limit: Duration,
) -> Result<(), Failed> {
    let end = client.body.is_end_stream();
    let opened = open_stream(worker, job, end, seat.endpoint(), limit);
    let mut exchange: ToH2 = or_gone(client, opened).await??;
    carry(worker, job, client, seat, &mut exchange).await?;
    Ok(())
}

async fn open_stream(
    worker: &Rc<Worker>,
    job: &Job,
    end: bool,
    endpoint: &Arc<Endpoint>,
    limit: Duration,
) -> Result<ToH2, Failed> {
    let backend = &job.pool.rules.backend;
    let client = Addresses { source: job.source, destination: job.destination };
    let way = Way { endpoint, backend, client, limit };
    loop {
        let mut shared = worker.http.h2.get(worker, &way).await?;
        if job.upgrade.is_some() && !shared.offers_upgrades().await {
            return Err(Failed::NoUpgrade);
        }
        let request = job
            .for_h2(backend.tls.is_some())
            .ok_or(Failed::Exchange(Broken::NotProcessed.into()))?;
        match ToH2::open(&mut shared, request, end) {
            Ok(exchange) => return Ok(exchange),
            // It has just been closed, or its task is about to: it takes no more streams.
            Err(_) => worker.http.h2.forget(endpoint, &shared),
        }
    }
}

/// Waits for something, unless the client goes.
async fn or_gone<T>(client: &mut Client, wait: impl Future<Output = T>) -> Result<T, Failure> {
    let mut wait = pin!(wait);
    poll_fn(|cx| match wait.as_mut().poll(cx) {
        Poll::Pending => client.poll_gone(cx).map(|()| Err(Failure::Cancelled)),
        Poll::Ready(value) => Poll::Ready(Ok(value)),
    })
    .await
}

async fn carry<E: Exchange>(
    worker: &Worker,
    job: &mut Job,
    client: &mut Client,
    seat: &Seat,
    exchange: &mut E,
) -> Result<(), Failure> {
    let config = &worker.shared.config;
    let timeouts = &job.pool.rules.timeouts;
    let response = timeouts.response.unwrap_or(config.limits.response_timeout);
    let upgrade = job.upgrade.is_some();
    // A client that asks for an upgrade has nothing to send before the task has agreed.
    let contents = timeouts.response.unwrap_or(config.limits.body_idle);
    let contents = if upgrade { response } else { contents };
    let agreed = match job.is_conversation() {
        true => timeouts.idle.unwrap_or(config.idle_timeout),
        false => contents,
    };
    let patience = Patience { response, contents, agreed };
    let endpoint = seat.endpoint();
    let cookie = job.pool.rules.sticky.is_some().then(|| endpoint.sticky());
    let end = pump(&worker.buffer, client, exchange, patience, |head| job.edit(head, cookie)).await;
    match end {
        Err(Failure::ClientIdle) if upgrade && client.answer.is_none() => Err(Failure::Late),
        end => end,
    }
}

/// Whether the request may be sent again after it broke.
fn may_repeat(job: &Job, client: &Client, broken: &Broken) -> bool {
    let safe = match broken {
        Broken::NotProcessed => true,
        Broken::Connection(_) => job.is_idempotent(),
        Broken::Answer(_) | Broken::NoUpgrade | Broken::Reset(_) => false,
    };
    safe && client.answer.is_none() && !client.body_begun
}

/// What follows from a failed attempt, for the request and for the task's record.
fn judge(worker: &Worker, job: &Job, client: &Client, seat: &Seat, failed: Failed) -> Attempt {
    debug!(task = %seat.endpoint().address, error = %failed, "a request failed");
    let failure = match failed {
        Failed::Exchange(failure) => failure,
        Failed::NoUpgrade => {
            return Attempt::End(End::Answer(Answer::new(502, "the task takes no WebSocket")));
        }
        Failed::Dial(error) => {
            let answer = error.answer();
            return match error {
                DialError::Task(_) => Attempt::NotTaken(true, answer),
                DialError::Path(_) => Attempt::NotTaken(false, answer),
                DialError::Here(_) | DialError::Rules(_) => Attempt::End(End::Answer(answer)),
            };
        }
    };
    if let Failure::Task(broken) = &failure
        && may_repeat(job, client, broken)
    {
        let answer = Answer::new(502, "the task gave no answer");
        return match broken {
            // It said so in order, as one that is about to end does.
            Broken::NotProcessed => Attempt::NotTaken(false, answer),
            _ => Attempt::NotAnswered(answer),
        };
    }
    match failure {
        // A task without WebSockets is no broken one.
        Failure::Cancelled | Failure::ClientIdle | Failure::Task(Broken::NoUpgrade) => {}
        // Slow requests are no sign of a broken task.
        Failure::Late | Failure::TaskIdle => {
            count(&worker.shared.http_counters.slow_answers);
            job.pool.counters.response_errors.fetch_add(1, Relaxed);
        }
        Failure::Task(_) => seat.response_failed(worker.shared.clock_ms()),
    }
    if client.answer.is_some() {
        return Attempt::End(match failure {
            Failure::Cancelled => End::Gone,
            failure => End::Broken(reason(&failure)),
        });
    }
    let answer = match failure {
        Failure::Cancelled => return Attempt::End(End::Gone),
        Failure::ClientIdle => Answer::new(408, "the request's contents did not come in time"),
        Failure::Late | Failure::TaskIdle => Answer::new(504, "the task did not answer in time"),
        Failure::Task(Broken::Answer(what)) => {
            count(&worker.shared.http_counters.bad_answers);
            Answer::new(502, format!("the task's answer is malformed: {what}"))
        }
        Failure::Task(Broken::NoUpgrade) => {
            count(&worker.shared.http_counters.bad_answers);
            Answer::new(502, "the task takes no WebSocket")
        }
        Failure::Task(_) => Answer::new(502, "the task gave no answer"),
    };
    Attempt::End(End::Answer(answer))
}
