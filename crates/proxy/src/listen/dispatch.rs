//! From an accepted connection to whoever speaks its protocol.
//!
//! In: a client's socket with its [`Conn`]. Out: a call of `l4`, `tls` or `h1`, which serve it until
//! it ends. What is decided here depends on the listener alone, never on a request.

use std::rc::Rc;

use tokio::net::TcpStream;

use super::conn::Conn;
use crate::route::Front;
use crate::worker::Worker;
use crate::{h1, l4, tls};

/// Serves the connection until it ends. Each protocol's state is boxed by itself: a relayed
/// connection does not carry the space that an HTTP one would need.
pub(crate) async fn serve(worker: Rc<Worker>, client: TcpStream, mut conn: Conn) {
    match conn.front {
        Front::Service(_) => l4::serve(&worker, client, Vec::new(), conn).await,
        Front::Http | Front::AppId => {
            with_local(&client, &mut conn);
            Box::pin(h1::serve(worker, client, Vec::new(), conn)).await;
        }
        Front::Https => {
            with_local(&client, &mut conn);
            Box::pin(tls::serve(worker, client, Vec::new(), conn)).await;
        }
    }
}

/// Asks the socket where the client connected to, if the listener has no address of its own.
fn with_local(client: &TcpStream, conn: &mut Conn) {
    if conn.local.ip().is_unspecified() {
        // It fails only for a socket that is no longer connected, which nobody will be told about.
        conn.local = client.local_addr().unwrap_or(conn.local);
    }
}
