//! Bytes between a client and its task, until both directions have ended.
//!
//! In: two connected sockets. Out: the same bytes on the other side, each end and each reset too:
//! an end of stream ends that direction only (half-close), a reset on one side resets the other, so
//! that nobody takes half an answer for a whole one.
//!
//! An idle connection holds no buffer: bytes are read into the worker's one buffer and written on
//! at once; only what the receiver does not take is kept, and then nothing more is read until it
//! has.

use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::port::{Port, count};
use crate::timer;
use crate::worker::Worker;

/// The idle time-out is looked at this often in its length; no clock is read for a byte.
const QUARTERS: u32 = 4;

/// Reads of what a side sent before it broke off, at most.
const SALVAGE_READS: usize = 64;

/// One end of a relayed connection.
pub(crate) trait Side: AsyncRead + AsyncWrite + Unpin {
    /// Whether it keeps written bytes until it is flushed, and has its own way to say the end.
    const BUFFERED: bool;
    /// Has it send a reset when it is closed, instead of an end of stream.
    fn reset(&self);

    /// Reads what is there, though nothing may have told of it; 0 when there is nothing.
    fn read_now(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> usize {
        let mut read = ReadBuf::new(buffer);
        match Pin::new(self).poll_read(cx, &mut read) {
            Poll::Ready(Ok(())) => read.filled().len(),
            _ => 0,
        }
    }
}

impl Side for TcpStream {
    const BUFFERED: bool = false;

    fn reset(&self) {
        // It fails only on a socket that is no longer connected: then there is nobody to tell.
        let _ = self.set_zero_linger();
    }

    fn read_now(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> usize {
        // Past the event loop: what broke the connection may be known before the answer is.
        (&*SockRef::from(&*self)).read(buffer).unwrap_or(0)
    }
}

impl<T: Side> Side for Box<T> {
    const BUFFERED: bool = T::BUFFERED;

    fn reset(&self) {
        T::reset(self);
    }

    fn read_now(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> usize {
        T::read_now(self, cx, buffer)
    }
}

impl<T: Side> Side for tokio_rustls::server::TlsStream<T> {
    const BUFFERED: bool = true;

    fn reset(&self) {
        self.get_ref().0.reset();
    }
}

impl<T: Side> Side for tokio_rustls::client::TlsStream<T> {
    const BUFFERED: bool = true;

    fn reset(&self) {
        self.get_ref().0.reset();
    }
}

/// Relays until the connection has ended, and closes both sides. `prefix` has been read from the
/// client before and goes to the server first. Nothing moving for `idle` ends it. Returns the bytes
/// from the client and to it; at the port they are counted as they move.
pub(crate) async fn relay<C: Side, S: Side>(
    worker: &Worker,
    port: &Port,
    client: C,
    server: S,
    prefix: Vec<u8>,
    idle: Duration,
) -> Moved {
    let mut relay = Relay::new(client, server, prefix);
    let quarter = idle / QUARTERS;
    let sleep = pin!(sleep(quarter));
    let mut idle = IdleTimer::new(sleep, quarter);
    let end = poll_fn(|cx| {
        let moved = match relay.poll(cx, worker, port) {
            Poll::Ready(end) => return Poll::Ready(Some(end)),
            Poll::Pending => std::mem::take(&mut relay.moved),
        };
        idle.poll(cx, moved).map(|()| None)
    })
    .await;
    match end {
        Some(Ok(())) => relay.ended = true,
        Some(Err(_)) => count(&port.counters.resets),
        None => count(&port.counters.idle_closed),
    }
    Moved { bytes_in: relay.up.moved, bytes_out: relay.down.moved }
}

/// What a relay has moved.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    /// Bytes from the client.
    pub(crate) bytes_in: u64,
    /// Bytes to the client.
    pub(crate) bytes_out: u64,
}

struct Relay<C: Side, S: Side> {
    client: C,
    server: S,
    up: Flow,
    down: Flow,
    /// Whether bytes were read since this was last looked at.
    moved: bool,
    /// Whether both directions have ended in order; else closing resets.
    ended: bool,
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// What has been read and the receiver has not taken yet.
    kept: Vec<u8>,
    /// How much of `kept` the receiver has taken.
    written: usize,
    /// Bytes read so far.
    moved: u64,
    /// The receiver is to be flushed.
    unflushed: bool,
    /// The sender has ended its stream.
    at_end: bool,
    /// The receiver has been told so.
    ended: bool,
}

impl<C: Side, S: Side> Relay<C, S> {
    fn new(client: C, server: S, prefix: Vec<u8>) -> Relay<C, S> {
        Relay {
            client,
            server,
            up: Flow { kept: prefix, ..Flow::default() },
            down: Flow::default(),
            moved: false,
            ended: false,
        }
    }

    /// Moves what can be moved; ready when both directions have ended or one broke.
    fn poll(&mut self, cx: &mut Context<'_>, worker: &Worker, port: &Port) -> Poll<io::Result<()>> {
        let buffer = &mut *worker.buffer.borrow_mut();
        let (bytes_in, bytes_out) = (&port.counters.bytes_in, &port.counters.bytes_out);
        let mut up = Transfer { buffer, bytes: bytes_in, moved: &mut self.moved };
        let up = up.poll(cx, &mut self.up, &mut self.client, &mut self.server, self.down.ended);
        let mut down = Transfer { buffer, bytes: bytes_out, moved: &mut self.moved };
        let down = down.poll(cx, &mut self.down, &mut self.server, &mut self.client, self.up.ended);
        match (up, down) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            (Poll::Ready(Err(error)), _) => {
                salvage(cx, &mut self.server, &mut self.client, &self.down, buffer);
                Poll::Ready(Err(error))
            }
            (_, Poll::Ready(Err(error))) => {
                salvage(cx, &mut self.client, &mut self.server, &self.up, buffer);
                Poll::Ready(Err(error))
            }
            _ => Poll::Pending,
        }
    }
}

impl<C: Side, S: Side> Drop for Relay<C, S> {
    fn drop(&mut self) {
        if !self.ended {
            self.client.reset();
            self.server.reset();
        }
    }
}

/// What a flow is moved with.
struct Transfer<'a> {
    buffer: &'a mut [u8],
    bytes: &'a AtomicU64,
    moved: &'a mut bool,
}

impl Transfer<'_> {
    /// Moves bytes from one socket to the other until one of them is not ready; ready when the
    /// direction has ended. `last`: the other direction has ended before, so closing the socket
    /// says what a shutdown would.
    fn poll<F: Side, T: Side>(
        &mut self,
        cx: &mut Context<'_>,
        flow: &mut Flow,
        from: &mut F,
        to: &mut T,
        last: bool,
    ) -> Poll<io::Result<()>> {
        while !flow.ended {
            ready!(flow.write_kept(cx, to))?;
            if flow.at_end {
                if !last || T::BUFFERED {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                }
                flow.ended = true;
                break;
            }
            let mut read = ReadBuf::new(self.buffer);
            ready!(Pin::new(&mut *from).poll_read(cx, &mut read))?;
            let data = read.filled();
            flow.at_end = data.is_empty();
            if !data.is_empty() {
                *self.moved = true;
                flow.moved += data.len() as u64;
                self.bytes.fetch_add(data.len() as u64, Relaxed);
                flow.write(cx, to, data)?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Flow {
    /// Writes what the receiver takes at once and keeps the rest.
    fn write<T: Side>(&mut self, cx: &mut Context<'_>, to: &mut T, data: &[u8]) -> io::Result<()> {
        let written = match Pin::new(to).poll_write(cx, data) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.unflushed = T::BUFFERED;
        if let Some(rest @ [_, ..]) = data.get(written..) {
            self.kept = rest.to_vec();
            self.written = 0;
        }
        Ok(())
    }

    /// Writes what was kept; ready when nothing is left, and then no memory is held.
    fn write_kept<T: Side>(&mut self, cx: &mut Context<'_>, to: &mut T) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.kept.get(self.written..) {
            self.written += ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
        }
        if !self.kept.is_empty() {
            self.kept = Vec::new();
            self.unflushed = T::BUFFERED;
        }
        if self.unflushed {
            ready!(Pin::new(&mut *to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// Passes on what a side had sent before the connection broke. A server that answers and closes
/// without having read the whole request resets the connection; its answer has arrived all the
/// same, and a client connected to it directly could read it.
fn salvage<F: Side, T: Side>(
    cx: &mut Context<'_>,
    from: &mut F,
    to: &mut T,
    flow: &Flow,
    buffer: &mut [u8],
) {
    let mut takes = |cx: &mut Context<'_>, data: &[u8]| {
        let written = Pin::new(&mut *to).poll_write(cx, data);
        matches!(written, Poll::Ready(Ok(length)) if length == data.len())
            && matches!(Pin::new(&mut *to).poll_flush(cx), Poll::Ready(Ok(())))
    };
    let kept = flow.kept.get(flow.written..).unwrap_or_default();
    if !kept.is_empty() && !takes(cx, kept) {
        return;
    }
    for _ in 0..SALVAGE_READS {
        let length = from.read_now(cx, buffer);
        if length == 0 || !takes(cx, buffer.get(..length).unwrap_or_default()) {
            return;
        }
    }
}

/// Fires when nothing has moved for the time-out, at most a quarter late.
struct IdleTimer<'a> {
    sleep: Pin<&'a mut Sleep>,
    quarter: Duration,
    quiet: u32,
    moved: bool,
    armed: bool,
}

impl IdleTimer<'_> {
    fn new(sleep: Pin<&mut Sleep>, quarter: Duration) -> IdleTimer<'_> {
        IdleTimer { sleep, quarter, quiet: 0, moved: false, armed: false }
    }

    /// To be called whenever the connection's task wakes; `moved`: bytes have moved since.
    fn poll(&mut self, cx: &mut Context<'_>, moved: bool) -> Poll<()> {
        self.moved |= moved;
        // Once armed the timer has this task's waker, and looking at it is only a load.
        while !self.armed || self.sleep.is_elapsed() {
            if timer::poll(self.sleep.as_mut(), cx).is_pending() {
                self.armed = true;
                break;
            }
            self.quiet = if std::mem::take(&mut self.moved) { 0 } else { self.quiet + 1 };
            if self.quiet >= QUARTERS {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(Instant::now() + self.quarter);
            self.armed = false;
        }
        Poll::Pending
    }
}
