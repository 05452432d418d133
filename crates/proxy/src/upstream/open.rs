//! A connection to a task as the rules of its pool want it: dialled, announced by a PROXY header,
//! encrypted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use waymark_routing::{Backend, BackendTls};

use super::{DialError, Stream, dial};
use crate::proxy_protocol::{self, Addresses};
use crate::tls::{ConnectorError, server_name};
use crate::usage::Endpoint;
use crate::worker::Worker;

/// HTTP/1.1, as TLS names it (RFC 7301).
pub(crate) const ALPN_H1: &[&[u8]] = &[b"http/1.1"];

/// Where a connection goes, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening<'a> {
    /// The task.
    pub(crate) endpoint: &'a Endpoint,
    /// How tasks of its pool are spoken to.
    pub(crate) backend: &'a Backend,
    /// The client and where it connected to, for the PROXY header.
    pub(crate) client: Addresses,
    /// The protocols that are offered in TLS.
    pub(crate) alpn: &'static [&'static [u8]],
    /// How long all of it may take; and before it as long again the first look at the file of
    /// authorities, which is no matter of the task.
    pub(crate) limit: Duration,
}

/// Opens it. The time-out counts as the task's fault, and so does what is wrong with its TLS.
pub(crate) async fn open(worker: &Worker, opening: &Opening<'_>) -> Result<Stream, DialError> {
    let config = rules(worker, opening.backend, opening.alpn, opening.limit).await?;
    let deadline = Instant::now() + opening.limit;
    let peer_timeout = worker.shared.config.limits.peer_timeout;
    let mut stream = dial(opening.endpoint.address, opening.limit, peer_timeout).await?;
    let late = |_| DialError::Task(io::ErrorKind::TimedOut.into());
    if let Some(version) = opening.backend.send_proxy {
        let header = proxy_protocol::write(version, opening.client);
        timeout_at(deadline, stream.write_all(&header)).await.map_err(late)??;
    }
    match opening.backend.tls.as_ref().zip(config) {
        None => Ok(Stream::Plain(stream)),
        Some((tls, config)) => {
            let secured = secure(opening, tls, config, stream);
            timeout_at(deadline, secured).await.map_err(late)?
        }
    }
}

/// What TLS with the tasks is done by, if it is. A file of authorities that does not come to its end
/// (a pipe, a lost network share) is never a task's fault.
pub(crate) async fn rules(
    worker: &Worker,
    backend: &Backend,
    alpn: &'static [&'static [u8]],
    limit: Duration,
) -> Result<Option<Arc<ClientConfig>>, DialError> {
    let Some(tls) = &backend.tls else { return Ok(None) };
    let begun = Instant::now();
    let config = worker.shared.connectors.connector(tls, alpn, begun.into_std());
    let config = timeout_at(begun + limit, config).await.unwrap_or(Err(ConnectorError::Late));
    config.map(Some).map_err(DialError::Rules)
}

/// Shakes hands with the task. A task is known by its host unless a label names it.
async fn secure(
    opening: &Opening<'_>,
    tls: &BackendTls,
    config: Arc<ClientConfig>,
    stream: TcpStream,
) -> Result<Stream, DialError> {
    let name = server_name(tls, &opening.endpoint.host());
    let name = name.map_err(|error| DialError::Path(io::Error::other(error)))?;
    let connecting = TlsConnector::from(config).connect(name, stream);
    Ok(Stream::Tls(Box::new(connecting.await.map_err(DialError::Task)?)))
}
