//! One client's HTTP/2 connection: from its preface to its last stream.
//!
//! In: bytes. Out: requests, each with its own handle to answer by, given to `handle`, and whatever
//! future that returns is polled to its end. What a client can make us hold or do is bounded here
//! and in `flood`: streams, header lists, frames, windows, resets, control frames, idleness, and
//! sockets that take nothing.
//!
//! One task of the event loop serves the connection and all its streams: the answers of all that
//! were woken together go out in one write.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, Stream};
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::flood::Flood;
use super::io::{Seen, Watched};
use super::limits::*;
use crate::port::count;

/// What one client's connection may have and do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Streams at once.
    pub(crate) streams: u32,
    /// Bytes of one request's fields.
    pub(crate) header_list: u32,
    /// Until the preface has come.
    pub(crate) preface: Duration,
    /// Without a stream.
    pub(crate) idle: Duration,
    /// Without taking a byte of what waits.
    pub(crate) stall: Duration,
}

/// Serves a client until its connection has ended. When `stop` is ready, the client is told to go
/// (GOAWAY), and what it has open goes on to its end.
pub(crate) async fn serve<S, H, F>(
    io: S,
    prefix: Vec<u8>,
    terms: &Terms,
    counters: &Counters,
    stop: impl Future<Output = ()>,
    handle: H,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    H: FnMut(Request<RecvStream>, SendResponse<Bytes>) -> Option<F>,
    F: Future<Output = ()>,
{
    count(&counters.connections);
    let seen = Seen::new();
    let io = Watched::new(io, prefix, seen.clone());
    let handshake = timeout(terms.preface, builder(terms).handshake(io)).await;
    let Ok(Ok(connection)) = handshake else {
        count(&counters.protocol_errors);
        return;
    };
    let tick = terms.idle.min(terms.stall) / TICKS;
    let mut serving = Serving {
        connection,
        seen,
        terms,
        counters,
        handle,
        streams: FuturesUnordered::new(),
        tick,
        quiet: Duration::ZERO,
        farewell: None,
    };
    let (mut stop, mut clock) = (pin!(stop), pin!(sleep(tick)));
    poll_fn(|cx| serving.poll(cx, stop.as_mut(), clock.as_mut())).await;
    // Without the connection the streams see that their client has gone.
    let Serving { connection, mut streams, .. } = serving;
    drop(connection);
    poll_fn(|cx| match poll_all(&mut streams, cx) {
        () if streams.is_empty() => Poll::Ready(()),
        () => Poll::Pending,
    })
    .await;
}

/// Polls every stream that was woken.
fn poll_all<F: Future<Output = ()>>(streams: &mut FuturesUnordered<F>, cx: &mut Context<'_>) {
    while let Poll::Ready(Some(())) = Pin::new(&mut *streams).poll_next(cx) {}
}

fn builder(terms: &Terms) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(terms.streams)
        .max_header_list_size(terms.header_list)
        .max_frame_size(MAX_FRAME)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(MAX_RESET_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(Some(MAX_OUR_RESETS))
        .enable_connect_protocol();
    builder
}

/// The clock is looked at this often in the shortest wait.
const TICKS: u32 = 4;

struct Serving<'a, S, H, F> {
    connection: server::Connection<Watched<S>, Bytes>,
    seen: Rc<Seen>,
    terms: &'a Terms,
    counters: &'a Counters,
    handle: H,
    /// What `handle` returned and has not ended.
    streams: FuturesUnordered<F>,
    tick: Duration,
    /// How long there has been no stream.
    quiet: Duration,
    /// The client was told to go.
    farewell: Option<Farewell>,
}

/// How a client is told to go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Farewell {
    /// What it has open goes on to its end.
    Graceful,
    /// At once.
    Abrupt,
}

impl<S, H, F> Serving<'_, S, H, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: FnMut(Request<RecvStream>, SendResponse<Bytes>) -> Option<F>,
    F: Future<Output = ()>,
{
    /// Ready when the connection has ended, or is to be dropped.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stop: Pin<&mut impl Future<Output = ()>>,
        mut clock: Pin<&mut Sleep>,
    ) -> Poll<()> {
        if self.farewell.is_none() && stop.poll(cx).is_ready() {
            self.say_goodbye();
        }
        loop {
            // Before the connection, which then writes what they have said.
            poll_all(&mut self.streams, cx);
            if self.poll_connection(cx).is_ready() {
                return Poll::Ready(());
            }
            // The new ones.
            poll_all(&mut self.streams, cx);
            if self.ends_flood() {
                // Another turn of the connection tells the client.
                continue;
            }
            ready!(clock.as_mut().poll(cx));
            if self.is_overdue() {
                return Poll::Ready(());
            }
            clock.as_mut().reset(Instant::now() + self.tick);
        }
    }

    /// Lets the connection work, and takes new streams in; ready when it has ended.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(self.connection.poll_accept(cx)) {
                Some(Ok((request, respond))) => {
                    count(&self.counters.streams);
                    self.streams.extend((self.handle)(request, respond));
                }
                Some(Err(error)) => {
                    if error.is_library() && self.farewell != Some(Farewell::Abrupt) {
                        count(&self.counters.protocol_errors);
                    }
                    return Poll::Ready(());
                }
                None => return Poll::Ready(()),
            }
        }
    }

    /// Whether there was a flood that nothing has been done about yet.
    fn ends_flood(&mut self) -> bool {
        let Some(flood) = self.seen.flood().filter(|_| self.farewell != Some(Farewell::Abrupt))
        else {
            return false;
        };
        count(match flood {
            Flood::Resets => &self.counters.reset_floods,
            Flood::Control => &self.counters.control_floods,
        });
        tracing::debug!(reason = %flood, "HTTP/2 connection ended");
        self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        self.farewell = Some(Farewell::Abrupt);
        self.quiet = Duration::ZERO;
        true
    }

    /// One tick has passed: whether the connection is to be dropped.
    fn is_overdue(&mut self) -> bool {
        if self.seen.blocked_for() >= self.terms.stall {
            count(&self.counters.stalled);
            return true;
        }
        let busy = self.connection.has_streams() && self.farewell != Some(Farewell::Abrupt);
        self.quiet = if busy { Duration::ZERO } else { self.quiet + self.tick };
        match self.farewell {
            Some(_) => self.quiet >= GOODBYE_TIMEOUT,
            None if self.quiet >= self.terms.idle => {
                count(&self.counters.idle_closed);
                self.say_goodbye();
                false
            }
            None => false,
        }
    }

    fn say_goodbye(&mut self) {
        self.connection.graceful_shutdown();
        self.farewell = Some(Farewell::Graceful);
        self.quiet = Duration::ZERO;
    }
}
