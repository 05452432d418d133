//! One client's connection: its requests, one after the other.
//!
//! In: a connected client, plain or out of TLS. Out: for each request a local answer or an exchange
//! with a task. A request that is sent before the one before it has been answered waits in the
//! client's socket, or at most [`super::io::READ_AHEAD`] bytes of it here.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use super::admit::Admission;
use super::deadline::Deadline;
use super::field::find_end;
use super::forward::{Outcome, forward};
use super::io::{Client, ClientIo, Kept, Scratch};
use super::job::Job;
use super::request::Request;
use super::{Bad, MAX_TARGET};

use crate::h2;
use crate::http::access_log::{Begun, Ended};
use crate::http::local::Answer;
use crate::l4;
use crate::listen::Conn;
use crate::port::count;
use crate::worker::Worker;

/// What every HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a stopping worker waits for the request that may be on its way on a kept connection: a
/// client that sees it closed meanwhile could not tell whether its request was carried out.
const STOP_LINGER: Duration = Duration::from_millis(500);

/// How long a client may take to be told of the end of its connection.
const CLOSE: Duration = Duration::from_secs(1);

/// After an answer to a request that was not read to its end, as much of the rest is read, for as
/// long: a client that still sends would otherwise see a reset instead of the answer.
const LINGER: (usize, Duration) = (1 << 20, Duration::from_secs(2));

/// Serves a client until its connection ends. `prefix` has been read from it already.
pub(crate) async fn serve<S: ClientIo>(worker: Rc<Worker>, io: S, prefix: Vec<u8>, conn: Conn) {
    let mut connection = Connection::new(worker, io, prefix, conn);
    loop {
        let kept = match poll_fn(|cx| connection.poll_next(cx)).await {
            Next::Closed => connection.close().await,
            Next::Http2 => {
                let Connection { worker, client, conn, .. } = connection;
                return Box::pin(h2::serve(worker, client.io, client.pending, conn)).await;
            }
            Next::Answer(local) => {
                connection.finish_local(&local);
                Box::pin(connection.answer(&local.answer, local.head, local.keep)).await
            }
            Next::Forward(mut job) => match Box::pin(forward(&mut connection, &mut job)).await {
                Outcome::Next => true,
                Outcome::Close => connection.close().await,
                Outcome::Abort => false,
                Outcome::Linger => Box::pin(connection.linger()).await,
                Outcome::Answer(answer, keep) => {
                    Box::pin(connection.answer(&answer, job.asked.head, keep)).await
                }
                Outcome::Upgraded(server, seat) => {
                    let idle = job.pool.rules.timeouts.idle;
                    let Connection { worker, client, conn, .. } = connection;
                    let idle = idle.unwrap_or(worker.shared.config.idle_timeout);
                    let (io, early) = (client.io, client.pending);
                    job.bytes_in += early.len() as u64;
                    let relay = l4::relay(&worker, &conn.port, io, server, early, idle);
                    let moved = Box::pin(relay).await;
                    // After the sockets: who sees the task unused must find no connection to it.
                    drop(seat);
                    job.bytes_in += moved.bytes_in;
                    job.bytes_out += moved.bytes_out;
                    return job.end(&worker.shared, Instant::now(), "");
                }
            },
        };
        if !kept {
            return;
        }
    }
}

/// A client's connection.
pub(crate) struct Connection<S> {
    pub(crate) worker: Rc<Worker>,
    pub(crate) client: Client<S>,
    pub(crate) conn: Conn,
    pub(crate) admission: Admission,
    /// Whether the deadline is that of a request's head.
    in_head: bool,
    /// Whether the worker stops and only the request that may be on its way is waited for.
    leaving: bool,
    /// How much of what is pending has no end of a head in it.
    scanned: usize,
    /// What is pending has not been looked at.
    unseen: bool,
    pub(crate) requests: u32,
    place: Place,
}

/// What comes next at a connection.
enum Next {
    /// Nothing: it has ended.
    Closed,
    /// It is HTTP/2.
    Http2,
    /// A request that Waymark answers itself.
    Answer(Box<Local>),
    /// A request for a task.
    Forward(Box<Job>),
}

/// An answer of Waymark's own to a request that goes to no task.
struct Local {
    answer: Answer,
    /// The request was HEAD.
    head: bool,
    /// The connection stays.
    keep: bool,
    log: Option<Box<Begun>>,
}

impl Local {
    /// To a request that is no request; the connection ends.
    fn refusal(status: u16, reason: impl Into<std::borrow::Cow<'static, str>>) -> Next {
        let answer = Answer::new(status, reason);
        Next::Answer(Box::new(Local { answer, head: false, keep: false, log: None }))
    }
}

/// The connection's place among those that are woken at the stop.
struct Place(Rc<Worker>, Option<usize>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(place) = self.1 {
            self.0.http.leave(place);
        }
    }
}

impl<S: ClientIo> Connection<S> {
    fn new(worker: Rc<Worker>, io: S, prefix: Vec<u8>, conn: Conn) -> Connection<S> {
        let deadline = Deadline::new(Instant::now() + worker.shared.config.limits.head_timeout);
        Connection {
            admission: Admission::new(&worker.shared.config, &conn),
            client: Client { io, pending: prefix, at_end: false, deadline },
            conn,
            in_head: true,
            leaving: false,
            scanned: 0,
            unseen: true,
            requests: 0,
            place: Place(worker.clone(), None),
            worker,
        }
    }

    /// To be called when a request has been answered and another may follow.
    pub(crate) fn next(&mut self, now: Instant) {
        self.client.deadline.set(now + self.worker.shared.config.limits.keep_alive);
        (self.in_head, self.scanned, self.unseen) = (false, 0, true);
    }

    /// Waits for a whole head and decides what becomes of its request.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let worker = self.worker.clone();
        if self.place.1.is_none() {
            self.place.1 = Some(worker.http.enter(cx.waker()));
        }
        let scratch = &mut *worker.http.scratch.borrow_mut();
        loop {
            if std::mem::take(&mut self.unseen) && !self.client.pending.is_empty() {
                let pending = std::mem::take(&mut self.client.pending);
                match self.look(&pending, scratch) {
                    Some(next) => return Poll::Ready(next),
                    None => self.client.pending = pending,
                }
            }
            if self.client.at_end {
                return Poll::Ready(Next::Closed);
            }
            let filled = match scratch.read(cx, &mut self.client.io) {
                Poll::Ready(Ok(Some(filled))) => filled,
                Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(Next::Closed),
                Poll::Pending => break,
            };
            if self.client.pending.is_empty() {
                let buffer = scratch.take_buffer();
                let next = self.look(filled.of(&buffer), scratch);
                if next.is_none() {
                    self.client.pending.extend_from_slice(filled.of(&buffer));
                }
                scratch.put_buffer(buffer);
                if let Some(next) = next {
                    return Poll::Ready(next);
                }
            } else {
                self.client.pending.extend_from_slice(scratch.bytes(filled));
                self.unseen = true;
            }
        }
        self.poll_wait(cx)
    }

    /// Nothing can be read: wait, but not for ever.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let begun = !self.client.pending.is_empty();
        if !begun && self.worker.http.is_stopping() && !self.leaving {
            // The next request may be on its way already. It is answered, as the last one.
            self.leaving = true;
            self.client.deadline.set(Instant::now() + STOP_LINGER);
        }
        if begun && !self.in_head {
            self.in_head = true;
            let limit = self.worker.shared.config.limits.head_timeout;
            self.client.deadline.set(Instant::now() + limit);
        }
        ready!(self.client.deadline.poll(cx));
        if begun {
            count(&self.worker.shared.http_counters.slow_heads);
            let reason = "the request's head did not come in time";
            return Poll::Ready(Local::refusal(408, reason));
        }
        Poll::Ready(Next::Closed)
    }

    /// Looks for a whole head in what came. `None` = it is not whole yet. Else what follows the
    /// head, or its body, is pending.
    fn look(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Option<Next> {
        if self.requests == 0 && (bytes.starts_with(PREFACE) || PREFACE.starts_with(bytes)) {
            let whole = bytes.len() >= PREFACE.len();
            self.client.pending = if whole { bytes.to_vec() } else { Vec::new() };
            return whole.then_some(Next::Http2);
        }
        // RFC 9112 §2.2: an empty line before the request is ignored.
        let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        match self.read_head(bytes, scratch) {
            Ok(next) => next,
            Err(bad) => {
                count(&self.worker.shared.http_counters.malformed);
                Some(Local::refusal(bad.status(), bad.to_string()))
            }
        }
    }

    fn read_head(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Result<Option<Next>, Bad> {
        let limits = &self.worker.shared.config.limits;
        let Some(end) = find_end(bytes, &mut self.scanned)? else {
            let in_line = bytes.len() > MAX_TARGET && memchr::memchr(b'\n', bytes).is_none();
            return match bytes.len() > limits.head_bytes {
                _ if in_line => Err(Bad::LongTarget),
                true => Err(Bad::TooLarge("the request's head is too long")),
                false => Ok(None),
            };
        };
        if end > limits.head_bytes {
            return Err(Bad::TooLarge("the request's head is too long"));
        }
        let (head, rest) = bytes.split_at_checked(end).unwrap_or((bytes, b""));
        let request = Request::read(head, limits.headers, &mut scratch.fields)?;
        self.requests = self.requests.saturating_add(1);
        self.admit(&request, rest).map(Some)
    }

    /// Decides what becomes of a request. `rest` is what came after its head.
    fn admit(&mut self, request: &Request<'_>, rest: &[u8]) -> Result<Next, Bad> {
        let limits = &self.worker.shared.config.limits;
        let stays =
            self.requests < limits.requests_per_connection && !self.worker.http.is_stopping();
        let keep = request.keep_alive && stays;
        let log = self.admission.begin_log(&self.worker, &self.conn, request);
        match self.admission.admit(&self.worker, &self.conn, request) {
            Ok(mut job) => {
                (job.keep_alive, job.log) = (keep, log);
                let used = job.body.advance(rest, |_| {})?;
                let (body, rest) = rest.split_at_checked(used).unwrap_or((rest, b""));
                job.out.extend_from_slice(body);
                job.bytes_in += used as u64;
                self.client.pending = rest.to_vec();
                Ok(Next::Forward(job))
            }
            Err(answer) => {
                let bodiless = request.has_no_body();
                self.client.pending = rest.to_vec();
                let (head, keep) = (request.method == "HEAD", keep && bodiless);
                Ok(Next::Answer(Box::new(Local { answer, head, keep, log })))
            }
        }
    }

    /// Logs a request that goes to no task.
    fn finish_local(&self, local: &Local) {
        let (Some(log), Some(begun)) = (&self.worker.shared.access_log, &local.log) else { return };
        log.end(
            begun,
            &Ended {
                status: local.answer.status,
                bytes_in: 0,
                bytes_out: 0,
                duration: Duration::ZERO,
                service: "",
                task: None,
                reason: &local.answer.reason,
            },
        );
    }

    /// Sends an answer of Waymark's own. Returns whether the connection goes on.
    async fn answer(&mut self, answer: &Answer, head: bool, keep: bool) -> bool {
        let mut out = Vec::new();
        answer.write_h1(head, keep, &mut out);
        let sent = self.send(&out).await;
        if sent.is_err() || !keep {
            return sent.is_ok() && self.linger().await;
        }
        self.next(Instant::now());
        true
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut kept = Kept::default();
        kept.push(bytes);
        let limit = self.worker.shared.config.limits.body_idle;
        self.client.deadline.set(Instant::now() + limit);
        poll_fn(|cx| match kept.flush(cx, &mut self.client.io) {
            Poll::Pending => {
                self.client.deadline.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
            ready => ready,
        })
        .await
    }

    /// Ends the connection in order: over TLS an end without a word is taken for an attack (RFC 8446
    /// §6.1). Returns that the connection does not go on.
    async fn close(&mut self) -> bool {
        // A plain one is closed with the same effect when it is dropped, in one system call.
        if S::BUFFERED {
            let _ = timeout(CLOSE, self.client.io.shutdown()).await;
        }
        false
    }

    /// Ends the connection so that a client that is still sending can read its answer. Returns that
    /// the connection does not go on.
    async fn linger(&mut self) -> bool {
        if self.client.io.shutdown().await.is_ok() && !self.client.at_end {
            let (mut most, time) = LINGER;
            let drain = poll_fn(|cx| {
                let scratch = &mut *self.worker.http.scratch.borrow_mut();
                while let Ok(Some(filled)) = ready!(scratch.read(cx, &mut self.client.io)) {
                    match most.checked_sub(scratch.bytes(filled).len()) {
                        Some(left) => most = left,
                        None => break,
                    }
                }
                Poll::Ready(())
            });
            let _ = timeout(time, drain).await;
        }
        false
    }
}
