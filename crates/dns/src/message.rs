//! DNS messages on the wire: reading a query, writing a reply. Knows RFC 1035 §4 and RFC 6891, not
//! the zone. Reading checks every bound; writing never exceeds the limit it is given.

use crate::naming::MAX_LABEL;
use crate::wire::MAX_NAME;

/// Length of a message's header, in bytes.
pub const HEADER: usize = 12;
/// The largest UDP message we send or invite: what passes every path unfragmented (DNS flag day
/// 2020).
pub const UDP_PAYLOAD: u16 = 1232;
/// The UDP message that every client takes (RFC 1035 §4.2.1).
pub const UDP_MINIMUM: u16 = 512;
/// Length of the OPT record in replies without options, in bytes.
const OPT_LENGTH: usize = 11;
/// RA, in the second half of the flags.
const RECURSION_AVAILABLE: u8 = 0x80;

/// Response codes (RFC 1035 §4.1.1, RFC 6891 §9, RFC 7873 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    BadVers = 16,
    BadCookie = 23,
}

/// Types of records and queries, by their numbers.
pub mod qtype {
    #![allow(missing_docs)]
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const OPT: u16 = 41;
    pub const TKEY: u16 = 249;
    pub const TSIG: u16 = 250;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const ANY: u16 = 255;
}

/// Class IN.
pub const CLASS_IN: u16 = 1;

/// What every reply takes over from its query.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub(crate) id: u16,
    /// The flags of the first half: opcode and RD.
    first: u8,
    /// The flags of the second half: CD.
    second: u8,
}

/// A query with one question.
#[derive(Debug)]
pub struct Query<'q> {
    pub(crate) header: Header,
    /// The question's bytes as they came.
    question: &'q [u8],
    pub(crate) name: Name,
    pub(crate) qtype: u16,
    pub(crate) class: u16,
    pub(crate) edns: Option<Edns<'q>>,
}

/// A name in wire form with root label, in lower case.
#[derive(Debug)]
pub struct Name {
    bytes: [u8; MAX_NAME],
    length: usize,
}

/// The OPT record of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns<'q> {
    pub(crate) payload: u16,
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
    /// A whole list of options.
    options: &'q [u8],
}

impl<'q> Edns<'q> {
    /// The data of the first option with a code.
    pub(crate) fn option(&self, code: u16) -> Option<&'q [u8]> {
        let mut reader = Reader { packet: self.options, at: 0 };
        loop {
            let (found, length) = (reader.u16()?, reader.u16()?);
            let data = reader.take(usize::from(length))?;
            if found == code {
                return Some(data);
            }
        }
    }
}

/// Why a packet is no query that could be answered.
#[derive(Clone, Copy, Debug)]
pub enum Unanswerable {
    /// It gets this code and nothing else.
    Bad(Header, Rcode),
    /// Too short for a header, or a reply: answering replies could go on for ever.
    Silence,
}

/// Reads a packet.
pub fn read(packet: &[u8]) -> Result<Query<'_>, Unanswerable> {
    const OPCODE: u8 = 0x78;
    let (header, counts) = read_header(packet).ok_or(Unanswerable::Silence)?;
    if header.first & OPCODE != 0 {
        return Err(Unanswerable::Bad(header, Rcode::NotImp));
    }
    read_body(packet, header, counts).ok_or(Unanswerable::Bad(header, Rcode::FormErr))
}

fn read_header(packet: &[u8]) -> Option<(Header, [u16; 4])> {
    const IS_REPLY: u8 = 0x80;
    let mut reader = Reader { packet, at: 0 };
    let id = reader.u16()?;
    let first = reader.u8()?;
    let second = reader.u8()?;
    let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
    (first & IS_REPLY == 0).then_some((Header { id, first, second }, counts))
}

/// The question and the OPT record; `None` when the packet breaks the format. Bytes behind the last
/// record are not looked at.
fn read_body(packet: &[u8], header: Header, counts: [u16; 4]) -> Option<Query<'_>> {
    let [questions, answers, authorities, additionals] = counts;
    let mut reader = Reader { packet, at: HEADER };
    if questions != 1 {
        return None;
    }
    let name = reader.name()?;
    let qtype = reader.u16()?;
    let class = reader.u16()?;
    let question = packet.get(HEADER..reader.at)?;
    for _ in 0..u32::from(answers) + u32::from(authorities) {
        if reader.record()?.is_some() {
            return None;
        }
    }
    let mut edns = None;
    for _ in 0..additionals {
        if let Some(found) = reader.record()?
            && edns.replace(found).is_some()
        {
            return None;
        }
    }
    Some(Query { header, question, name, qtype, class, edns })
}

struct Reader<'q> {
    packet: &'q [u8],
    at: usize,
}

impl<'q> Reader<'q> {
    fn take(&mut self, length: usize) -> Option<&'q [u8]> {
        let bytes = self.packet.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A name without compression: the first name of a message has nothing to point to.
    fn name(&mut self) -> Option<Name> {
        let mut name = Name { bytes: [0; MAX_NAME], length: 0 };
        loop {
            let length = self.u8()?;
            let label = self.take(usize::from(length)).filter(|label| label.len() <= MAX_LABEL)?;
            let end = name.length + 1 + label.len();
            let (first, rest) = name.bytes.get_mut(name.length..end)?.split_first_mut()?;
            *first = length;
            for (to, from) in rest.iter_mut().zip(label) {
                *to = from.to_ascii_lowercase();
            }
            name.length = end;
            if length == 0 {
                return Some(name);
            }
        }
    }

    /// Passes over a name, whose pointer, if any, is not followed; says whether it was the root.
    fn skip_name(&mut self) -> Option<bool> {
        let start = self.at;
        loop {
            match self.u8()? {
                0 => return Some(self.at == start + 1),
                length @ 1..=63 => {
                    self.take(usize::from(length))?;
                }
                0xc0.. => return self.u8().map(|_| false),
                _ => return None,
            }
        }
    }

    /// Passes over a record; gives what an OPT record says.
    fn record(&mut self) -> Option<Option<Edns<'q>>> {
        let is_root = self.skip_name()?;
        let rtype = self.u16()?;
        let payload = self.u16()?;
        let [_, version, flags, _] = *self.take(4)? else { return None };
        let length = self.u16()?;
        let data = self.take(usize::from(length))?;
        if rtype != qtype::OPT {
            return Some(None);
        }
        let edns = Edns { payload, version, dnssec_ok: flags & 0x80 != 0, options: data };
        (is_root && are_options(data)).then_some(Some(edns))
    }
}

/// Whether an OPT record's data is a list of options (RFC 6891 §6.1.2).
fn are_options(data: &[u8]) -> bool {
    let mut reader = Reader { packet: data, at: 0 };
    while reader.at < data.len() {
        let option = reader.u16().and_then(|_| reader.u16());
        if option.and_then(|length| reader.take(usize::from(length))).is_none() {
            return false;
        }
    }
    true
}

impl Name {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The sections that records are written to, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Answer.
    Answer = 0,
    /// Authority.
    Authority = 1,
    /// Additional.
    Additional = 2,
}

/// The name a record belongs to.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'n> {
    /// A name that stands at this place of the message already.
    At(u16),
    /// A name relative to the domain, and the domain with its root label.
    Written(&'n [u8], &'n [u8]),
}

/// The place of the question's name.
pub const QUESTION_NAME: Owner<'static> = Owner::At(HEADER as u16);

/// EDNS options of a reply, ready to be written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    bytes: [u8; Options::ROOM],
    length: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { bytes: [0; Options::ROOM], length: 0 }
    }
}

impl Options {
    /// A cookie, and an extended error without text.
    const ROOM: usize = 4 + crate::cookie::LENGTH + 4 + 2;

    /// Adds an option; one that finds no room is left out.
    pub(crate) fn push(&mut self, code: u16, data: &[u8]) {
        let [code, length] = [code, data.len() as u16].map(u16::to_be_bytes);
        let end = self.length + 4 + data.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            let all = code.iter().chain(&length).chain(data);
            place.iter_mut().zip(all).for_each(|(place, byte)| *place = *byte);
            self.length = end;
        }
    }

    /// The options, one behind the other.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// What a reply says besides its records.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// RA: whether this client can ask for names of others.
    pub recursion_available: bool,
    /// Whether TC is set when records had to be left out.
    pub tells_cuts: bool,
    /// What clients with EDNS are told.
    pub options: Options,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner { recursion_available: false, tells_cuts: true, options: Options::default() }
    }
}

/// A reply in the making. What does not fit is left out whole.
pub struct Reply<'o> {
    out: &'o mut Vec<u8>,
    limit: usize,
    counts: [u16; 3],
    /// Whether it has an OPT record, and that has DO.
    edns: Option<bool>,
    manner: Manner,
}

impl<'o> Reply<'o> {
    /// A reply to a query in at most `limit` bytes, which hold at least header, question and OPT.
    pub fn to(query: &Query<'_>, limit: usize, out: &'o mut Vec<u8>) -> Reply<'o> {
        Reply::with(query, limit, &Manner::default(), out)
    }

    /// The same with more to say.
    pub fn with(
        query: &Query<'_>,
        limit: usize,
        manner: &Manner,
        out: &'o mut Vec<u8>,
    ) -> Reply<'o> {
        start(&query.header, 1, out);
        out.extend_from_slice(query.question);
        let edns = query.edns.map(|edns| edns.dnssec_ok);
        let reserved = edns.map_or(0, |_| OPT_LENGTH + manner.options.length);
        let limit = limit.saturating_sub(reserved);
        Reply { out, limit, counts: [0; 3], edns, manner: *manner }
    }

    /// Writes a record, whose data `data` appends, and says whether it fitted. On success gives the
    /// place of the data.
    pub fn record(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        rtype: u16,
        ttl: u32,
        data: impl FnOnce(&mut Vec<u8>),
    ) -> Option<usize> {
        let start = self.out.len();
        match owner {
            Owner::At(place) => self.out.extend((place | 0xc000).to_be_bytes()),
            Owner::Written(relative, domain) => {
                self.out.extend_from_slice(relative);
                self.out.extend_from_slice(domain);
            }
        }
        self.out.extend(rtype.to_be_bytes());
        self.out.extend(CLASS_IN.to_be_bytes());
        self.out.extend(ttl.to_be_bytes());
        let length_at = self.out.len();
        self.out.extend([0; 2]);
        data(self.out);
        let length = u16::try_from(self.out.len() - length_at - 2).ok();
        let count = self.counts.get_mut(section as usize)?;
        let (Some(length), true) = (length, self.out.len() <= self.limit && *count < u16::MAX)
        else {
            self.out.truncate(start);
            return None;
        };
        patch(self.out, length_at, &length.to_be_bytes());
        *count += 1;
        Some(length_at + 2)
    }

    /// The records that a reply of this size can have at most: A, owned by the question's name.
    pub fn most_records(&self) -> usize {
        self.limit / 16
    }

    /// Whether the answer section has a record.
    pub fn has_answer(&self) -> bool {
        self.counts[Section::Answer as usize] > 0
    }

    /// Writes OPT and header: the reply is ready to be sent.
    pub fn finish(mut self, rcode: Rcode, authoritative: bool, truncated: bool) {
        let code = rcode as u8;
        if let Some(dnssec_ok) = self.edns {
            let options = self.manner.options;
            let [high, low] = UDP_PAYLOAD.to_be_bytes();
            let flags = if dnssec_ok { 0x80 } else { 0 };
            let length = options.length as u8;
            self.out.extend([0, 0, qtype::OPT as u8, high, low, code >> 4, 0, flags, 0, 0, length]);
            self.out.extend_from_slice(options.as_bytes());
            self.counts[Section::Additional as usize] += 1;
        }
        for (n, count) in self.counts.iter().enumerate() {
            patch(self.out, 6 + 2 * n, &count.to_be_bytes());
        }
        set_flags(self.out, rcode, authoritative, truncated && self.manner.tells_cuts);
        // Who is refused is offered nothing.
        let recursion = self.manner.recursion_available && rcode != Rcode::Refused;
        if let Some(second) = self.out.get_mut(3).filter(|_| recursion) {
            *second |= RECURSION_AVAILABLE;
        }
    }
}

/// Writes a reply of a header alone.
pub fn header_only(header: &Header, rcode: Rcode, out: &mut Vec<u8>) {
    start(header, 0, out);
    set_flags(out, rcode, false, false);
}

/// Writes the header that a reply starts with.
fn start(header: &Header, questions: u8, out: &mut Vec<u8>) {
    const KEPT_FIRST: u8 = 0x79; // opcode, RD
    const KEPT_SECOND: u8 = 0x10; // CD
    const IS_REPLY: u8 = 0x80;
    out.clear();
    out.extend(header.id.to_be_bytes());
    out.push(IS_REPLY | header.first & KEPT_FIRST);
    out.push(header.second & KEPT_SECOND);
    out.extend([0, questions, 0, 0, 0, 0, 0, 0]);
}

fn set_flags(out: &mut [u8], rcode: Rcode, authoritative: bool, truncated: bool) {
    if let [_, _, first, second, ..] = out {
        *first |= if authoritative { 0x04 } else { 0 } | if truncated { 0x02 } else { 0 };
        *second |= rcode as u8 & 0x0f;
    }
}

fn patch(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
