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
use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::port::{Port, count};
use crate::worker::Worker;

/// The idle time-out is looked at this often in its length; no clock is read for a byte.
const QUARTERS: u32 = 4;

/// Reads of what a side sent before it broke off, at most.
const SALVAGE_READS: usize = 64;

/// Relays until the connection has ended, and closes both sockets.
/// `prefix` has been read from the client before and goes to the server first.
pub(crate) async fn relay(
    worker: &Worker,
    port: &Port,
    client: TcpStream,
    server: TcpStream,
    prefix: Vec<u8>,
) {
    let mut relay = Relay::new(client, server, prefix);
    let quarter = worker.shared.config.idle_timeout / QUARTERS;
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
}

/// Has the socket send a reset when it is closed, instead of an end of stream.
pub(crate) fn reset(socket: &TcpStream) {
    // It fails only on a socket that is no longer connected: then there is nobody to tell.
    let _ = socket.set_zero_linger();
}

struct Relay {
    client: TcpStream,
    server: TcpStream,
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
    /// The sender has ended its stream.
    at_end: bool,
    /// The receiver has been told so.
    ended: bool,
}

impl Relay {
    fn new(client: TcpStream, server: TcpStream, prefix: Vec<u8>) -> Relay {
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
                salvage(&self.server, &self.client, &self.down, buffer);
                Poll::Ready(Err(error))
            }
            (_, Poll::Ready(Err(error))) => {
                salvage(&self.client, &self.server, &self.up, buffer);
                Poll::Ready(Err(error))
            }
            _ => Poll::Pending,
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !self.ended {
            reset(&self.client);
            reset(&self.server);
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
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        flow: &mut Flow,
        from: &mut TcpStream,
        to: &mut TcpStream,
        last: bool,
    ) -> Poll<io::Result<()>> {
        while !flow.ended {
            ready!(flow.write_kept(cx, to))?;
            if flow.at_end {
                if !last {
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
                self.bytes.fetch_add(data.len() as u64, Relaxed);
                flow.write(cx, to, data)?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Flow {
    /// Writes what the receiver takes at once and keeps the rest.
    fn write(&mut self, cx: &mut Context<'_>, to: &mut TcpStream, data: &[u8]) -> io::Result<()> {
        let written = match Pin::new(to).poll_write(cx, data) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        if let Some(rest @ [_, ..]) = data.get(written..) {
            self.kept = rest.to_vec();
            self.written = 0;
        }
        Ok(())
    }

    /// Writes what was kept; ready when nothing is left, and then no memory is held.
    fn write_kept(&mut self, cx: &mut Context<'_>, to: &mut TcpStream) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.kept.get(self.written..) {
            self.written += ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
        }
        if !self.kept.is_empty() {
            self.kept = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

/// Passes on what a side had sent before the connection broke. A server that answers and closes
/// without having read the whole request resets the connection; its answer has arrived all the
/// same, and a client connected to it directly could read it.
fn salvage(from: &TcpStream, to: &TcpStream, flow: &Flow, buffer: &mut [u8]) {
    let (from, to) = (SockRef::from(from), SockRef::from(to));
    let kept = flow.kept.get(flow.written..).unwrap_or_default();
    if (&*to).write(kept).is_ok_and(|written| written < kept.len()) {
        return;
    }
    for _ in 0..SALVAGE_READS {
        match (&*from).read(buffer) {
            Ok(length @ 1..) => match (&*to).write(buffer.get(..length).unwrap_or_default()) {
                Ok(written) if written == length => {}
                _ => return,
            },
            _ => return,
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
            if self.sleep.as_mut().poll(cx).is_pending() {
                self.armed = true;
                continue;
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
