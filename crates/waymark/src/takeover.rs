//! A new process in place of a running one, without a refused connection: what `run` and `lb` have in
//! common.
//!
//! ```text
//! new: take the sockets ─► routes known ─► "ready" ──► … serves
//! old:                       serves ◄───────────────── lets go, lets its connections end, exits
//! ```
//!
//! Both use one data folder for a while; endpoints.json is the new one's from its start.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tracing::{info, warn};
use waymark_proxy::handover::{self, Inherited, Kind, Predecessor, Step, Successor, Successors};
use waymark_proxy::{Proxy, SocketKey, Sockets};

use crate::endpoints::Endpoints;
use crate::run::StartError;
use crate::run::data_dir::DataDir;
use crate::settings::Loaded;

/// The name of the stats port's socket.
pub const STATS: &str = "stats";
/// What to do about a data folder that cannot be used.
const NAME_A_FOLDER: &str = "name another folder with --data-dir DIR";
/// How long the lock of a process that was killed is waited for.
pub const GONE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a process that holds the folder and hands nothing over is waited for: it may be just
/// starting, or ending.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked again.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// What is taken over.
pub struct Takeover {
    pub sockets: Inherited,
    pub predecessor: Predecessor,
    /// Where the predecessor listens.
    pub endpoints: Option<Endpoints>,
}

impl Takeover {
    /// The predecessor's listener of this name, if it is where one is wanted; port 0 is anywhere.
    pub fn listener(&mut self, name: &str, ip: IpAddr, port: u16) -> Option<TcpListener> {
        let listener = TcpListener::from(self.sockets.take_named(name)?);
        let address = listener.local_addr().ok()?;
        let is_there = address.ip() == ip && (port == 0 || address.port() == port);
        (is_there && listener.set_nonblocking(true).is_ok()).then_some(listener)
    }

    /// Whether the predecessor carries traffic from this address.
    pub fn carries(&self, address: SocketAddr) -> bool {
        self.sockets.has_tcp(address)
    }
}

/// The data folder; with what is taken over, if that is wanted and somebody runs there. Then the
/// folder's lock is the other one's still.
pub fn enter(loaded: &Loaded, kind: Kind) -> Result<(DataDir, Option<Takeover>), StartError> {
    let (path, setting) = (&loaded.settings.data_dir, loaded.cite("data-dir"));
    let deadline = Instant::now() + START_PATIENCE;
    let mut failed = None;
    loop {
        match loaded.settings.takeover.then(|| handover::take(&socket(path), kind)) {
            Some(Ok(Some((sockets, predecessor)))) => {
                info!(sockets = sockets.len(), "taking over from the process that runs");
                let endpoints = Endpoints::read(path).ok();
                let data = DataDir::beside(path)
                    .map_err(|e| StartError(format!("{setting}: {}: {e}", path.display())))?;
                return Ok((data, Some(Takeover { sockets, predecessor, endpoints })));
            }
            Some(Err(error)) => failed = Some(error),
            Some(Ok(None)) | None => {}
        }
        // Nobody is there, or somebody who is gone by now; or one who has just been started.
        let in_use = match DataDir::take(path, &setting, NAME_A_FOLDER) {
            Ok(data) => {
                if let Some(error) = failed {
                    warn!(%error, "the process before is gone; starting as after a crash");
                }
                return Ok((data, None));
            }
            Err(in_use) => in_use,
        };
        if !loaded.settings.takeover || Instant::now() >= deadline {
            let takeover = |error| StartError(format!("takeover: {error}; that one goes on"));
            return Err(failed.map_or(in_use, takeover));
        }
        std::thread::sleep(TRY_AGAIN);
    }
}

/// Lets a later process take a socket of this one, by this name, for as long as what this returns
/// lives.
pub fn offer(sockets: &Sockets, name: &str, socket: OwnedFd) -> Arc<OwnedFd> {
    let offered = Arc::new(socket);
    sockets.opened(SocketKey::Named(name.to_owned()), &offered);
    offered
}

/// The same for a listener that goes on being used; `None` if there is no descriptor for it.
pub fn offer_listener(
    sockets: &Sockets,
    name: &str,
    listener: &TcpListener,
) -> Option<Arc<OwnedFd>> {
    Some(offer(sockets, name, listener.try_clone().ok()?.into()))
}

/// Waits until this process serves, then has the predecessor let go.
async fn complete(proxy: Option<&Proxy>, predecessor: Predecessor) {
    if let Some(proxy) = proxy {
        let closed = proxy.ready().await;
        if !closed.is_empty() {
            info!(?closed, "sockets of the process before that are not wanted any more");
        }
    }
    match tokio::task::spawn_blocking(move || predecessor.ready()).await {
        Ok(Ok(())) => info!("the process before has let go"),
        Ok(Err(error)) => warn!(%error, "the process before did not let go in order"),
        Err(error) => warn!(%error, "the process before was not told"),
    }
    if let Some(proxy) = proxy {
        proxy.rebind();
    }
}

/// Who may take over from this process.
pub enum Waiting {
    /// Nobody yet: this process itself is taking over.
    Coming(JoinHandle<Option<Successors>>),
    /// Whoever comes.
    Open(Successors),
    /// Nobody.
    Closed,
}

impl Waiting {
    /// Takes over from the process before, if there is one, then waits for the one after.
    pub fn after(
        before: Option<Predecessor>,
        data_dir: &Path,
        proxy: Option<Arc<Proxy>>,
        sockets: Arc<Sockets>,
        kind: Kind,
    ) -> Waiting {
        let path = socket(data_dir);
        let wait = move || match handover::serve(&path, sockets, kind) {
            Ok(successors) => Some(successors),
            Err(error) => {
                warn!(%error, "no other process can take over from this one");
                None
            }
        };
        match before {
            None => wait().map_or(Waiting::Closed, Waiting::Open),
            Some(predecessor) => Waiting::Coming(tokio::spawn(async move {
                complete(proxy.as_deref(), predecessor).await;
                wait()
            })),
        }
    }

    /// What a later process asks for next. Pends for ever while there is none.
    pub async fn step(&mut self) -> Step {
        if let Waiting::Coming(coming) = self {
            *self = match coming.await {
                Ok(Some(successors)) => Waiting::Open(successors),
                _ => Waiting::Closed,
            };
        }
        match self {
            Waiting::Open(successors) => successors.step().await,
            _ => std::future::pending().await,
        }
    }

    /// Waits until another process accepts connections. Pends for ever while none does.
    pub async fn next(&mut self) -> Successor {
        loop {
            if let Step::Ready(successor) = self.step().await {
                return successor;
            }
        }
    }

    /// Ends a take-over that is under way.
    pub async fn end(self) {
        if let Waiting::Coming(coming) = self {
            coming.abort();
            // It was aborted, which is the aim.
            let _ = coming.await;
        }
    }
}

fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("handover.sock")
}
