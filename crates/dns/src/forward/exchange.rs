//! One question to one server: over UDP from a port of its own, over TCP when the answer was cut.
//!
//! What comes from elsewhere the system drops, since the socket is connected; what has another id
//! or question is passed over and waited on. Who floods us with such packets gets a question over
//! TCP, which cannot be forged from afar.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::guard::{Own, TRAIL_OPTION};
use super::packet::{AD, DO};
use super::response::{Asked, Caps, NotOurs, Response};
use super::stats::{UpstreamCounters, add};
use crate::message::{UDP_PAYLOAD, qtype};

/// Packets that answer another question, after which TCP is used.
const MAX_STRAYS: usize = 16;
/// Room for a packet over UDP, in bytes; servers send at most what we invite, or 512.
const BUFFER: usize = 4096;

/// A question as it leaves.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    /// Name, type and class as spelled.
    pub(super) question: Vec<u8>,
    /// RD.
    pub(super) first: u8,
    /// CD.
    pub(super) second: u8,
    pub(super) dnssec_ok: bool,
    /// The forwarders it came through, this one included.
    pub(super) trail: Vec<u8>,
    /// Whether the name is written with random capitals.
    pub(super) randomise: bool,
}

/// What an exchange needs to know besides the question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'l> {
    pub(super) server: SocketAddr,
    pub(super) own: &'l Own,
    pub(super) timeout: Duration,
    pub(super) caps: Caps,
    pub(super) counters: &'l UpstreamCounters,
    /// Set as soon as the server has said something to the question.
    pub(super) heard: &'l AtomicBool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Silence.
    Timeout,
    /// The network says no, or the connection broke.
    Network(io::Error),
    /// This machine could not give a socket: no word about the server.
    Local(io::Error),
    /// The server turned out to be this one.
    Loop,
    /// The server says that it does not understand the message, which with EDNS may mean EDNS.
    NotUnderstood,
    /// The answer came cut over UDP, and TCP gave none.
    Cut(Box<Response>),
}

impl Outgoing {
    /// The message.
    fn message(&self, id: u16, edns: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(12 + self.question.len() + 15 + self.trail.len());
        out.extend(id.to_be_bytes());
        // AD: whether an answer is authentic is of interest (RFC 6840 §5.7), though not to servers
        // older than EDNS.
        let second = self.second | if edns { AD } else { 0 };
        out.extend([self.first, second, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)]);
        out.extend_from_slice(&self.question);
        if edns {
            let [high, low] = UDP_PAYLOAD.to_be_bytes();
            let flags = if self.dnssec_ok { DO } else { 0 };
            out.extend([0, 0, qtype::OPT as u8, high, low, 0, 0, flags, 0]);
            let length = self.trail.len() as u16;
            out.extend((length + 4).to_be_bytes());
            out.extend(TRAIL_OPTION.to_be_bytes());
            out.extend(length.to_be_bytes());
            out.extend_from_slice(&self.trail);
        }
        out
    }
}

impl Line<'_> {
    /// Asks.
    pub(super) async fn ask(&self, outgoing: &Outgoing, edns: bool) -> Result<Response, Failure> {
        let mut outgoing = outgoing.clone();
        if outgoing.randomise {
            spell_at_random(&mut outgoing.question);
        }
        let cut = match self.over_udp(&outgoing, edns).await? {
            Some(response) if !response.is_truncated() => return Ok(response),
            cut => cut,
        };
        add(&self.counters.tcp);
        let answer = timeout(self.timeout, self.over_tcp(&outgoing, edns)).await;
        match (answer.unwrap_or(Err(Failure::Timeout)), cut) {
            (Err(Failure::Timeout | Failure::Network(_)), Some(cut)) => {
                Err(Failure::Cut(Box::new(cut)))
            }
            (answer, _) => answer,
        }
    }

    /// `None` = to be asked over TCP.
    async fn over_udp(&self, outgoing: &Outgoing, edns: bool) -> Result<Option<Response>, Failure> {
        let socket = self.socket().await?;
        let id = rand::random();
        let asked = Asked { id, question: &outgoing.question, exactly: outgoing.randomise };
        socket.send(&outgoing.message(id, edns)).await.map_err(Failure::Network)?;
        let answer = async {
            let mut buffer = [0; BUFFER];
            for _ in 0..MAX_STRAYS {
                let length = socket.recv(&mut buffer).await.map_err(Failure::Network)?;
                let packet = buffer.get(..length).unwrap_or_default();
                let read = Response::read(packet, asked, self.caps);
                if !matches!(read, Err(NotOurs::Stray)) {
                    self.heard.store(true, Ordering::Relaxed);
                }
                match read {
                    Ok(response) => return Ok(Some(response)),
                    Err(NotOurs::NoEdns) => return Err(Failure::NotUnderstood),
                    Err(NotOurs::Spelling) => return Ok(None),
                    Err(NotOurs::Stray) => add(&self.counters.strays),
                }
            }
            Ok(None)
        };
        timeout(self.timeout, answer).await.unwrap_or(Err(Failure::Timeout))
    }

    /// A socket of a new port, that hears nobody but the server.
    async fn socket(&self) -> Result<UdpSocket, Failure> {
        let any: SocketAddr = match self.server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await.map_err(Failure::Local)?;
        socket.connect(self.server).await.map_err(Failure::Network)?;
        let local = socket.local_addr().map_err(Failure::Local)?;
        if self.own.is_connected_here(local, self.server) {
            return Err(Failure::Loop);
        }
        Ok(socket)
    }

    async fn over_tcp(&self, outgoing: &Outgoing, edns: bool) -> Result<Response, Failure> {
        let id = rand::random();
        let answer = async {
            let mut stream = TcpStream::connect(self.server).await?;
            let message = outgoing.message(id, edns);
            let length = (message.len() as u16).to_be_bytes();
            stream.write_all(&[&length[..], &message].concat()).await?;
            let mut answer = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut answer).await?;
            io::Result::Ok(answer)
        };
        let answer = answer.await.map_err(Failure::Network)?;
        // The connection is the server's: nobody else could have written the name otherwise.
        let asked = Asked { id, question: &outgoing.question, exactly: false };
        Response::read(&answer, asked, self.caps).map_err(|not_ours| match not_ours {
            NotOurs::NoEdns => Failure::NotUnderstood,
            _ => Failure::Network(io::ErrorKind::InvalidData.into()),
        })
    }
}

/// Draws the case of every letter of a question's name ("0x20").
fn spell_at_random(question: &mut [u8]) {
    let name = question.len().saturating_sub(4);
    for byte in question.iter_mut().take(name) {
        // Lengths of labels are below `A`.
        if byte.is_ascii_alphabetic() && rand::random() {
            *byte ^= 0x20;
        }
    }
}
