//! Connections relayed as they are.
//!
//! In: a client's connection and the pool it is for. Out: the same bytes at a task that takes it.
//! `connect` finds the task, `relay` moves the bytes.

mod connect;
mod relay;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::acquire::Refusal;
use crate::listen::Conn;
use crate::port::count;
use crate::route::Pool;
use crate::upstream::Stream;
use crate::worker::Worker;
pub(crate) use relay::{Moved, Side, relay};

/// The life of one client: find a task that takes the connection, relay until it ends. `prefix`
/// has been read from the client already. The caller lets go of `conn` after this.
pub(crate) async fn serve<C: Side>(
    worker: &Worker,
    pool: &Arc<Pool>,
    client: C,
    prefix: Vec<u8>,
    conn: &Conn,
) {
    let port = &conn.port;
    let (server, seat) = match connect::connect(worker, pool, conn).await {
        Ok(connected) => connected,
        Err(refusal) => {
            count(match refusal {
                Refusal::Failed => &port.counters.failed,
                _ => &port.counters.no_endpoint,
            });
            return client.reset();
        }
    };
    let idle = pool.rules.timeouts.idle.unwrap_or(worker.shared.config.idle_timeout);
    let Moved { bytes_in, bytes_out } = match server {
        Stream::Plain(server) => relay(worker, port, client, server, prefix, idle).await,
        Stream::Tls(server) => Box::pin(relay(worker, port, client, *server, prefix, idle)).await,
        // For requests only; as bytes it would be relayed all the same.
        server @ Stream::Bridged(_) => {
            Box::pin(relay(worker, port, client, server, prefix, idle)).await
        }
    };
    // As HAProxy without `option contstats`: of a connection as a whole, when it has ended.
    let task = &seat.endpoint().counters;
    for (counter, bytes) in [
        (&pool.counters.bytes_in, bytes_in),
        (&pool.counters.bytes_out, bytes_out),
        (&task.bytes_in, bytes_in),
        (&task.bytes_out, bytes_out),
    ] {
        counter.fetch_add(bytes, Relaxed);
    }
    // After the sockets: who sees the task unused must find no connection to it.
    drop(seat);
}
