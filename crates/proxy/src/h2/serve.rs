//! A client's connection as requests, each a future that the connection's task polls.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use tracing::debug;

use super::admit::{Admission, Refusal};
use super::forward::{End, forward};
use super::front::{self, Terms};
use super::grpc;
use super::job::Job;
use super::limits::MAX_HEADER_LIST;
use super::pump::Client;
use crate::h1::ClientIo;
use crate::http::access_log::{Begun, Ended};
use crate::http::local::Answer;
use crate::listen::Conn;
use crate::port::count;
use crate::worker::Worker;

/// What all streams of a connection share.
struct Session {
    worker: Rc<Worker>,
    conn: Conn,
    admission: Admission,
}

/// Serves a client until its connection ends. `prefix` has been read from it already.
pub(crate) async fn serve<S: ClientIo>(worker: Rc<Worker>, io: S, prefix: Vec<u8>, conn: Conn) {
    let limits = &worker.shared.config.limits;
    let terms = Terms {
        streams: limits.h2_streams,
        header_list: u32::try_from(limits.head_bytes).unwrap_or(MAX_HEADER_LIST),
        preface: limits.head_timeout,
        idle: limits.keep_alive,
        stall: limits.body_idle,
    };
    let admission = Admission::new(&worker.shared.config, &conn);
    let session = Rc::new(Session { worker: worker.clone(), conn, admission });
    let (counters, stop) = (&worker.shared.h2, worker.stopping());
    front::serve(io, prefix, &terms, counters, stop, |request, respond| {
        // Boxed: it is moved several times until it is polled.
        take(&session, request, respond).map(|stream| Box::pin(run(stream)))
    })
    .await;
}

/// A request that goes to a task.
struct Stream {
    session: Rc<Session>,
    started: Instant,
    log: Option<Box<Begun>>,
    kind: Kind,
    client: Client,
    job: Job,
}

/// Takes a request in. `None`: Waymark has answered it.
fn take(
    session: &Rc<Session>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) -> Option<Box<Stream>> {
    let Session { worker, conn, admission } = &**session;
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let log = admission.begin_log(worker, conn, &parts);
    let kind = Kind { grpc: grpc::is_grpc(&parts.headers), head: parts.method == Method::HEAD };
    let end = body.is_end_stream();
    let mut client = Client::new(respond, body);
    let (status, reason) = match admission.admit(worker, conn, parts, end) {
        Ok(job) => {
            let session = session.clone();
            return Some(Box::new(Stream { session, started, log, kind, client, job }));
        }
        Err(Refusal::Answer(answer)) => {
            send(&mut client, &answer, kind);
            (answer.status, answer.reason)
        }
        Err(Refusal::Malformed(malformed)) => {
            count(&worker.shared.h2.malformed);
            debug!(client = %conn.source, %malformed, "a request was reset");
            client.respond.send_reset(Reason::PROTOCOL_ERROR);
            (0, "malformed".into())
        }
    };
    write_log(worker, log, &client, started, status, None, &reason);
    None
}

/// The way of a request to its task, and of the answer back.
async fn run(mut stream: Box<Stream>) {
    let Stream { session, started, log, kind, client, job } = &mut *stream;
    let worker = &session.worker;
    let end = forward(worker, job, client).await;
    let reason = settle(worker, job, client, *kind, end);
    job.count(client.bytes_in, client.bytes_out, started.elapsed());
    write_log(worker, log.take(), client, *started, job.status, Some(job), &reason);
}

/// Ends the request's line in the access log, if there is one.
fn write_log(
    worker: &Worker,
    log: Option<Box<Begun>>,
    client: &Client,
    started: Instant,
    status: u16,
    job: Option<&Job>,
    reason: &str,
) {
    let (Some(log), Some(begun)) = (&worker.shared.access_log, log) else { return };
    log.end(
        &begun,
        &Ended {
            status,
            bytes_in: client.bytes_in,
            bytes_out: client.bytes_out,
            duration: started.elapsed(),
            service: job.map_or("", |job| &job.pool.name),
            task: job.and_then(|job| job.task),
            reason,
        },
    );
}

/// Tells the client how its request ended, if the task has not. Returns why Waymark answered.
fn settle(
    worker: &Worker,
    job: &mut Job,
    client: &mut Client,
    kind: Kind,
    end: End,
) -> Cow<'static, str> {
    match end {
        End::Answered => {}
        End::Answer(answer) => {
            job.status = answer.status;
            send(client, &answer, kind);
            return answer.reason;
        }
        End::Broken(reason) => {
            if let Some(answer) = &mut client.answer {
                answer.send_reset(reason);
            }
        }
        End::Gone => count(&worker.shared.h2.cancelled),
    }
    Cow::Borrowed("")
}

/// What an answer depends on.
#[derive(Clone, Copy)]
struct Kind {
    grpc: bool,
    head: bool,
}

/// Sends an answer of Waymark's own. An error means that the client is gone.
fn send(client: &mut Client, answer: &Answer, kind: Kind) {
    // gRPC's clients are told in their own way, but for what only HTTP can say.
    if kind.grpc && !(300..400).contains(&answer.status) {
        let _ = client.respond.send_response(grpc::answer(answer.status, &answer.reason), true);
        return;
    }
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    for (name, value) in answer.headers() {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            head.headers_mut().insert(name, value);
        }
    }
    let body = answer.body();
    head.headers_mut().insert(http::header::CONTENT_LENGTH, body.len().into());
    let Ok(mut send) = client.respond.send_response(head, kind.head) else { return };
    if !kind.head {
        let _ = send.send_data(body.into(), true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F: Future>(_: fn(Box<Stream>) -> F) -> usize {
        size_of::<F>()
    }

    /// Every request makes both: larger ones would be moved at more cost, and the C library keeps no
    /// list of freed pieces for them.
    #[test]
    fn the_state_of_a_stream_is_small() {
        assert!(size(run) <= 1024, "{}", size(run));
        assert!(size_of::<Stream>() <= 1024, "{}", size_of::<Stream>());
    }
}
