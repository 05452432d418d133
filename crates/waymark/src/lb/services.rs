//! The parts at work: source ─► catalog ─► load balancer, and the stats port beside them.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use waymark_catalog::{Reader, Writer};
use waymark_proxy::Proxy;
use waymark_proxy::admin::{Admin, AdminConfig};
use waymark_proxy::handover::{Inherited, Kind, Successor};
use waymark_sources::marathon::MarathonSource;

use super::{Command, view};
use crate::balancer::StatsServer;
use crate::endpoints::Endpoints;
use crate::fronts::Fronts;
use crate::run::StartError;
use crate::run::data_dir::DataDir;
use crate::settings::Loaded;
use crate::takeover::{self, Takeover, Waiting};
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
    offered: Option<Arc<OwnedFd>>,
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
        let (stats, sockets) = (fronts.stats.as_ref(), proxy.sockets());
        let offered = stats.and_then(|l| takeover::offer_listener(&sockets, takeover::STATS, l));
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
        let (carrying, kind) = (Some(proxy.clone()), Kind::Traffic);
        let successors = Waiting::after(before, data.path(), carrying, sockets, kind);
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
        successors.end().await;
        drop(offered);
        announcing.abort();
        let _ = announcing.await;
        if !source.is_finished() {
            source.abort();
            // What it has not kept on disk yet it writes now.
            let _ = source.await;
        }
        // What is left to do is done with open connections alone: should the next process fail, yet
        // another one must not wait for them.
        data.release();
        if let Some(stats) = stats {
            stats.stop().await;
        }
        proxy.stop_then(grace, closed).await;
    }
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
