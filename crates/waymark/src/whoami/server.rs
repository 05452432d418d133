//! Connections of `whoami`: limits, and an orderly stop that loses no request.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::answer;
use super::identity::Identity;
use crate::terminal;

/// Connections open at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 10_000;
/// A request's header must fit into this; hyper answers 431 when it does not.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// A client has this long to send a header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// After SIGTERM, connections without a request stay open for this long, so that one which is on
/// its way is answered (and the connection then closed) rather than reset.
const LAST_REQUESTS: Duration = Duration::from_millis(500);

/// Serves until SIGTERM or Ctrl-C; returns when all that was begun is finished.
pub async fn serve(address: SocketAddr, identity: Identity) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(address).await?;
    terminal::note(&format!("{} listens on http://{}", identity.name, listener.local_addr()?));
    let server = Arc::new(Server { identity, stopping: AtomicBool::new(false) });
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (close, _) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        let slot = tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            Some(_) = connections.join_next() => continue,
            slot = slots.clone().acquire_owned() => slot,
        };
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let connection = server.clone().connection(stream, peer, close.subscribe());
                    connections.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                // Out of descriptors or the like: what is open may end and make room.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
    server.stopping.store(true, Ordering::Relaxed);
    // What the kernel has accepted already is a promise. Asked directly: the runtime may not have
    // heard of it yet.
    let listener = listener.into_std()?;
    while let Ok((stream, peer)) = listener.accept() {
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream)?;
        connections.spawn(server.clone().connection(stream, peer, close.subscribe()));
    }
    drop(listener);
    let all_done = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_REQUESTS, all_done).await.is_err() {
        close.send_replace(());
        while connections.join_next().await.is_some() {}
    }
    Ok(())
}

struct Server {
    identity: Identity,
    stopping: AtomicBool,
}

impl Server {
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        mut close: watch::Receiver<()>,
    ) {
        // A small answer must not wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| async {
            let mut response = answer::answer(&self.identity, peer, request).await;
            if self.stopping.load(Ordering::Relaxed) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // A client that goes away or talks nonsense is its own affair.
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = close.changed() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

#[cfg(test)]
mod tests;
