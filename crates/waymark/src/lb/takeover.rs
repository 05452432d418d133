//! A new process in place of a running one, without a refused connection.
//!
//! ```text
//! new: take the sockets ─► routes known ─► "ready" ──► … serves
//! old:                       serves ◄───────────────── lets go, lets its connections end, exits
//! ```
//!
//! Both use one data folder for a while: the lock changes hands when the old one ends, and
//! endpoints.json is the new one's from its start.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{info, warn};
use waymark_proxy::handover::{self, Inherited, Predecessor, Successors};
use waymark_proxy::{Proxy, SocketKey};

use crate::endpoints::Endpoints;
use crate::run::StartError;

/// The name of the stats port's socket.
const STATS: &str = "stats";

/// What is taken over.
pub struct Takeover {
    pub sockets: Inherited,
    pub predecessor: Predecessor,
    /// Where the predecessor listens.
    pub endpoints: Option<Endpoints>,
}

/// The sockets of the process that runs on the data folder; `None` if none does.
pub fn take(data_dir: &Path) -> Result<Option<Takeover>, StartError> {
    let taken = handover::take(&socket(data_dir));
    let taken = taken.map_err(|error| StartError(format!("takeover: {error}")))?;
    Ok(taken.map(|(sockets, predecessor)| {
        info!(sockets = sockets.len(), "taking over from the process that runs");
        Takeover { sockets, predecessor, endpoints: Endpoints::read(data_dir).ok() }
    }))
}

/// The predecessor's socket of the stats port.
pub fn take_stats(sockets: &mut Inherited) -> Option<TcpListener> {
    let listener = TcpListener::from(sockets.take_named(STATS)?);
    listener.set_nonblocking(true).ok()?;
    Some(listener)
}

/// Lets a later process take the stats port's socket, for as long as what this returns lives.
pub fn offer_stats(proxy: &Proxy, listener: &TcpListener) -> Option<Arc<TcpListener>> {
    let offered = Arc::new(listener.try_clone().ok()?);
    proxy.sockets().opened(SocketKey::Named(STATS.to_owned()), &offered);
    Some(offered)
}

/// Waits until this process serves, then has the predecessor let go.
pub async fn complete(proxy: Arc<Proxy>, predecessor: Predecessor) {
    let closed = proxy.ready().await;
    if !closed.is_empty() {
        info!(?closed, "sockets of the process before that are not wanted any more");
    }
    match tokio::task::spawn_blocking(move || predecessor.ready()).await {
        Ok(Ok(())) => info!("the process before has let go"),
        Ok(Err(error)) => warn!(%error, "the process before did not let go in order"),
        Err(error) => warn!(%error, "the process before was not told"),
    }
    proxy.rebind();
}

/// Waits for later processes.
pub fn wait(data_dir: &Path, proxy: &Proxy) -> Option<Successors> {
    match handover::serve(&socket(data_dir), proxy.sockets()) {
        Ok(successors) => Some(successors),
        Err(error) => {
            warn!(%error, "no other process can take over from this one");
            None
        }
    }
}

fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("handover.sock")
}
