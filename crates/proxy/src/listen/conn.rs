//! What is known about a client's connection, and that it counts while it exists.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::OwnedSemaphorePermit;

use super::first_bytes::canonical;
use super::sources::Place;
use crate::port::{Port, count};
use crate::route::Front;
use crate::tls::Terminator;
use crate::worker::Shared;

/// A client's connection as everything behind the listener sees it. Whoever serves the connection
/// holds it until the client's socket has been closed: while it exists the connection counts.
#[derive(Debug)]
pub(crate) struct Conn {
    /// Where it came in.
    pub(crate) front: Front,
    /// Whether its bytes came over TLS that ended here.
    pub(crate) secure: bool,
    /// Who the client is: as a PROXY header said, else who is connected. An IPv4 address is one,
    /// also on a socket of both families.
    pub(crate) source: SocketAddr,
    /// Where the client connected to: as a PROXY header said, else the socket's address. On service
    /// ports that are relayed as they are, the listener's (asking the socket would cost a call).
    pub(crate) local: SocketAddr,
    /// The server name of its TLS, in lower case.
    pub(crate) sni: Option<Box<str>>,
    /// What ended its TLS; `None` when it came in clear.
    pub(crate) terminator: Option<Arc<Terminator>>,
    /// The listener with its counters.
    pub(crate) port: Arc<Port>,
    /// What it holds.
    open: Open,
}

impl Conn {
    /// A connection just accepted; it counts from here.
    pub(crate) fn new(peer: SocketAddr, local: SocketAddr, port: Arc<Port>, open: Open) -> Conn {
        let (front, source) = (port.front, canonical(peer));
        let terminator = None;
        Conn { front, secure: false, source, local, sni: None, terminator, port, open }
    }

    /// Whether it may carry requests for this host (without port). If not, the answer is 421.
    pub(crate) fn covers(&self, host: &str) -> bool {
        let terminator = self.terminator.as_ref();
        terminator.is_none_or(|terminator| terminator.covers(self.sni.as_deref(), host))
    }

    /// Now another worker serves it.
    pub(crate) fn move_to(&mut self, worker: usize) {
        self.open.move_to(worker);
    }
}

/// The right to have one more client and its two descriptors; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) _connection: OwnedSemaphorePermit,
    pub(crate) _descriptors: OwnedSemaphorePermit,
}

/// Counts a client, at its port and its worker, while it exists.
#[derive(Debug)]
pub(crate) struct Open {
    shared: Arc<Shared>,
    worker: usize,
    port: Arc<Port>,
    _slot: Slot,
    _place: Option<Place>,
}

impl Open {
    /// Counts from now.
    pub(crate) fn new(
        shared: Arc<Shared>,
        worker: usize,
        port: Arc<Port>,
        slot: Slot,
        place: Option<Place>,
    ) -> Open {
        count(&port.counters.accepted);
        port.counters.active.fetch_add(1, Relaxed);
        shared.add_load(worker);
        Open { shared, worker, port, _slot: slot, _place: place }
    }

    fn move_to(&mut self, worker: usize) {
        self.shared.remove_load(self.worker);
        self.shared.add_load(worker);
        self.worker = worker;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.port.counters.active.fetch_sub(1, Relaxed);
        self.shared.remove_load(self.worker);
    }
}
