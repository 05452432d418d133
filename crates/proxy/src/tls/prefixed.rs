//! A stream of which some bytes have been read already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::l4::Side;

/// Gives back what was read ahead, then what the stream gives.
#[derive(Debug)]
pub struct Prefixed<S> {
    ahead: Vec<u8>,
    given: usize,
    stream: S,
}

impl<S> Prefixed<S> {
    /// `ahead` comes before everything that `stream` still gives.
    pub fn new(ahead: Vec<u8>, stream: S) -> Prefixed<S> {
        Prefixed { ahead, given: 0, stream }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, into);
        }
        let left = this.ahead.get(this.given..).unwrap_or_default();
        let (now, later) = left.split_at(left.len().min(into.remaining()));
        into.put_slice(now);
        this.given += now.len();
        if later.is_empty() {
            this.ahead = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: Side> Side for Prefixed<S> {
    const BUFFERED: bool = S::BUFFERED;

    fn reset(&self) {
        self.stream.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_was_read_ahead_comes_first() {
        let (mut far, near) = tokio::io::duplex(64);
        far.write_all(b"cdef").await.unwrap();
        let mut stream = Prefixed::new(b"ab".to_vec(), near);
        let mut one = [0; 1];
        stream.read_exact(&mut one).await.unwrap();
        assert_eq!(&one, b"a");
        let mut rest = [0; 5];
        stream.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"bcdef");
        stream.write_all(b"x").await.unwrap();
        far.read_exact(&mut one).await.unwrap();
        assert_eq!(&one, b"x");
    }
}
