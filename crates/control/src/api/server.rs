//! The API on its listener, until it is told to stop.

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use waymark_http::Limits;

use super::config::ApiLimits;
use super::{Api, ApiConfig};
use crate::Handle;

/// Serves the API on `listener` until `shutdown` completes and open requests have ended.
pub async fn serve(
    listener: TcpListener,
    config: ApiConfig,
    handle: Handle,
    shutdown: impl Future<Output = ()>,
) {
    let limits = limits(&config.limits);
    let (stop, stopped) = watch::channel(false);
    let api = Arc::new(Api::new(config, handle, stopped.clone()));
    let handler = move |request, peer| {
        let api = api.clone();
        async move { api.answer(request, peer).await }
    };
    let serving = waymark_http::serve(listener, limits, None, stopped, handler);
    let stopping = async {
        shutdown.await;
        // Whoever does not listen any more has stopped.
        let _ = stop.send(true);
    };
    tokio::join!(serving, stopping);
}

fn limits(limits: &ApiLimits) -> Limits {
    Limits {
        connections: limits.connections,
        header_bytes: limits.header_bytes,
        headers: limits.headers,
        header_timeout: limits.header_timeout,
        write_timeout: limits.write_timeout,
        stop_timeout: limits.stop_timeout,
    }
}
