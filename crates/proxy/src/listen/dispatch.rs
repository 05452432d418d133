//! From an accepted connection to whoever speaks its protocol.
//!
//! In: a client's socket with its [`Conn`]. Out: a call of `l4`, `tls` or `h1`, which serve it until
//! it ends. What is decided here depends on the listener alone, never on a request.

use std::rc::Rc;

use tokio::net::TcpStream;

use super::client_hello::Hello;
use super::conn::Conn;
use super::first_bytes;
use crate::route::Front;
use crate::worker::Worker;
use crate::{h1, l4, tls};

/// Serves the connection until it ends. Each protocol's state is boxed by itself: a relayed
/// connection does not carry the space that an HTTP one would need.
pub(crate) async fn serve(worker: Rc<Worker>, client: TcpStream, conn: Conn) {
    match conn.front {
        Front::Service(_) => l4::serve(&worker, client, Vec::new(), conn).await,
        Front::Http | Front::AppId | Front::Https => {
            Box::pin(shared_port(worker, client, conn)).await;
        }
    }
}

/// A connection at one of the shared ports.
async fn shared_port(worker: Rc<Worker>, mut client: TcpStream, mut conn: Conn) {
    let config = &worker.shared.config;
    with_local(&client, &mut conn);
    let mut prefix = Vec::new();
    if config.accept_proxy {
        let header =
            first_bytes::proxy_header(&mut client, &mut conn, config.limits.hello_timeout).await;
        let Some(rest) = header else { return };
        prefix = rest;
    }
    if conn.front == Front::Https {
        let hello = first_bytes::client_hello(&mut client, &conn, prefix, &config.limits).await;
        let Some((hello, bytes)) = hello else { return };
        if let Hello::Named(name) = hello {
            conn.sni = Some(name);
        }
        Box::pin(tls::serve(worker, client, bytes, conn)).await;
    } else {
        Box::pin(h1::serve(worker, client, prefix, conn)).await;
    }
}

/// Asks the socket where the client connected to, if the listener has no address of its own.
fn with_local(client: &TcpStream, conn: &mut Conn) {
    if conn.local.ip().is_unspecified() {
        // It fails only for a socket that is no longer connected, which nobody will be told about.
        conn.local = client.local_addr().map_or(conn.local, first_bytes::canonical);
    }
}
