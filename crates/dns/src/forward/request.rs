//! What a client asks, and what its reply takes over from that.

use super::guard::{MARK, MAX_HOPS, TRAIL_OPTION};
use super::packet::{AD, CD, Cursor, Header, OPCODE, Opt, QR, Question, RD};
use crate::answer::Transport;
use crate::message::{CLASS_IN, Rcode, UDP_MINIMUM, UDP_PAYLOAD, qtype};

/// A client's query.
#[derive(Clone, Debug)]
pub(super) struct Request<'q> {
    pub(super) header: Header,
    pub(super) question: Question<'q>,
    pub(super) edns: Option<Opt<'q>>,
    /// The longest reply that the client takes, in bytes.
    pub(super) limit: usize,
}

/// Why a packet is no query that could be forwarded.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unreadable {
    /// It gets this code and nothing else.
    Bad(Header, Rcode),
    /// Too short for a header, or a reply.
    Silence,
}

/// What makes two questions the same, as bytes: flags, type, class, name in lower case.
pub(super) type Key = std::sync::Arc<[u8]>;

impl<'q> Request<'q> {
    /// Reads a packet. Replies get at most `limit` bytes, over UDP also no more than the client
    /// says it takes.
    pub(super) fn read(
        packet: &'q [u8],
        limit: usize,
        transport: Transport,
    ) -> Result<Request<'q>, Unreadable> {
        let mut cursor = Cursor::new(packet);
        let header = cursor.header().ok_or(Unreadable::Silence)?;
        if header.first & QR != 0 {
            return Err(Unreadable::Silence);
        }
        if header.first & OPCODE != 0 {
            return Err(Unreadable::Bad(header, Rcode::NotImp));
        }
        let (question, edns) = Request::body(packet, cursor, header.counts)
            .ok_or(Unreadable::Bad(header, Rcode::FormErr))?;
        let by_client = match (transport, edns) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            (Transport::Udp, None) => usize::from(UDP_MINIMUM),
            (Transport::Udp, Some(edns)) => {
                usize::from(edns.payload.clamp(UDP_MINIMUM, UDP_PAYLOAD))
            }
        };
        Ok(Request { header, question, edns, limit: limit.min(by_client) })
    }

    fn body(
        packet: &'q [u8],
        mut cursor: Cursor<'q>,
        counts: [u16; 4],
    ) -> Option<(Question<'q>, Option<Opt<'q>>)> {
        let [questions, answers, authorities, additionals] = counts;
        if questions != 1 {
            return None;
        }
        let question = cursor.question()?;
        let before = u32::from(answers) + u32::from(authorities);
        let mut edns = None;
        for n in 0..before + u32::from(additionals) {
            let record = cursor.record()?;
            if record.rtype == qtype::OPT {
                let opt = Opt::of(packet, &record).filter(|_| n >= before)?;
                if edns.replace(opt).is_some() {
                    return None;
                }
            }
        }
        Some((question, edns))
    }

    /// The code that this query gets without anybody being asked.
    pub(super) fn refused(&self) -> Option<Rcode> {
        if self.edns.is_some_and(|edns| edns.version > 0) {
            return Some(Rcode::BadVers);
        }
        match self.question.qtype {
            0 | qtype::OPT => Some(Rcode::FormErr),
            qtype::TKEY | qtype::TSIG | qtype::IXFR | qtype::AXFR => Some(Rcode::Refused),
            _ if self.question.class != CLASS_IN => Some(Rcode::Refused),
            _ => None,
        }
    }

    /// Whether signatures are asked for.
    pub(super) fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Whether the client wants to know of authenticity (RFC 6840 §5.7).
    pub(super) fn wants_ad(&self) -> bool {
        self.dnssec_ok() || self.header.second & AD != 0
    }

    /// The forwarders that this query came through, as bytes.
    pub(super) fn trail(&self) -> &'q [u8] {
        self.edns.and_then(|edns| edns.option(TRAIL_OPTION)).unwrap_or_default()
    }

    /// What makes it the same as others: answers differ by RD, CD and DO. A query that went through
    /// many forwarders is asked for by itself, since it may fail as a loop where others do not.
    pub(super) fn key(&self) -> Key {
        const KEY_DO: u8 = 0x80;
        const KEY_FAR: u8 = 0x40;
        let is_far = self.trail().len() >= MARK * MAX_HOPS / 2;
        let flags = self.header.first & RD
            | self.header.second & CD
            | if self.dnssec_ok() { KEY_DO } else { 0 }
            | if is_far { KEY_FAR } else { 0 };
        let mut key = Vec::with_capacity(5 + self.question.name.len());
        key.push(flags);
        key.extend(self.question.qtype.to_be_bytes());
        key.extend(self.question.class.to_be_bytes());
        key.extend_from_slice(&self.question.name);
        key.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{edns_query, query};
    use super::*;
    use crate::message::qtype::{A, AAAA};

    fn key(packet: &[u8]) -> Key {
        Request::read(packet, 512, Transport::Udp).unwrap().key()
    }

    #[test]
    fn what_makes_questions_the_same() {
        let trail = |marks: usize| {
            let marks = vec![7; MARK * marks];
            let [code, more] = TRAIL_OPTION.to_be_bytes();
            edns_query(
                1,
                "a.example",
                A,
                1232,
                &[&[code, more, 0, marks.len() as u8], &marks[..]].concat(),
            )
        };
        let plain = key(&query(1, "a.example", A));
        for same in [query(2, "A.Example", A), edns_query(3, "a.example", A, 512, b""), trail(3)] {
            assert_eq!(key(&same), plain);
        }
        let flags = |at: usize, bits: u8| {
            let mut packet = edns_query(1, "a.example", A, 1232, b"");
            packet[at] ^= bits;
            packet
        };
        let dnssec_ok = flags(12 + 15 + 7, 0x80);
        let others = [
            query(1, "b.example", A),
            query(1, "a.example", AAAA),
            flags(2, RD),
            flags(3, CD),
            dnssec_ok,
            trail(4),
        ];
        let mut keys: Vec<Key> = others.iter().map(|packet| key(packet)).collect();
        keys.push(plain);
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), others.len() + 1);
    }

    #[test]
    fn how_much_clients_take() {
        let limit = |packet: &[u8], limit, transport| {
            Request::read(packet, limit, transport).unwrap().limit
        };
        let edns = |size| edns_query(1, "a.example", A, size, b"");
        for (packet, want) in
            [(query(1, "a", A), 512), (edns(0), 512), (edns(700), 700), (edns(4096), 1232)]
        {
            assert_eq!(limit(&packet, 65_535, Transport::Udp), want);
            assert_eq!(limit(&packet, 600, Transport::Udp), want.min(600));
            assert_eq!(limit(&packet, 65_535, Transport::Tcp), 65_535);
        }
    }
}
