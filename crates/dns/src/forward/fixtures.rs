//! Messages for tests.

use super::request::Key;
use super::response::{Asked, Caps, NotOurs, Response};
use crate::message::qtype;
use crate::wire;

pub(super) const CAPS: Caps = Caps { ttl: 86_400, negative: 900 };

/// A query with RD.
pub(super) fn query(id: u16, name: &str, qtype: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let header = [high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..], &question(name, qtype)].concat()
}

/// The same with an OPT record that says how much the client takes, and some options.
pub(super) fn edns_query(id: u16, name: &str, qtype: u16, size: u16, options: &[u8]) -> Vec<u8> {
    let mut query = query(id, name, qtype);
    query[11] = 1;
    query.extend(opt(size, options));
    query
}

pub(super) fn opt(size: u16, options: &[u8]) -> Vec<u8> {
    let [high, low] = size.to_be_bytes();
    let [more, less] = (options.len() as u16).to_be_bytes();
    [&[0, 0, 41, high, low, 0, 0, 0, 0, more, less][..], options].concat()
}

/// Name with the capitals of `name`, type, class IN.
pub(super) fn question(name: &str, qtype: u16) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend(qtype.to_be_bytes());
    out.extend([0, 1]);
    out
}

/// A reply in the making, to whatever was asked.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    bytes: Vec<u8>,
}

impl Reply {
    /// NOERROR with RA to this query, without records.
    pub(super) fn to(query: &[u8]) -> Reply {
        let mut name = 12;
        while query[name] != 0 {
            name += 1 + usize::from(query[name]);
        }
        let mut bytes = query[..name + 5].to_vec();
        bytes[2] |= 0x80;
        bytes[3] = 0x80;
        bytes[6..12].fill(0);
        Reply { bytes }
    }

    pub(super) fn rcode(mut self, rcode: u8) -> Reply {
        self.bytes[3] = self.bytes[3] & 0xf0 | rcode;
        self
    }

    /// Sets bits in the flags.
    pub(super) fn flags(mut self, first: u8, second: u8) -> Reply {
        self.bytes[2] |= first;
        self.bytes[3] |= second;
        self
    }

    /// A record of the question's name in a section (0 to 2).
    pub(super) fn record(self, section: usize, rtype: u16, ttl: u32, data: &[u8]) -> Reply {
        self.owned(section, &[0xc0, 12], rtype, ttl, data)
    }

    /// A record of another owner (wire form).
    pub(super) fn owned(
        mut self,
        section: usize,
        owner: &[u8],
        rtype: u16,
        ttl: u32,
        data: &[u8],
    ) -> Reply {
        self.bytes.extend_from_slice(owner);
        self.bytes.extend(rtype.to_be_bytes());
        self.bytes.extend([0, 1]);
        self.bytes.extend(ttl.to_be_bytes());
        self.bytes.extend((data.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(data);
        self.count(section)
    }

    /// `n` addresses 10.0.0.0 and up.
    pub(super) fn addresses(self, n: u8, ttl: u32) -> Reply {
        (0..n).fold(self, |reply, n| reply.record(0, qtype::A, ttl, &[10, 0, 0, n]))
    }

    /// The SOA of the question's name.
    pub(super) fn soa(self, ttl: u32, last: u32) -> Reply {
        let data = [&[0xc0, 12, 0xc0, 12][..], &[0; 16], &last.to_be_bytes()].concat();
        self.record(1, qtype::SOA, ttl, &data)
    }

    pub(super) fn opt(mut self, options: &[u8]) -> Reply {
        self.bytes.extend(opt(4096, options));
        self.count(2)
    }

    fn count(mut self, section: usize) -> Reply {
        let at = 6 + 2 * section;
        let count = u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]) + 1;
        self.bytes[at..at + 2].copy_from_slice(&count.to_be_bytes());
        self
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// As the forwarder reads it that asked exactly so.
    pub(super) fn read(self) -> Result<Response, NotOurs> {
        self.read_with(CAPS)
    }

    pub(super) fn read_with(self, caps: Caps) -> Result<Response, NotOurs> {
        let end = Reply::to(&self.bytes).bytes.len();
        let id = u16::from_be_bytes([self.bytes[0], self.bytes[1]]);
        let asked = Asked { id, question: &self.bytes[12..end], exactly: false };
        Response::read(&self.bytes, asked, caps)
    }
}

pub(super) fn key(n: u16) -> Key {
    n.to_be_bytes().as_slice().into()
}

/// A name in wire form.
pub(super) fn name(text: &str) -> Vec<u8> {
    wire::absolute(text).unwrap().into()
}
