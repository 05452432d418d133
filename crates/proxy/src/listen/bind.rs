//! Binding: the sockets of ports, new ones or inherited ones.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::OwnedSemaphorePermit;

use super::acceptor::Acceptor;
use super::sockets::SocketKey;
use crate::config::LISTEN_BACKLOG;
use crate::limits::probes;
use crate::port::Port;
use crate::route::{Front, ListenKey};
use crate::udp;
use crate::worker::{Shared, Worker};

/// A bound port.
pub(super) enum Bound {
    Tcp(BoundTcp),
    Udp(BoundUdp),
}

/// A port of TCP with its descriptor's permit.
pub(super) struct BoundTcp {
    pub(super) listener: Arc<Acceptor>,
    pub(super) address: SocketAddr,
    _descriptor: OwnedSemaphorePermit,
}

/// A port of UDP with its descriptor's permit.
pub(super) struct BoundUdp {
    pub(super) socket: Arc<UdpSocket>,
    _descriptor: OwnedSemaphorePermit,
}

/// Where a listener is, and where it finds what it counts at.
pub(super) struct Place {
    pub(super) number: u16,
    /// The address, if not the configured one.
    ip: Option<IpAddr>,
    found: Found,
}

enum Found {
    /// Of a shared port: here.
    Here(Arc<Port>),
    /// Of a service port: in the table, with which it goes.
    InTable(ListenKey),
}

impl Place {
    pub(super) fn of(port: &Arc<Port>) -> Place {
        match port.front {
            Front::Service(key) => {
                Place { number: key.port, ip: key.ip, found: Found::InTable(key) }
            }
            _ => Place { number: port.number, ip: None, found: Found::Here(port.clone()) },
        }
    }

    /// What is counted at, as this worker knows it.
    pub(super) fn port(&self, worker: &Worker) -> Option<Arc<Port>> {
        match &self.found {
            Found::Here(port) => Some(port.clone()),
            Found::InTable(key) => worker.port(key),
        }
    }

    /// The service port; `None` = a shared one.
    pub(super) fn key(&self) -> Option<ListenKey> {
        match &self.found {
            Found::Here(_) => None,
            Found::InTable(key) => Some(*key),
        }
    }
}

/// Binds the port, or takes the inherited socket of it.
pub(super) fn bind(shared: &Shared, place: &Place) -> io::Result<Bound> {
    let _descriptor = shared.descriptors.clone().try_acquire_owned().map_err(|_| {
        io::Error::other("no file descriptor left for it (raise the limit: ulimit -n)")
    })?;
    let address = SocketAddr::new(place.ip.unwrap_or(shared.config.listen), place.number);
    if place.key().is_some_and(|key| key.udp) {
        return Ok(Bound::Udp(BoundUdp { socket: bind_udp(shared, address)?, _descriptor }));
    }
    let key = SocketKey::Tcp(address);
    let socket = match shared.sockets.take(&key) {
        Some(inherited) => Socket::from(inherited),
        None => tcp_socket(address, shared.config.limits.peer_timeout)?,
    };
    // The backlog of an inherited socket may be another one.
    socket.listen(LISTEN_BACKLOG)?;
    let listener = Arc::new(Acceptor::new(socket.into())?);
    shared.sockets.opened(key, &listener);
    Ok(Bound::Tcp(BoundTcp { listener, address, _descriptor }))
}

fn bind_udp(shared: &Shared, address: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let key = SocketKey::Udp(address);
    let socket = match shared.sockets.take(&key) {
        Some(inherited) => inherited.into(),
        None => udp::bind(address)?,
    };
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    shared.sockets.opened(key, &socket);
    Ok(socket)
}

fn tcp_socket(address: SocketAddr, peer_timeout: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // A port whose old connections still linger can be listened on; one with a listener cannot.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit what is set here: some system calls less for each.
    socket.set_tcp_nodelay(true)?;
    // No limit for unacknowledged bytes (TCP_USER_TIMEOUT): it would also end the connection of a
    // client that is there and reads nothing for a while, as a paused one does.
    socket.set_tcp_keepalive(&probes(peer_timeout))?;
    socket.bind(&address.into())?;
    Ok(socket)
}
