//! TLS on both sides: with clients by certificates from files, with tasks by authorities.
//!
//! ```text
//! files, folders ─ files ─► ledger ─► choice ──┐ (replaced whole when a file changes)
//!                  watch: once a second        ▼
//! client, first bytes ──────────────────► server::Terminator ─► stream in clear, protocol, name
//! task ◄─ handshake by the caller ◄────── client::Connectors (authorities, the name to verify)
//! ```
//!
//! * `bundle` reads one file, `choice` picks the certificate for a name; both pure;
//! * `ledger` keeps what was read: a file that cannot be used changes nothing (pure);
//! * `files` looks at the disk, `watch` does so again and again and tells the status;
//! * `server` and `client` hold the configurations of `rustls`; `tickets` the keys of resumption.
//!
//! A certificate that cannot be used never stops another one, nor the service itself. Nothing here
//! knows what is said inside, or where a request goes. Keys are never logged nor shown.

mod bundle;
mod choice;
mod client;
mod files;
mod ledger;
mod prefixed;
mod server;
mod tickets;
mod watch;

#[cfg(test)]
mod testing;

use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::h1;
use crate::listen::Conn;
use crate::worker::Worker;

pub use bundle::Algorithm;
pub use client::{AuthoritiesStatus, ConnectorError, Connectors, server_name};
pub use ledger::{CertificateState, CertificateStatus};
pub use prefixed::Prefixed;
pub use server::{HandshakeError, Protocol, Secured, Terminator, TlsStats};
pub use watch::Certificates;

/// Serves a client of the shared port of TLS until its connection ends. `ahead` has been read from
/// it already.
pub(crate) async fn serve(worker: Rc<Worker>, client: TcpStream, ahead: Vec<u8>, mut conn: Conn) {
    let Some(terminator) = worker.shared.https.clone() else { return };
    // The handshake's state is large, and goes before the first request.
    let secured = Box::pin(accept(&worker, client, ahead, &mut conn, terminator)).await;
    if let Some(client) = secured {
        Box::pin(h1::serve(worker, client, Vec::new(), conn)).await;
    }
}

/// Shakes hands with a client, of which `ahead` has been read already, and notes in its connection
/// what was agreed on. `None`: it came to nothing, the client knows why, and it was counted.
pub(crate) async fn accept(
    worker: &Worker,
    client: TcpStream,
    ahead: Vec<u8>,
    conn: &mut Conn,
    terminator: Arc<Terminator>,
) -> Option<Box<TlsStream<Prefixed<TcpStream>>>> {
    let limit = worker.shared.config.limits.tls_timeout;
    let secured = terminator.accept(client, ahead, limit).await.ok()?;
    conn.secure = true;
    conn.sni = secured.server_name;
    conn.terminator = Some(terminator);
    // Whoever serves it moves it about: a pointer, not a kilobyte.
    Some(Box::new(secured.stream))
}
