//! Connections relayed as they are.
//!
//! In: a client's connection. Out: the same bytes at a task that takes it. `connect` finds the
//! task, `relay` moves the bytes.

mod connect;
mod relay;

use crate::acquire::Refusal;
use crate::listen::Conn;
use crate::port::count;
use crate::worker::Worker;
pub(crate) use relay::{Side, relay};

/// The life of one client: find a task that takes the connection, relay until it ends. `prefix`
/// has been read from the client already.
pub(crate) async fn serve<C: Side>(worker: &Worker, client: C, prefix: Vec<u8>, conn: Conn) {
    let port = &conn.port;
    match connect::connect(worker, &conn).await {
        Ok((server, seat)) => {
            let idle = worker.shared.config.idle_timeout;
            relay(worker, port, client, server, prefix, idle).await;
            // After the sockets: who sees the task unused must find no connection to it.
            drop(seat);
        }
        Err(refusal) => {
            count(match refusal {
                Refusal::Failed => &port.counters.failed,
                _ => &port.counters.no_endpoint,
            });
            client.reset();
        }
    }
}
