//! Records as transfers hold them: whole, one behind the other in one piece of memory, so that a
//! step of the journal is two allocations, and two records are the same when their bytes are.

/// One record of the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record<'r> {
    /// Its owner, relative to the domain and in lower case; empty at the apex.
    pub owner: &'r [u8],
    /// Its type.
    pub rtype: u16,
    /// Its time to live, in seconds.
    pub ttl: u32,
    /// Its data; names in it are whole.
    pub data: &'r [u8],
}

/// The length of a packed record without owner and data: their lengths, type and TTL.
const SHORTEST: usize = 1 + 2 + 4 + 2;

impl<'r> Record<'r> {
    /// Appends the record in packed form and says whether it could: an owner of more than 255 bytes
    /// or data of more than 65,535 are no record.
    pub fn pack(&self, out: &mut Vec<u8>) -> bool {
        let (Ok(owner), Ok(data)) =
            (u8::try_from(self.owner.len()), u16::try_from(self.data.len()))
        else {
            return false;
        };
        out.reserve(SHORTEST + self.owner.len() + self.data.len());
        out.push(owner);
        out.extend_from_slice(self.owner);
        out.extend(self.rtype.to_be_bytes());
        out.extend(self.ttl.to_be_bytes());
        out.extend(data.to_be_bytes());
        out.extend_from_slice(self.data);
        true
    }

    /// Takes the first packed record off `rest`.
    fn unpack(rest: &mut &'r [u8]) -> Option<Record<'r>> {
        let ([owner], tail) = rest.split_first_chunk()?;
        let (owner, tail) = tail.split_at_checked(usize::from(*owner))?;
        let (rtype, tail) = tail.split_first_chunk()?;
        let (ttl, tail) = tail.split_first_chunk()?;
        let (data, tail) = tail.split_first_chunk()?;
        let (data, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*data)))?;
        *rest = tail;
        Some(Record {
            owner,
            rtype: u16::from_be_bytes(*rtype),
            ttl: u32::from_be_bytes(*ttl),
            data,
        })
    }
}

/// The packed records of a piece of memory.
pub fn unpack(packed: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = packed;
    std::iter::from_fn(move || Record::unpack(&mut rest))
}

/// The same, each as its bytes.
pub fn split(packed: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = packed;
    std::iter::from_fn(move || {
        let before = rest;
        Record::unpack(&mut rest)?;
        before.get(..before.len() - rest.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_and_unpacks() {
        let records = [
            Record { owner: b"", rtype: 6, ttl: 5, data: b"soa" },
            Record { owner: b"\x01a\x01b", rtype: 1, ttl: u32::MAX, data: &[1, 2, 3, 4] },
            Record { owner: b"\x01a", rtype: 16, ttl: 0, data: b"" },
        ];
        let mut packed = Vec::new();
        assert!(records.iter().all(|record| record.pack(&mut packed)));
        assert_eq!(unpack(&packed).collect::<Vec<_>>(), records);
        let parts: Vec<&[u8]> = split(&packed).collect();
        assert_eq!(parts.concat(), packed);
        assert_eq!(parts.len(), 3);
        // What was cut off in the middle is not there.
        assert_eq!(unpack(&packed[..packed.len() - 1]).count(), 2);
    }

    #[test]
    fn what_is_too_long_is_no_record() {
        let long = vec![0; 1 << 16];
        let mut packed = vec![7];
        assert!(!Record { owner: &long[..256], rtype: 1, ttl: 1, data: b"" }.pack(&mut packed));
        assert!(!Record { owner: b"", rtype: 1, ttl: 1, data: &long }.pack(&mut packed));
        assert_eq!(packed, [7]);
    }
}
