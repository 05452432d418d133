//! What bytes are read into and written from: the worker's scratch, which all its connections use in
//! turn, and what a receiver would not take.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::deadline::Deadline;
use super::field::Field;
use crate::config::BUFFER_LEN;
use crate::l4::Side;

/// Room before what is read, for the head that takes the place of the one that was read: head and
/// body then lie in one piece and go out in one call.
const HEADROOM: usize = 4096;

/// What a client sends while it waits is read up to this many bytes ahead: more is left in its
/// socket.
const READ_AHEAD: usize = 16 * 1024;

/// What a client's connection is read from and written to.
pub(crate) trait ClientIo: Side + 'static {}
impl<T: Side + 'static> ClientIo for T {}

/// What one worker's connections read into, one at a time, between two waits. Empty in between.
#[derive(Debug)]
pub(crate) struct Scratch {
    buffer: Box<[u8]>,
    /// The fields of the head that is being read.
    pub(crate) fields: Vec<Field>,
    /// The head that is being made.
    pub(crate) out: Vec<u8>,
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch {
            buffer: vec![0; HEADROOM + BUFFER_LEN].into_boxed_slice(),
            fields: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Reads once; `None` at the end of the stream.
    pub(crate) fn read(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<Option<Filled>>> {
        let room = self.buffer.get_mut(HEADROOM..).unwrap_or_default();
        let mut read = ReadBuf::new(room);
        ready!(Pin::new(io).poll_read(cx, &mut read))?;
        let length = read.filled().len();
        Poll::Ready(Ok((length > 0).then_some(Filled { from: HEADROOM, to: HEADROOM + length })))
    }

    /// What was read, with the parts that a head is read and made with.
    pub(crate) fn parts(&mut self, filled: Filled) -> (&[u8], &mut Vec<Field>, &mut Vec<u8>) {
        let bytes = self.buffer.get(filled.from..filled.to).unwrap_or_default();
        (bytes, &mut self.fields, &mut self.out)
    }

    /// What was read.
    pub(crate) fn bytes(&self, filled: Filled) -> &[u8] {
        self.buffer.get(filled.from..filled.to).unwrap_or_default()
    }

    /// What is read into, taken out so that the rest can be used beside it.
    pub(crate) fn take_buffer(&mut self) -> Box<[u8]> {
        std::mem::take(&mut self.buffer)
    }

    /// Puts it back.
    pub(crate) fn put_buffer(&mut self, buffer: Box<[u8]>) {
        self.buffer = buffer;
    }

    /// Puts bytes where they would be if they had just been read; `None` if there is no room.
    pub(crate) fn refill(&mut self, bytes: &[u8]) -> Option<Filled> {
        let filled = Filled { from: HEADROOM, to: HEADROOM + bytes.len() };
        if filled.to > self.buffer.len() {
            let mut larger = std::mem::take(&mut self.buffer).into_vec();
            larger.resize(filled.to, 0);
            self.buffer = larger.into_boxed_slice();
        }
        self.buffer.get_mut(filled.from..filled.to)?.copy_from_slice(bytes);
        Some(filled)
    }

    /// The new head and, of what was read, `body`: in one piece.
    pub(crate) fn with_head(&mut self, filled: Filled, body: std::ops::Range<usize>) -> &[u8] {
        let (from, to) = (filled.from + body.start, filled.from + body.end);
        let Some(start) = from.checked_sub(self.out.len()) else {
            self.out.extend_from_slice(self.buffer.get(from..to).unwrap_or_default());
            return &self.out;
        };
        if let Some(room) = self.buffer.get_mut(start..from) {
            room.copy_from_slice(&self.out);
        }
        self.buffer.get(start..to).unwrap_or_default()
    }
}

/// Where in the scratch what was read lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filled {
    from: usize,
    to: usize,
}

impl Filled {
    /// The same without its first `taken` bytes.
    pub(crate) fn after(self, taken: usize) -> Filled {
        Filled { from: self.to.min(self.from + taken), to: self.to }
    }

    /// The same in the buffer that was taken out.
    pub(crate) fn of(self, buffer: &[u8]) -> &[u8] {
        buffer.get(self.from..self.to).unwrap_or_default()
    }
}

/// What a receiver has not taken yet. Holds no memory when there is nothing.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    bytes: Vec<u8>,
    taken: usize,
    /// What was written has to be pushed on (TLS).
    unflushed: bool,
}

impl Kept {
    /// Writes what the receiver takes at once and keeps the rest. To be called when nothing is kept.
    pub(crate) fn write(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncWrite + Unpin),
        data: &[u8],
    ) -> io::Result<()> {
        let written = match Pin::new(io).poll_write(cx, data) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.unflushed = true;
        if let Some(rest @ [_, ..]) = data.get(written..) {
            self.bytes.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Something was written past this: it has to be pushed on.
    pub(crate) fn unflushed(&mut self) {
        self.unflushed = true;
    }

    /// Adds what is to be written after what is kept.
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    /// Ready when the receiver has taken everything.
    pub(crate) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.bytes.get(self.taken..) {
            match ready!(Pin::new(&mut *io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.taken += written,
            }
            self.unflushed = true;
        }
        if !self.bytes.is_empty() {
            (self.bytes, self.taken) = (Vec::new(), 0);
        }
        if self.unflushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// How many bytes have not been taken.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Whether the receiver has everything.
    pub(crate) fn is_flushed(&self) -> bool {
        self.bytes.is_empty() && !self.unflushed
    }

    /// Whether everything that was to be written has been taken, though perhaps not pushed on.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// The client's side of a connection.
#[derive(Debug)]
pub(crate) struct Client<S> {
    pub(crate) io: S,
    /// What was read and belongs to nobody yet: a part of a head, or the next request.
    pub(crate) pending: Vec<u8>,
    /// The client has ended its stream.
    pub(crate) at_end: bool,
    pub(crate) deadline: Deadline,
}

impl<S: ClientIo> Client<S> {
    /// Looks whether the client is still there while it waits. What it sends is kept for later.
    /// An error when it has reset the connection. Ready when there is nothing more to be seen: its
    /// stream has ended, after which a reset is not seen either, or enough was read ahead.
    pub(crate) fn poll_watch(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<io::Result<()>> {
        while !self.at_end && self.pending.len() < READ_AHEAD {
            match ready!(scratch.read(cx, &mut self.io))? {
                Some(filled) => self.pending.extend_from_slice(scratch.bytes(filled)),
                None => self.at_end = true,
            }
        }
        Poll::Ready(Ok(()))
    }
}
