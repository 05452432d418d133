//! What a query for a transfer says beyond its question: the serial that the secondary has (IXFR,
//! RFC 1995 §3), and whether it is signed (TSIG, RFC 8945), which is not supported.
//!
//! Input: packets that [`crate::message::read`] has taken, so every record is whole.

use crate::message::{HEADER, qtype};

/// What stands behind the question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The serial of the SOA record in the authority section.
    pub serial: Option<u32>,
    /// Whether the query is signed.
    pub signed: bool,
}

/// Reads it; what it cannot make sense of is not there.
pub fn extras(packet: &[u8]) -> Extras {
    let mut extras = Extras::default();
    let count = |n: usize| {
        let at = 6 + 2 * n;
        packet.get(at..at + 2).and_then(|c| c.try_into().ok()).map_or(0, u16::from_be_bytes)
    };
    let mut rest = packet.get(HEADER..).unwrap_or_default();
    // The question: name, type, class.
    if skip_name(&mut rest).and_then(|()| take(&mut rest, 4)).is_none() {
        return extras;
    }
    for section in 0..3 {
        for _ in 0..count(section) {
            let Some((rtype, data)) = next(&mut rest) else { return extras };
            match rtype {
                qtype::SOA if section == 1 => extras.serial = serial(data),
                qtype::TSIG => extras.signed = true,
                _ => {}
            }
        }
    }
    extras
}

/// The serial in an SOA's data: names of any form, and behind them five numbers.
fn serial(data: &[u8]) -> Option<u32> {
    let numbers = data.last_chunk::<20>()?;
    numbers.first_chunk().map(|serial| u32::from_be_bytes(*serial))
}

/// Takes a record off the rest; gives its type and data.
fn next<'p>(rest: &mut &'p [u8]) -> Option<(u16, &'p [u8])> {
    skip_name(rest)?;
    let [high, low, _, _, _, _, _, _] = *take(rest, 8)? else { return None };
    let length = take(rest, 2)?.try_into().map(u16::from_be_bytes).ok()?;
    Some((u16::from_be_bytes([high, low]), take(rest, usize::from(length))?))
}

fn skip_name(rest: &mut &[u8]) -> Option<()> {
    loop {
        match *take(rest, 1)?.first()? {
            0 => return Some(()),
            length @ 1..=63 => take(rest, usize::from(length))?,
            _ => return take(rest, 1).map(|_| ()),
        };
    }
}

fn take<'p>(rest: &mut &'p [u8], length: usize) -> Option<&'p [u8]> {
    let (taken, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x05mesos\0\0\xfb\0\x01";

    fn packet(counts: [u8; 4], records: &[&[u8]]) -> Vec<u8> {
        let [questions, answers, authorities, additionals] = counts;
        let header = [0, 1, 0, 0, 0, questions, 0, answers, 0, authorities, 0, additionals];
        [&header[..], QUESTION, &records.concat()].concat()
    }

    #[test]
    fn finds_serial_and_signature() {
        // The owner points to the question; the names in the data too.
        let soa = b"\xc0\x0c\0\x06\0\x01\0\0\0\0\0\x18\xc0\x0c\xc0\x0c\x01\x02\x03\x04\
            \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
        let tsig = b"\x03key\0\0\xfa\0\xff\0\0\0\0\0\0";
        let serial = Some(0x0102_0304);
        for (packet, want) in [
            (packet([1, 0, 0, 0], &[]), Extras::default()),
            (packet([1, 0, 1, 0], &[soa]), Extras { serial, signed: false }),
            (packet([1, 0, 1, 2], &[soa, opt, tsig]), Extras { serial, signed: true }),
            (packet([1, 0, 0, 2], &[opt, soa]), Extras::default()),
            (packet([1, 0, 1, 0], &[&soa[..20]]), Extras::default()),
            (packet([1, 0, 1, 0], &[b"\0\0\x06\0\x01\0\0\0\0\0\x02\0\0"]), Extras::default()),
        ] {
            assert_eq!(extras(&packet), want, "{packet:?}");
        }
        let whole = packet([1, 0, 1, 2], &[soa, opt, tsig]);
        for end in 0..whole.len() {
            assert!(!extras(&whole[..end]).signed, "cut off: no panic, and no more than there is");
        }
    }
}
