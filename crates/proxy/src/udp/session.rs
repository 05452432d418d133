//! One client's datagrams and the task that gets them.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;

use super::counted::Counted;
use super::socket::Peer;
use crate::usage::Seat;

/// The longest datagram that is kept in case its task turns out not to be there, in bytes: what an
/// Ethernet frame carries. Of a longer one nobody else gets to know.
const KEPT_MOST: usize = 1472;

/// A client of a UDP service. It has a socket of its own towards its task, so that answers are
/// known by where they arrive, and refusals too.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) peer: Peer,
    /// Before the seat: who sees the task unused must find no socket to it.
    pub(crate) upstream: UdpSocket,
    pub(crate) seat: Seat,
    /// The version of the table by which the task was last found to be good.
    pub(crate) checked: Cell<u64>,
    /// The last datagram, while the task has not answered since.
    unanswered: RefCell<Vec<u8>>,
    standing: Cell<Standing>,
    /// Ends the reading of answers.
    reader: RefCell<Option<AbortHandle>>,
    room: RefCell<Option<Room>>,
}

/// What is known of a client: whoever gives a false source gets no answer to go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    New,
    /// Its task has answered.
    Answered,
    /// It has sent something since.
    Proven,
}

/// What a session holds of what is limited.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) _counted: Counted,
    pub(crate) _descriptor: OwnedSemaphorePermit,
}

impl Session {
    /// A session with the seat's task.
    ///
    /// # Errors
    /// This machine has no way to the task, or no port left for it.
    pub(crate) fn open(
        peer: Peer,
        seat: Seat,
        version: u64,
        room: Room,
    ) -> io::Result<Rc<Session>> {
        let upstream = connect(seat.endpoint().address)?;
        Ok(Rc::new(Session {
            peer,
            upstream,
            seat,
            checked: Cell::new(version),
            unanswered: RefCell::default(),
            standing: Cell::new(Standing::New),
            reader: RefCell::default(),
            room: RefCell::new(Some(room)),
        }))
    }

    /// Sends a datagram to the task, and keeps it until there is an answer.
    ///
    /// # Errors
    /// `WouldBlock`: the kernel takes no more at the moment. Else the task is not there (what an
    /// earlier datagram led to is told at a later one).
    pub(crate) fn send(&self, data: &[u8]) -> io::Result<()> {
        // Past the event loop, which has not been told yet that a new socket can be written to.
        SockRef::from(&self.upstream).send(data)?;
        let mut kept = self.unanswered.borrow_mut();
        kept.clear();
        if data.len() <= KEPT_MOST {
            kept.extend_from_slice(data);
        }
        Ok(())
    }

    /// Whether a datagram was refused (by ICMP). The socket tells it once; when it has nothing to
    /// tell, the event loop is told so.
    pub(crate) fn is_refused(&self) -> bool {
        if matches!(self.upstream.take_error(), Ok(Some(_))) {
            return true;
        }
        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = self.upstream.try_io(Interest::ERROR, nothing);
        false
    }

    /// Whether the client, which has just sent something, is thereby proven to be there; says so
    /// once.
    pub(crate) fn proves(&self) -> bool {
        let proves = self.standing.get() == Standing::Answered;
        if proves {
            self.standing.set(Standing::Proven);
        }
        proves
    }

    /// The task has answered.
    pub(crate) fn answered(&self) {
        if self.standing.get() == Standing::New {
            self.standing.set(Standing::Answered);
        }
        let mut kept = self.unanswered.borrow_mut();
        if !kept.is_empty() {
            *kept = Vec::new();
        }
    }

    /// The last datagram, if the task has not answered since and it was not too long to be kept.
    pub(crate) fn take_unanswered(&self) -> Option<Vec<u8>> {
        let kept = std::mem::take(&mut *self.unanswered.borrow_mut());
        (!kept.is_empty()).then_some(kept)
    }

    pub(crate) fn set_reader(&self, reader: AbortHandle) {
        self.reader.replace(Some(reader));
    }

    /// Ends it: nobody reads its answers any more, and with its reader it goes, which is in a moment.
    /// Its room is free at once.
    pub(crate) fn end(&self) {
        drop(self.room.take());
        if let Some(reader) = self.reader.take() {
            reader.abort();
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), None)?;
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    socket.bind(&any.into())?;
    socket.connect(&address.into())?;
    UdpSocket::from_std(socket.into())
}
