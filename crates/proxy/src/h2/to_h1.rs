//! An exchange with a task that speaks HTTP/1.1, over a connection of its own.
//!
//! In: a checked head, contents and trailers as HTTP/2 brings them. Out: one HTTP/1.1 request whose
//! framing is ours alone (one `content-length`, or `transfer-encoding: chunked`), and the answer
//! as HTTP/2 wants it: without fields that belong to a connection.
//!
//! A WebSocket (extended CONNECT, RFC 8441) goes as an `Upgrade`; after 101 the contents of both
//! directions are the bytes of the connection.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{COOKIE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::exchange::{Broken, Exchange, Part};
use super::job::is_ours;
use super::upgrade::Upgrade;
use crate::Limits;
use crate::h1::{
    Asked, Bad, Field, Framing, Known, Progress, Response as Head, check_trailer, find_end,
    write_framing, write_line,
};
use crate::http::sticky;

/// Contents taken before they must have been written: a head and a small body go in one piece.
const WRITE_AHEAD: usize = 16 * 1024;

/// A request's head for HTTP/1.1.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) headers: &'a HeaderMap,
    /// What the task is told about the client.
    pub(crate) told: &'a [(HeaderName, HeaderValue)],
    /// The sticky cookie, which the task does not see.
    pub(crate) cookie: Option<&'a str>,
    pub(crate) body: Body,
    /// The protocol of an upgrade.
    pub(crate) upgrade: Option<&'a Upgrade>,
}

/// How the request's contents end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// There are none.
    None,
    /// There are none, where a method without a length would make a task wait for one.
    Empty,
    /// This many bytes.
    Length(u64),
    /// When they end.
    Chunked,
    /// They follow an upgrade to this protocol.
    Upgrade,
}

/// One exchange.
pub(crate) struct ToH1<U> {
    io: U,
    /// What is to be written.
    out: Vec<u8>,
    written: usize,
    body: Body,
    /// The whole request is in `out`.
    finished: bool,
    /// What was read and not looked at.
    input: Bytes,
    head_only: bool,
    /// What the task must say to have agreed to an upgrade.
    accept: Option<String>,
    /// The longest head taken, in bytes, and the most fields.
    head_bytes: usize,
    fields: usize,
    answer: Answer,
    trailers: Option<HeaderMap>,
    /// How long the task keeps the connection; `None` = it does not.
    keep: Option<Duration>,
}

enum Answer {
    Head,
    Contents(Progress),
    /// Bytes of an upgraded connection, until it ends.
    Upgraded,
    Ended,
}

impl<U: AsyncRead + AsyncWrite + Unpin> ToH1<U> {
    /// Begins an exchange; the head is written with the next flush.
    pub(crate) fn new(io: U, ask: &Ask<'_>, limits: &Limits) -> ToH1<U> {
        let mut out = Vec::with_capacity(1024);
        write_head(&mut out, ask);
        ToH1 {
            io,
            out,
            written: 0,
            body: ask.body,
            finished: matches!(ask.body, Body::None | Body::Empty),
            input: Bytes::new(),
            head_only: ask.method == "HEAD",
            accept: ask.upgrade.map(Upgrade::accept),
            head_bytes: limits.head_bytes,
            fields: limits.headers,
            answer: Answer::Head,
            trailers: None,
            keep: None,
        }
    }

    /// The connection, if another request may follow on it, and how long it may be kept, `most` at
    /// the most.
    pub(crate) fn into_idle(self, most: Duration) -> Option<(U, Duration)> {
        let whole = self.finished && self.out.is_empty() && self.input.is_empty();
        let ended = match &self.answer {
            Answer::Contents(progress) => progress.is_done(),
            Answer::Ended => true,
            Answer::Head | Answer::Upgraded => false,
        };
        let keep = self.keep.filter(|_| whole && ended)?;
        Some((self.io, keep.min(most)))
    }

    /// Reads something more; empty at the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<Bytes>> {
        let mut read = ReadBuf::new(scratch);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(read.filled())))
    }

    /// Reads on until there is a head in `input`; where it ends.
    fn poll_whole_head(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<usize, Broken>> {
        let mut scanned = 0;
        loop {
            if let Some(end) = find_end(&self.input, &mut scanned).map_err(bad)? {
                return Poll::Ready(Ok(end));
            }
            if self.input.len() > self.head_bytes {
                return Poll::Ready(Err(Broken::Answer("its head is too long")));
            }
            let more = ready!(self.poll_read(cx, scratch))?;
            if more.is_empty() {
                let ended = if self.input.is_empty() {
                    io::ErrorKind::ConnectionReset
                } else {
                    io::ErrorKind::UnexpectedEof
                };
                return Poll::Ready(Err(io::Error::from(ended).into()));
            }
            self.input = if self.input.is_empty() {
                more
            } else {
                let mut both = BytesMut::with_capacity(self.input.len() + more.len());
                both.extend_from_slice(&self.input);
                both.extend_from_slice(&more);
                both.freeze()
            };
        }
    }

    /// The head at the front of `input`.
    fn read_head(&mut self, end: usize) -> Result<Response<()>, Broken> {
        let head = self.input.split_to(end);
        let mut fields = Vec::with_capacity(16);
        let asked = Asked { head: self.head_only, upgrade: self.body == Body::Upgrade };
        let read = Head::read(&head, self.fields, &mut fields, asked).map_err(bad)?;
        if self.body == Body::Upgrade && (200..300).contains(&read.status) {
            return Err(Broken::NoUpgrade);
        }
        let mut answer = Response::new(());
        *answer.status_mut() =
            StatusCode::from_u16(read.status).map_err(|_| Broken::Answer("its status"))?;
        let headers = answer.headers_mut();
        headers.reserve(read.fields.len());
        for field in read.fields.iter().filter(|f| !ends_here(&read, f)) {
            let name = HeaderName::from_bytes(field.name(&head));
            let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value(&head)));
            match (name, value) {
                (Ok(name), Ok(value)) => drop(headers.append(name, value)),
                _ => return Err(Broken::Answer("its fields")),
            }
        }
        if read.status == 101 {
            let accept = headers.get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
            if accept != self.accept.as_deref().map(str::as_bytes) {
                return Err(Broken::Answer("it agreed to another upgrade"));
            }
            self.answer = Answer::Upgraded;
        } else if !read.is_interim() {
            // The task counts from when it sent this, so a second is left to the way.
            let keep = read.keep_for.map_or(Duration::MAX, |seconds| {
                Duration::from_secs(u64::from(seconds.saturating_sub(1)))
            });
            self.keep = read.keep_alive.then_some(keep);
            self.answer = Answer::Contents(Progress::keeping_trailers(read.body));
        }
        Ok(answer)
    }

    /// Contents in `input`.
    fn contents(&mut self) -> Result<Option<Bytes>, Broken> {
        let Answer::Contents(progress) = &mut self.answer else { return Ok(None) };
        let mut content = Content::default();
        let input = self.input.clone();
        let taken = progress.advance(&input, |part| content.add(&input, part)).map_err(bad)?;
        self.input.advance(taken);
        if progress.is_done() {
            self.trailers = progress.trailers();
        }
        Ok(content.into_bytes())
    }
}

/// Fields of an answer that belong to the connection it came over (RFC 9113 §8.2.2).
fn ends_here(answer: &Head<'_>, field: &Field) -> bool {
    field.known.is_hop_by_hop()
        || field.known == Known::TransferEncoding
        || answer.is_nominated(field)
}

/// Contents between chunk headers, put together only where there are several.
#[derive(Default)]
struct Content {
    first: Bytes,
    all: BytesMut,
}

impl Content {
    fn add(&mut self, input: &Bytes, part: &[u8]) {
        if part.is_empty() {
        } else if self.first.is_empty() && self.all.is_empty() {
            self.first = input.slice_ref(part);
        } else {
            if self.all.is_empty() {
                self.all.reserve(input.len());
                self.all.extend_from_slice(&self.first);
            }
            self.all.extend_from_slice(part);
        }
    }

    fn into_bytes(self) -> Option<Bytes> {
        let bytes = if self.all.is_empty() { self.first } else { self.all.freeze() };
        Some(bytes).filter(|bytes| !bytes.is_empty())
    }
}

impl<U: AsyncRead + AsyncWrite + Unpin> Exchange for ToH1<U> {
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<Result<(), Broken>> {
        if self.body == Body::Upgrade && !matches!(self.answer, Answer::Upgraded) {
            if matches!(self.answer, Answer::Head) {
                // Nothing may go before the task has agreed; `poll_head` wakes us.
                return Poll::Pending;
            }
            data.clear();
        }
        if self.out.len() >= WRITE_AHEAD {
            ready!(self.poll_flush(cx))?;
        }
        if !data.is_empty() {
            match self.body {
                Body::Chunked => write_chunk(&mut self.out, data),
                _ => self.out.extend_from_slice(data),
            }
            data.clear();
        }
        Poll::Ready(Ok(()))
    }

    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Broken> {
        if self.body == Body::Chunked {
            write_end(&mut self.out, trailers.as_ref());
        }
        self.finished = true;
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while let Some(rest @ [_, ..]) = self.out.get(self.written..) {
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into())),
                Ok(written) => self.written += written,
                Err(error) => {
                    (self.finished, self.keep) = (false, None);
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
        if self.written > 0 {
            self.written = 0;
            self.out.clear();
            self.out.shrink_to(WRITE_AHEAD);
        }
        if self.finished && matches!(self.answer, Answer::Upgraded) {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        }
        // TLS keeps what it has not written.
        Pin::new(&mut self.io).poll_flush(cx).map_err(Broken::Connection)
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<Response<()>, Broken>> {
        let end = ready!(self.poll_whole_head(cx, scratch))?;
        Poll::Ready(self.read_head(end))
    }

    fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<Part, Broken>> {
        loop {
            match &self.answer {
                Answer::Upgraded if !self.input.is_empty() => {
                    return Poll::Ready(Ok(Part::Data(std::mem::take(&mut self.input))));
                }
                Answer::Contents(progress) if !progress.is_done() => {
                    if let Some(data) = self.contents()? {
                        return Poll::Ready(Ok(Part::Data(data)));
                    }
                }
                Answer::Upgraded => {}
                _ => return Poll::Ready(Ok(Part::End(self.trailers.take()))),
            }
            if matches!(&self.answer, Answer::Contents(progress) if progress.is_done()) {
                continue;
            }
            self.input = ready!(self.poll_read(cx, scratch))?;
            if self.input.is_empty() {
                match &self.answer {
                    Answer::Upgraded | Answer::Contents(Progress::Close) => {
                        (self.answer, self.keep) = (Answer::Ended, None);
                    }
                    _ => {
                        return Poll::Ready(Err(
                            io::Error::from(io::ErrorKind::UnexpectedEof).into()
                        ));
                    }
                }
            }
        }
    }

    fn is_complete(&self) -> bool {
        let ended = match &self.answer {
            Answer::Contents(progress) => progress.is_done(),
            Answer::Ended => true,
            Answer::Head | Answer::Upgraded => false,
        };
        ended && self.trailers.is_none()
    }

    fn release(&mut self, _: usize) {
        // What is read next waits in the socket.
    }
}

fn bad(bad: Bad) -> Broken {
    match bad {
        Bad::Request(what) | Bad::TooLarge(what) | Bad::Coding(what) => Broken::Answer(what),
        _ => Broken::Answer("its head"),
    }
}

/// Writes the head of a request. Every part has been checked: there is no byte in it that ends a
/// line, and no field that says where the contents end but ours.
fn write_head(out: &mut Vec<u8>, ask: &Ask<'_>) {
    let method = if ask.upgrade.is_some() { "GET" } else { ask.method };
    for part in [method, " ", ask.target, " HTTP/1.1\r\nhost: ", ask.authority, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let mut cookies = false;
    for (name, value) in ask.headers {
        match Known::of(name.as_str().as_bytes()) {
            Known::ContentLength | Known::Te => {}
            Known::Cookie => cookies = true,
            known if is_ours(known) || *name == SEC_WEBSOCKET_KEY => {}
            _ => write_line(out, name.as_str(), value.as_bytes()),
        }
    }
    if cookies {
        write_cookies(out, ask);
    }
    for (name, value) in ask.told {
        write_line(out, name.as_str(), value.as_bytes());
    }
    match ask.body {
        Body::None => {}
        Body::Empty => write_framing(out, Framing::Length(0)),
        Body::Length(length) => write_framing(out, Framing::Length(length)),
        Body::Chunked => write_framing(out, Framing::Chunked),
        Body::Upgrade => write_line(out, "connection", b"upgrade"),
    }
    if let Some(upgrade) = ask.upgrade {
        upgrade.write(out);
    }
    out.extend_from_slice(b"\r\n");
}

/// The crumbs of a cookie are one field in HTTP/1 (RFC 9113 §8.2.3).
fn write_cookies(out: &mut Vec<u8>, ask: &Ask<'_>) {
    let start = out.len();
    out.extend_from_slice(b"cookie: ");
    let first = out.len();
    for crumb in ask.headers.get_all(COOKIE) {
        let before = out.len();
        if before > first {
            out.extend_from_slice(b"; ");
        }
        let written = match ask.cookie {
            Some(name) => sticky::strip(crumb.as_bytes(), name, out),
            None => {
                out.extend_from_slice(crumb.as_bytes());
                true
            }
        };
        if !written {
            out.truncate(before);
        }
    }
    match out.len() > first {
        true => out.extend_from_slice(b"\r\n"),
        false => out.truncate(start),
    }
}

/// Writes contents as a chunk (RFC 9112 §7.1). Empty ones would be the last.
pub(crate) fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    // Writing to memory does not fail.
    let _ = write!(out, "{:x}\r\n", data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Writes the last chunk and the trailers.
pub(crate) fn write_end(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        write_trailer(out, name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes a trailer unless it is one that belongs into a head.
fn write_trailer(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let start = out.len();
    write_line(out, name, value);
    let line = out.get(start..out.len() - 2).unwrap_or_default();
    if check_trailer(line).is_err() {
        out.truncate(start);
    }
}
