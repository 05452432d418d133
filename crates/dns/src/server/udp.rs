//! Queries over UDP.
//!
//! A reply leaves with the source address that the system chooses. On a socket bound to one
//! address that is this address; on one bound to all, a host with several addresses in one network
//! may answer from another than was asked, which clients drop: such hosts name the address to
//! listen on.

use std::io;
use std::time::Instant;

use tokio::net::UdpSocket;

use crate::answer::{Answerer, Transport};
use crate::message::UDP_PAYLOAD;
use crate::output::Dns;
use crate::stats::{Counters, add};

/// Packets that are answered before other tasks of the runtime get their turn, and from one look
/// at the zone and the clock.
const BATCH: usize = 64;
/// The longest query that is read, in bytes; a longer one is cut by the system and then breaks the
/// format.
const MAX_QUERY: usize = 4096;

/// Answers what arrives, for ever.
pub(super) async fn serve(dns: &Dns, counters: &Counters, socket: UdpSocket, seed: u64) {
    let mut worker = Worker {
        answerer: Answerer::new(dns.config.seed ^ seed),
        packet: vec![0; MAX_QUERY],
        reply: Vec::with_capacity(usize::from(UDP_PAYLOAD) * 2),
    };
    loop {
        let result = match socket.readable().await {
            Ok(()) => worker.answer_batch(dns, counters, &socket),
            Err(e) => Err(e),
        };
        match result {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
            Err(e) => tracing::warn!(error = %e, "cannot read queries over UDP"),
        }
        tokio::task::yield_now().await;
    }
}

struct Worker {
    answerer: Answerer,
    packet: Vec<u8>,
    reply: Vec<u8>,
}

impl Worker {
    /// Answers up to [`BATCH`] packets; `WouldBlock` when no more are there. Never waits, since it
    /// holds the zone.
    fn answer_batch(
        &mut self,
        dns: &Dns,
        counters: &Counters,
        socket: &UdpSocket,
    ) -> io::Result<()> {
        let zone = dns.zone();
        let lease_end = dns.lease_end(Instant::now());
        for _ in 0..BATCH {
            let (length, peer) = socket.try_recv_from(&mut self.packet)?;
            let packet = self.packet.get(..length).unwrap_or_default();
            let outcome =
                self.answerer.answer(&zone, packet, Transport::Udp, lease_end, &mut self.reply);
            counters.count(Transport::Udp, outcome);
            // A client cannot have sent from port 0; an answer there would go nowhere.
            if outcome.is_some() && peer.port() != 0 {
                // What the system does not take at once is lost, as anything over UDP may be.
                if socket.try_send_to(&self.reply, peer).is_err() {
                    add(&counters.unsent);
                }
            }
        }
        Ok(())
    }
}
