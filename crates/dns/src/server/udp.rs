//! Queries over UDP: one thread a socket, in batches as large as what waits. Idle, it sleeps in the
//! kernel and answers the next packet at once; busy, it takes what has come meanwhile together.
//!
//! A reply leaves from the address that was asked, also on a host with several.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::batch::Batch;
use crate::answer::{Answerer, Transport};
use crate::message::qtype;
use crate::output::Dns;
use crate::stats::{Counters, add_many};

/// The pause after the system could not give us packets.
const RECEIVE_PAUSE: Duration = Duration::from_millis(50);

/// Answers what arrives on a blocking socket until `stop` is set and the socket shut down.
pub(super) fn serve(
    dns: &Dns,
    counters: &Arc<Counters>,
    socket: &UdpSocket,
    seed: u64,
    stop: &AtomicBool,
) {
    let mut batch = Batch::new();
    let mut answerer = Answerer::new(dns.config.seed ^ seed);
    loop {
        let received = batch.receive(socket);
        if stop.load(Ordering::Acquire) {
            return;
        }
        match received {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                tracing::warn!(error = %e, "cannot read queries over UDP");
                std::thread::sleep(RECEIVE_PAUSE);
                continue;
            }
        }
        answer(dns, counters, &mut answerer, &mut batch);
        add_many(&counters.unsent, batch.send(socket));
    }
}

/// Answers a batch from one look at the zone and the clock. Never waits, since it holds the zone.
fn answer(dns: &Dns, counters: &Counters, answerer: &mut Answerer, batch: &mut Batch) {
    let zone = dns.zone();
    let now = dns.moment(Instant::now());
    for slot in batch.received() {
        let Some((client, packet, reply)) = slot.parts() else { continue };
        let outcome = answerer.answer(&zone, packet, Transport::Udp, client, now, reply);
        counters.count(Transport::Udp, outcome);
        if outcome.is_some_and(|outcome| outcome.qtype == Some(qtype::IXFR)) {
            dns.transfers.answer_udp(&zone, packet, client, reply);
        }
    }
}
