//! The new process's side.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{AcceptConn, SockType};
use nix::sys::socket::{MsgFlags, SockType as Type, getsockopt, recv};
use socket2::SockRef;
use tracing::warn;

use super::wire::{self, COMMIT, READY, RELEASED, SOCKETS_MOST, YIELD};
use super::{HandoverError, Kind, RELEASE_TIMEOUT, STEP_TIMEOUT, YIELD_TIMEOUT, failed};
use crate::listen::SocketKey;

/// The sockets that another process listens on, and now this one too.
#[derive(Debug, Default)]
pub struct Inherited(pub(crate) HashMap<SocketKey, OwnedFd>);

/// The process that this one takes over from. It accepts connections until it is told that this one
/// does; if this is dropped before, it goes on as if nothing had been.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

/// Whether the process before is still there.
#[derive(Debug)]
pub struct Presence(UnixStream);

impl Presence {
    /// Whether it is: it may still relay connections of its own.
    pub fn is_there(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match recv(self.0.as_fd().as_raw_fd(), &mut [0], flags) {
            Ok(read) => read > 0,
            Err(error) => matches!(error, Errno::EAGAIN | Errno::EINTR),
        }
    }
}

impl Inherited {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether TCP at this address is among them.
    pub fn has_tcp(&self, address: SocketAddr) -> bool {
        self.0.contains_key(&SocketKey::Tcp(address))
    }

    /// Takes one that is not the balancer's, by its name.
    pub fn take_named(&mut self, name: &str) -> Option<OwnedFd> {
        self.0.remove(&SocketKey::Named(name.to_owned()))
    }
}

impl Predecessor {
    /// Of [`Kind::Control`]: has it stop what only one process may do. It takes that up again when
    /// this is dropped, or when half a minute passes until [`Predecessor::commit`]. It blocks, not
    /// for longer than a minute.
    ///
    /// # Errors
    /// It refuses, is gone, or does not answer.
    pub fn yield_control(&mut self) -> Result<(), HandoverError> {
        self.ask(YIELD)
    }

    /// Of [`Kind::Control`]: takes that over for good. It blocks, not for longer than a minute.
    ///
    /// # Errors
    /// As [`Predecessor::yield_control`]; it is not known then which of the two has it.
    pub fn commit(&mut self) -> Result<(), HandoverError> {
        self.ask(COMMIT)
    }

    fn ask(&mut self, what: u8) -> Result<(), HandoverError> {
        let at = "asking the process before to let go";
        self.0.set_read_timeout(Some(YIELD_TIMEOUT)).map_err(failed(at))?;
        self.0.write_all(&[what]).map_err(failed(at))?;
        wire::receive_answer(&mut self.0)
    }

    /// Tells from now on whether it is still there.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn presence(&self) -> Result<Presence, HandoverError> {
        let stream = self.0.try_clone().map_err(failed("watching the process before"))?;
        Ok(Presence(stream))
    }

    /// Tells it that this process accepts connections, and waits until it no longer does. It blocks,
    /// not for longer than half a minute.
    ///
    /// # Errors
    /// It is gone or does not answer. This process has all sockets in any case.
    pub fn ready(mut self) -> Result<(), HandoverError> {
        let at = "telling the process before that this one is ready";
        self.0.set_read_timeout(Some(RELEASE_TIMEOUT)).map_err(failed(at))?;
        self.0.write_all(&[READY]).map_err(failed(at))?;
        let mut word = [0];
        self.0.read_exact(&mut word).map_err(failed(at))?;
        if word == [RELEASED] { Ok(()) } else { Err(HandoverError::Protocol("it should let go")) }
    }
}

/// Asks the process that serves this path for its sockets. `None` if there is no such process. It
/// blocks, for a few seconds at most.
///
/// # Errors
/// There is one, and it gives nothing or something that makes no sense; it goes on as before.
pub fn take(path: &Path, kind: Kind) -> Result<Option<(Inherited, Predecessor)>, HandoverError> {
    let at = "asking the process before for its sockets";
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if is_nobody(&error) => return Ok(None),
        Err(error) => return Err(failed(at)(error)),
    };
    wire::check_peer(&stream)?;
    stream.set_read_timeout(Some(STEP_TIMEOUT)).map_err(failed(at))?;
    stream.set_write_timeout(Some(STEP_TIMEOUT)).map_err(failed(at))?;
    stream.write_all(&wire::greeting(kind)).map_err(failed(at))?;
    let mut inherited = HashMap::new();
    loop {
        let sockets = wire::receive(&mut stream)?;
        if sockets.is_empty() {
            return Ok(Some((Inherited(inherited), Predecessor(stream))));
        }
        for (name, socket) in sockets {
            match key(&name, &socket) {
                Some(key) => {
                    inherited.insert(key, socket);
                }
                None => warn!(name, "an inherited socket is not what it is called; closed"),
            }
        }
        if inherited.len() > SOCKETS_MOST {
            return Err(HandoverError::Protocol("too many sockets"));
        }
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// What a socket is known by, as it says itself.
fn key(name: &str, socket: &OwnedFd) -> Option<SocketKey> {
    if let Some(name) = name.strip_prefix('=') {
        return Some(SocketKey::Named(name.to_owned()));
    }
    let address = SockRef::from(socket).local_addr().ok()?.as_socket()?;
    let kind = getsockopt(&socket.as_fd(), SockType).ok()?;
    match name {
        "tcp" if kind == Type::Stream && getsockopt(&socket.as_fd(), AcceptConn).ok()? => {
            Some(SocketKey::Tcp(address))
        }
        "udp" if kind == Type::Datagram => Some(SocketKey::Udp(address)),
        _ => None,
    }
}
