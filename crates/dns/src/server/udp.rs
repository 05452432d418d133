//! Queries over UDP: one thread a socket, in batches as large as what waits. Idle, it sleeps in the
//! kernel and answers the next packet at once; busy, it takes what has come meanwhile together.
//!
//! A reply leaves from the address that was asked, also on a host with several.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::batch::{Batch, SLOTS};
use crate::answer::{Outcome, Transport};
use crate::forward::{Begun, Forwarder};
use crate::message::{self, Options, Query, Unanswerable, qtype};
use crate::output::Dns;
use crate::respond::{Client, Responder, Verdict};
use crate::stats::{Counters, add_many};
use crate::wire;
use crate::zone::Zone;

/// The pause after the system could not give us packets.
const RECEIVE_PAUSE: Duration = Duration::from_millis(50);
/// The longest reply over UDP, in bytes; what a client can take is less.
const LONGEST: usize = u16::MAX as usize;

/// One thread's work.
pub(super) struct Worker {
    dns: Arc<Dns>,
    counters: Arc<Counters>,
    /// Blocking.
    socket: Arc<UdpSocket>,
    batch: Batch,
    responder: Responder,
    /// Packets of the batch that others are to be asked about.
    forwards: Vec<(usize, Options)>,
    elsewhere: Elsewhere,
}

/// Where replies of others are waited for.
#[derive(Clone)]
pub(super) struct Elsewhere {
    pub(super) runtime: Handle,
    /// Held by everybody who waits there, or may send somebody.
    pub(super) waiting: mpsc::Sender<()>,
}

impl Worker {
    pub(super) fn new(
        dns: Arc<Dns>,
        socket: Arc<UdpSocket>,
        seed: u64,
        elsewhere: Elsewhere,
    ) -> Worker {
        Worker {
            counters: dns.add_worker(),
            batch: Batch::new(),
            responder: Responder::new(&dns.config.policy, dns.config.seed ^ seed),
            forwards: Vec::new(),
            elsewhere,
            socket,
            dns,
        }
    }

    /// Answers what arrives until `stop` is set, which is looked at now and then. What arrives after
    /// that stays in the socket.
    pub(super) fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            match self.batch.receive(&self.socket) {
                Ok(()) => {}
                // Nothing has come in a while.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    tracing::warn!(error = %e, "cannot read queries over UDP");
                    std::thread::sleep(RECEIVE_PAUSE);
                    continue;
                }
            }
            self.answer();
            if let Some(forwarder) = &self.dns.config.policy.forwarder {
                for (slot, options) in self.forwards.drain(..) {
                    forward(
                        forwarder,
                        &self.elsewhere,
                        &self.socket,
                        &mut self.batch,
                        slot,
                        options,
                    );
                }
            }
            add_many(&self.counters.unsent, self.batch.send(&self.socket));
        }
    }

    /// Answers a batch from one look at the zone and the clock. Never waits, since it holds the
    /// zone.
    fn answer(&mut self) {
        let zone = self.dns.zone();
        let here = self.dns.here(&zone);
        let mut packets: [Option<Packet<'_>>; SLOTS] = std::array::from_fn(|_| None);
        for (slot, packet) in self.batch.received().iter_mut().zip(&mut packets) {
            *packet = slot.parts().map(Packet::read);
        }
        zone.look_ahead(packets.iter().flatten().filter_map(|packet| packet.name(&zone)));
        for (n, packet) in packets.into_iter().enumerate() {
            let Some(Packet { address, bytes, query, reply }) = packet else { continue };
            let client = Client { address, transport: Transport::Udp };
            let verdict = self.responder.respond(here, client, query, reply);
            self.counters.judge(Transport::Udp, &verdict);
            match verdict {
                Verdict::Forward(options) => self.forwards.push((n, options)),
                Verdict::Reply(Outcome { qtype: Some(qtype::IXFR), .. }) => {
                    self.dns.transfers.answer_udp(&zone, bytes, address, reply);
                }
                _ => {}
            }
        }
    }
}

/// A packet of the batch.
struct Packet<'s> {
    address: IpAddr,
    bytes: &'s [u8],
    query: Result<Query<'s>, Unanswerable>,
    reply: &'s mut Vec<u8>,
}

impl<'s> Packet<'s> {
    fn read((address, bytes, reply): (IpAddr, &'s [u8], &'s mut Vec<u8>)) -> Packet<'s> {
        Packet { address, bytes, query: message::read(bytes), reply }
    }

    /// The name asked for, relative to the zone's domain.
    fn name(&self, zone: &Zone) -> Option<&[u8]> {
        wire::relative_to(self.query.as_ref().ok()?.name.as_bytes(), zone.domain())
    }
}

/// Asks others. What they do not answer at once is waited for elsewhere.
fn forward(
    forwarder: &Forwarder,
    elsewhere: &Elsewhere,
    socket: &Arc<UdpSocket>,
    batch: &mut Batch,
    slot: usize,
    options: Options,
) {
    let Some(slot) = batch.received().get_mut(slot) else { return };
    let way_back = slot.way_back();
    let Some((_, packet, reply)) = slot.parts() else { return };
    match forwarder.begin(packet, LONGEST, Transport::Udp, options.as_bytes(), reply) {
        Begun::Reply => {}
        Begun::Silence => reply.clear(),
        Begun::Pending(pending) => {
            reply.clear();
            let (socket, waiting) = (socket.clone(), elsewhere.waiting.clone());
            elsewhere.runtime.spawn(async move {
                let _waiting = waiting;
                let reply = pending.reply().await;
                // What the system does not take at once is lost, as anything over UDP may be.
                let _ = way_back.send(&socket, &reply);
            });
        }
    }
}
