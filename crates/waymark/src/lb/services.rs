//! The parts at work: source ─► catalog ─► load balancer, and the stats port beside them.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use waymark_catalog::{Reader, Writer};
use waymark_proxy::Proxy;
use waymark_proxy::admin::{Admin, AdminConfig};
use waymark_proxy::handover::{Inherited, Predecessor, Successor, Successors};
use waymark_sources::marathon::MarathonSource;

use super::takeover::{self, Takeover};
use super::{Command, view};
use crate::balancer::StatsServer;
use crate::endpoints::Endpoints;
use crate::fronts::Fronts;
use crate::run::StartError;
use crate::run::data_dir::DataDir;
use crate::settings::Loaded;
use crate::{balancer, metrics};

/// How often it is looked whether the first routes are served.
const LOOK: Duration = Duration::from_millis(20);

/// What ends this process.
pub enum Ending {
    /// What follows Marathon has ended by itself, which it does only when it fails.
    SourceFailed,
    /// Another process accepts connections.
    TakenOver(Successor),
}

/// Everything at work.
pub struct Services {
    source: JoinHandle<()>,
    refresh: Arc<Notify>,
    proxy: Arc<Proxy>,
    stats: Option<StatsServer>,
    announcing: JoinHandle<()>,
    successors: Waiting,
    /// The stats port's socket, for a later process.
    offered: Option<Arc<TcpListener>>,
    data: DataDir,
}

impl Services {
    /// Starts everything on the current runtime.
    pub fn start(
        loaded: &Loaded,
        source: MarathonSource,
        data: DataDir,
        mut fronts: Fronts,
        before: Option<Takeover>,
    ) -> Result<Services, StartError> {
        let (writer, reader) = Writer::new(source.last_version());
        let config = balancer::proxy_config(loaded, &fronts, fronts.numbers().collect());
        let (inherited, before) = match before {
            Some(before) => (before.sockets, Some(before.predecessor)),
            None => (Inherited::default(), None),
        };
        let proxy = Arc::new(Proxy::start_with(config, reader.clone(), inherited)?);
        let refresh = source.refresher();
        let mut endpoints = Endpoints::of_this_process(String::new());
        fronts.tell(loaded.settings.listen, &mut endpoints);
        endpoints.api = endpoints.stats.clone().unwrap_or_default();
        let offered = fronts.stats.as_ref().and_then(|s| takeover::offer_stats(&proxy, s));
        let stats = match fronts.stats.take() {
            Some(listener) => {
                let config = admin_config(loaded, &proxy, &source);
                let admin = Arc::new(Admin::new(config, proxy.clone()));
                Some(StatsServer::start(admin, listener)?)
            }
            None => None,
        };
        info!(marathon = %loaded.settings.marathon.0.join(", "), "waiting for Marathon");
        let announcing = tokio::spawn(announce(proxy.clone(), reader, endpoints.clone()));
        let source = tokio::spawn(source.run(writer));
        if let Err(error) = endpoints.write(data.path()) {
            warn!(%error, "endpoints.json cannot be written");
        }
        let successors = successors(data.path().to_owned(), proxy.clone(), before);
        Ok(Services { source, refresh, proxy, stats, announcing, successors, offered, data })
    }

    /// Waits for what ends this process but a signal.
    pub async fn ending(&mut self) -> Ending {
        tokio::select! {
            // The reason of a panic has been written where it happened.
            _ = &mut self.source => Ending::SourceFailed,
            successor = self.successors.next() => Ending::TakenOver(successor),
        }
    }

    /// Does what a signal asks for.
    pub fn obey(&self, command: Command) {
        match command {
            Command::Refresh => {
                self.refresh.notify_one();
                self.proxy.reopen_access_log();
            }
            Command::ReloadCertificates => self.proxy.certificates().reload(),
        }
    }

    /// Stops everything; connections may end by themselves until `grace` has passed. `closed` is
    /// called once nothing is listened on.
    pub async fn stop(self, grace: Duration, closed: impl FnOnce()) {
        let Services { source, proxy, stats, announcing, successors, offered, data, .. } = self;
        if let Err(error) = Endpoints::remove_own(data.path()) {
            warn!(%error, "endpoints.json is left behind");
        }
        if let Waiting::Coming(coming) = successors {
            coming.abort();
            let _ = coming.await;
        }
        drop(offered);
        announcing.abort();
        let _ = announcing.await;
        if !source.is_finished() {
            source.abort();
            // What it has not kept on disk yet it writes now.
            let _ = source.await;
        }
        if let Some(stats) = stats {
            stats.stop().await;
        }
        match Arc::into_inner(proxy) {
            Some(proxy) => proxy.stop_then(grace, closed).await,
            // Somebody still asks it something; the end of the process ends it.
            None => closed(),
        }
    }
}

/// Who may take over.
enum Waiting {
    /// Nobody yet: this process itself is taking over.
    Coming(JoinHandle<Option<Successors>>),
    /// Whoever comes.
    Open(Successors),
    /// Nobody.
    Closed,
}

impl Waiting {
    /// Waits until another process has taken over. Pends for ever while none does.
    async fn next(&mut self) -> Successor {
        if let Waiting::Coming(coming) = self {
            *self = match coming.await {
                Ok(Some(successors)) => Waiting::Open(successors),
                _ => Waiting::Closed,
            };
        }
        match self {
            Waiting::Open(successors) => successors.next().await,
            _ => std::future::pending().await,
        }
    }
}

/// Takes over from the process before, then waits for the one after.
fn successors(data_dir: PathBuf, proxy: Arc<Proxy>, before: Option<Predecessor>) -> Waiting {
    let Some(predecessor) = before else {
        return takeover::wait(&data_dir, &proxy).map_or(Waiting::Closed, Waiting::Open);
    };
    Waiting::Coming(tokio::spawn(async move {
        takeover::complete(proxy.clone(), predecessor).await;
        takeover::wait(&data_dir, &proxy)
    }))
}

/// Says once what is routed, as soon as it is.
async fn announce(proxy: Arc<Proxy>, mut reader: Reader, endpoints: Endpoints) {
    let mut catalog = reader.latest();
    while catalog.version == 0 {
        match reader.changed().await {
            Some(changed) => catalog = changed,
            None => return,
        }
    }
    while proxy.output().applied() < catalog.version {
        tokio::time::sleep(LOOK).await;
    }
    let table = proxy.table();
    info!(
        apps = catalog.apps.len(),
        services = table.pools.len(),
        hosts = table.hosts.len(),
        quarantined = table.quarantined.len(),
        http = endpoints.http.as_deref().unwrap_or("off"),
        https = endpoints.https.as_deref().unwrap_or("off"),
        appid = endpoints.appid.as_deref().unwrap_or("off"),
        stats = endpoints.stats.as_deref().unwrap_or("off"),
        "routing"
    );
}

fn admin_config(loaded: &Loaded, proxy: &Arc<Proxy>, source: &MarathonSource) -> AdminConfig {
    let mut config = AdminConfig::new(env!("CARGO_PKG_VERSION"));
    config.configuration = balancer::describe(loaded);
    let (freshness, status) = (source.freshness(), source.status());
    config.source = Box::new(move || {
        view::source(&freshness.standing(Instant::now()), &status.report(), Instant::now())
    });
    let refresh = source.refresher();
    config.refresh = Box::new(move || {
        refresh.notify_one();
        true
    });
    let (balancer, freshness, status) = (proxy.clone(), source.freshness(), source.status());
    config.metrics.push(Box::new(move |out| {
        metrics::proxy(out, &balancer);
        metrics::marathon(out, &freshness.standing(Instant::now()), &status.report());
    }));
    config
}
