//! One thread of the data plane: its table, its listeners, its connections.
//!
//! In: route tables, connections that other workers hand over, the word to stop. Out: the version
//! it has adopted ([`ProxyOutput`]), and relayed connections.
//!
//! A worker shares nothing with the others while it relays; tables arrive whole and are replaced
//! between two events. It never blocks: whatever waits is a task of its event loop.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::spawn_local;
use tracing::{error, warn};
use waymark_routing::{BindOptions, Mode};

use crate::config::{BUFFER_LEN, ProxyConfig, WARN_EVERY};
use crate::h2;
use crate::http::access_log::AccessLog;
use crate::http::counters::HttpCounters;
use crate::http::state::HttpState;
use crate::limits::descriptor_budget;
use crate::listen::{Conn, Listeners, Open, Slot, Sockets, Sources, Terminators, dispatch};
use crate::output::ProxyOutput;
use crate::port::{Port, count};
use crate::route::{Front, ListenKey, RouteTable};
use crate::stats::Totals;
use crate::tls::{Certificates, Connectors, Terminator};
use crate::udp;
use crate::upstream;

/// What all workers share: settings, limits and sums.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: ProxyConfig,
    pub(crate) output: Arc<ProxyOutput>,
    pub(crate) max_connections: usize,
    /// One permit a client.
    connections: Arc<Semaphore>,
    /// One permit a descriptor: two for a connection, one for a listener.
    pub(crate) descriptors: Arc<Semaphore>,
    /// One permit a client that waits for a task.
    pub(crate) held: Semaphore,
    /// Connections of each worker.
    loads: Vec<AtomicUsize>,
    handovers: Vec<mpsc::Sender<Accepted>>,
    /// The listeners that are there whatever the catalog says.
    pub(crate) fronts: Vec<Arc<Port>>,
    pub(crate) certificates: Arc<Certificates>,
    /// TLS with tasks.
    pub(crate) connectors: Connectors,
    /// What ends TLS at the shared port.
    pub(crate) https: Option<Arc<Terminator>>,
    pub(crate) sockets: Arc<Sockets>,
    /// Wakes listeners that could not be bound.
    rebind: Notify,
    sources: Arc<Sources>,
    source_refusals: AtomicU64,
    pub(crate) udp_sessions: AtomicUsize,
    /// How many there may be.
    pub(crate) udp: udp::Most,
    /// What happened on HTTP/2 connections.
    pub(crate) h2: h2::Counters,
    /// A line for every request.
    pub(crate) access_log: Option<Arc<AccessLog>>,
    pub(crate) http_counters: HttpCounters,
    pub(crate) limit_hits: AtomicU64,
    pub(crate) accept_pauses: AtomicU64,
    handed_over: AtomicU64,
    started: Instant,
    last_warning: AtomicU64,
}

/// A worker has this many connections more than another before it hands over new ones, and an
/// eighth more besides: below that the hand-over costs more than the imbalance. It is small because
/// a few connections of HTTP/2 can be all the load there is.
const HANDOVER_SLACK: usize = 1;

/// How often a stopping worker looks whether its last connection has ended.
const STOP_POLL: Duration = Duration::from_millis(5);

/// A client on its way to the worker that will serve it.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) client: std::net::TcpStream,
    pub(crate) conn: Conn,
}

const DESCRIPTORS_EACH: u32 = 2;

impl Shared {
    pub(crate) fn new(
        config: ProxyConfig,
        nofile: u64,
        output: Arc<ProxyOutput>,
        handovers: Vec<mpsc::Sender<Accepted>>,
        sockets: Sockets,
    ) -> Shared {
        let descriptors = descriptor_budget(nofile);
        let max_connections = config
            .max_connections
            .min(descriptors / DESCRIPTORS_EACH as usize)
            .min(Semaphore::MAX_PERMITS);
        let certificates = Certificates::new(config.certificates.clone());
        Shared {
            https: https(&config, &certificates),
            certificates,
            connectors: Connectors::default(),
            output,
            max_connections,
            connections: Arc::new(Semaphore::new(max_connections)),
            descriptors: Arc::new(Semaphore::new(descriptors)),
            held: Semaphore::new(config.max_held.min(Semaphore::MAX_PERMITS)),
            fronts: fronts(&config),
            sockets: Arc::new(sockets),
            rebind: Notify::new(),
            sources: Arc::new(Sources::new(config.limits.connections_per_source)),
            source_refusals: AtomicU64::new(0),
            udp_sessions: AtomicUsize::new(0),
            udp: udp::Most::new(&config.limits, descriptors),
            access_log: access_log(&config),
            http_counters: HttpCounters::default(),
            config,
            loads: handovers.iter().map(|_| AtomicUsize::new(0)).collect(),
            handovers,
            h2: h2::Counters::default(),
            limit_hits: AtomicU64::new(0),
            accept_pauses: AtomicU64::new(0),
            handed_over: AtomicU64::new(0),
            started: Instant::now(),
            last_warning: AtomicU64::new(0),
        }
    }

    /// Milliseconds on the workers' common clock; never 0.
    pub(crate) fn clock_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Whether enough time has passed for another warning about a limit.
    pub(crate) fn may_warn(&self) -> bool {
        let (now, last) = (self.clock_ms(), self.last_warning.load(Relaxed));
        let due = last == 0 || u128::from(now - last.min(now)) >= WARN_EVERY.as_millis();
        due && self.last_warning.compare_exchange(last, now, Relaxed, Relaxed).is_ok()
    }

    /// A slot if one is free.
    pub(crate) fn try_slot(&self) -> Option<Slot> {
        let connection = self.connections.clone().try_acquire_owned().ok()?;
        let descriptors = self.descriptors.clone().try_acquire_many_owned(DESCRIPTORS_EACH).ok()?;
        Some(Slot { _connection: connection, _descriptors: descriptors })
    }

    /// A slot as soon as one is free; `None` only if the semaphores are closed, which they never
    /// are.
    pub(crate) async fn slot(&self) -> Option<Slot> {
        let connection = self.connections.clone().acquire_owned().await.ok()?;
        let descriptors =
            self.descriptors.clone().acquire_many_owned(DESCRIPTORS_EACH).await.ok()?;
        Some(Slot { _connection: connection, _descriptors: descriptors })
    }

    /// Waits until a port that could not be bound is worth another try.
    pub(crate) async fn rebind_after(&self, pause: Duration) {
        // Both the time and the word lead to the same.
        let _ = tokio::time::timeout(pause, self.rebind.notified()).await;
    }

    /// Has every port that could not be bound tried again now.
    pub(crate) fn rebind_now(&self) {
        self.rebind.notify_waiters();
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            connections: self.loads.iter().map(|load| load.load(Relaxed)).sum(),
            max_connections: self.max_connections,
            limit_hits: self.limit_hits.load(Relaxed),
            accept_pauses: self.accept_pauses.load(Relaxed),
            handed_over: self.handed_over.load(Relaxed),
            source_refusals: self.source_refusals.load(Relaxed),
            udp_sessions: self.udp_sessions.load(Relaxed),
            max_udp_sessions: self.udp.all,
            max_udp_service_sessions: self.udp.each,
        }
    }

    pub(crate) fn workers(&self) -> usize {
        self.loads.len()
    }

    fn load(&self, worker: usize) -> usize {
        self.loads.get(worker).map_or(0, |load| load.load(Relaxed))
    }

    /// One connection more at the worker.
    pub(crate) fn add_load(&self, worker: usize) {
        if let Some(load) = self.loads.get(worker) {
            load.fetch_add(1, Relaxed);
        }
    }

    /// One connection fewer at the worker.
    pub(crate) fn remove_load(&self, worker: usize) {
        if let Some(load) = self.loads.get(worker) {
            load.fetch_sub(1, Relaxed);
        }
    }

    /// Who serves a client that worker `own` has accepted.
    fn worker_for(&self, own: usize) -> usize {
        if self.loads.len() < 2 {
            return own;
        }
        let least = self.loads.iter().map(|l| l.load(Relaxed)).zip(0..).min();
        let (least, idlest) = least.unwrap_or((0, own));
        if self.load(own) > least + HANDOVER_SLACK + least / 8 { idlest } else { own }
    }

    /// Gives a client to another worker; gives it back if that one's queue is full.
    fn hand_over(&self, worker: usize, accepted: Accepted) -> Option<Accepted> {
        let Some(queue) = self.handovers.get(worker) else { return Some(accepted) };
        match queue.try_send(accepted) {
            Ok(()) => {
                count(&self.handed_over);
                None
            }
            Err(TrySendError::Full(back) | TrySendError::Closed(back)) => Some(back),
        }
    }
}

/// The access log, if one is wanted and its thread can be had.
fn access_log(config: &ProxyConfig) -> Option<Arc<AccessLog>> {
    let started = AccessLog::start(config.access_log.as_ref()?);
    started.inspect_err(|error| warn!(%error, "there is no access log: no thread for it")).ok()
}

/// The configured listeners.
fn fronts(config: &ProxyConfig) -> Vec<Arc<Port>> {
    let fronts = [
        (Front::Http, config.http_port),
        (Front::Https, config.https_port),
        (Front::AppId, config.appid_port),
    ];
    let wanted = fronts.into_iter().filter_map(|(front, port)| Some((front, port?)));
    wanted.map(|(front, port)| Arc::new(Port::of(front, port))).collect()
}

/// One worker. Lives on its thread and is never sent to another.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    tables: watch::Receiver<Arc<RouteTable>>,
    table: RefCell<Arc<RouteTable>>,
    /// Whether this worker accepts nothing any more and lets what it has come to an end.
    stopping: watch::Sender<bool>,
    /// TLS of service ports.
    pub(crate) terminators: Terminators,
    /// What datagrams are read into, once there are any. Empty between two events.
    pub(crate) datagrams: RefCell<Option<udp::Room>>,
    /// Wakes the clients that are held, when the table has changed.
    pub(crate) table_changed: Notify,
    random: RefCell<SmallRng>,
    /// What every relay of this worker reads into. Empty between two events.
    pub(crate) buffer: RefCell<Box<[u8]>>,
    /// What its HTTP connections use in turn.
    pub(crate) http: HttpState,
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        shared: Arc<Shared>,
        tables: watch::Receiver<Arc<RouteTable>>,
    ) -> Worker {
        let http = HttpState::new(shared.config.limits.waiting_passwords);
        Worker {
            index,
            shared,
            tables,
            table: RefCell::default(),
            stopping: watch::Sender::new(false),
            terminators: Terminators::default(),
            datagrams: RefCell::default(),
            table_changed: Notify::new(),
            random: RefCell::new(SmallRng::seed_from_u64(rand::random())),
            buffer: RefCell::new(vec![0; BUFFER_LEN].into_boxed_slice()),
            http,
        }
    }

    /// Works until told to stop, then lets connections end until the deadline; what is left is
    /// reset when the event loop is dropped.
    pub(crate) async fn run(
        self: Rc<Worker>,
        handed: mpsc::Receiver<Accepted>,
        mut stop: watch::Receiver<Option<Instant>>,
        closed: mpsc::Sender<()>,
    ) {
        spawn_local(self.clone().take_over(handed));
        spawn_local(upstream::keep_swept(self.clone()));
        let mut tables = self.tables.clone();
        tables.mark_changed();
        let mut listeners = Listeners::new(self.clone());
        listeners.open_fronts();
        let deadline = loop {
            tokio::select! {
                // An error means that the table's thread has ended: the last table stays.
                Ok(()) = tables.changed() => {
                    tables.mark_unchanged();
                    let table = self.adopt_latest();
                    listeners.follow(&table).await;
                    listeners.open_fronts();
                    self.shared.output.set_applied(self.index, table.version);
                }
                stopping = stop.wait_for(Option::is_some) => {
                    break stopping.ok().and_then(|deadline| *deadline);
                }
            }
        };
        self.stopping.send_replace(true);
        listeners.close_all().await;
        self.http.stop();
        drop(closed);
        while self.shared.load(self.index) > 0 && deadline.is_some_and(|d| Instant::now() < d) {
            tokio::time::sleep(STOP_POLL).await;
        }
    }

    /// Puts the newest table in the place of the present one. From here on no endpoint is picked
    /// that the newest table does not offer.
    fn adopt_latest(&self) -> Arc<RouteTable> {
        let latest = self.tables.borrow().clone();
        if latest.version > self.table.borrow().version {
            self.table.replace(latest.clone());
            self.terminators.follow(&latest);
            self.table_changed.notify_waiters();
        }
        latest
    }

    /// The table as this worker has it. The guard must not be held across an `await`.
    pub(crate) fn table(&self) -> std::cell::Ref<'_, Arc<RouteTable>> {
        self.table.borrow()
    }

    /// The port as it is in this worker's table.
    pub(crate) fn port(&self, key: &ListenKey) -> Option<Arc<Port>> {
        self.table.borrow().listeners.get(key).map(|route| route.port.clone())
    }

    /// Waits until connections are to end when they can without harm: a kept one after the answer
    /// that is under way, with a word of it to the client.
    pub(crate) async fn stopping(&self) {
        // The sender lives as long as the worker.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Whether this worker listens on the port, and accepts for all workers.
    pub(crate) fn owns(&self, port: u16) -> bool {
        usize::from(port) % self.shared.workers() == self.index
    }

    /// A random number from 0 to `n` - 1; 0 for 0.
    pub(crate) fn random_below(&self, n: u32) -> u32 {
        self.random.borrow_mut().random_range(0..n.max(1))
    }

    /// Serves a client here, or hands it to a worker that has less to do.
    pub(crate) fn place(
        self: &Rc<Worker>,
        client: std::net::TcpStream,
        peer: SocketAddr,
        local: SocketAddr,
        port: Arc<Port>,
        slot: Slot,
    ) {
        let Ok(place) = self.shared.sources.enter(peer.ip()) else {
            count(&self.shared.source_refusals);
            // Reset: it fails only on a socket that is no longer connected.
            let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            return;
        };
        let target = self.shared.worker_for(self.index);
        let open = Open::new(self.shared.clone(), target, port.clone(), slot, place);
        let mut accepted = Accepted { client, conn: Conn::new(peer, local, port, open) };
        if target != self.index {
            let Some(back) = self.shared.hand_over(target, accepted) else { return };
            accepted = back;
            accepted.conn.move_to(self.index);
        }
        self.serve_accepted(accepted);
    }

    async fn take_over(self: Rc<Worker>, mut handed: mpsc::Receiver<Accepted>) {
        while let Some(accepted) = handed.recv().await {
            // Who accepted it may have a newer table, in which the port has just appeared.
            self.adopt_latest();
            self.serve_accepted(accepted);
        }
    }

    fn serve_accepted(self: &Rc<Worker>, accepted: Accepted) {
        // Only a broken event loop refuses a socket; the client is then closed.
        if let Ok(client) = TcpStream::from_std(accepted.client) {
            dispatch::serve(self.clone(), client, accepted.conn);
        }
    }
}

/// What ends TLS at the shared port, if there is one. Without it connections there are closed.
fn https(config: &ProxyConfig, certificates: &Arc<Certificates>) -> Option<Arc<Terminator>> {
    config.https_port?;
    let made = certificates.terminator(&[], Mode::Http, &BindOptions::default());
    made.inspect_err(|error| error!(%error, "the port of TLS cannot be served")).ok()
}
