//! The load balancer as the program sees it: start, ask, stop.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{Mutex, mpsc, watch};
use tracing::warn;
use waymark_catalog::{Output, Reader};
use waymark_model::{Catalog, Timestamp};

use crate::checks;
use crate::config::{HANDOVER_QUEUE, HTTPS_PORT, ProxyConfig};
use crate::h2::Counters as Http2Counters;
use crate::handover::Inherited;
use crate::http::counters::HttpTotals;
use crate::limits::{NofileError, nofile_limit};
use crate::listen::{SocketKey, Sockets};
use crate::output::ProxyOutput;
use crate::route::{
    self, Affinity, Explanation, Exposure, Front, Notices, Pool, RouteTable, TableBuilder,
};
use crate::stats::{PortStats, Totals, listener_stats, port_stats, udp_stats};
use crate::tls::{AuthoritiesStatus, Certificates};
use crate::usage::Usage;
use crate::worker::{Accepted, Shared, Worker};

/// The load balancer could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The limit of open files is unknown.
    #[error(transparent)]
    Nofile(#[from] NofileError),
    /// A thread or its event loop could not be made.
    #[error("the load balancer's thread {name} could not be started: {source}")]
    Thread {
        /// The thread's name.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// An app's labels that are logged with what is wrong with them, at most, when they change.
const MAX_TOLD: usize = 20;

/// How often a new process looks whether its workers have routes.
const READY_POLL: Duration = Duration::from_millis(5);

/// A running load balancer. Dropping it resets every connection; [`Proxy::stop`] lets them end.
pub struct Proxy {
    shared: Arc<Shared>,
    tables: watch::Receiver<Arc<RouteTable>>,
    stop: watch::Sender<Option<Instant>>,
    /// Closed when the last listener has been closed.
    closed: Mutex<mpsc::Receiver<()>>,
    /// Closed when the last thread has ended.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Proxy {
    /// Starts the threads. Listeners appear once the catalog has a version; until then nothing is
    /// listened on.
    pub fn start(config: ProxyConfig, reader: Reader) -> Result<Proxy, StartError> {
        Proxy::start_with(config, reader, Inherited::default())
    }

    /// Starts with the sockets of the process before. They are accepted from once the catalog has a
    /// version; [`Proxy::ready`] says when.
    pub fn start_with(
        config: ProxyConfig,
        reader: Reader,
        inherited: Inherited,
    ) -> Result<Proxy, StartError> {
        let workers = match config.workers {
            0 => thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let usage = Arc::new(Usage::default());
        let output = Arc::new(ProxyOutput::new(workers, usage.clone()));
        let builder = TableBuilder::new(exposure(&config), is_local, usage);
        let (handovers, handed): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| mpsc::channel::<Accepted>(HANDOVER_QUEUE)).unzip();
        let (soft, _) = nofile_limit()?;
        let sockets = Sockets::inheriting(inherited.0);
        let shared = Arc::new(Shared::new(config, soft, output, handovers, sockets));
        let (publish, tables) = watch::channel(Arc::default());
        let (stop, stopping) = watch::channel(None);
        let (alive, ended) = mpsc::channel(1);
        let (listening, closed) = mpsc::channel(1);
        // On an error below `stop` is dropped, which ends the threads that run already.
        for (index, handed) in handed.into_iter().enumerate() {
            let (shared, tables) = (shared.clone(), tables.clone());
            let (stopping, alive, listening) = (stopping.clone(), alive.clone(), listening.clone());
            spawn(&format!("proxy-{index}"), move |runtime| {
                let worker = Rc::new(Worker::new(index, shared, tables));
                runtime.block_on(worker.run(handed, stopping, listening));
                // A file or password that is being read is not waited for.
                runtime.shutdown_background();
                drop(alive);
            })?;
        }
        if let Some(settings) = shared.config.active_checks {
            let (tables, stopping, alive) = (tables.clone(), stopping.clone(), alive.clone());
            spawn("proxy-checks", move |runtime| {
                runtime.block_on(checks::run(settings, tables, stopping));
                runtime.shutdown_background();
                drop(alive);
            })?;
        }
        spawn("proxy-table", move |runtime| {
            runtime.block_on(follow(reader, builder, publish, stopping));
            drop(alive);
        })?;
        let (closed, ended) = (Mutex::new(closed), Mutex::new(ended));
        Ok(Proxy { shared, tables, stop, closed, ended })
    }

    /// For whoever drains tasks.
    pub fn output(&self) -> Arc<dyn Output> {
        self.shared.output.clone()
    }

    /// Every service port, in order.
    pub fn stats(&self) -> Vec<PortStats> {
        let table = self.tables.borrow().clone();
        port_stats(&table)
    }

    /// Every service port of UDP, in order; its connections are sessions.
    pub fn udp_stats(&self) -> Vec<PortStats> {
        let table = self.tables.borrow().clone();
        udp_stats(&table)
    }

    /// The shared ports that are listened on, by what comes in there.
    pub fn fronts(&self) -> Vec<(Front, PortStats)> {
        self.shared.fronts.iter().map(|port| (port.front, listener_stats(port))).collect()
    }

    /// All ports together.
    pub fn totals(&self) -> Totals {
        self.shared.totals()
    }

    /// The certificates: their status, a reload, what happened in handshakes.
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.shared.certificates
    }

    /// The files of authorities by which tasks are verified, as far as they were used and the
    /// present routes name them.
    pub fn authorities(&self) -> Vec<AuthoritiesStatus> {
        let table = self.table();
        let rules = table.pools.values().filter_map(|pool| pool.rules.backend.tls.as_ref());
        let named: HashSet<&Path> =
            rules.filter_map(|tls| tls.ca.as_deref().filter(|_| !tls.insecure)).collect();
        let mut files = self.shared.connectors.status();
        files.retain(|file| named.contains(file.file.as_path()));
        files
    }

    /// What keeps everything from the pool's tasks, whatever their state.
    pub(crate) fn problem(&self, pool: &Pool) -> Option<String> {
        self.shared.connectors.problem(pool.rules.backend.tls.as_ref()?)
    }

    /// Requests that met no service, and what else is counted for all of them together.
    pub fn http_totals(&self) -> HttpTotals {
        let dropped = self.shared.access_log.as_ref().map_or(0, |log| log.dropped());
        self.shared.http_counters.totals(dropped)
    }

    /// Has the access log's file opened anew, as after it was renamed.
    pub fn reopen_access_log(&self) {
        if let Some(log) = &self.shared.access_log {
            log.reopen();
        }
    }

    /// What happened on HTTP/2 connections.
    pub fn http2(&self) -> &Http2Counters {
        &self.shared.h2
    }

    /// What becomes of a request by the present routes, and why.
    pub fn explain(&self, request: &route::Request<'_>, affinity: &Affinity<'_>) -> Explanation {
        let (table, now) = (self.table(), self.shared.clock_ms());
        route::explain(&table, request, affinity, now, rand::random())
    }

    /// Milliseconds on the workers' clock.
    pub(crate) fn clock_ms(&self) -> u64 {
        self.shared.clock_ms()
    }

    /// The present route table.
    pub fn table(&self) -> Arc<RouteTable> {
        self.tables.borrow().clone()
    }

    /// The sockets that are listened on, for [`crate::handover::serve`].
    pub fn sockets(&self) -> Arc<Sockets> {
        self.shared.sockets.clone()
    }

    /// Waits until routes are known and every listener stands or says why it does not; then closes
    /// what was inherited and is not listened on. It returns what that was.
    pub async fn ready(&self) -> Vec<SocketKey> {
        while self.shared.output.applied() == 0 {
            tokio::time::sleep(READY_POLL).await;
        }
        self.shared.sockets.close_untaken()
    }

    /// Tries again at once what could not be bound: the process before has let go.
    pub fn rebind(&self) {
        self.shared.rebind_now();
    }

    /// Closes every listener at once, lets connections end by themselves until `grace` has passed,
    /// resets the rest, and returns when all threads have ended.
    pub async fn stop(&self, grace: Duration) {
        self.stop_then(grace, || ()).await;
    }

    /// As [`Proxy::stop`]; `closed` is called once no listener is left.
    pub async fn stop_then(&self, grace: Duration, closed: impl FnOnce()) {
        self.stop.send_replace(Some(Instant::now() + grace));
        // Nothing is ever sent; they yield when the last one drops its end.
        let _ = self.closed.lock().await.recv().await;
        closed();
        let _ = self.ended.lock().await.recv().await;
    }
}

/// Runs `body` on a new thread with an event loop of its own.
fn spawn(name: &str, body: impl FnOnce(LocalRuntime) + Send + 'static) -> Result<(), StartError> {
    let failed = |source| StartError::Thread { name: name.to_owned(), source };
    let (report, started) = std::sync::mpsc::channel();
    let run = move || {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                let _ = report.send(Ok(()));
                body(runtime);
            }
            Err(error) => {
                let _ = report.send(Err(error));
            }
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(failed)?;
    started.recv().unwrap_or_else(|_| Err(io::Error::other("it ended at once"))).map_err(failed)
}

/// Turns each version of the catalog into a table, until told to stop.
async fn follow(
    mut reader: Reader,
    mut builder: TableBuilder,
    publish: watch::Sender<Arc<RouteTable>>,
    mut stop: watch::Receiver<Option<Instant>>,
) {
    let mut catalog = reader.latest();
    loop {
        take_over(&mut builder, catalog, &publish);
        tokio::select! {
            // Without a writer the last routes stay until the stop.
            Some(changed) = reader.changed() => catalog = changed,
            _ = stop.wait_for(Option::is_some) => return,
        }
    }
}

fn take_over(
    builder: &mut TableBuilder,
    catalog: Arc<Catalog>,
    publish: &watch::Sender<Arc<RouteTable>>,
) {
    // Version 0 means that nothing has been published: an empty table would be a lie.
    if catalog.version <= builder.table().version {
        return;
    }
    let notices = builder.apply(catalog, now());
    publish.send_replace(Arc::new(builder.table().clone()));
    tell(&notices, builder.table());
}

fn tell(notices: &Notices, table: &RouteTable) {
    for key in &notices.shared {
        let apps = table.listeners.get(key).map(|route| &route.apps);
        warn!(
            port = key.port,
            ?apps,
            "several services have one service port: its connections go \
            to all of them"
        );
    }
    for app in &notices.quarantined {
        let Some(quarantined) = table.quarantined.get(app) else { continue };
        for error in quarantined.errors.iter().take(MAX_TOLD) {
            let routes = if quarantined.kept { "the last good routes stay" } else { "no routes" };
            warn!(%app, %error, routes, "the app's labels cannot be read");
        }
    }
    for app in &notices.unapplied {
        let Some(labels) = table.unapplied.get(app) else { continue };
        for label in labels.iter().take(MAX_TOLD) {
            warn!(%app, label = label.label, reason = label.reason, "label without effect");
        }
        if let Some(others @ 1..) = labels.len().checked_sub(MAX_TOLD) {
            warn!(%app, others, "more labels without effect: /v1/quarantine lists them");
        }
    }
    for host in &notices.shadowed {
        warn!(?host, "several services say the same about a host and path: the first gets it all");
    }
}

fn exposure(config: &ProxyConfig) -> Exposure {
    Exposure {
        groups: config.groups.clone(),
        strict: config.strict_mode,
        health: config.health,
        listen: config.listen,
        https_port: config.https_port.unwrap_or(HTTPS_PORT),
    }
}

/// The routes that a load balancer of this configuration would make from a catalog; nothing is
/// started. For who wants to look first.
pub fn routes_of(config: &ProxyConfig, catalog: Arc<Catalog>) -> RouteTable {
    let mut builder = TableBuilder::new(exposure(config), is_local, Arc::default());
    builder.apply(catalog, now());
    builder.table().clone()
}

fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::ZERO + since_1970
}

/// Whether an address belongs to this machine: only such a one can be bound.
fn is_local(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}
