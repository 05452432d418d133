//! The messages of a transfer: records in order, in as many messages as they need (RFC 5936 §2.2).
//!
//! Every message repeats the question, so that every owner ends in a pointer to the domain there;
//! an owner also shares the end of the one before. That is cheap, and saves most of what there is
//! to be saved. Names in data stay whole.

use crate::message::{CLASS_IN, HEADER, Query, Rcode, Reply};

use super::record::Record;

/// The length of a message, in bytes: pointers reach no further (RFC 1035 §4.1.4). A record that is
/// longer has a message of its own.
pub const MESSAGE: usize = 16 << 10;

/// Puts records into messages and sends those that are full.
pub struct Messages<S> {
    /// Header and question of all messages.
    head: Vec<u8>,
    /// What stands behind the records: the OPT record, if any.
    tail: Vec<u8>,
    out: Vec<u8>,
    count: u16,
    names: Names,
    send: S,
    is_open: bool,
}

impl<S: FnMut(Vec<u8>) -> bool> Messages<S> {
    /// Messages that answer a query whose question is the domain. `send` takes each one, and says
    /// whether it wants more.
    pub fn new(query: &Query<'_>, send: S) -> Messages<S> {
        let mut head = Vec::new();
        Reply::to(query, MESSAGE, &mut head).finish(Rcode::NoError, true, false);
        let tail = head.split_off((HEADER + query.name.as_bytes().len() + 4).min(head.len()));
        let out = head.clone();
        Messages { head, tail, out, count: 0, names: Names::default(), send, is_open: true }
    }

    /// Adds a record; says whether more are wanted.
    pub fn record(&mut self, record: Record<'_>) -> bool {
        if !self.is_open {
            return false;
        }
        let start = self.out.len();
        self.write(record);
        if self.out.len() + self.tail.len() > MESSAGE && self.count > 0 {
            self.out.truncate(start);
            self.flush();
            self.write(record);
        }
        self.count += 1;
        self.is_open
    }

    /// Sends what is left.
    pub fn finish(mut self) {
        if self.is_open && self.count > 0 {
            self.flush();
        }
    }

    fn write(&mut self, record: Record<'_>) {
        self.names.write(&mut self.out, record.owner);
        self.out.extend(record.rtype.to_be_bytes());
        self.out.extend(CLASS_IN.to_be_bytes());
        self.out.extend(record.ttl.to_be_bytes());
        // Records whose data is longer are not made.
        let length = u16::try_from(record.data.len()).unwrap_or(u16::MAX);
        self.out.extend(length.to_be_bytes());
        self.out.extend_from_slice(record.data);
    }

    fn flush(&mut self) {
        let mut message = std::mem::replace(&mut self.out, Vec::with_capacity(MESSAGE));
        self.out.extend_from_slice(&self.head);
        if let Some(answers) = message.get_mut(6..8) {
            answers.copy_from_slice(&self.count.to_be_bytes());
        }
        message.extend_from_slice(&self.tail);
        self.count = 0;
        self.names = Names::default();
        self.is_open = (self.send)(message);
    }
}

/// Where the last owner's labels stand in the message.
#[derive(Default)]
struct Names {
    last: Vec<u8>,
    /// For its tails: their length and their place.
    tails: Vec<(usize, u16)>,
}

impl Names {
    /// Writes an owner, relative to the domain; its end as a pointer.
    fn write(&mut self, out: &mut Vec<u8>, owner: &[u8]) {
        const LAST_PLACE: usize = 0x3fff;
        let mut place = HEADER as u16;
        let mut written = Vec::new();
        let (mut at, start) = (0, out.len());
        while let Some(tail) = owner.get(at..).filter(|tail| !tail.is_empty()) {
            if let Some(known) = self.place_of(tail) {
                place = known;
                break;
            }
            written.push((tail.len(), start + at));
            at += 1 + usize::from(tail.first().copied().unwrap_or_default());
        }
        let at = at.min(owner.len());
        out.extend_from_slice(owner.get(..at).unwrap_or_default());
        out.extend((0xc000 | place).to_be_bytes());
        self.tails.retain(|(length, _)| *length <= owner.len() - at);
        let written = written.into_iter().filter(|(_, place)| *place <= LAST_PLACE);
        self.tails.extend(written.map(|(length, place)| (length, place as u16)));
        self.last.clear();
        self.last.extend_from_slice(owner);
    }

    /// Where this tail stands, if the last owner ends in it.
    fn place_of(&self, tail: &[u8]) -> Option<u16> {
        let (_, place) = self.tails.iter().find(|(length, _)| *length == tail.len())?;
        self.last.ends_with(tail).then_some(*place)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message;

    const QUERY: &[u8] = b"\0\x07\0\0\0\x01\0\0\0\0\0\x01\x05mesos\0\0\xfc\0\x01\
        \0\0\x29\x04\xd0\0\0\0\0\0\0";

    type Owned = (Vec<u8>, u16, u32, Vec<u8>);

    /// Reads messages with the peers' eyes; owners relative to `mesos`.
    fn read(message: &[u8]) -> Vec<Owned> {
        use domain::base::{Message, Name, ToName, UnknownRecordData};
        let message = Message::from_octets(message).unwrap();
        assert_eq!(message.header().id(), 7);
        assert!(message.header().aa() && message.header().qr());
        assert_eq!(message.header_counts().qdcount(), 1);
        assert_eq!(message.opt().map(|opt| opt.udp_payload_size()), Some(1232));
        let records = message.answer().unwrap().map(|record| {
            let record = record.unwrap();
            let record = record.into_record::<UnknownRecordData<_>>().unwrap().unwrap();
            let owner: Name<Vec<u8>> = record.owner().to_name();
            let owner = owner.as_octets().strip_suffix(b"\x05mesos\0").unwrap().to_vec();
            let data = record.data().data().to_vec();
            (owner, record.data().rtype().to_int(), record.ttl().as_secs(), data)
        });
        records.collect()
    }

    fn write(records: &[Owned]) -> Vec<Vec<u8>> {
        let query = message::read(QUERY).unwrap();
        let mut sent = Vec::new();
        let mut messages = Messages::new(&query, |message| {
            sent.push(message);
            true
        });
        for (owner, rtype, ttl, data) in records {
            assert!(messages.record(Record { owner, rtype: *rtype, ttl: *ttl, data }));
        }
        messages.finish();
        sent
    }

    fn labels() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(&["a", "bb", "c_c", "slave", "x"][..]), 0..6)
            .prop_map(|labels| {
                labels.iter().flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()).collect()
            })
    }

    proptest! {
        #[test]
        fn every_record_arrives(
            records in prop::collection::vec(
                (labels(), 256u16..300, any::<u32>().prop_map(|ttl| ttl >> 1),
                    prop::collection::vec(any::<u8>(), 0..900)),
                0..200),
        ) {
            let sent = write(&records);
            prop_assert!(sent.iter().all(|message| message.len() <= MESSAGE));
            let read: Vec<Owned> = sent.iter().flat_map(|message| read(message)).collect();
            prop_assert_eq!(read, records);
        }
    }

    #[test]
    fn uses_its_room() {
        let name = |n: u32| format!("\x06t{n:05}\x08marathon\x05slave").into_bytes();
        let records: Vec<Owned> = (0..5000).map(|n| (name(n), 1, 5, vec![10, 0, 0, 1])).collect();
        let sent = write(&records);
        assert!(sent.iter().rev().skip(1).all(|m| m.len() > MESSAGE - 64));
        // Pointer for `.marathon.slave.mesos`: 7 + 2 + 10 + 4 bytes a record.
        assert!(sent.iter().map(Vec::len).sum::<usize>() < 5000 * 24);
        assert_eq!(sent.iter().flat_map(|m| read(m)).count(), 5000);
    }

    #[test]
    fn long_records_stand_alone() {
        let short: Owned = (vec![], 256, 1, vec![1]);
        let long: Owned = (b"\x01a".to_vec(), 256, 1, vec![2; 40_000]);
        let records = [short.clone(), long.clone(), short.clone(), short];
        let sent = write(&records);
        assert_eq!(sent.iter().map(|m| read(m).len()).collect::<Vec<_>>(), [1, 1, 2]);
        assert_eq!(sent.iter().flat_map(|m| read(m)).collect::<Vec<_>>(), records);
    }

    #[test]
    fn stops_when_nobody_wants_more() {
        let query = message::read(QUERY).unwrap();
        let mut sent = 0;
        let mut messages = Messages::new(&query, |_| {
            sent += 1;
            false
        });
        let record = Record { owner: b"", rtype: 256, ttl: 1, data: &[0; 9000] };
        assert!(messages.record(record));
        assert!(!messages.record(record));
        assert!(!messages.record(record));
        messages.finish();
        assert_eq!(sent, 1);
    }
}
