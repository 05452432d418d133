//! Reading messages of either direction: every bound is checked, pointers only go back, and nothing
//! here panics (RFC 1035 §4.1, RFC 6891 §6.1).

use crate::message::{HEADER, qtype};
use crate::naming::MAX_LABEL;
use crate::wire::MAX_NAME;

/// Flags of a header's first half.
pub(super) const QR: u8 = 0x80;
pub(super) const OPCODE: u8 = 0x78;
pub(super) const AA: u8 = 0x04;
pub(super) const TC: u8 = 0x02;
pub(super) const RD: u8 = 0x01;
/// Flags of its second half.
pub(super) const RA: u8 = 0x80;
pub(super) const AD: u8 = 0x20;
pub(super) const CD: u8 = 0x10;
pub(super) const RCODE: u8 = 0x0f;
/// DO, in the third byte of an OPT record's TTL field.
pub(super) const DO: u8 = 0x80;

/// The first twelve bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u16,
    pub(super) first: u8,
    pub(super) second: u8,
    /// Questions, answers, authorities, additionals.
    pub(super) counts: [u16; 4],
}

/// A question, where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question<'m> {
    /// The bytes as they came: name, type, class.
    pub(super) bytes: &'m [u8],
    /// The name in lower case, with root label.
    pub(super) name: Vec<u8>,
    pub(super) qtype: u16,
    pub(super) class: u16,
}

/// A record, by places in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) start: usize,
    /// Behind the owner: type, class, TTL, length.
    pub(super) fixed: usize,
    pub(super) data: usize,
    pub(super) end: usize,
    pub(super) rtype: u16,
    /// Class, which in OPT is the size that its sender takes.
    pub(super) class: u16,
    pub(super) ttl: u32,
}

/// A place in a message from which it is read on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'m> {
    message: &'m [u8],
    at: usize,
}

impl<'m> Cursor<'m> {
    /// At the start.
    pub(super) fn new(message: &'m [u8]) -> Cursor<'m> {
        Cursor { message, at: 0 }
    }

    /// At another place.
    pub(super) fn at(message: &'m [u8], at: usize) -> Cursor<'m> {
        Cursor { message, at }
    }

    /// Where it is.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'m [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(bytes)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn header(&mut self) -> Option<Header> {
        let (id, first, second) = (self.u16()?, self.u8()?, self.u8()?);
        let counts = [self.u16()?, self.u16()?, self.u16()?, self.u16()?];
        Some(Header { id, first, second, counts })
    }

    /// A question. The first name of a message has nothing to point to.
    pub(super) fn question(&mut self) -> Option<Question<'m>> {
        let start = self.at;
        let mut name = Vec::new();
        loop {
            let length = usize::from(self.u8()?);
            let label = self.take(length).filter(|label| label.len() <= MAX_LABEL)?;
            name.push(length as u8);
            name.extend(label.iter().map(u8::to_ascii_lowercase));
            if name.len() > MAX_NAME {
                return None;
            }
            if length == 0 {
                break;
            }
        }
        let (qtype, class) = (self.u16()?, self.u16()?);
        Some(Question { bytes: self.message.get(start..self.at)?, name, qtype, class })
    }

    /// Passes over a name, whose pointers lead back and whose length is allowed.
    pub(super) fn name(&mut self) -> Option<()> {
        const POINTER: usize = 0xc0;
        let (mut at, mut length, mut end) = (self.at, 0, None);
        loop {
            let first = usize::from(*self.message.get(at)?);
            if first >= POINTER {
                let low = usize::from(*self.message.get(at + 1)?);
                end.get_or_insert(at + 2);
                let target = (first - POINTER) << 8 | low;
                // Every jump goes back, so there is an end to it.
                if target < HEADER || target >= at {
                    return None;
                }
                at = target;
                continue;
            }
            length += 1 + first;
            at += 1 + first;
            if first > MAX_LABEL || length > MAX_NAME || at > self.message.len() {
                return None;
            }
            if first == 0 {
                self.at = end.unwrap_or(at);
                return Some(());
            }
        }
    }

    /// Passes over a record; its data are checked as far as [`Cursor::data_is_sound`] knows them.
    pub(super) fn record(&mut self) -> Option<Record> {
        let start = self.at;
        self.name()?;
        let fixed = self.at;
        let (rtype, class, ttl) = (self.u16()?, self.u16()?, self.u32()?);
        let length = usize::from(self.u16()?);
        let data = self.at;
        self.take(length)?;
        let record = Record { start, fixed, data, end: self.at, rtype, class, ttl };
        Cursor::at(self.message.get(..record.end)?, data).data_is_sound(rtype)?;
        Some(record)
    }

    /// Whether the data from here to the end are what the type asks for; types whose form does not
    /// matter here are taken as they are.
    fn data_is_sound(&mut self, rtype: u16) -> Option<()> {
        match rtype {
            qtype::A => self.take(4).map(|_| ()),
            qtype::AAAA => self.take(16).map(|_| ()),
            qtype::NS | CNAME | PTR | DNAME => self.name(),
            MX => self.take(2).and_then(|_| self.name()),
            qtype::SRV => self.take(6).and_then(|_| self.name()),
            qtype::SOA => {
                self.name().and_then(|()| self.name()).and_then(|()| self.take(20).map(|_| ()))
            }
            qtype::OPT => self.options_are_sound(),
            _ => return Some(()),
        }?;
        (self.at == self.message.len()).then_some(())
    }

    fn options_are_sound(&mut self) -> Option<()> {
        while self.at < self.message.len() {
            self.option()?;
        }
        Some(())
    }

    /// One EDNS option: its code and its data.
    pub(super) fn option(&mut self) -> Option<(u16, &'m [u8])> {
        let (code, length) = (self.u16()?, self.u16()?);
        Some((code, self.take(usize::from(length))?))
    }
}

/// Types whose data hold names.
pub(super) const CNAME: u16 = 5;
const PTR: u16 = 12;
const MX: u16 = 15;
pub(super) const DNAME: u16 = 39;

/// What an OPT record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opt<'m> {
    /// The UDP message that its sender takes, in bytes.
    pub(super) payload: u16,
    /// The upper bits of the response code.
    pub(super) rcode: u8,
    pub(super) version: u8,
    pub(super) dnssec_ok: bool,
    options: &'m [u8],
}

impl<'m> Opt<'m> {
    /// Reads an OPT record that was passed over; `None` unless its owner is the root.
    pub(super) fn of(message: &'m [u8], record: &Record) -> Option<Opt<'m>> {
        let [rcode, version, flags, _] = record.ttl.to_be_bytes();
        let options = message.get(record.data..record.end)?;
        let is_root = record.fixed == record.start + 1;
        is_root.then_some(Opt {
            payload: record.class,
            rcode,
            version,
            dnssec_ok: flags & DO != 0,
            options,
        })
    }

    /// The data of the first option of a code.
    pub(super) fn option(&self, code: u16) -> Option<&'m [u8]> {
        let mut cursor = Cursor::new(self.options);
        std::iter::from_fn(|| cursor.option()).find(|(found, _)| *found == code).map(|(_, d)| d)
    }
}
