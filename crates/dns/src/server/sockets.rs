//! Binding: separate from serving, so that a taken port is known before anything else has begun.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

/// The sockets of a DNS server, bound and not yet served.
#[derive(Debug)]
pub struct Sockets {
    addresses: Vec<SocketAddr>,
    workers: Vec<WorkerSockets>,
}

/// What one worker serves, on every address.
#[derive(Debug, Default)]
pub(super) struct WorkerSockets {
    /// Blocking.
    pub(super) udp: Vec<UdpSocket>,
    /// Not blocking.
    pub(super) tcp: Vec<TcpListener>,
}

/// Why an address cannot be served.
#[derive(Debug, Error)]
#[error("cannot listen on {transport} {address}: {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// What the system said.
    pub source: io::Error,
}

/// How many free TCP ports are tried until one is free for UDP as well.
const PORT_TRIES: usize = 16;
/// Room for packets that wait, in bytes; the system may give less. Bursts are lost without.
const UDP_BUFFER: usize = 4 << 20;
/// How often a thread that waits for packets looks whether it is to end. The socket itself cannot be
/// shut down to wake it: another process may have it too.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(100);
/// Connections that wait to be accepted.
const TCP_BACKLOG: i32 = 1024;

impl Sockets {
    /// Binds UDP and TCP on each of the addresses, for a number of workers (at least one). Port 0
    /// takes a number that is free for both.
    pub fn bind(addresses: &[SocketAddr], workers: usize) -> Result<Sockets, BindError> {
        let workers = workers.max(1);
        let mut sockets = Sockets { addresses: Vec::new(), workers: Vec::new() };
        sockets.workers.resize_with(workers, WorkerSockets::default);
        // One that takes both families would be in the way of the other's own.
        let v6_only = addresses.iter().any(SocketAddr::is_ipv4);
        for address in addresses {
            let mut result = sockets.add(*address, v6_only);
            for _ in 1..PORT_TRIES {
                match &result {
                    Err(e)
                        if address.port() == 0 && e.source.kind() == io::ErrorKind::AddrInUse =>
                    {
                        result = sockets.add(*address, v6_only);
                    }
                    _ => break,
                }
            }
            result?;
        }
        Ok(sockets)
    }

    /// Binds one more address.
    fn add(&mut self, address: SocketAddr, v6_only: bool) -> Result<(), BindError> {
        let failed = |transport, address| move |source| BindError { address, transport, source };
        let tcp = bind_tcp(address, v6_only).map_err(failed("tcp", address))?;
        let address = tcp.local_addr().map_err(failed("tcp", address))?;
        // Alone first: sharing would also share with another program of the same user.
        let alone = bind_udp(address, v6_only, false).map_err(failed("udp", address))?;
        let mut udps = vec![alone];
        if self.workers.len() > 1 {
            udps.clear();
            for _ in 0..self.workers.len() {
                udps.push(bind_udp(address, v6_only, true).map_err(failed("udp", address))?);
            }
        }
        for (worker, udp) in self.workers.iter_mut().zip(udps) {
            worker.udp.push(udp);
            worker.tcp.push(tcp.try_clone().map_err(failed("tcp", address))?);
        }
        self.addresses.push(address);
        Ok(())
    }

    /// The sockets of another process at this address, which `take` gives by the names of
    /// [`Sockets::handles`]; `None` unless all are there. There are as many workers as there were.
    pub fn inherit(
        address: SocketAddr,
        mut take: impl FnMut(&str) -> Option<OwnedFd>,
    ) -> Option<Sockets> {
        let is_there = |at: SocketAddr| {
            at.ip() == address.ip() && (address.port() == 0 || at.port() == address.port())
        };
        let tcp = TcpListener::from(take(TCP_NAME)?);
        let address = tcp.local_addr().ok().filter(|at| is_there(*at))?;
        let mut workers = Vec::new();
        while let Some(udp) = take(&udp_name(workers.len())) {
            let udp = UdpSocket::from(udp);
            udp.local_addr().ok().filter(|at| *at == address)?;
            workers.push(WorkerSockets { udp: vec![udp], tcp: vec![tcp.try_clone().ok()?] });
        }
        (!workers.is_empty()).then_some(Sockets { addresses: vec![address], workers })
    }

    /// The sockets once more, with names, for another process; of the first address only.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn handles(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let mut handles = Vec::new();
        for (number, worker) in self.workers.iter().enumerate() {
            if let (0, Some(tcp)) = (number, worker.tcp.first()) {
                handles.push((TCP_NAME.to_owned(), tcp.try_clone()?.into()));
            }
            if let Some(udp) = worker.udp.first() {
                handles.push((udp_name(number), udp.try_clone()?.into()));
            }
        }
        Ok(handles)
    }

    /// How many workers there are sockets for.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The addresses and ports, in the order given.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The workers' parts.
    pub(super) fn into_workers(self) -> Vec<WorkerSockets> {
        self.workers
    }
}

/// What the TCP socket is called for another process.
const TCP_NAME: &str = "dns-tcp";

/// What a worker's UDP socket is called for another process.
fn udp_name(worker: usize) -> String {
    format!("dns-udp-{worker}")
}

fn bind_tcp(address: SocketAddr, v6_only: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    // Connections of an earlier run that are still closing do not hold the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(TCP_BACKLOG)?;
    Ok(socket.into())
}

fn bind_udp(address: SocketAddr, v6_only: bool, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    socket.set_reuse_port(shared)?;
    socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
    // The default is what remains when this fails.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER);
    // On all addresses: which one was asked is told with each packet.
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => setsockopt(&socket, Ipv4PacketInfo, &true)?,
        IpAddr::V6(ip) if ip.is_unspecified() => setsockopt(&socket, Ipv6RecvPacketInfo, &true)?,
        _ => {}
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY_PORT: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn one_number_for_both() {
        for workers in [1, 3] {
            let sockets = Sockets::bind(&[ANY_PORT, ANY_PORT], workers).unwrap();
            let addresses = sockets.addresses().to_vec();
            assert_eq!(addresses.len(), 2);
            let all = sockets.into_workers();
            assert_eq!(all.len(), workers);
            for worker in all {
                let udp: Vec<_> = worker.udp.iter().map(|s| s.local_addr().unwrap()).collect();
                let tcp: Vec<_> = worker.tcp.iter().map(|s| s.local_addr().unwrap()).collect();
                assert_eq!((&udp, &tcp), (&addresses, &addresses));
            }
        }
    }

    #[test]
    fn they_are_found_again_by_their_names() {
        let address = |sockets: &Sockets| sockets.addresses()[0];
        let sockets = Sockets::bind(&[ANY_PORT], 3).unwrap();
        for (wanted, found) in [
            (address(&sockets), true),
            (ANY_PORT, true),
            ((std::net::Ipv6Addr::LOCALHOST, address(&sockets).port()).into(), false),
            ((address(&sockets).ip(), 1).into(), false),
        ] {
            let mut handles: std::collections::HashMap<_, _> =
                sockets.handles().unwrap().into_iter().collect();
            assert_eq!(handles.len(), 4);
            let inherited = Sockets::inherit(wanted, |name| handles.remove(name));
            let workers = inherited.as_ref().map(Sockets::workers);
            assert_eq!(workers, found.then_some(3), "{wanted}");
            if let Some(inherited) = inherited {
                assert_eq!(address(&inherited), address(&sockets));
            }
        }
        assert!(Sockets::inherit(ANY_PORT, |_| None).is_none());
    }

    #[test]
    fn a_taken_port_is_an_error() {
        let taken = Sockets::bind(&[ANY_PORT], 2).unwrap();
        let error = Sockets::bind(&[ANY_PORT, taken.addresses()[0]], 2).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&taken.addresses()[0].to_string()));

        // A number that is taken for UDP may be taken for TCP as well, by somebody else.
        let taken_for_udp = (0..16).any(|_| {
            let udp = UdpSocket::bind(ANY_PORT).unwrap();
            let error = Sockets::bind(&[udp.local_addr().unwrap()], 1).unwrap_err();
            error.transport == "udp"
        });
        assert!(taken_for_udp);
    }
}
