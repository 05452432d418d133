//! From a client to a task that takes its connection.
//!
//! In: the worker's table. Out: a connected socket and the seat counted for it. A task that refuses
//! or does not answer costs the client some delay and nothing else: another is tried until one
//! takes the connection, all have been tried, or time is up. Nothing has been read from the client
//! by then, so trying again repeats nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::SemaphorePermit;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use crate::balance::least_connections;
use crate::config::{DOWN_FOR, HOLD_RETRY};
use crate::port::{Port, count};
use crate::usage::{Endpoint, Seat};
use crate::worker::Worker;

/// Why a client got no task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No task was ready.
    NoEndpoint,
    /// Tasks were ready and none took the connection, or this machine could not open one.
    Failed,
}

/// Connects a client of the port to a task.
pub(crate) async fn connect(worker: &Worker, port: &Port) -> Result<(TcpStream, Seat), Refusal> {
    let config = &worker.shared.config;
    let started = Instant::now();
    let deadline = started + config.connect_timeout;
    let mut tried: Vec<Arc<Endpoint>> = Vec::new();
    let mut failed = false;
    let mut held: Option<SemaphorePermit<'_>> = None;
    loop {
        let Some(pick) = pick(worker, port.number, &tried) else {
            // Nobody is left to be tried: hold the client, if it may wait, for another table or,
            // when there are tasks that refuse, for another round.
            let refusal = if failed { Refusal::Failed } else { Refusal::NoEndpoint };
            if held.is_none() {
                held = Some(worker.shared.held.try_acquire().map_err(|_| refusal)?);
                count(&port.counters.held);
            }
            let end = deadline.min(started + config.hold);
            wait_for_change(worker, end, !tried.is_empty()).await.ok_or(refusal)?;
            tried.clear();
            continue;
        };
        if failed {
            count(&port.counters.retries);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = if pick.others { left.min(config.try_timeout) } else { left };
        match attempt(pick.seat.endpoint().address, limit).await {
            Ok(server) => {
                pick.seat.endpoint().mark_up();
                return Ok((server, pick.seat));
            }
            Err(error) => {
                count(&port.counters.connect_errors);
                match blame(&error) {
                    Blame::Endpoint => {
                        let until = worker.shared.clock_ms() + millis(DOWN_FOR);
                        pick.seat.endpoint().mark_down(until);
                    }
                    Blame::Path => {}
                    Blame::Us => return Err(Refusal::Failed),
                }
                failed = true;
                tried.push(pick.seat.endpoint().clone());
                if Instant::now() >= deadline {
                    return Err(Refusal::Failed);
                }
            }
        }
    }
}

/// An endpoint to try.
struct Pick {
    seat: Seat,
    /// Whether there are others to try after it.
    others: bool,
}

/// Picks among the tasks that are ready now and not yet tried, and counts the connection, in one
/// stretch without an `await`: see [`crate::output::ProxyOutput`]. Tasks that refused a moment ago
/// come last.
fn pick(worker: &Worker, port: u16, tried: &[Arc<Endpoint>]) -> Option<Pick> {
    let table = worker.table();
    let ready = &table.routes.get(&port)?.ready;
    let open = |endpoint: &Arc<Endpoint>| !tried.iter().any(|t| Arc::ptr_eq(t, endpoint));
    let up = |endpoint: &Arc<Endpoint>| !endpoint.is_down(|| worker.shared.clock_ms());
    let below = |n| worker.random_below(n);
    let loads = ready.iter().map(|e| (open(e) && up(e)).then(|| e.active()));
    let position = least_connections(loads, below)
        .or_else(|| least_connections(ready.iter().map(|e| open(e).then(|| e.active())), below))?;
    let endpoint = ready.get(position)?;
    let others = ready.iter().any(|e| !Arc::ptr_eq(e, endpoint) && open(e));
    Some(Pick { seat: endpoint.take_seat(), others })
}

/// Waits until the table has changed, or for a moment if that is worth a try; `None` at `end`.
async fn wait_for_change(worker: &Worker, end: Instant, worth_a_try: bool) -> Option<()> {
    let now = Instant::now();
    if now >= end {
        return None;
    }
    let until = if worth_a_try { end.min(now + HOLD_RETRY) } else { end };
    // Both wake-ups, the table's and the clock's, lead to another look.
    let _ = tokio::time::timeout_at(until, worker.table_changed.notified()).await;
    Some(())
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
