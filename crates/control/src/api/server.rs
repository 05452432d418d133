//! The connections: accept, bound, hand to HTTP/1.1, and end in order.
//!
//! ```text
//! listener ──► connection (limit, write deadline) ──► hyper ──► Api::answer
//!     ▲                                                            │
//!  shutdown: no new connections; idle ones and event streams end; open requests get a while
//! ```
//!
//! A TLS acceptor has its place between the accepted stream and [`converse`], which takes any
//! stream.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::config::ApiLimits;
use super::write_deadline::WriteDeadline;
use super::{Api, ApiConfig};
use crate::Handle;

/// Pause after a failed accept (too many open files), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a connection above the limit gets.
const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: application/json\r\nContent-Length: 34\r\nConnection: close\r\n\r\n\
    {\"message\":\"Too many connections\"}";

/// Serves the API on `listener` until `shutdown` completes and open requests have ended.
pub async fn serve(
    listener: TcpListener,
    config: ApiConfig,
    handle: Handle,
    shutdown: impl Future<Output = ()>,
) {
    let limits = config.limits.clone();
    let (stop, stopped) = watch::channel(false);
    let api = Arc::new(Api::new(config, handle, stopped.clone()));
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an API connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            refuse(&stream);
            continue;
        };
        // Small answers must not wait for more; a socket that refuses the option still works.
        let _ = stream.set_nodelay(true);
        let stream = WriteDeadline::new(stream, limits.write_timeout);
        let connection = converse(stream, peer, api.clone(), stopped.clone());
        connections.spawn(async move {
            connection.await;
            drop(slot);
        });
    }
    drop(listener);
    // Receivers are in scope, so sending cannot fail.
    let _ = stop.send(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.stop_timeout, all).await.is_err() {
        tracing::warn!("API requests were still open at the stop and were cut off");
    }
}

/// Tells a client that there is no room, without waiting for it.
fn refuse(stream: &TcpStream) {
    // A fresh socket has buffer space for this; a client that is gone already needs no answer.
    let _ = stream.try_write(TOO_MANY_CONNECTIONS);
}

/// Serves one connection until the client ends it or the API stops.
async fn converse<S>(stream: S, peer: SocketAddr, api: Arc<Api>, mut stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(api.answer(request, peer).await) }
    });
    let http = protocol(&api.config.limits);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop_asked(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, %peer, "API connection ended");
    }
}

/// Waits until the API is to stop.
pub(crate) async fn stop_asked(stopped: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: the API has stopped.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn protocol(limits: &ApiLimits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers)
        .max_header_size(limits.header_bytes)
        // As Marathon writes them; scripts match on `Marathon-Deployment-Id:`.
        .title_case_headers(true);
    http
}
