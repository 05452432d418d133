//! The client's connection as the HTTP/2 library sees it.
//!
//! In: the socket, and what was read from it before HTTP/2 was recognised. Out: the same bytes,
//! each frame counted ([`FrameWatch`]) and every wait of the socket's send buffer timed, so that
//! whoever serves the connection can end it.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flood::{Flood, FrameWatch};

/// What is seen on a connection, shared by it and by whoever serves it.
#[derive(Debug)]
pub(crate) struct Seen {
    watch: RefCell<FrameWatch>,
    flood: Cell<Option<Flood>>,
    /// Since when the socket has taken nothing of what waits.
    blocked: Cell<Option<Instant>>,
    started: Instant,
}

impl Seen {
    pub(crate) fn new() -> Rc<Seen> {
        Rc::new(Seen {
            watch: RefCell::new(FrameWatch::new()),
            flood: Cell::new(None),
            blocked: Cell::new(None),
            started: Instant::now(),
        })
    }

    /// Too many frames of one kind have arrived. Nothing is read any more.
    pub(crate) fn flood(&self) -> Option<Flood> {
        self.flood.get()
    }

    /// How long the peer has taken nothing while something waits.
    pub(crate) fn blocked_for(&self) -> Duration {
        self.blocked.get().map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn arrived(&self, bytes: &[u8]) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Err(flood) = self.watch.borrow_mut().see(bytes, now) {
            self.flood.set(Some(flood));
        }
    }
}

/// A connection with what was already read from it put back in front.
pub(crate) struct Watched<S> {
    io: S,
    prefix: Vec<u8>,
    taken: usize,
    seen: Rc<Seen>,
}

impl<S> Watched<S> {
    pub(crate) fn new(io: S, prefix: Vec<u8>, seen: Rc<Seen>) -> Watched<S> {
        Watched { io, prefix, taken: 0, seen }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.seen.flood.get().is_some() {
            // Who serves the connection looks at the flood after every turn, and ends it.
            return Poll::Pending;
        }
        if let Some(rest @ [_, ..]) = this.prefix.get(this.taken..) {
            let part = rest.get(..buf.remaining()).unwrap_or(rest);
            buf.put_slice(part);
            this.seen.arrived(part);
            this.taken += part.len();
            if this.taken == this.prefix.len() {
                this.prefix = Vec::new();
                this.taken = 0;
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(cx, buf);
        if let Some(new @ [_, ..]) = buf.filled().get(before..) {
            this.seen.arrived(new);
        }
        polled
    }
}

impl<S> Watched<S> {
    fn note<T>(&self, polled: Poll<T>) -> Poll<T> {
        match polled {
            Poll::Ready(_) => self.seen.blocked.set(None),
            Poll::Pending if self.seen.blocked.get().is_none() => {
                self.seen.blocked.set(Some(Instant::now()));
            }
            Poll::Pending => {}
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
