//! What another server answered: read once, kept as it came without its OPT record, and written
//! again for each client with that client's id, flags, spelling, size and remaining times.
//!
//! The bytes between question and OPT stay where they were, so that pointers in them hold, also
//! those in data of types unknown here. A client's question has the same length as ours. Records
//! behind an OPT record, of which a few servers have some, are left out: they are additional ones.

use std::time::Duration;

use super::packet::{AA, AD, CD, Cursor, DO, Header, OPCODE, Opt, QR, RA, RCODE, RD, Record, TC};
use super::request::Request;
use crate::message::{HEADER, Rcode, UDP_PAYLOAD, qtype};

/// Codes of extended errors (RFC 8914 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum ExtendedError {
    /// None of the others: a forwarding loop, or too many open questions.
    Other = 0,
    StaleAnswer = 3,
    CachedError = 13,
    StaleNxDomain = 19,
    NoReachableAuthority = 22,
}

const EDE_OPTION: u16 = 15;
const OPT_FIXED: usize = 11;
/// TTL of records in stale answers, in seconds (RFC 8767 §4).
pub(super) const STALE_TTL: u32 = 30;

/// The response codes that end a search: what other servers would say as well.
const YX_DOMAIN: u16 = 6;

/// Another server's answer to a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    /// From the header on, without OPT; id and counts are not used.
    message: Box<[u8]>,
    /// Where the question ends.
    question_end: usize,
    /// Places of the records, in order.
    records: Box<[Place]>,
    /// How many of them stand in each section.
    sections: [usize; 3],
    /// With the bits from OPT.
    pub(super) rcode: u16,
    /// For how long it may be kept, in seconds; 0: not at all.
    pub(super) ttl: u32,
}

/// A record's end and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    ttl_at: usize,
    end: usize,
    ttl: u32,
}

/// The longest times in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    pub(super) ttl: u32,
    pub(super) negative: u32,
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) id: u16,
    /// Name, type and class as sent.
    pub(super) question: &'a [u8],
    /// Whether the capitals have to come back as they were sent.
    pub(super) exactly: bool,
}

/// Why a packet is not the answer to our question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotOurs {
    /// Another id or question, a query, or nonsense: from a stranger, as far as we know.
    Stray,
    /// All right but for capitals in the question's name.
    Spelling,
    /// The server does not understand EDNS (RFC 6891 §7).
    NoEdns,
}

/// How an answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// As it came just now.
    New,
    /// From the cache, so long after it came.
    Kept(Duration),
    /// After its time.
    Stale,
}

impl Response {
    /// Reads the answer to a question of ours.
    pub(super) fn read(packet: &[u8], asked: Asked<'_>, caps: Caps) -> Result<Response, NotOurs> {
        let mut cursor = Cursor::new(packet);
        let header = cursor.header().ok_or(NotOurs::Stray)?;
        if header.id != asked.id || header.first & QR == 0 || header.first & OPCODE != 0 {
            return Err(NotOurs::Stray);
        }
        let complains =
            [Rcode::FormErr as u8, Rcode::NotImp as u8].contains(&(header.second & RCODE));
        if header.counts[0] == 0 && complains {
            return Err(NotOurs::NoEdns);
        }
        let question = cursor.question().filter(|_| header.counts[0] == 1);
        let question = question.ok_or(NotOurs::Stray)?.bytes;
        // Type and class may look like letters.
        let is_same = question.eq_ignore_ascii_case(asked.question)
            && question.last_chunk::<4>() == asked.question.last_chunk::<4>();
        if !is_same {
            return Err(NotOurs::Stray);
        }
        if asked.exactly && question != asked.question {
            return Err(NotOurs::Spelling);
        }
        let response = Response::body(packet, cursor, header, caps);
        match response {
            Some((_, false)) if complains => Err(NotOurs::NoEdns),
            Some((response, _)) => Ok(response),
            None => Err(NotOurs::Stray),
        }
    }

    /// What is known of a question that nobody answered.
    pub(super) fn failure(question: &[u8]) -> Response {
        let header = [0, 0, QR, Rcode::ServFail as u8, 0, 1, 0, 0, 0, 0, 0, 0];
        Response {
            message: [&header[..], question].concat().into(),
            question_end: HEADER + question.len(),
            records: Box::default(),
            sections: [0; 3],
            rcode: Rcode::ServFail as u16,
            ttl: 0,
        }
    }

    /// The records, and whether there was an OPT record.
    fn body(
        packet: &[u8],
        mut cursor: Cursor<'_>,
        header: Header,
        caps: Caps,
    ) -> Option<(Response, bool)> {
        let question_end = cursor.place();
        let (mut records, mut sections, mut opt) = (Vec::new(), [0; 3], None);
        let [_, counts @ ..] = header.counts;
        'message: for (section, count) in counts.into_iter().enumerate() {
            for _ in 0..count {
                // What was cut may be cut in the middle of a record.
                let Some(record) = cursor.record() else {
                    if header.first & TC != 0 {
                        break 'message;
                    }
                    return None;
                };
                if record.rtype == qtype::OPT {
                    if opt.is_some() || section != 2 {
                        return None;
                    }
                    opt = Some(Opt::of(packet, &record)?);
                } else if opt.is_none() {
                    records.push(record);
                    *sections.get_mut(section)? += 1;
                }
            }
        }
        let end = records.last().map_or(question_end, |record| record.end);
        let rcode = u16::from(header.second & RCODE)
            | opt.map_or(0, |opt: Opt<'_>| u16::from(opt.rcode) << 4);
        let mut response = Response {
            message: packet.get(..end)?.into(),
            question_end,
            records: Box::default(),
            sections,
            rcode,
            ttl: 0,
        };
        response.settle(&records, caps);
        Some((response, opt.is_some()))
    }

    /// Brings spelling and times of the records into the form that is kept.
    fn settle(&mut self, records: &[Record], caps: Caps) {
        let [answers, authorities, _] = self.sections;
        let qtype = self.qtype();
        let is_negative = self.rcode == Rcode::NxDomain as u16
            || !records.iter().take(answers).any(|r| r.rtype == qtype || qtype == qtype::ANY);
        self.lower_owners(records);
        let mut negative_ttl = None;
        let places = records.iter().enumerate().map(|(n, record)| {
            // The top bit means 0 (RFC 2181 §8).
            let ttl = if record.ttl > i32::MAX as u32 { 0 } else { record.ttl };
            let mut ttl = ttl.min(caps.ttl);
            let in_authority = (answers..answers + authorities).contains(&n);
            if is_negative && in_authority && record.rtype == qtype::SOA {
                // RFC 2308 §5: the lesser of the SOA's own time and its last field.
                ttl = ttl.min(self.last_field(record)).min(caps.negative);
                negative_ttl = Some(ttl);
            }
            Place { ttl_at: record.fixed + 4, end: record.end, ttl }
        });
        let places: Box<[Place]> = places.collect();
        let shortest = places.iter().map(|place| place.ttl).min().unwrap_or(0);
        let is_kept = self.is_final() && !self.is_truncated();
        self.ttl = match (is_kept, is_negative) {
            (true, false) => shortest,
            // Without SOA nothing says for how long (RFC 2308 §5).
            (true, true) => negative_ttl.map_or(0, |ttl| ttl.min(shortest)),
            (false, _) => 0,
        };
        self.records = places;
    }

    /// Owners that are the question's name in full get lower case, so that the random capitals we
    /// asked with do not reach clients.
    fn lower_owners(&mut self, records: &[Record]) {
        let name = self.message.get(HEADER..self.question_end.saturating_sub(4));
        let name: Vec<u8> = name.unwrap_or_default().to_ascii_lowercase();
        for record in records {
            if let Some(owner) = self.message.get_mut(record.start..record.fixed)
                && owner.eq_ignore_ascii_case(&name)
            {
                owner.copy_from_slice(&name);
            }
        }
    }

    fn last_field(&self, soa: &Record) -> u32 {
        let data = self.message.get(soa.data..soa.end).unwrap_or_default();
        data.last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    fn qtype(&self) -> u16 {
        let at = self.question_end.saturating_sub(4);
        Cursor::at(&self.message, at).u16().unwrap_or_default()
    }

    fn flags(&self) -> (u8, u8) {
        match *self.message {
            [_, _, first, second, ..] => (first, second),
            _ => (0, 0),
        }
    }

    /// Whether other servers need not be asked: the name has records, has none, or is missing.
    pub(super) fn is_final(&self) -> bool {
        [Rcode::NoError as u16, Rcode::NxDomain as u16, YX_DOMAIN].contains(&self.rcode)
    }

    /// Whether the server cut it.
    pub(super) fn is_truncated(&self) -> bool {
        self.flags().0 & TC != 0
    }

    /// Room that it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        size_of::<Response>() + self.message.len() + size_of_val(&*self.records)
    }

    /// Writes it for a client.
    pub(super) fn write(&self, request: &Request<'_>, given: Given<'_>, out: &mut Vec<u8>) {
        let error = match (given.freshness, self.rcode == Rcode::NxDomain as u16) {
            (Freshness::Stale, true) => Some(ExtendedError::StaleNxDomain),
            (Freshness::Stale, false) => Some(ExtendedError::StaleAnswer),
            _ => given.error,
        };
        let mut opt = Vec::new();
        // Codes above 15 say something about our EDNS, not about the client's.
        let rcode =
            if self.rcode > u16::from(RCODE) { Rcode::ServFail as u8 } else { self.rcode as u8 };
        write_opt(request, 0, error, given.options, &mut opt);
        let room = request.limit.saturating_sub(opt.len() + self.question_end);
        let (counts, cut) = self.fitting(room);
        let (first, second) = self.flags();
        let truncated = cut || first & TC != 0;
        let is_new = given.freshness == Freshness::New;
        let ad = if request.wants_ad() { second & AD } else { 0 };
        out.clear();
        write_header(request, rcode | RA | ad, out);
        if let Some(flags) = out.get_mut(2) {
            *flags |= if is_new { first & AA } else { 0 };
            *flags |= if truncated && given.set_truncate_bit { TC } else { 0 };
        }
        let records: usize = counts.iter().sum();
        let end = records.checked_sub(1).and_then(|last| self.records.get(last));
        let end = end.map_or(self.question_end, |place| place.end);
        out.extend_from_slice(self.message.get(self.question_end..end).unwrap_or_default());
        for place in self.records.iter().take(records) {
            patch(out, place.ttl_at, &remaining(place.ttl, given.freshness).to_be_bytes());
        }
        for (n, count) in counts.iter().enumerate() {
            patch(out, 6 + 2 * n, &(*count as u16).to_be_bytes());
        }
        append_opt(&opt, out);
    }

    /// How many records of each section fit into `room` bytes, and whether that is a loss that
    /// clients must know of: additional records go first and all at once, and nobody is told
    /// (RFC 2181 §9).
    fn fitting(&self, room: usize) -> ([usize; 3], bool) {
        let [answers, authorities, _] = self.sections;
        let limit = self.question_end + room;
        let fits = |records: usize| {
            let last = records.checked_sub(1).and_then(|last| self.records.get(last));
            last.is_none_or(|place| place.end <= limit)
        };
        if fits(self.records.len()) {
            return (self.sections, false);
        }
        if fits(answers + authorities) {
            return ([answers, authorities, 0], false);
        }
        let kept = self.records.iter().take_while(|place| place.end <= limit).count();
        ([kept.min(answers), kept.saturating_sub(answers), 0], true)
    }
}

/// How a response is given to a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'o> {
    pub(super) freshness: Freshness,
    pub(super) error: Option<ExtendedError>,
    /// Whole EDNS options that the reply has besides.
    pub(super) options: &'o [u8],
    pub(super) set_truncate_bit: bool,
}

/// Seconds that a record has left. Begun seconds count as passed: nobody keeps it for longer than
/// its owner said.
fn remaining(ttl: u32, freshness: Freshness) -> u32 {
    match freshness {
        Freshness::New => ttl,
        Freshness::Kept(age) => {
            let passed = age.as_secs() + u64::from(age.subsec_nanos() > 0);
            ttl.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX))
        }
        Freshness::Stale => STALE_TTL,
    }
}

/// A reply without records.
pub(super) fn write_error(
    request: &Request<'_>,
    rcode: Rcode,
    error: Option<ExtendedError>,
    options: &[u8],
    out: &mut Vec<u8>,
) {
    let code = rcode as u8;
    let ra = if rcode == Rcode::ServFail { RA } else { 0 };
    out.clear();
    write_header(request, code & RCODE | ra, out);
    let mut opt = Vec::new();
    write_opt(request, code >> 4, error, options, &mut opt);
    append_opt(&opt, out);
}

/// A reply to a query whose question cannot be read.
pub(super) fn write_header_only(header: &Header, rcode: Rcode, out: &mut Vec<u8>) {
    out.clear();
    out.extend(header.id.to_be_bytes());
    out.push(QR | header.first & (OPCODE | RD));
    out.push(header.second & CD | rcode as u8 & RCODE);
    out.extend([0; 8]);
}

fn write_header(request: &Request<'_>, second: u8, out: &mut Vec<u8>) {
    let header = &request.header;
    out.extend(header.id.to_be_bytes());
    out.push(QR | header.first & RD);
    out.push(header.second & CD | second);
    out.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(request.question.bytes);
}

/// The OPT record, for clients that sent one.
fn write_opt(
    request: &Request<'_>,
    rcode: u8,
    error: Option<ExtendedError>,
    options: &[u8],
    out: &mut Vec<u8>,
) {
    if request.edns.is_none() {
        return;
    }
    let flags = if request.dnssec_ok() { DO } else { 0 };
    let error: Vec<u8> = error.into_iter().flat_map(ede).collect();
    let [high, low] = UDP_PAYLOAD.to_be_bytes();
    out.reserve(OPT_FIXED + error.len() + options.len());
    out.extend([0, 0, qtype::OPT as u8, high, low, rcode, 0, flags, 0]);
    out.extend(((error.len() + options.len()) as u16).to_be_bytes());
    out.extend(error);
    out.extend_from_slice(options);
}

fn ede(error: ExtendedError) -> [u8; 6] {
    let ([code, more], [high, low]) = (EDE_OPTION.to_be_bytes(), (error as u16).to_be_bytes());
    [code, more, 0, 2, high, low]
}

/// Appends an OPT record, if there is one, and counts it.
fn append_opt(opt: &[u8], out: &mut Vec<u8>) {
    if !opt.is_empty() {
        out.extend_from_slice(opt);
        let count = out.get(10..12).and_then(|bytes| bytes.try_into().ok());
        let count = count.map_or(0, u16::from_be_bytes);
        patch(out, 10, &count.saturating_add(1).to_be_bytes());
    }
}

fn patch(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests;
