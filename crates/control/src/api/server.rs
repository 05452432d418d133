//! The API on its listener, until it is told to stop.

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use waymark_http::Limits;

use super::config::ApiLimits;
use super::{Api, ApiConfig};
use crate::Handle;

/// The API, to be served; also again, after it was stopped.
pub struct Server {
    api: Arc<Api>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// An API that is not served yet.
    pub fn new(config: ApiConfig, handle: Handle) -> Server {
        let (stop, stopped) = watch::channel(false);
        Server { api: Arc::new(Api::new(config, handle, stopped)), stop }
    }

    /// Serves it on `listener` until `shutdown` completes and open requests have ended. Not to be
    /// called twice at the same time.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let api = self.api.clone();
        let handler = move |request, peer| {
            let api = api.clone();
            async move { api.answer(request, peer).await }
        };
        let stopped = self.stop.subscribe();
        self.stop.send_replace(false);
        let limits = limits(&self.api.config.limits);
        let serving = waymark_http::serve(listener, limits, None, stopped, handler);
        let stopping = async {
            shutdown.await;
            self.stop.send_replace(true);
        };
        tokio::join!(serving, stopping);
    }
}

/// Serves the API on `listener` until `shutdown` completes and open requests have ended.
pub async fn serve(
    listener: TcpListener,
    config: ApiConfig,
    handle: Handle,
    shutdown: impl Future<Output = ()>,
) {
    Server::new(config, handle).serve(listener, shutdown).await;
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
