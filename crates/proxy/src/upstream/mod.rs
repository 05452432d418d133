//! Connections to tasks, for requests: dialled, kept while idle, taken again.
//!
//! In: a task's address and how tasks of its pool are spoken to. Out: a [`Stream`] that is connected
//! and, if so ruled, encrypted. A connection that is in use stands under its request's seat; an idle
//! one holds no seat, so it never keeps a drain waiting, and it is closed as soon as its task gets
//! nothing new.

mod dial;
mod idle;
mod open;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use crate::l4::Side;
pub(crate) use dial::{DialError, dial};
pub(crate) use idle::{IdlePool, Keep, keep_swept};
pub(crate) use open::{ALPN_H1, Opening, open, rules};

/// A connection to a task.
#[derive(Debug)]
pub(crate) enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// In TLS.
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// To a stream of a connection that speaks HTTP/2; for one request.
    Bridged(DuplexStream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Bridged(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Bridged(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Bridged(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Bridged(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Side for Stream {
    const BUFFERED: bool = true;

    fn reset(&self) {
        match self {
            Stream::Plain(stream) => stream.reset(),
            Stream::Tls(stream) => stream.reset(),
            // Its end in the middle of a request is one.
            Stream::Bridged(_) => {}
        }
    }

    fn read_now(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> usize {
        match self {
            Stream::Plain(stream) => stream.read_now(cx, buffer),
            Stream::Tls(stream) => stream.read_now(cx, buffer),
            Stream::Bridged(stream) => {
                let mut read = ReadBuf::new(buffer);
                match Pin::new(stream).poll_read(cx, &mut read) {
                    Poll::Ready(Ok(())) => read.filled().len(),
                    _ => 0,
                }
            }
        }
    }
}
