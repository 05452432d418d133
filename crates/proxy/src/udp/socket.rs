//! A socket that takes datagrams from everybody and answers each from the address it was sent to.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6,
    SockaddrLike, SockaddrStorage, recvmmsg, sendmsg, setsockopt,
};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Datagrams read in one go, at most.
pub(crate) const AT_ONCE: usize = 16;

/// The longest datagram, in bytes: what fits into the length field of UDP.
pub(crate) const DATAGRAM_MOST: usize = 65_535;

/// What waits in the kernel for one service, in bytes, at most; `rmem_max` may cut it.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Whom a datagram is from, and which of this machine's addresses it was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    /// As the socket has it: IPv4 as IPv6 on a socket of both families.
    pub(crate) address: SocketAddr,
    /// `None` on a socket that is bound to one address.
    local: Option<Local>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Local {
    ip: IpAddr,
    /// The interface; 0 = whichever leads to the peer, as for all but link-local addresses.
    interface: u32,
}

/// A new socket at this address.
pub(crate) fn bind(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    if address.ip().is_unspecified() {
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvPacketInfo, &true)?,
        }
    }
    // With less than asked for it works as well.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Room for what is read in one go. Pages of it that no datagram was long enough for cost nothing.
pub(crate) struct Room(Box<[u8]>);

impl Room {
    pub(crate) fn new() -> Room {
        Room(vec![0; AT_ONCE * DATAGRAM_MOST].into_boxed_slice())
    }

    /// Room for one datagram.
    pub(crate) fn one(&mut self) -> &mut [u8] {
        self.0.get_mut(..DATAGRAM_MOST).unwrap_or_default()
    }
}

/// Reads the datagrams that are there, at most [`AT_ONCE`], and gives each to `take`. Returns how
/// many there were.
///
/// # Errors
/// `WouldBlock` when there is none, and those of recvmmsg(2).
pub(crate) fn receive(
    socket: &UdpSocket,
    room: &mut Room,
    mut take: impl FnMut(Peer, &[u8]),
) -> io::Result<usize> {
    let mut parts: Vec<[IoSliceMut<'_>; 1]> =
        room.0.chunks_exact_mut(DATAGRAM_MOST).map(|part| [IoSliceMut::new(part)]).collect();
    // Made anew for each batch: the kernel writes lengths into it, which `nix` does not reset.
    let space = nix::cmsg_space!(libc::in6_pktinfo);
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(AT_ONCE, Some(space));
    let messages = socket.try_io(Interest::READABLE, || {
        let flags = MsgFlags::MSG_DONTWAIT;
        Ok(recvmmsg(socket.as_raw_fd(), &mut headers, &mut parts, flags, None)?)
    })?;
    let mut count = 0;
    for message in messages {
        count += 1;
        let Some(address) = message.address.as_ref().and_then(std_address) else { continue };
        // Nobody can be answered at port 0.
        if address.port() == 0 {
            continue;
        }
        let local = message.cmsgs().ok().and_then(|mut controls| controls.find_map(local));
        let data = message.iovs().next().unwrap_or_default();
        take(Peer { address, local }, data);
    }
    Ok(count)
}

/// Sends a datagram to a peer, from the address that the peer sent to.
///
/// # Errors
/// Those of sendmsg(2); nothing has been sent then.
pub(crate) fn send(socket: &UdpSocket, to: &Peer, data: &[u8]) -> io::Result<()> {
    // Past the event loop: what the kernel does not take at once is dropped, never waited for.
    let Some(local) = to.local else {
        return SockRef::from(socket).send_to(data, &to.address.into()).map(|_| ());
    };
    let (four, six);
    let control = match local.ip {
        IpAddr::V4(ip) => {
            four = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(ip).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            ControlMessage::Ipv4PacketInfo(&four)
        }
        IpAddr::V6(ip) => {
            six = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                ipi6_ifindex: local.interface,
            };
            ControlMessage::Ipv6PacketInfo(&six)
        }
    };
    match to.address {
        SocketAddr::V4(address) => send_with(socket, SockaddrIn::from(address), control, data),
        SocketAddr::V6(address) => send_with(socket, SockaddrIn6::from(address), control, data),
    }
}

fn send_with<A: SockaddrLike>(
    socket: &UdpSocket,
    to: A,
    control: ControlMessage<'_>,
    data: &[u8],
) -> io::Result<()> {
    let part = [IoSlice::new(data)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg(socket.as_raw_fd(), &part, &[control], flags, Some(&to))?;
    Ok(())
}

fn std_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(four) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4(SocketAddrV4::from(*four)));
    }
    address.as_sockaddr_in6().map(|six| SocketAddr::V6(SocketAddrV6::from(*six)))
}

fn local(control: ControlMessageOwned) -> Option<Local> {
    match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let ip = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
            Some(Local { ip: ip.into(), interface: 0 })
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let ip = std::net::Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let interface = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            Some(Local { ip: ip.into(), interface })
        }
        _ => None,
    }
}
