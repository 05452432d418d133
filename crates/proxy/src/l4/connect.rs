//! From a client to a task that takes its connection.
//!
//! In: the worker's table. Out: a connected socket and the seat counted for it. A task that refuses
//! or does not answer costs the client some delay and nothing else: another is tried until one
//! takes the connection, all have been tried, or time is up. Nothing has been read from the client
//! by then, so trying again repeats nothing.

use std::sync::Arc;

use crate::acquire::{Refusal, Search};
use crate::listen::Conn;
use crate::port::count;
use crate::proxy_protocol::Addresses;
use crate::route::{Affinity, Pool};
use crate::upstream::{DialError, Opening, Stream, dial, open};
use crate::usage::Seat;
use crate::worker::Worker;

/// Connects a client to a task of the pool.
pub(crate) async fn connect(
    worker: &Worker,
    pool: &Arc<Pool>,
    conn: &Conn,
) -> Result<(Stream, Seat), Refusal> {
    let port = &conn.port;
    let affinity = Affinity { source: Some(conn.source), ..Affinity::default() };
    let mut search = Search::new(worker, pool);
    let mut retry = false;
    loop {
        let seat = search.seat(&affinity).await?;
        if retry {
            count(&port.counters.retries);
        }
        let opening = Opening {
            endpoint: seat.endpoint(),
            backend: &pool.rules.backend,
            client: Addresses { source: conn.source, destination: conn.local },
            alpn: &[],
            limit: search.time_for(&seat),
        };
        let backend = opening.backend;
        let peer_timeout = worker.shared.config.limits.peer_timeout;
        let opened = match backend.tls.is_none() && backend.send_proxy.is_none() {
            true => {
                dial(opening.endpoint.address, opening.limit, peer_timeout).await.map(Stream::Plain)
            }
            // Boxed: a plain connection does not carry the space of a handshake all its life.
            false => Box::pin(open(worker, &opening)).await,
        };
        match opened {
            Ok(server) => {
                seat.succeeded();
                return Ok((server, seat));
            }
            Err(error) => {
                count(&port.counters.connect_errors);
                retry = true;
                match error {
                    DialError::Task(_) => search.connect_failed(seat, true)?,
                    DialError::Path(_) => search.connect_failed(seat, false)?,
                    DialError::Here(_) | DialError::Rules(_) => return Err(Refusal::Failed),
                }
            }
        }
    }
}
