//! The server: packets from sockets to [`crate::answer`] and back. One worker is a UDP socket and
//! a TCP listener on one runtime; several workers share the port. Nothing here knows names.

mod sockets;
mod tcp;
mod udp;

pub use sockets::{BindError, Sockets, WorkerSockets};

use std::io;
use std::sync::Arc;

use crate::output::Dns;

/// Answers what arrives on a worker's sockets, for ever. Dropping it ends all its connections.
///
/// To be called inside the runtime that shall do the work; errors are those of handing the sockets
/// over to it.
pub async fn serve(dns: Arc<Dns>, sockets: WorkerSockets) -> io::Result<()> {
    let counters = dns.add_worker();
    let udp = tokio::net::UdpSocket::from_std(sockets.udp)?;
    let tcp = tokio::net::TcpListener::from_std(sockets.tcp)?;
    tokio::join!(
        udp::serve(&dns, &counters, udp, sockets.seed),
        tcp::serve(&dns, &counters, tcp, sockets.seed),
    );
    Ok(())
}

#[cfg(test)]
mod tests;
