//! The messages of a hand-over, and descriptors with them.
//!
//! ```text
//! new ─► old   "WAYMARK" kind
//! old ─► new   [count u8] [length u16] names, one a line + count descriptors     (repeated)
//! old ─► new   [0] [0 0]                                                         (that was all)
//! new ─► old   'Y'  of Kind::Control: stop acting          old ─► new   'A', or 'N' and a reason
//! new ─► old   'C'  of Kind::Control: never again           old ─► new   'A', or 'N' and a reason
//! new ─► old   'R'  it accepts
//! old ─► new   'L'  the old one no longer does
//! ```

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, getsockopt, recvmsg, sendmsg,
};

use super::{HandoverError, Kind, failed};

/// What a new process says first. The last byte stands for all that follows: another protocol has
/// other bytes.
pub(super) const fn greeting(kind: Kind) -> [u8; 8] {
    match kind {
        Kind::Traffic => *b"WAYMARK\x01",
        Kind::Control => *b"WAYMARK\x02",
    }
}
pub(super) const YIELD: u8 = b'Y';
pub(super) const COMMIT: u8 = b'C';
pub(super) const ALLOWED: u8 = b'A';
pub(super) const REFUSED: u8 = b'N';
pub(super) const READY: u8 = b'R';
pub(super) const RELEASED: u8 = b'L';

/// Descriptors in one message; the kernel takes 253.
pub(super) const SOCKETS_AT_ONCE: usize = 64;
/// The longest reason of a refusal, in bytes; longer ones are cut.
const REASON_MOST: usize = 1000;
/// The longest name of a socket, in bytes.
const NAME_MOST: usize = 200;
/// Descriptors in all: every port of TCP and UDP on a few addresses.
pub(super) const SOCKETS_MOST: usize = 1 << 18;

/// Refuses a process of another user.
pub(super) fn check_peer(stream: &UnixStream) -> Result<(), HandoverError> {
    let peer = getsockopt(stream, PeerCredentials)
        .map_err(|error| failed("asking who is at the other end")(error.into()))?;
    let own = nix::unistd::geteuid().as_raw();
    if peer.uid() == own || peer.uid() == 0 {
        Ok(())
    } else {
        Err(HandoverError::Stranger(peer.uid()))
    }
}

/// Sends sockets with their names.
pub(super) fn send(stream: &mut UnixStream, sockets: &[(&str, BorrowedFd<'_>)]) -> io::Result<()> {
    let too_much = || io::Error::from(io::ErrorKind::InvalidInput);
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    if names.iter().any(|name| name.is_empty() || name.len() > NAME_MOST || name.contains('\n')) {
        return Err(too_much());
    }
    let names = names.join("\n");
    let count = u8::try_from(sockets.len()).map_err(|_| too_much())?;
    let length = u16::try_from(names.len()).map_err(|_| too_much())?;
    let message = [&[count], &length.to_be_bytes()[..], names.as_bytes()].concat();
    let descriptors: Vec<RawFd> = sockets.iter().map(|(_, socket)| socket.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let control: &[ControlMessage<'_>] = if descriptors.is_empty() { &[] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL;
    let part = [IoSlice::new(&message)];
    let sent = sendmsg::<()>(stream.as_fd().as_raw_fd(), &part, control, flags, None)?;
    // Descriptors go with the first byte.
    stream.write_all(message.get(sent..).unwrap_or_default())
}

/// Receives the next sockets with their names; none when that was all.
pub(super) fn receive(stream: &mut UnixStream) -> Result<Vec<(String, OwnedFd)>, HandoverError> {
    let mut head = [0; 3];
    let (read, sockets) = receive_descriptors(stream, &mut head)?;
    if read == 0 {
        return Err(HandoverError::Protocol("it ended before all sockets had come"));
    }
    let rest = head.get_mut(read..).unwrap_or_default();
    stream.read_exact(rest).map_err(failed("receiving sockets"))?;
    let [count, high, low] = head;
    let mut names = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    stream.read_exact(&mut names).map_err(failed("receiving the names of sockets"))?;
    let names =
        String::from_utf8(names).map_err(|_| HandoverError::Protocol("a name is not text"))?;
    let names: Vec<String> = names.lines().map(str::to_owned).collect();
    if names.len() != sockets.len() || sockets.len() != usize::from(count) {
        return Err(HandoverError::Protocol("the number of sockets is not the one said"));
    }
    Ok(names.into_iter().zip(sockets).collect())
}

/// Sends an answer to "yield" or "commit".
pub(super) fn send_answer(stream: &mut UnixStream, answer: &Result<(), String>) -> io::Result<()> {
    let Err(reason) = answer else { return stream.write_all(&[ALLOWED]) };
    let reason = reason.as_bytes().get(..REASON_MOST).unwrap_or(reason.as_bytes());
    let length = u16::try_from(reason.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&[REFUSED][..], &length.to_be_bytes(), reason].concat())
}

/// Receives the answer to "yield" or "commit".
pub(super) fn receive_answer(stream: &mut UnixStream) -> Result<(), HandoverError> {
    let at = "waiting for the process before to let go";
    let mut word = [0];
    stream.read_exact(&mut word).map_err(failed(at))?;
    match word {
        [ALLOWED] => Ok(()),
        [REFUSED] => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).map_err(failed(at))?;
            let mut reason = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut reason).map_err(failed(at))?;
            Err(HandoverError::Refused(String::from_utf8_lossy(&reason).into_owned()))
        }
        _ => Err(HandoverError::Protocol("it should allow or refuse")),
    }
}

fn receive_descriptors(
    stream: &UnixStream,
    head: &mut [u8],
) -> Result<(usize, Vec<OwnedFd>), HandoverError> {
    let mut space = nix::cmsg_space!([RawFd; SOCKETS_AT_ONCE]);
    let mut parts = [IoSliceMut::new(head)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let action = "receiving sockets";
    let message = recvmsg::<()>(stream.as_fd().as_raw_fd(), &mut parts, Some(&mut space), flags)
        .map_err(|error| failed(action)(error.into()))?;
    let mut sockets = Vec::new();
    for control in message.cmsgs().map_err(|error| failed(action)(error.into()))? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            sockets.extend(descriptors.into_iter().map(owned));
        }
    }
    if message.flags.contains(MsgFlags::MSG_CTRUNC) {
        return Err(HandoverError::Protocol("too many sockets at once, or no descriptor is left"));
    }
    Ok((message.bytes, sockets))
}

fn owned(descriptor: RawFd) -> OwnedFd {
    #[allow(unsafe_code)]
    // SAFETY: the kernel has just made this descriptor for us with SCM_RIGHTS, and each is taken
    // from the message once; nobody else in the process knows of it.
    unsafe {
        OwnedFd::from_raw_fd(descriptor)
    }
}
