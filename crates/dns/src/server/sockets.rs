//! Binding: separate from serving, so that a taken port is known before anything else has begun.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

/// The sockets of a DNS server, bound and not yet served.
#[derive(Debug)]
pub struct Sockets {
    address: SocketAddr,
    workers: Vec<WorkerSockets>,
}

/// What one worker serves.
#[derive(Debug)]
pub struct WorkerSockets {
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
    /// Makes the workers' random orders differ.
    pub(super) seed: u64,
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
/// Connections that wait to be accepted.
const TCP_BACKLOG: i32 = 1024;

impl Sockets {
    /// Binds UDP and TCP on one address and port, for a number of workers (at least one). Port 0
    /// takes a number that is free for both.
    pub fn bind(address: SocketAddr, workers: usize) -> Result<Sockets, BindError> {
        let mut result = Sockets::bind_once(address, workers.max(1));
        for _ in 1..PORT_TRIES {
            match &result {
                Err(e) if address.port() == 0 && e.source.kind() == io::ErrorKind::AddrInUse => {
                    result = Sockets::bind_once(address, workers.max(1));
                }
                _ => break,
            }
        }
        result
    }

    fn bind_once(address: SocketAddr, workers: usize) -> Result<Sockets, BindError> {
        let failed = |transport, address| move |source| BindError { address, transport, source };
        let tcp = bind_tcp(address).map_err(failed("tcp", address))?;
        let address = tcp.local_addr().map_err(failed("tcp", address))?;
        // Alone first: sharing would also share with another program of the same user.
        let alone = bind_udp(address, false).map_err(failed("udp", address))?;
        let mut udps = vec![alone];
        if workers > 1 {
            udps.clear();
            for _ in 0..workers {
                udps.push(bind_udp(address, true).map_err(failed("udp", address))?);
            }
        }
        let workers = (0u64..)
            .zip(udps)
            .map(|(seed, udp)| Ok(WorkerSockets { udp, tcp: tcp.try_clone()?, seed }))
            .collect::<io::Result<_>>()
            .map_err(failed("tcp", address))?;
        Ok(Sockets { address, workers })
    }

    /// The address and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The workers' parts.
    pub fn into_workers(self) -> Vec<WorkerSockets> {
        self.workers
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier run that are still closing do not hold the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(TCP_BACKLOG)?;
    Ok(socket.into())
}

fn bind_udp(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    // The default is what remains when this fails.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER);
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
            let sockets = Sockets::bind(ANY_PORT, workers).unwrap();
            let address = sockets.address();
            let workers_sockets = sockets.into_workers();
            assert_eq!(workers_sockets.len(), workers);
            for worker in workers_sockets {
                assert_eq!(worker.udp.local_addr().unwrap(), address);
                assert_eq!(worker.tcp.local_addr().unwrap(), address);
            }
        }
    }

    #[test]
    fn a_taken_port_is_an_error() {
        let taken = Sockets::bind(ANY_PORT, 2).unwrap();
        let error = Sockets::bind(taken.address(), 2).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&taken.address().to_string()));

        // A number that is taken for UDP may be taken for TCP as well, by somebody else.
        let taken_for_udp = (0..16).any(|_| {
            let udp = UdpSocket::bind(ANY_PORT).unwrap();
            let error = Sockets::bind(udp.local_addr().unwrap(), 1).unwrap_err();
            error.transport == "udp"
        });
        assert!(taken_for_udp);
    }
}
