//! One attempt to connect to a task.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use thiserror::Error;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::http::local::Answer;
use crate::limits::probes;
use crate::tls::ConnectorError;

/// Why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum DialError {
    /// The task does not take it: others are better for a while.
    #[error("the task does not take the connection: {0}")]
    Task(io::Error),
    /// The way to it: another task may do.
    #[error("there is no way to the task: {0}")]
    Path(io::Error),
    /// This machine or process can open none.
    #[error("no connection can be opened: {0}")]
    Here(io::Error),
    /// What the service says about TLS with its tasks cannot be followed: another task is no help.
    #[error("no connection can be begun: {0}")]
    Rules(ConnectorError),
}

impl DialError {
    /// What a client is told if no other task does better.
    pub(crate) fn answer(&self) -> Answer {
        Answer::unavailable(match self {
            DialError::Task(_) => "no task takes the connection",
            DialError::Path(_) => "no way to the task",
            DialError::Here(_) => "no connection can be opened",
            DialError::Rules(_) => "the authorities of the tasks' certificates cannot be read",
        })
    }
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> DialError {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                DialError::Here(error)
            }
            Some(Errno::EADDRNOTAVAIL | Errno::EPERM | Errno::EACCES | Errno::EAFNOSUPPORT) => {
                DialError::Path(error)
            }
            _ => DialError::Task(error),
        }
    }
}

/// Connects within the limit. A connection that was reset at once counts as refused. Whether the task
/// is still there is asked when nothing came for `peer_timeout`: a host that vanished resets nothing.
pub(crate) async fn dial(
    address: SocketAddr,
    limit: Duration,
    peer_timeout: Duration,
) -> Result<TcpStream, DialError> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&probes(peer_timeout))?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => {
            return Err(error.into());
        }
        _ => {}
    }
    let stream = TcpStream::from_std(socket.into())?;
    // To a task on this machine the connection is established by the next look at the sockets;
    // then no timer is needed, whose setting would cost another system call to wake the event loop.
    yield_now().await;
    let ready = timeout(limit, stream.ready(Interest::WRITABLE))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if ready.is_write_closed() {
        let error = stream.take_error()?;
        return Err(error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()).into());
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_is_asked_whether_it_is_still_there() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (limit, silent) = (Duration::from_secs(10), Duration::from_secs(40));
        let stream = dial(listener.local_addr().unwrap(), limit, silent).await.unwrap();
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), silent);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), silent / 4);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
    }
}
