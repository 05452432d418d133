//! One request and its answer between a client and a task.
//!
//! In: a head that is ready to be sent, the two connections. Out: the bytes of the request's body at
//! the task and of the answer at the client, each checked for its framing before it passes, and how
//! it ended ([`End`]). Both directions run at once: an answer may come while the body is still being
//! sent.
//!
//! Whatever fails before the first byte of an answer has gone to the client leaves the client
//! untouched, so that the caller can try another task or answer by itself.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::Bad;
use super::body::{Framing, Progress};
use super::field::find_end;
use super::io::{Client, ClientIo, Filled, Kept, Scratch};
use super::job::Job;
use super::patch::{self, After};
use super::response::Response;
use crate::upstream::Stream;
use crate::worker::Worker;

/// What is kept of a request's body so that the request can be sent again, head included, in bytes;
/// a longer one is sent once.
const REPLAY: usize = 32 * 1024;

/// Interim answers (1xx) that a task may send before its answer; one with more is malformed.
const MAX_INTERIM: u32 = 16;

/// How an exchange ended.
#[derive(Debug)]
pub(crate) enum End {
    /// With the whole answer.
    Answered {
        /// What becomes of the client's connection.
        after: After,
        /// How long the task keeps its connection; `None` = it is of no use any more.
        keep_for: Option<Duration>,
    },
    /// The connections go on with another protocol.
    Upgraded,
    /// The task's connection broke before a byte of an answer.
    NoAnswer(io::Error),
    /// The task's answer cannot be passed on; nothing of it was.
    BadAnswer(Bad),
    /// The task took too long to begin its answer.
    SlowAnswer,
    /// The answer broke off.
    Broken,
    /// The client has gone.
    ClientGone,
    /// The client stands still in the middle of its answer.
    SlowClient,
    /// The client's body is malformed, and part of an answer has gone out.
    BrokenBody,
    /// The client's body is malformed; nothing was answered.
    BadBody(Bad),
    /// The client's body stands still; nothing was answered.
    SlowBody,
}

pub(crate) struct Exchange<'a, S> {
    pub(crate) worker: &'a Worker,
    pub(crate) client: &'a mut Client<S>,
    pub(crate) server: &'a mut Stream,
    pub(crate) job: &'a mut Job,
    /// The value of the sticky cookie that leads to the task.
    pub(crate) task_cookie: Option<&'a str>,
    /// Of the body, what the task has not taken.
    up: Kept,
    /// The task takes nothing any more; it may have answered before.
    up_broken: bool,
    /// Of the answer, what the client has not taken.
    down: Kept,
    answer: Answer,
    /// Bytes have moved since this was last looked at.
    moved: bool,
    /// Interim heads that came.
    interims: u32,
}

/// How far the answer has come.
enum Answer {
    /// Its head is awaited; what there is of it, and how much of that has no end of a head.
    Head {
        partial: Vec<u8>,
        scanned: usize,
    },
    Body {
        left: Progress,
        decode: bool,
        after: After,
        keep_for: Option<Duration>,
    },
}

impl<'a, S: ClientIo> Exchange<'a, S> {
    pub(crate) fn new(
        worker: &'a Worker,
        client: &'a mut Client<S>,
        server: &'a mut Stream,
        job: &'a mut Job,
        task_cookie: Option<&'a str>,
    ) -> Exchange<'a, S> {
        job.sent = 0;
        Exchange {
            worker,
            client,
            server,
            job,
            task_cookie,
            up: Kept::default(),
            up_broken: false,
            down: Kept::default(),
            answer: Answer::Head { partial: Vec::new(), scanned: 0 },
            moved: true,
            interims: 0,
        }
    }

    /// Runs until the answer has gone out, or something failed.
    pub(crate) async fn run(&mut self) -> End {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let worker = self.worker;
        let scratch = &mut *worker.http.scratch.borrow_mut();
        if let Poll::Ready(Err(end)) = self.poll_request(cx, scratch) {
            return Poll::Ready(end);
        }
        if let Poll::Ready(end) = self.poll_answer(cx, scratch) {
            return Poll::Ready(end);
        }
        if std::mem::take(&mut self.moved) {
            self.client.deadline.set(Instant::now() + self.patience());
        }
        match self.client.deadline.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(self.too_slow()),
        }
    }

    /// How long nothing may happen, in the present state.
    fn patience(&self) -> Duration {
        let limits = &self.worker.shared.config.limits;
        match self.answer {
            _ if !self.down.is_flushed() => limits.body_idle,
            Answer::Head { .. } if !self.job.body.is_done() => limits.body_idle,
            Answer::Head { .. } => self.job.response_timeout.unwrap_or(limits.response_timeout),
            Answer::Body { .. } => self.job.response_timeout.unwrap_or(limits.body_idle),
        }
    }

    fn too_slow(&self) -> End {
        let sent = self.job.sent == self.job.out.len() && self.up.is_flushed();
        match self.answer {
            _ if !self.down.is_flushed() => End::SlowClient,
            // The task may wait for the rest of the request.
            Answer::Body { .. } if !self.job.body.is_done() && sent => End::SlowClient,
            Answer::Body { .. } => End::Broken,
            Answer::Head { .. } if self.job.body.is_done() || !self.up.is_empty() => {
                End::SlowAnswer
            }
            Answer::Head { .. } => End::SlowBody,
        }
    }

    /// Sends the request on; an error ends the exchange.
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<(), End>> {
        loop {
            if !self.up_broken && ready!(self.poll_send(cx)).is_err() {
                // Its answer may be there all the same: reading will tell.
                self.up_broken = true;
            }
            if self.job.body.is_done() || self.up_broken {
                return self.poll_watch(cx, scratch);
            }
            let filled = if self.client.pending.is_empty() {
                match ready!(scratch.read(cx, &mut self.client.io)) {
                    Ok(Some(filled)) => Some(filled),
                    Ok(None) | Err(_) => return Poll::Ready(Err(End::ClientGone)),
                }
            } else {
                None
            };
            self.moved = true;
            self.take_body(cx, scratch, filled).map_err(|bad| self.bad_body(bad))?;
        }
    }

    /// An answer of Waymark's own can follow interim ones, but not a part of an answer.
    fn bad_body(&self, bad: Bad) -> End {
        match self.answer {
            Answer::Head { .. } if self.down.is_empty() => End::BadBody(bad),
            _ => End::BrokenBody,
        }
    }

    /// Sends what is ready to be sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.job.out.get(self.job.sent..) {
            let written = ready!(Pin::new(&mut *self.server).poll_write(cx, rest))?;
            self.job.sent += written;
            self.moved = true;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.up.unflushed();
        }
        self.up.flush(cx, self.server)
    }

    /// Takes what belongs to the body from what came; the rest is the next request's.
    fn take_body(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        filled: Option<Filled>,
    ) -> Result<(), Bad> {
        let pending = std::mem::take(&mut self.client.pending);
        let bytes = filled.map_or(pending.as_slice(), |filled| scratch.bytes(filled));
        let used = self.job.body.advance(bytes, |_| {})?;
        let (body, rest) = bytes.split_at_checked(used).unwrap_or((bytes, b""));
        self.client.pending = rest.to_vec();
        self.job.bytes_in += body.len() as u64;
        if self.job.replayable && self.job.out.len() + body.len() <= REPLAY {
            self.job.out.extend_from_slice(body);
            return Ok(());
        }
        self.job.replayable = false;
        if self.up.write(cx, self.server, body).is_err() {
            self.up_broken = true;
        }
        Ok(())
    }

    /// Looks whether the client is still there while it waits. What it sends is kept for later.
    fn poll_watch(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Result<(), End>> {
        if self.up_broken {
            return Poll::Ready(Ok(()));
        }
        self.client.poll_watch(cx, scratch).map_err(|_| End::ClientGone)
    }

    /// Passes the answer on; ready when the exchange has ended.
    fn poll_answer(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<End> {
        loop {
            let left = self.down.left();
            let flushed = self.down.flush(cx, &mut self.client.io);
            self.moved |= self.down.left() < left;
            if ready!(flushed).is_err() {
                return Poll::Ready(End::ClientGone);
            }
            if let Some(end) = self.ended() {
                return Poll::Ready(end);
            }
            let read = ready!(scratch.read(cx, self.server));
            self.moved = true;
            let taken = match read {
                Ok(Some(filled)) => self.take_answer(cx, scratch, filled),
                Ok(None) => Err(self.server_ended(io::ErrorKind::UnexpectedEof.into())),
                Err(error) => Err(self.server_broke(error)),
            };
            if let Err(end) = taken {
                return Poll::Ready(end);
            }
        }
    }

    /// How it ended, if the answer is complete.
    fn ended(&mut self) -> Option<End> {
        let Answer::Body { left, after, keep_for, .. } = &mut self.answer else { return None };
        if *after == After::Upgrade {
            return Some(End::Upgraded);
        }
        if !left.is_done() {
            return None;
        }
        // A body that the task did not wait for leaves both connections in the middle of it.
        let whole = self.job.body.is_done() && self.up.is_empty() && !self.up_broken;
        let whole = whole && self.job.sent == self.job.out.len();
        let after = if whole { *after } else { After::Close };
        Some(End::Answered { after, keep_for: keep_for.filter(|_| whole) })
    }

    /// The task has ended its stream.
    fn server_ended(&mut self, error: io::Error) -> End {
        match &mut self.answer {
            Answer::Body { left: Progress::Close, keep_for, .. } => {
                *keep_for = None;
                End::Answered { after: After::Close, keep_for: None }
            }
            _ => self.server_broke(error),
        }
    }

    fn server_broke(&self, error: io::Error) -> End {
        match &self.answer {
            Answer::Head { partial, .. } if partial.is_empty() && !self.job.begun => {
                End::NoAnswer(error)
            }
            Answer::Head { .. } if self.job.begun => End::Broken,
            Answer::Head { .. } => End::BadAnswer(Bad::Request("the answer's head broke off")),
            Answer::Body { .. } => End::Broken,
        }
    }

    /// Takes what the task sent.
    fn take_answer(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        filled: Filled,
    ) -> Result<(), End> {
        match &mut self.answer {
            Answer::Head { partial, scanned } if partial.is_empty() => {
                *scanned = 0;
                self.take_heads(cx, scratch, filled)
            }
            Answer::Head { partial, scanned } => {
                partial.extend_from_slice(scratch.bytes(filled));
                match find_end(partial, scanned) {
                    Err(bad) => return Err(self.bad_answer(bad)),
                    Ok(None) => return self.check_length(),
                    Ok(Some(_)) => {}
                }
                let partial = std::mem::take(partial);
                match scratch.refill(&partial) {
                    Some(filled) => self.take_heads(cx, scratch, filled),
                    None => Err(self.bad_answer(Bad::TooLarge("the answer's head is too long"))),
                }
            }
            Answer::Body { left, decode, keep_for, .. } => {
                let bytes = scratch.bytes(filled);
                let mut decoded = Vec::new();
                let keep = |data: &[u8]| {
                    if *decode {
                        decoded.extend_from_slice(data);
                    }
                };
                let used = left.advance(bytes, keep).map_err(|_| End::Broken)?;
                if used < bytes.len() {
                    *keep_for = None;
                }
                let passed = if *decode { &decoded } else { bytes.get(..used).unwrap_or_default() };
                self.job.bytes_out += passed.len() as u64;
                self.down.write(cx, &mut self.client.io, passed).map_err(|_| End::ClientGone)
            }
        }
    }

    /// Takes the heads that what was read begins with: that of the answer, and interim ones before.
    fn take_heads(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        mut filled: Filled,
    ) -> Result<(), End> {
        while let Some(rest) = self.take_head(cx, scratch, filled)? {
            self.interims += 1;
            if self.interims > MAX_INTERIM {
                return Err(self.bad_answer(Bad::TooLarge("too many interim answers")));
            }
            filled = rest;
        }
        Ok(())
    }

    /// Takes a head that begins with what was just read, the usual case: head and body go on from
    /// where they are, in one call. Returns what follows an interim head.
    fn take_head(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        filled: Filled,
    ) -> Result<Option<Filled>, End> {
        let limits = &self.worker.shared.config.limits;
        let (bytes, fields, out) = scratch.parts(filled);
        let mut scanned = 0;
        let end = find_end(bytes, &mut scanned).map_err(|bad| self.bad_answer(bad))?;
        let Some(end) = end.filter(|end| *end <= limits.head_bytes) else {
            self.answer = Answer::Head { partial: bytes.to_vec(), scanned };
            return self.check_length().map(|()| None);
        };
        let (head, body) = bytes.split_at_checked(end).unwrap_or((bytes, b""));
        let response = Response::read(head, limits.headers, fields, self.job.asked)
            .map_err(|bad| self.bad_answer(bad))?;
        out.clear();
        if response.is_interim() {
            self.pass_interim(&response, out);
            return Ok(Some(filled.after(end)));
        }
        let mut answer = self.begin(&response, out);
        let Answer::Body { left, decode, keep_for, .. } = &mut answer else { return Ok(None) };
        let mut decoded = Vec::new();
        let keep = |data: &[u8]| {
            if *decode {
                decoded.extend_from_slice(data);
            }
        };
        let used = left.advance(body, keep).map_err(|bad| self.bad_answer(bad))?;
        if used < body.len() {
            *keep_for = None;
        }
        let decode = *decode;
        let upgraded = matches!(answer, Answer::Body { after: After::Upgrade, .. });
        let used = if upgraded { body.len() } else { used };
        self.answer = answer;
        self.job.begun = true;
        let passed = if decode {
            scratch.out.extend_from_slice(&decoded);
            &scratch.out
        } else {
            scratch.with_head(filled, end..end + used)
        };
        self.job.bytes_out += passed.len() as u64;
        if self.down.is_empty() {
            self.down.write(cx, &mut self.client.io, passed).map_err(|_| End::ClientGone)?;
        } else {
            self.down.push(passed);
        }
        Ok(None)
    }

    fn check_length(&self) -> Result<(), End> {
        match &self.answer {
            Answer::Head { partial, .. }
                if partial.len() >= self.worker.shared.config.limits.head_bytes =>
            {
                Err(self.bad_answer(Bad::TooLarge("the answer's head is too long")))
            }
            _ => Ok(()),
        }
    }

    fn bad_answer(&self, bad: Bad) -> End {
        if self.job.begun { End::Broken } else { End::BadAnswer(bad) }
    }

    /// Passes an interim answer on, to a client that knows of such.
    fn pass_interim(&mut self, response: &Response<'_>, out: &mut Vec<u8>) {
        if self.job.http10 {
            return;
        }
        patch::write_interim(out, response);
        self.job.begun = true;
        self.down.push(out);
    }

    /// Makes the head that the client gets.
    fn begin(&mut self, response: &Response<'_>, out: &mut Vec<u8>) -> Answer {
        let job = &mut *self.job;
        let decode = response.body == Framing::Chunked && job.http10;
        let body = if decode { Framing::Close } else { response.body };
        let after = match (response.status, body) {
            (101, _) => After::Upgrade,
            (_, Framing::Close) => After::Close,
            _ if !job.keep_alive => After::Close,
            _ if job.http10 => After::KeepAlive,
            _ => After::Open,
        };
        job.status = response.status;
        job.latency = Some(job.started.elapsed());
        job.release();
        let changes = job.response_changes(body, after, self.task_cookie);
        patch::write_response(out, response, &changes);
        let keep = self.worker.shared.config.limits.upstream_idle;
        let keep = response.keep_for.map_or(keep, |seconds| {
            // The task counts from when it sent this, so a second is left to the way.
            keep.min(Duration::from_secs(u64::from(seconds.saturating_sub(1))))
        });
        let keep_for = response.keep_alive.then_some(keep);
        Answer::Body { left: Progress::new(response.body), decode, after, keep_for }
    }
}
