//! Counters of queries, connections and lost packets. Each worker has its own; a snapshot adds
//! them up.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::answer::{Outcome, Transport};
use crate::message::{Rcode, qtype};
use crate::respond::Verdict;

/// The transports by name, in the order of the counters.
pub const TRANSPORTS: [&str; 2] = ["udp", "tcp"];
/// The query types that are counted by name, in the order of the counters.
pub const TYPES: [&str; 7] = ["a", "aaaa", "srv", "soa", "ns", "any", "other"];
/// The response codes by name, in the order of the counters.
pub const RCODES: [&str; 8] =
    ["noerror", "formerr", "servfail", "nxdomain", "notimp", "refused", "badvers", "badcookie"];

/// A snapshot of the counters since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Queries with a readable question, by transport ([`TRANSPORTS`]) and type ([`TYPES`]).
    pub queries: [[u64; TYPES.len()]; TRANSPORTS.len()],
    /// Replies by transport and response code ([`RCODES`]).
    pub replies: [[u64; RCODES.len()]; TRANSPORTS.len()],
    /// Replies over UDP that had to be cut (TC).
    pub truncated: u64,
    /// Packets that got no reply: shorter than a header, or replies themselves.
    pub ignored: u64,
    /// Queries that were handed to the forwarder; their replies are counted there.
    pub forwarded: u64,
    /// Replies over UDP that were not sent because of the rate limit.
    pub limited: u64,
    /// Small replies that were sent in place of others because of the rate limit.
    pub slipped: u64,
    /// Replies over UDP that the system did not take.
    pub unsent: u64,
    /// TCP connections that were served.
    pub tcp_accepted: u64,
    /// TCP connections that were closed at once, because of the limit.
    pub tcp_refused: u64,
}

/// The counters of one worker.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    queries: [[AtomicU64; TYPES.len()]; TRANSPORTS.len()],
    replies: [[AtomicU64; RCODES.len()]; TRANSPORTS.len()],
    truncated: AtomicU64,
    pub(crate) ignored: AtomicU64,
    pub(crate) forwarded: AtomicU64,
    pub(crate) limited: AtomicU64,
    pub(crate) slipped: AtomicU64,
    pub(crate) unsent: AtomicU64,
    pub(crate) tcp_accepted: AtomicU64,
    pub(crate) tcp_refused: AtomicU64,
}

impl Counters {
    /// Counts what is done about a packet.
    pub(crate) fn judge(&self, transport: Transport, verdict: &Verdict) {
        match verdict {
            Verdict::Reply(outcome) => self.count(transport, Some(*outcome)),
            Verdict::Silence => self.count(transport, None),
            Verdict::Limited => add(&self.limited),
            Verdict::Slipped(outcome) => {
                add(&self.slipped);
                self.count(transport, Some(*outcome));
            }
            Verdict::Forward(_) => add(&self.forwarded),
        }
    }

    /// Counts what became of a packet.
    pub(crate) fn count(&self, transport: Transport, outcome: Option<Outcome>) {
        let Some(outcome) = outcome else { return add(&self.ignored) };
        let transport = transport as usize;
        if let Some(qtype) = outcome.qtype {
            count_in(self.queries.get(transport), type_place(qtype));
        }
        count_in(self.replies.get(transport), rcode_place(outcome.rcode));
        if outcome.truncated {
            add(&self.truncated);
        }
    }

    /// Adds these counters to a snapshot.
    pub(crate) fn add_to(&self, stats: &mut Stats) {
        for (row, sums) in self.queries.iter().zip(&mut stats.queries) {
            row.iter().zip(sums).for_each(|(counter, sum)| *sum += value(counter));
        }
        for (row, sums) in self.replies.iter().zip(&mut stats.replies) {
            row.iter().zip(sums).for_each(|(counter, sum)| *sum += value(counter));
        }
        stats.truncated += value(&self.truncated);
        stats.ignored += value(&self.ignored);
        stats.forwarded += value(&self.forwarded);
        stats.limited += value(&self.limited);
        stats.slipped += value(&self.slipped);
        stats.unsent += value(&self.unsent);
        stats.tcp_accepted += value(&self.tcp_accepted);
        stats.tcp_refused += value(&self.tcp_refused);
    }
}

/// Adds one.
pub(crate) fn add(counter: &AtomicU64) {
    add_many(counter, 1);
}

/// Adds a number.
pub(crate) fn add_many(counter: &AtomicU64, number: u64) {
    if number > 0 {
        counter.fetch_add(number, Ordering::Relaxed);
    }
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn count_in<const N: usize>(row: Option<&[AtomicU64; N]>, place: usize) {
    if let Some(counter) = row.and_then(|row| row.get(place)) {
        add(counter);
    }
}

fn type_place(number: u16) -> usize {
    match number {
        qtype::A => 0,
        qtype::AAAA => 1,
        qtype::SRV => 2,
        qtype::SOA => 3,
        qtype::NS => 4,
        qtype::ANY => 5,
        _ => 6,
    }
}

fn rcode_place(rcode: Rcode) -> usize {
    match rcode {
        Rcode::BadVers => 6,
        Rcode::BadCookie => 7,
        other => other as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_adds_up() {
        let counters = Counters::default();
        let outcome = |rcode, qtype, truncated| Some(Outcome { rcode, qtype, truncated });
        counters.count(Transport::Udp, outcome(Rcode::NoError, Some(qtype::SRV), true));
        counters.count(Transport::Tcp, outcome(Rcode::BadVers, Some(999), false));
        counters.count(Transport::Udp, outcome(Rcode::FormErr, None, false));
        counters.count(Transport::Udp, None);
        let mut stats = Stats::default();
        counters.add_to(&mut stats);
        counters.add_to(&mut stats);
        let at = |names: &[&str], name| names.iter().position(|n| *n == name).unwrap();
        assert_eq!(stats.queries[0][at(&TYPES, "srv")], 2);
        assert_eq!(stats.queries[1][at(&TYPES, "other")], 2);
        assert_eq!(stats.replies[0][at(&RCODES, "noerror")], 2);
        assert_eq!(stats.replies[0][at(&RCODES, "formerr")], 2);
        assert_eq!(stats.replies[1][at(&RCODES, "badvers")], 2);
        assert_eq!(stats.queries.as_flattened().iter().sum::<u64>(), 4);
        assert_eq!((stats.truncated, stats.ignored), (2, 2));
    }
}
