//! NOTIFY (RFC 1996): tells secondaries that the zone has changed. One task for each of them: when
//! is decided by [`schedule`], here are the sockets.
//!
//! Input: the newest announcement, in a watch channel. Output: packets to the secondary. Each
//! attempt has a socket and an id of its own, and takes acknowledgments from the secondary's
//! address only.

mod schedule;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use waymark_model::Version;

use crate::message::HEADER;
pub use schedule::INTERVAL;
use schedule::{Next, Schedule};

/// What secondaries are told.
#[derive(Clone, Debug, Default)]
pub struct Announcement {
    /// The zone's version, 0 before the first one.
    pub version: Version,
    /// The message, with the id 0.
    pub message: Arc<[u8]>,
}

/// Opcode NOTIFY, where it stands in the header's third byte.
const OPCODE_NOTIFY: u8 = 4 << 3;
/// The header of a NOTIFY, id 0: authoritative, one question, one answer.
const HEADER_NOTIFY: [u8; HEADER] = [0, 0, OPCODE_NOTIFY | 0x04, 0, 0, 1, 0, 1, 0, 0, 0, 0];

/// The message that tells of a zone: its SOA as question and answer (RFC 1996 §3.7).
pub fn message(domain: &[u8], ttl: u32, soa: &[u8]) -> Arc<[u8]> {
    const SOA_IN: [u8; 4] = [0, 6, 0, 1];
    const QUESTION: [u8; 2] = [0xc0, HEADER as u8];
    let length = u16::try_from(soa.len()).unwrap_or(u16::MAX);
    let parts: [&[u8]; 8] = [
        &HEADER_NOTIFY,
        domain,
        &SOA_IN,
        &QUESTION,
        &SOA_IN,
        &ttl.to_be_bytes(),
        &length.to_be_bytes(),
        soa,
    ];
    parts.concat().into()
}

/// Tells a secondary of every announcement, or of the last of several, until there are no more.
/// `from` is the address to send from.
pub async fn tell(
    secondary: SocketAddr,
    from: Option<IpAddr>,
    mut news: watch::Receiver<Announcement>,
) {
    let mut schedule = Schedule::default();
    let mut socket = None;
    loop {
        let newest = news.borrow_and_update().clone();
        match schedule.next(Instant::now(), newest.version, rand::random()) {
            Next::Send(id) => match send(secondary, from, id, &newest.message).await {
                Ok(used) => socket = Some(used),
                Err(e) => {
                    tracing::debug!(%secondary, error = %e, "cannot send NOTIFY");
                    schedule.failed(Instant::now());
                }
            },
            Next::GiveUp(version) => {
                tracing::warn!(%secondary, version, "secondary does not acknowledge NOTIFY");
            }
            Next::Wait(until) => tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                () = sleep_until(until) => {}
                heard = receive(&socket) => match heard {
                    Ok(reply) => if schedule.acknowledged(reply.id) {
                        socket = None;
                        log_acknowledgment(secondary, reply.rcode);
                    },
                    Err(e) => {
                        tracing::debug!(%secondary, error = %e, "no acknowledgment of NOTIFY");
                        socket = None;
                        schedule.failed(Instant::now());
                    }
                },
            },
        }
    }
}

fn log_acknowledgment(secondary: SocketAddr, rcode: u8) {
    match rcode {
        0 => tracing::debug!(%secondary, "NOTIFY acknowledged"),
        _ => tracing::warn!(%secondary, rcode, "secondary refuses NOTIFY; is Waymark its primary?"),
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

/// Sends a NOTIFY from a new socket, that takes packets from the secondary alone.
async fn send(
    secondary: SocketAddr,
    from: Option<IpAddr>,
    id: u16,
    message: &[u8],
) -> io::Result<UdpSocket> {
    let any = if secondary.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    let from = from.filter(|from| from.is_ipv4() == secondary.is_ipv4()).unwrap_or(any);
    let socket = UdpSocket::bind((from, 0)).await?;
    socket.connect(secondary).await?;
    let packet = [&id.to_be_bytes(), message.get(2..).unwrap_or_default()].concat();
    socket.send(&packet).await?;
    Ok(socket)
}

/// A reply to a NOTIFY.
struct Acknowledgment {
    id: u16,
    rcode: u8,
}

/// The next reply to a NOTIFY on the socket; what is none is passed over.
async fn receive(socket: &Option<UdpSocket>) -> io::Result<Acknowledgment> {
    let Some(socket) = socket else { return std::future::pending().await };
    let mut packet = [0; 512];
    loop {
        let length = socket.recv(&mut packet).await?;
        if let Some(reply) = packet.get(..length).and_then(acknowledgment) {
            return Ok(reply);
        }
    }
}

fn acknowledgment(packet: &[u8]) -> Option<Acknowledgment> {
    const REPLY_AND_OPCODE: u8 = 0xf8;
    const IS_REPLY: u8 = 0x80;
    let header: &[u8; HEADER] = packet.first_chunk()?;
    let [id_high, id_low, first, second, ..] = *header;
    (first & REPLY_AND_OPCODE == IS_REPLY | OPCODE_NOTIFY)
        .then_some(Acknowledgment { id: u16::from_be_bytes([id_high, id_low]), rcode: second & 15 })
}

#[cfg(test)]
mod tests;
