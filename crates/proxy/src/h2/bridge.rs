//! A client that speaks HTTP/1.1 and a task that speaks HTTP/2.
//!
//! In: what `h1` would write to a task of its own kind, one request. Out: a stream of a shared
//! connection to the task; and its answer, as `h1` would read it. The two meet in memory, in a pipe
//! of bounded length, so that everything `h1` does for a request holds here too: its limits, its
//! time-outs, its checks. What breaks on the task's side ends the pipe in the middle.
//!
//! A WebSocket's `Upgrade` becomes an extended CONNECT (RFC 8441).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderName, SEC_WEBSOCKET_KEY, TE};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::task::spawn_local;
use tracing::debug;

use super::connections::{Shared, Way};
use super::exchange::{Broken, Exchange, Part};
use super::job::stays_here;
use super::to_h1::{write_chunk, write_end};
use super::to_h2::ToH2;
use super::upgrade::Upgrade;
use crate::h1::{self, Framing, Progress, find_end, write_framing, write_line};
use crate::upstream::{DialError, Stream};
use crate::worker::Worker;

/// What the pipe holds, in bytes a direction.
const PIPE: usize = 32 * 1024;

/// What is read at once from the pipe.
const READ: usize = 16 * 1024;

/// A connection that takes one request of HTTP/1.1 for a task that speaks HTTP/2.
pub(crate) async fn bridge(worker: &Rc<Worker>, way: &Way<'_>) -> Result<Stream, DialError> {
    let shared = worker.http.h2.get(worker, way).await?;
    let tls = way.backend.tls.is_some();
    let (near, far) = duplex(PIPE);
    let worker = worker.clone();
    spawn_local(async move {
        if let Err(broken) = carry(&worker, shared, tls, far).await {
            debug!(%broken, "a bridged request broke off");
        }
    });
    Ok(Stream::Bridged(near))
}

/// Carries one request and its answer.
async fn carry(
    worker: &Worker,
    mut shared: Shared,
    tls: bool,
    mut pipe: DuplexStream,
) -> Result<(), Broken> {
    let mut input = BytesMut::new();
    let end = poll_fn(|cx| poll_head(cx, &mut pipe, &mut input)).await?;
    let head = input.split_to(end).freeze();
    let mut fields = Vec::new();
    let limits = &worker.shared.config.limits;
    let asked = h1::Request::read(&head, limits.headers, &mut fields)
        .map_err(|_| Broken::Answer("a request that is none"))?;
    let key = asked.upgrade.is_some().then(|| key(&head, &asked)).flatten();
    if key.is_some() && !shared.offers_upgrades().await {
        return Err(Broken::Answer("it takes no WebSocket over HTTP/2"));
    }
    let request = request(&head, &asked, key.is_some(), tls).ok_or(Broken::NotProcessed)?;
    let empty = matches!(asked.body, Framing::None | Framing::Length(0)) && key.is_none();
    let body = if key.is_some() { Framing::Close } else { asked.body };
    let exchange = ToH2::open(&mut shared, request, empty)?;
    let mut bridge = Bridge {
        pipe,
        exchange,
        input,
        body: Progress::keeping_trailers(body),
        data: Bytes::new(),
        finished: empty,
        out: Vec::new(),
        written: 0,
        head_only: asked.method == "HEAD",
        upgrade: key,
        down: Down::Head,
    };
    poll_fn(|cx| bridge.poll(cx)).await
}

/// Reads on until there is a whole head in `input`.
fn poll_head(
    cx: &mut Context<'_>,
    pipe: &mut DuplexStream,
    input: &mut BytesMut,
) -> Poll<Result<usize, Broken>> {
    loop {
        let mut scanned = 0;
        match find_end(input, &mut scanned) {
            Ok(Some(end)) => return Poll::Ready(Ok(end)),
            Ok(None) => {}
            Err(_) => return Poll::Ready(Err(Broken::Answer("a request that is none"))),
        }
        if ready!(poll_read(cx, pipe, input))? == 0 {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
        }
    }
}

fn poll_read(
    cx: &mut Context<'_>,
    pipe: &mut DuplexStream,
    input: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    let before = input.len();
    input.resize(before + READ, 0);
    let mut read = ReadBuf::new(input.get_mut(before..).unwrap_or_default());
    let polled = Pin::new(pipe).poll_read(cx, &mut read);
    let length = read.filled().len();
    input.truncate(before + length);
    polled.map_ok(|()| length)
}

/// The key of a WebSocket's upgrade.
fn key(head: &[u8], asked: &h1::Request<'_>) -> Option<Upgrade> {
    let named = |name: &HeaderName| {
        asked.fields.iter().find(|f| f.name(head).eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    let websocket = asked.upgrade.is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
    let key = named(&SEC_WEBSOCKET_KEY).filter(|_| websocket)?;
    Some(Upgrade::with_key(String::from_utf8_lossy(key.value(head)).into_owned()))
}

/// The same request in HTTP/2. `None`: a part of it cannot be said there.
fn request(head: &Bytes, asked: &h1::Request<'_>, upgrade: bool, tls: bool) -> Option<Request<()>> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(Authority::try_from(asked.host).ok()?);
    uri.path_and_query = Some(PathAndQuery::try_from(asked.target).ok()?);
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    *request.method_mut() = Method::from_bytes(asked.method.as_bytes()).ok()?;
    if upgrade {
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    }
    let headers = request.headers_mut();
    for field in asked.fields {
        let name = HeaderName::from_bytes(field.name(head)).ok()?;
        // Who the client is has been written by `h1` already.
        if !field.known.is_forwarding() && (stays_here(&name) || name == TE) {
            continue;
        }
        if upgrade && name == SEC_WEBSOCKET_KEY {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value(head))).ok()?;
        headers.append(name, value);
    }
    if asked.trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    Some(request)
}

/// One request between the pipe and the task.
struct Bridge {
    pipe: DuplexStream,
    exchange: ToH2,
    /// What was read and not looked at.
    input: BytesMut,
    body: Progress,
    /// Contents that wait for the task.
    data: Bytes,
    /// The task has the whole request.
    finished: bool,
    /// What waits for the pipe.
    out: Vec<u8>,
    written: usize,
    head_only: bool,
    upgrade: Option<Upgrade>,
    down: Down,
}

/// Where the answer is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Down {
    Head,
    /// Contents follow; chunked or as they are.
    Contents {
        chunked: bool,
    },
    Ended,
}

impl Bridge {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if let Poll::Ready(Err(broken)) = self.poll_up(cx) {
            return Poll::Ready(Err(broken));
        }
        self.poll_down(cx)
    }

    /// The request, to the task. Then: whether the client is still there.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            if !self.data.is_empty() {
                ready!(self.exchange.poll_send(cx, &mut self.data))?;
            }
            if self.body.is_done() && !self.finished {
                self.finished = true;
                self.exchange.finish(self.body.trailers())?;
            }
            if !self.input.is_empty() && !self.body.is_done() {
                self.take()?;
                continue;
            }
            if ready!(poll_read(cx, &mut self.pipe, &mut self.input))? > 0 {
                continue;
            }
            if self.upgrade.is_some() && !self.finished {
                self.finished = true;
                self.exchange.finish(None)?;
            }
            if self.upgrade.is_some() {
                return Poll::Pending;
            }
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::BrokenPipe).into()));
        }
    }

    /// Contents of what was read.
    fn take(&mut self) -> Result<(), Broken> {
        let mut content = BytesMut::new();
        let taken = self.body.advance(&self.input, |part| content.extend_from_slice(part));
        self.input.advance(taken.map_err(|_| Broken::Answer("contents that are none"))?);
        self.data = content.freeze();
        Ok(())
    }

    /// The answer, to the pipe.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            while let Some(rest @ [_, ..]) = self.out.get(self.written..) {
                self.written += ready!(Pin::new(&mut self.pipe).poll_write(cx, rest))?;
            }
            self.out.clear();
            self.written = 0;
            match self.down {
                Down::Head => {
                    let head = ready!(self.exchange.poll_head(cx, &mut []))?;
                    self.head(&head);
                }
                Down::Contents { chunked } => match ready!(self.exchange.poll_part(cx, &mut []))? {
                    Part::Data(data) => {
                        self.exchange.release(data.len());
                        match chunked {
                            true => write_chunk(&mut self.out, &data),
                            false => self.out.extend_from_slice(&data),
                        }
                    }
                    Part::End(trailers) => {
                        if chunked {
                            write_end(&mut self.out, trailers.as_ref());
                        }
                        self.down = Down::Ended;
                    }
                },
                Down::Ended => {
                    return Pin::new(&mut self.pipe).poll_shutdown(cx).map_err(Broken::Connection);
                }
            }
        }
    }

    /// Writes the head of an answer.
    fn head(&mut self, head: &Response<()>) {
        let upgraded = self.upgrade.as_ref().filter(|_| head.status().is_success());
        let status =
            if upgraded.is_some() { StatusCode::SWITCHING_PROTOCOLS } else { head.status() };
        let line =
            format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or(""));
        self.out.extend_from_slice(line.as_bytes());
        for (name, value) in head.headers() {
            // A length with no contents behind it is a description (HEAD, 304).
            write_line(&mut self.out, name.as_str(), value.as_bytes());
        }
        if let Some(upgrade) = upgraded {
            write_line(&mut self.out, "connection", b"upgrade");
            write_line(&mut self.out, "upgrade", b"websocket");
            write_line(&mut self.out, "sec-websocket-accept", upgrade.accept().as_bytes());
            self.down = Down::Contents { chunked: false };
        } else if !head.status().is_informational() {
            self.framing(head);
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// How the contents end, in HTTP/1.1. The connection is for one request.
    fn framing(&mut self, head: &Response<()>) {
        write_line(&mut self.out, "connection", b"close");
        // What a refused upgrade would have carried is nobody's.
        self.upgrade = None;
        let bodiless = self.head_only
            || matches!(head.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let known = head.headers().contains_key(CONTENT_LENGTH);
        self.down = match bodiless {
            true => Down::Ended,
            false if known => Down::Contents { chunked: false },
            false if self.exchange.is_complete() => {
                write_framing(&mut self.out, Framing::Length(0));
                Down::Ended
            }
            false => {
                write_framing(&mut self.out, Framing::Chunked);
                Down::Contents { chunked: true }
            }
        };
    }
}
