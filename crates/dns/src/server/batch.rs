//! Packets in batches: `recvmmsg` and `sendmmsg`, one system call for up to [`SLOTS`] packets each.
//! Neither `std` nor `nix` sends a batch whose packets leave from different addresses of this host.
//!
//! All `unsafe` of this crate is in this file. Both calls are given arrays that live on the stack
//! for the length of the call and point into the slots, which the caller's `&mut` keeps in place.
#![allow(unsafe_code)]

use std::io;
use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd;

/// The most packets of one batch.
pub const SLOTS: usize = 32;
/// The longest query that is read, in bytes: what an Ethernet frame carries. A longer one is cut by
/// the system and then breaks the format.
pub const MAX_QUERY: usize = 1472;
/// Room for the control message that tells or sets this host's address: `in6_pktinfo` is the
/// larger one.
const CONTROL: usize = 40;
/// Where the control message's data begins.
const CONTROL_DATA: usize = size_of::<libc::cmsghdr>();

/// A query, where it came from, and its reply.
pub struct Slot {
    packet: [u8; MAX_QUERY],
    length: usize,
    peer: Peer,
    control: Control,
    /// The reply; sent unless empty.
    pub reply: Vec<u8>,
}

/// A socket address as the kernel writes it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Peer {
    bytes: [u8; size_of::<libc::sockaddr_in6>()],
    length: u32,
}

/// A control message as the kernel writes it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control {
    bytes: [u8; CONTROL],
    length: usize,
}

/// Where a query came from, and the address it was sent to.
pub struct WayBack {
    peer: Peer,
    control: Control,
}

impl WayBack {
    /// Sends one reply.
    ///
    /// # Errors
    /// Those of sendmsg(2); nothing has been sent then.
    pub fn send(mut self, socket: &UdpSocket, reply: &[u8]) -> io::Result<()> {
        // The kernel only reads it.
        let iov_base = reply.as_ptr().cast_mut().cast();
        let mut part = libc::iovec { iov_base, iov_len: reply.len() };
        // SAFETY: integers and pointers, for which zero is a value.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        address(&mut header, &mut self.peer, &mut self.control, &mut part);
        // SAFETY: every pointer leads to as many bytes as the length beside it says, all of them
        // written before; the kernel only reads them.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Makes a header that sends a part to a peer from the address that it asked.
fn address(
    header: &mut libc::msghdr,
    peer: &mut Peer,
    control: &mut Control,
    part: &mut libc::iovec,
) {
    header.msg_name = peer.bytes.as_mut_ptr().cast();
    header.msg_namelen = peer.length.min(peer.bytes.len() as u32);
    header.msg_iov = part;
    header.msg_iovlen = 1;
    if control.length > 0 {
        header.msg_control = control.bytes.as_mut_ptr().cast();
        header.msg_controllen = control.length as _;
    }
}

/// The room for one batch.
pub struct Batch {
    slots: Box<[Slot]>,
    received: usize,
}

impl Slot {
    fn new() -> Slot {
        Slot {
            packet: [0; MAX_QUERY],
            length: 0,
            peer: Peer { bytes: [0; size_of::<libc::sockaddr_in6>()], length: 0 },
            control: Control { bytes: [0; CONTROL], length: 0 },
            reply: Vec::with_capacity(MAX_QUERY),
        }
    }

    /// How a reply that is made later gets to the client.
    pub fn way_back(&self) -> WayBack {
        WayBack { peer: self.peer, control: self.control }
    }

    /// The client's address, the packet, and the place for the reply. `None` for what cannot be
    /// answered: nobody can have sent from port 0.
    pub fn parts(&mut self) -> Option<(IpAddr, &[u8], &mut Vec<u8>)> {
        let client = self.peer.ip().filter(|_| self.peer.port() != 0)?;
        Some((client, self.packet.get(..self.length)?, &mut self.reply))
    }
}

impl Peer {
    fn take<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..at + N)?.try_into().ok()
    }

    fn port(&self) -> u16 {
        // At the same place for both families.
        u16::from_be_bytes(self.take(offset_of!(libc::sockaddr_in, sin_port)).unwrap_or_default())
    }

    /// The address; an IPv4 one that an IPv6 socket shows as mapped is given as what it is.
    fn ip(&self) -> Option<IpAddr> {
        match i32::from(libc::sa_family_t::from_ne_bytes(self.take(0)?)) {
            libc::AF_INET => {
                let bytes: [u8; 4] = self.take(offset_of!(libc::sockaddr_in, sin_addr))?;
                Some(IpAddr::V4(Ipv4Addr::from(bytes)))
            }
            libc::AF_INET6 => {
                let bytes: [u8; 16] = self.take(offset_of!(libc::sockaddr_in6, sin6_addr))?;
                Some(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical())
            }
            _ => None,
        }
    }
}

impl Control {
    /// Makes what told the address that was asked into what sets the address to answer from: the
    /// interface is left to the routing table, except for link-local addresses, which mean nothing
    /// without it.
    fn turn_round(&mut self) {
        let int = |at: usize| -> Option<i32> {
            self.bytes.get(at..at + 4)?.try_into().ok().map(i32::from_ne_bytes)
        };
        let level = int(offset_of!(libc::cmsghdr, cmsg_level));
        let kind = int(offset_of!(libc::cmsghdr, cmsg_type));
        let interface = match (level, kind) {
            _ if self.length < CONTROL_DATA => None,
            (Some(libc::IPPROTO_IP), Some(libc::IP_PKTINFO)) => {
                Some(CONTROL_DATA + offset_of!(libc::in_pktinfo, ipi_ifindex))
            }
            (Some(libc::IPPROTO_IPV6), Some(libc::IPV6_PKTINFO)) => {
                let link_local = self.bytes.get(CONTROL_DATA..CONTROL_DATA + 2);
                let is_link_local = matches!(link_local, Some([0xfe, second]) if second >> 6 == 2);
                let at = CONTROL_DATA + offset_of!(libc::in6_pktinfo, ipi6_ifindex);
                (!is_link_local).then_some(at)
            }
            _ => None,
        };
        if let Some(place) = interface.and_then(|at| self.bytes.get_mut(at..at + 4)) {
            place.fill(0);
        }
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch { slots: (0..SLOTS).map(|_| Slot::new()).collect(), received: 0 }
    }

    /// What was received last.
    pub fn received(&mut self) -> &mut [Slot] {
        self.slots.get_mut(..self.received).unwrap_or_default()
    }

    /// Waits for a packet and takes it with those that are there already. Replies are empty
    /// afterwards.
    ///
    /// # Errors
    /// Those of recvmmsg(2); nothing has been received then.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.received = 0;
        let mut parts: [libc::iovec; SLOTS] = [EMPTY_PART; SLOTS];
        // SAFETY: integers and pointers, for which zero is a value.
        let mut headers: [libc::mmsghdr; SLOTS] = unsafe { std::mem::zeroed() };
        for ((slot, part), header) in self.slots.iter_mut().zip(&mut parts).zip(&mut headers) {
            *part = libc::iovec { iov_base: slot.packet.as_mut_ptr().cast(), iov_len: MAX_QUERY };
            let header = &mut header.msg_hdr;
            header.msg_name = slot.peer.bytes.as_mut_ptr().cast();
            header.msg_namelen = slot.peer.bytes.len() as u32;
            header.msg_iov = part;
            header.msg_iovlen = 1;
            header.msg_control = slot.control.bytes.as_mut_ptr().cast();
            header.msg_controllen = CONTROL as _;
        }
        let (fd, flags) = (socket.as_raw_fd(), libc::MSG_WAITFORONE);
        // SAFETY: every pointer leads to room of the length beside it that nobody else uses during
        // the call; the kernel writes nowhere else.
        let count = unsafe {
            libc::recvmmsg(fd, headers.as_mut_ptr(), SLOTS as u32, flags as _, std::ptr::null_mut())
        };
        self.received = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let received = self.slots.iter_mut().zip(&headers).take(self.received);
        for (slot, header) in received {
            slot.length = header.msg_len as usize;
            slot.peer.length = header.msg_hdr.msg_namelen;
            slot.control.length = CONTROL.min(header.msg_hdr.msg_controllen as _);
            slot.control.turn_round();
            slot.reply.clear();
        }
        Ok(())
    }

    /// Sends the replies, and says how many the system did not take: these are lost, as anything
    /// over UDP may be.
    pub fn send(&mut self, socket: &UdpSocket) -> u64 {
        let mut parts: [libc::iovec; SLOTS] = [EMPTY_PART; SLOTS];
        // SAFETY: integers and pointers, for which zero is a value.
        let mut headers: [libc::mmsghdr; SLOTS] = unsafe { std::mem::zeroed() };
        let mut count = 0;
        let slots = self.slots.iter_mut().take(self.received).filter(|slot| !slot.reply.is_empty());
        for ((slot, part), header) in slots.zip(&mut parts).zip(&mut headers) {
            let iov_base = slot.reply.as_mut_ptr().cast();
            *part = libc::iovec { iov_base, iov_len: slot.reply.len() };
            address(&mut header.msg_hdr, &mut slot.peer, &mut slot.control, part);
            count += 1;
        }
        let (mut rest, mut lost) = (headers.get_mut(..count).unwrap_or_default(), 0);
        while !rest.is_empty() {
            let (fd, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT);
            // SAFETY: every pointer leads to as many bytes as the length beside it says, all of
            // them written before; the kernel only reads them, and writes `msg_len` of `rest`.
            let sent =
                unsafe { libc::sendmmsg(fd, rest.as_mut_ptr(), rest.len() as u32, flags as _) };
            let sent = match usize::try_from(sent) {
                Ok(sent) if sent > 0 => sent,
                // The first of them is at fault.
                _ => {
                    lost += 1;
                    1
                }
            };
            rest = rest.get_mut(sent..).unwrap_or_default();
        }
        lost
    }
}

const EMPTY_PART: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    fn peer(address: SocketAddr) -> Peer {
        let address = socket2::SockAddr::from(address);
        let storage = address.as_storage();
        let mut peer = Slot::new().peer;
        // SAFETY: a socket address of at least this many initialized bytes.
        let bytes = unsafe {
            std::slice::from_raw_parts((&raw const storage).cast::<u8>(), peer.bytes.len())
        };
        peer.bytes.copy_from_slice(bytes);
        peer
    }

    #[test]
    fn peers_are_read() {
        for (address, ip) in [
            ("192.0.2.7:53", "192.0.2.7"),
            ("[2001:db8::7]:5353", "2001:db8::7"),
            ("[::ffff:192.0.2.7]:1", "192.0.2.7"),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            let peer = peer(address);
            assert_eq!((peer.ip(), peer.port()), (ip.parse().ok(), address.port()));
        }
        assert_eq!(Slot::new().peer.ip(), None);
    }

    #[test]
    fn batches_there_and_back() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let clients: Vec<UdpSocket> =
            (0..3).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        for (n, client) in (1u8..).zip(&clients) {
            client.connect(server.local_addr().unwrap()).unwrap();
            client.send(&[n]).unwrap();
        }
        let long = [7; MAX_QUERY + 100];
        clients[0].send(&long).unwrap();
        let mut batch = Batch::new();
        let mut seen = Vec::new();
        while seen.len() < 4 {
            batch.receive(&server).unwrap();
            for slot in batch.received() {
                let (client, packet, reply) = slot.parts().unwrap();
                assert_eq!((client, reply.len()), (Ipv4Addr::LOCALHOST.into(), 0));
                seen.push(packet.to_vec());
                // One of them gets no reply, and one is more than a packet can be.
                match packet {
                    [2] => {}
                    [3] => reply.resize(70_000, 0),
                    packet => reply.extend(packet.iter().map(|byte| byte + 100)),
                }
            }
            assert_eq!(batch.send(&server), u64::from(seen.contains(&vec![3])));
        }
        assert_eq!(seen, [vec![1], vec![2], vec![3], vec![7; MAX_QUERY]]);
        let mut buffer = [0; 2000];
        assert_eq!(clients[0].recv(&mut buffer).unwrap(), 1);
        assert_eq!(buffer[0], 101);
        assert_eq!(clients[0].recv(&mut buffer).unwrap(), MAX_QUERY);
    }
}
