//! Listening, on the shared ports and on service ports.
//!
//! In: settings and tables (which ports there are). Out: accepted clients, placed on a worker, and
//! each port's [`ListenerState`]. A port belongs to one worker, by its number, so descriptors grow
//! with ports and not with ports times workers; that worker accepts for all and hands over what
//! others have more time for, before it has spent anything on the connection but `accept`.
//!
//! A port that cannot be bound is tried again with growing pauses and harms no other. Closing a
//! listener never touches the connections it has accepted.

mod acceptor;
mod bind;
pub mod client_hello;
mod conn;
pub(crate) mod dispatch;
mod first_bytes;
mod sockets;
mod sources;
mod terminators;

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use nix::errno::Errno;
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tracing::{info, warn};

use crate::config::{ACCEPT_PAUSE, ACCEPT_RETRY, REBIND};
use crate::port::{Port, count};
use crate::route::{ListenKey, RouteTable};
use crate::stats::ListenerState;
use crate::udp;
use crate::worker::{Shared, Worker};
use bind::{Bound, BoundTcp, Place, bind};
pub(crate) use conn::{Conn, Open, Slot};
pub use sockets::{SocketKey, Sockets};
pub(crate) use sources::Sources;
pub(crate) use terminators::Terminators;

/// Ports opened in one go before connections get their turn again.
const OPEN_AT_ONCE: usize = 32;

/// The listeners of one worker.
pub(crate) struct Listeners {
    worker: Rc<Worker>,
    /// Those of the shared ports.
    fronts: Vec<JoinHandle<()>>,
    followed: Arc<RouteTable>,
    open: HashMap<ListenKey, JoinHandle<()>, foldhash::fast::RandomState>,
}

impl Listeners {
    pub(crate) fn new(worker: Rc<Worker>) -> Listeners {
        let (fronts, open) = (Vec::new(), HashMap::default());
        Listeners { worker, fronts, followed: Arc::default(), open }
    }

    /// Opens the shared ports that are this worker's, if they are not open. They are there before
    /// any table is: who asks that early is told that nothing has a route. Inherited ones wait for
    /// the first table, for until then the process before knows better.
    pub(crate) fn open_fronts(&mut self) {
        let shared = self.worker.shared.clone();
        let no_table = self.followed.version == 0;
        if !self.fronts.is_empty() || (no_table && shared.sockets.has_inherited()) {
            return;
        }
        let own = shared.fronts.iter().filter(|p| self.worker.owns(p.number));
        self.fronts = own.map(|port| self.start(port)).collect();
    }

    /// Opens and closes what changed since the table followed last. When this returns, every port
    /// of this worker listens or says why it does not.
    pub(crate) async fn follow(&mut self, table: &Arc<RouteTable>) {
        let before = std::mem::replace(&mut self.followed, table.clone());
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for item in before.listeners.diff(&table.listeners) {
            match item {
                DiffItem::Add(key, route) => added.push((*key, &route.port)),
                DiffItem::Remove(key, _) => removed.push(*key),
                // Gone and back between two looks: the listener stands, the counters are new.
                DiffItem::Update { old: (_, old), new: (_, new) } => {
                    if !Arc::ptr_eq(&old.port, &new.port) {
                        new.port.set_listener(old.port.listener());
                    }
                }
            }
        }
        self.close(removed).await;
        added.retain(|(key, _)| self.worker.owns(key.port));
        for (n, (key, port)) in added.into_iter().enumerate() {
            self.open(key, port);
            if n % OPEN_AT_ONCE == OPEN_AT_ONCE - 1 {
                yield_now().await;
            }
        }
    }

    /// Closes every listener. Those of UDP stop by themselves when the worker is stopping, and end
    /// with their last session.
    pub(crate) async fn close_all(&mut self) {
        let mut all = std::mem::take(&mut self.fronts);
        let tcp = self.open.drain().filter(|(key, _)| !key.udp);
        all.extend(tcp.map(|(_, listener)| listener));
        close(all).await;
    }

    async fn close(&mut self, keys: Vec<ListenKey>) {
        close(keys.iter().filter_map(|key| self.open.remove(key)).collect()).await;
    }

    fn open(&mut self, key: ListenKey, port: &Arc<Port>) {
        let shared = &self.worker.shared;
        let listen = shared.config.listen;
        let same_ip = key.ip.is_none_or(|ip| ip == listen || listen.is_unspecified());
        let taken = !key.udp && shared.fronts.iter().any(|front| front.number == port.number);
        if (taken && same_ip) || shared.config.reserved_ports.contains(&port.number) {
            warn!(port = port.number, "service port not listened on: Waymark itself needs it");
            port.set_listener(ListenerState::Reserved);
            return;
        }
        let task = self.start(port);
        self.open.insert(key, task);
    }

    /// Binds at once, so that the state is known when this returns, and accepts from then on.
    fn start(&self, port: &Arc<Port>) -> JoinHandle<()> {
        let source = Place::of(port);
        let bound = bind(&self.worker.shared, &source);
        match &bound {
            Ok(_) => port.set_listener(ListenerState::Listening),
            Err(reason) => {
                warn!(port = port.number, %reason, "port not listened on; trying again");
                port.set_listener(ListenerState::Failed(reason.to_string()));
            }
        }
        spawn_local(listen(self.worker.clone(), source, bound))
    }
}

/// Closes the listeners and waits until they are closed, so that a port can be bound again.
async fn close(closing: Vec<JoinHandle<()>>) {
    closing.iter().for_each(JoinHandle::abort);
    for listener in closing {
        // The error says that it was aborted, which is the aim.
        let _ = listener.await;
    }
}

/// Binds until it succeeds, then accepts until aborted.
async fn listen(worker: Rc<Worker>, source: Place, mut bound: io::Result<Bound>) {
    let (mut pause, longest) = REBIND;
    let bound = loop {
        match bound {
            Ok(bound) => break bound,
            Err(_) => worker.shared.rebind_after(pause).await,
        }
        pause = (pause * 2).min(longest);
        bound = bind(&worker.shared, &source);
        let Some(port) = source.port(&worker) else { return };
        match &bound {
            Ok(_) => {
                info!(port = source.number, "port listened on");
                port.set_listener(ListenerState::Listening);
            }
            Err(reason) => port.set_listener(ListenerState::Failed(reason.to_string())),
        }
    };
    match (bound, source.key()) {
        (Bound::Tcp(bound), _) => accept(&worker, &source, &bound).await,
        (Bound::Udp(bound), Some(key)) => udp::serve(worker, key, bound.socket).await,
        (Bound::Udp(_), None) => {}
    }
}

async fn accept(worker: &Rc<Worker>, source: &Place, bound: &BoundTcp) {
    let shared = &worker.shared;
    loop {
        match bound.listener.accept().await {
            Ok((client, peer)) => {
                let slot = match shared.try_slot() {
                    Some(slot) => slot,
                    None => match wait_for_slot(shared).await {
                        Some(slot) => slot,
                        None => return,
                    },
                };
                // Without a route the port has just been removed and this task is being aborted.
                if let Some(port) = source.port(worker) {
                    worker.place(client, peer, bound.address, port, slot);
                }
            }
            Err(error) if is_exhaustion(&error) => {
                count(&shared.accept_pauses);
                if shared.may_warn() {
                    warn!(port = source.number, %error, "accepting pauses: the system's limit is \
                        reached (open files: ulimit -n)");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            // Mostly the client was gone before it was accepted (accept(2): ECONNABORTED and the
            // network errors that Linux passes on). An error that lasts must not keep the worker busy.
            Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
        }
    }
}

async fn wait_for_slot(shared: &Shared) -> Option<Slot> {
    count(&shared.limit_hits);
    if shared.may_warn() {
        warn!(limit = shared.max_connections, "accepting waits: all connections are in use");
    }
    shared.slot().await
}

fn is_exhaustion(error: &io::Error) -> bool {
    let exhausted = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.contains(&Errno::from_raw(code)))
}
