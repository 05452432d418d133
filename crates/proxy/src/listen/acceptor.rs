//! A listening socket whose connections are accepted without telling the event loop of them.
//!
//! Tokio's own listener registers each connection where it was accepted. One that another worker
//! is to serve would be registered, taken out and registered again: two system calls for nothing.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A listening socket.
pub(crate) struct Acceptor(AsyncFd<mio::net::TcpListener>);

impl Acceptor {
    /// Watches the socket, which must not block, in the event loop of this thread.
    pub(crate) fn new(listener: TcpListener) -> io::Result<Acceptor> {
        let listener = mio::net::TcpListener::from_std(listener);
        #[allow(unsafe_code)]
        // SAFETY: the listener owns its descriptor and is never replaced: this type gives out
        // neither it nor a way to change it, and closes it only when it is dropped, by AsyncFd.
        let watched = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE)? };
        Ok(Acceptor(watched))
    }

    /// The next connection, not blocking, and who it is from.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (client, peer) = self.0.async_io(Interest::READABLE, |l| l.accept()).await?;
        Ok((client.into(), peer))
    }
}

impl AsFd for Acceptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
