//! The connections.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use crate::tls::Tls;
use crate::write_deadline::WriteDeadline;

/// Pause after a failed accept (too many open files), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection that has asked nothing yet is waited for at the stop.
const FIRST_REQUEST: Duration = Duration::from_millis(500);

/// What a connection above the limit gets.
const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: application/json\r\nContent-Length: 34\r\nConnection: close\r\n\r\n\
    {\"message\":\"Too many connections\"}";

/// What bounds connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; one above is answered 503 and closed.
    pub connections: usize,
    /// Bytes of a request's line and headers; more is answered 431.
    pub header_bytes: usize,
    /// Number of a request's headers; more is answered 431.
    pub headers: usize,
    /// Time for a request's headers, waiting on an idle connection and the beginning of TLS
    /// included; then it is closed.
    pub header_timeout: Duration,
    /// Time a client may take nothing of what is written to it; then it is cut off.
    pub write_timeout: Duration,
    /// Time that open requests get to end at the stop.
    pub stop_timeout: Duration,
}

/// Serves `listener` until `stopped` turns true and open requests have ended. Header names are
/// written as `Title-Case`.
pub async fn serve<H, F, B>(
    listener: TcpListener,
    limits: Limits,
    tls: Option<Tls>,
    mut stopped: watch::Receiver<bool>,
    handler: H,
) where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop_asked(&mut stopped) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            refuse(&stream, tls.is_some());
            continue;
        };
        // Small answers must not wait for more; a socket that refuses the option still works.
        let _ = stream.set_nodelay(true);
        let stream = WriteDeadline::new(stream, limits.write_timeout);
        let (limits, stopped, handler) = (limits.clone(), stopped.clone(), handler.clone());
        let tls = tls.clone();
        connections.spawn(async move {
            match tls {
                None => converse(stream, peer, &limits, stopped, handler).await,
                Some(Tls(acceptor)) => {
                    match tokio::time::timeout(limits.header_timeout, acceptor.accept(stream)).await
                    {
                        Ok(Ok(stream)) => converse(stream, peer, &limits, stopped, handler).await,
                        Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS"),
                        Err(_) => tracing::debug!(%peer, "TLS took too long"),
                    }
                }
            }
            drop(slot);
        });
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.stop_timeout, all).await.is_err() {
        tracing::warn!("HTTP requests were still open at the stop and were cut off");
    }
}

/// Tells a client that there is no room, without waiting for it.
fn refuse(stream: &TcpStream, tls: bool) {
    // A fresh socket has buffer space for this; a client that is gone already needs no answer. Who
    // speaks TLS could not read it.
    if !tls {
        let _ = stream.try_write(TOO_MANY_CONNECTIONS);
    }
}

/// Serves one connection until the client ends it or all stops.
async fn converse<S, H, F, B>(
    stream: S,
    peer: SocketAddr,
    limits: &Limits,
    mut stopped: watch::Receiver<bool>,
    handler: H,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>, SocketAddr) -> F,
    F: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let begun = Notify::new();
    let service = service_fn(|request| {
        begun.notify_one();
        let answer = handler(request, peer);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers)
        .max_header_size(limits.header_bytes)
        // As Marathon writes them; scripts match on `Marathon-Deployment-Id:`.
        .title_case_headers(true);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop_asked(&mut stopped) => {
            // Whoever has just connected is about to ask, and would be cut off.
            let first = tokio::time::timeout(FIRST_REQUEST, begun.notified());
            tokio::select! {
                result = connection.as_mut() => return tell(result, peer),
                _ = first => {}
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    tell(result, peer);
}

fn tell(result: hyper::Result<()>, peer: SocketAddr) {
    if let Err(error) = result {
        tracing::debug!(%error, %peer, "HTTP connection ended");
    }
}

/// Waits until all is to stop.
pub async fn stop_asked(stopped: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: all has stopped.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

#[cfg(test)]
mod tests;
