//! What a connection begins with, before the protocol it is for.
//!
//! In: a client's socket. Out: what its first bytes say, and those bytes as far as they belong to
//! whoever serves the connection. A client that does not send them in time, or breaks off, is
//! nobody's: `None`, and the caller closes the connection. Only as many bytes are kept as the limits
//! of the two readers allow, and one read more.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client_hello::{self, Hello};
use super::conn::Conn;
use crate::config::Limits;
use crate::port::count;
use crate::proxy_protocol::{self, Preface};

/// Read at once, at most, in bytes: a ClientHello of most clients and a PROXY header.
const READ: usize = 2048;

/// Reads the PROXY header and tells the connection what it says. Returns what has been read beyond
/// it.
pub(super) async fn proxy_header(
    client: &mut TcpStream,
    conn: &mut Conn,
    limit: Duration,
) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let header = timeout(limit, async {
        loop {
            match proxy_protocol::read(&bytes) {
                Ok(Preface::Partial) => more(client, &mut bytes).await?,
                Ok(Preface::Whole { addresses, length }) => return Some((addresses, length)),
                Err(_) => return None,
            }
        }
    });
    let Ok(Some((addresses, length))) = header.await else {
        count(&conn.port.counters.bad_proxy_headers);
        return None;
    };
    if let Some(addresses) = addresses {
        conn.source = canonical(addresses.source);
        conn.local = canonical(addresses.destination);
    }
    bytes.drain(..length);
    Some(bytes)
}

/// Reads the first message of TLS, of which `bytes` have been read before. Returns what it is with
/// all bytes read; what is not TLS is so too, for TLS itself to refuse.
pub(super) async fn client_hello(
    client: &mut TcpStream,
    conn: &Conn,
    mut bytes: Vec<u8>,
    limits: &Limits,
) -> Option<(Hello, Vec<u8>)> {
    let hello = timeout(limits.hello_timeout, async {
        loop {
            match client_hello::read(&bytes, limits.hello_bytes) {
                Hello::Partial => more(client, &mut bytes).await?,
                hello => return Some(hello),
            }
        }
    });
    match hello.await {
        Ok(hello) => Some((hello?, bytes)),
        Err(_) => {
            count(&conn.port.counters.hello_timeouts);
            None
        }
    }
}

/// Reads more; `None` at the end.
async fn more(client: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    bytes.reserve(READ);
    let read = client.read_buf(bytes).await.ok()?;
    (read > 0).then_some(())
}

/// An IPv4 address that came as IPv6 is IPv4: lists of networks mean it so.
pub(super) fn canonical(address: std::net::SocketAddr) -> std::net::SocketAddr {
    std::net::SocketAddr::new(address.ip().to_canonical(), address.port())
}
