//! From a client to a task that takes its connection.
//!
//! In: the worker's table. Out: a connected socket and the seat counted for it. A task that refuses
//! or does not answer costs the client some delay and nothing else: another is tried until one
//! takes the connection, all have been tried, or time is up. Nothing has been read from the client
//! by then, so trying again repeats nothing.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::acquire::{Refusal, Search};
use crate::listen::Conn;
use crate::port::count;
use crate::route::{Affinity, Front};
use crate::usage::Seat;
use crate::worker::Worker;

/// Connects a client of the port to a task.
pub(crate) async fn connect(worker: &Worker, conn: &Conn) -> Result<(TcpStream, Seat), Refusal> {
    let Front::Service(key) = conn.front else { return Err(Refusal::Gone) };
    let Some(pool) = worker.table().listeners.get(&key).map(|route| route.pool.clone()) else {
        return Err(Refusal::Gone);
    };
    let port = &conn.port;
    let affinity = Affinity { source: Some(conn.source), ..Affinity::default() };
    let mut search = Search::new(worker, &pool);
    let mut retry = false;
    loop {
        let seat = search.seat(&affinity).await?;
        if retry {
            count(&port.counters.retries);
        }
        match attempt(seat.endpoint().address, search.time_for(&seat)).await {
            Ok(server) => {
                seat.succeeded();
                return Ok((server, seat));
            }
            Err(error) => {
                count(&port.counters.connect_errors);
                retry = true;
                match blame(&error) {
                    Blame::Endpoint => search.connect_failed(seat, true)?,
                    Blame::Path => search.connect_failed(seat, false)?,
                    Blame::Us => return Err(Refusal::Failed),
                }
            }
        }
    }
}

/// One attempt to connect. A connection that was reset at once counts as refused.
async fn attempt(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(error),
        _ => {}
    }
    let server = TcpStream::from_std(socket.into())?;
    // To a task on this machine the connection is established by the next look at the sockets;
    // then no timer is needed, whose setting would cost another system call to wake the event loop.
    yield_now().await;
    let ready = timeout(limit, server.ready(Interest::WRITABLE))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if ready.is_write_closed() {
        return Err(server.take_error()?.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()));
    }
    Ok(server)
}

/// Whose fault a failed attempt is.
enum Blame {
    /// The task's: others are better for a while.
    Endpoint,
    /// The way to it, or the ports left on it: another task may do.
    Path,
    /// This machine's or process's: no attempt can succeed.
    Us,
}

fn blame(error: &io::Error) -> Blame {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => Blame::Us,
        Some(Errno::EADDRNOTAVAIL | Errno::EPERM | Errno::EACCES | Errno::EAFNOSUPPORT) => {
            Blame::Path
        }
        _ => Blame::Endpoint,
    }
}
