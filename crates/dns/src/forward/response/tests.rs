use proptest::prelude::*;

use super::super::fixtures::{CAPS, Reply, edns_query, name, opt, query};
use super::*;
use crate::answer::Transport;

const A: u16 = qtype::A;

fn given(freshness: Freshness) -> Given<'static> {
    Given { freshness, error: None, options: &[], set_truncate_bit: true }
}

/// What a client gets that asked with this packet.
fn write(response: &Response, packet: &[u8], given: Given<'_>) -> Vec<u8> {
    let request = Request::read(packet, 65_535, Transport::Udp).unwrap();
    let mut out = Vec::new();
    response.write(&request, given, &mut out);
    out
}

fn ask() -> Vec<u8> {
    query(7, "www.Example.org", A)
}

/// The times of all records.
fn ttls(message: &[u8]) -> Vec<u32> {
    records(message).iter().map(|record| record.ttl).collect()
}

fn records(message: &[u8]) -> Vec<Record> {
    let mut cursor = Cursor::new(message);
    let header = cursor.header().unwrap();
    cursor.question().unwrap();
    let count: u16 = header.counts[1..].iter().sum();
    let records = (0..count).map(|_| cursor.record().unwrap()).collect();
    assert_eq!(cursor.place(), message.len());
    records
}

#[test]
fn id_flags_and_spelling_are_the_clients() {
    let response = Reply::to(&query(99, "wWw.example.ORG", A)).addresses(2, 60).opt(b"").read();
    let mut ask = ask();
    ask[3] = CD;
    let reply = write(&response.unwrap(), &ask, given(Freshness::New));
    assert_eq!(reply[..12], [0, 7, 0x81, 0x90, 0, 1, 0, 2, 0, 0, 0, 0]);
    assert_eq!(reply[12..33], ask[12..33]);
    assert_eq!(ttls(&reply), [60, 60]);
}

#[test]
fn owners_in_full_lose_random_capitals() {
    let spelled = query(99, "wWw.eXample.ORG", A);
    let owner = &spelled[12..29];
    let response = Reply::to(&spelled).owned(0, owner, A, 9, &[1, 2, 3, 4]).read().unwrap();
    let reply = write(&response, &ask(), given(Freshness::New));
    assert_eq!(reply[33..50], name("www.example.org")[..]);
}

#[test]
fn times_count_down() {
    let response = Reply::to(&ask()).addresses(1, 60).record(2, A, 90, &[1; 4]).read().unwrap();
    let kept = |millis| Freshness::Kept(Duration::from_millis(millis));
    for (freshness, want) in [
        (Freshness::New, [60, 90]),
        (kept(0), [60, 90]),
        (kept(1), [59, 89]),
        (kept(1000), [59, 89]),
        (kept(1001), [58, 88]),
        (kept(60_000), [0, 30]),
        (kept(100_000), [0, 0]),
        (Freshness::Stale, [30, 30]),
    ] {
        assert_eq!(ttls(&write(&response, &ask(), given(freshness))), want, "{freshness:?}");
    }
}

/// For how long answers are kept.
#[test]
fn ttl_of_the_whole() {
    let to = || Reply::to(&ask());
    let cname = |reply: Reply| reply.record(0, 5, 70, &[0xc0, 16]);
    for (what, reply, want) in [
        ("least of all", to().addresses(1, 60).record(2, A, 50, &[1; 4]), 50),
        ("zero", to().addresses(1, 0), 0),
        ("top bit", to().addresses(1, 1 << 31), 0),
        ("capped", to().addresses(1, 200_000), 86_400),
        ("NXDOMAIN", to().rcode(3).soa(300, 100), 100),
        ("NXDOMAIN, SOA's own", to().rcode(3).soa(30, 100), 30),
        ("negative, capped", to().rcode(3).soa(5000, 5000), 900),
        ("NODATA", to().soa(300, 100), 100),
        ("NODATA behind CNAME", cname(to()).soa(300, 100), 70),
        ("NXDOMAIN behind CNAME", cname(to()).rcode(3).soa(300, 10), 10),
        ("no SOA", to().rcode(3), 0),
        ("referral", to().record(1, qtype::NS, 60, &[0xc0, 16]), 0),
        ("CNAME alone", cname(to()), 0),
        ("an answer with SOA", to().addresses(1, 60).soa(300, 10), 60),
        ("cut", to().addresses(1, 60).flags(TC, 0), 0),
        ("SERVFAIL", to().addresses(1, 60).rcode(2), 0),
    ] {
        assert_eq!(reply.read().unwrap().ttl, want, "{what}");
    }
    // The SOA of a negative answer says no more than the answer's time.
    let response = to().rcode(3).soa(300, 100).read().unwrap();
    let kept = Freshness::Kept(Duration::from_secs(10));
    assert_eq!(ttls(&write(&response, &ask(), given(kept))), [90]);
}

#[test]
fn only_what_was_asked() {
    let question = ask()[12..].to_vec();
    let read = |packet: &[u8], exactly| {
        let asked = Asked { id: 7, question: &question, exactly };
        Response::read(packet, asked, CAPS).map(|_| ())
    };
    let reply = |packet: &[u8]| Reply::to(packet).addresses(1, 60);
    assert_eq!(read(&reply(&ask()).bytes(), true), Ok(()));
    let lower = reply(&query(7, "www.example.org", A)).bytes();
    assert_eq!(read(&lower, false), Ok(()));
    assert_eq!(read(&lower, true), Err(NotOurs::Spelling));
    let no_question = [0, 7, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (what, packet) in [
        ("id", reply(&query(8, "www.Example.org", A)).bytes()),
        ("name", reply(&query(7, "www.Example.com", A)).bytes()),
        ("type", reply(&query(7, "www.Example.org", 28)).bytes()),
        ("a query", ask()),
        ("an opcode", reply(&ask()).flags(0x20, 0).bytes()),
        ("no question", no_question.to_vec()),
        ("short", b"\0\x07\x80".to_vec()),
        ("cut without TC", reply(&ask()).bytes()[..40].to_vec()),
        ("wrong data", Reply::to(&ask()).record(0, A, 1, &[1; 5]).bytes()),
        ("a pointer forward", Reply::to(&ask()).owned(0, &[0xc0, 200], A, 1, &[1; 4]).bytes()),
        ("a pointer to itself", Reply::to(&ask()).owned(0, &[0xc0, 33], A, 1, &[1; 4]).bytes()),
        ("OPT twice", reply(&ask()).opt(b"").opt(b"").bytes()),
    ] {
        assert_eq!(read(&packet, false), Err(NotOurs::Stray), "{what}");
    }
    let mut other_class = reply(&ask()).bytes();
    other_class[32] = 3;
    assert_eq!(read(&other_class, false), Err(NotOurs::Stray));
    // FORMERR without OPT: an old server. With OPT it is an answer.
    for rcode in [1, 4] {
        assert_eq!(read(&Reply::to(&ask()).rcode(rcode).bytes(), true), Err(NotOurs::NoEdns));
        assert_eq!(read(&Reply::to(&ask()).rcode(rcode).opt(b"").bytes(), true), Ok(()));
        let header = [0, 7, 0x80, rcode, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&header, true), Err(NotOurs::NoEdns));
    }
}

#[test]
fn opt_is_of_one_hop() {
    let options = [0, 10, 0, 2, 1, 1];
    let behind = Reply::to(&ask()).addresses(1, 60).opt(&options).record(2, A, 60, &[1; 4]);
    let response = behind.read().unwrap();
    let plain = write(&response, &ask(), given(Freshness::New));
    assert_eq!(ttls(&plain), [60], "neither OPT nor what stands behind it");
    let edns = edns_query(7, "www.Example.org", A, 1232, &options);
    let reply = write(&response, &edns, given(Freshness::New));
    assert!(reply.ends_with(&opt(1232, b"")));
    let cookie = [0, 10, 0, 1, 5];
    let given = Given { options: &cookie, ..given(Freshness::Stale) };
    let stale = write(&response, &edns, given);
    assert!(stale.ends_with(&opt(1232, &[0, 15, 0, 2, 0, 3, 0, 10, 0, 1, 5])));
}

#[test]
fn ad_and_aa() {
    let response = Reply::to(&ask()).addresses(1, 60).flags(AA, AD).read().unwrap();
    let flags = |packet: &[u8], freshness| {
        let reply = write(&response, packet, given(freshness));
        (reply[2] & AA != 0, reply[3] & AD != 0)
    };
    assert_eq!(flags(&ask(), Freshness::New), (true, false));
    assert_eq!(flags(&ask(), Freshness::Kept(Duration::ZERO)), (false, false));
    let mut wants = ask();
    wants[3] |= AD;
    assert_eq!(flags(&wants, Freshness::New), (true, true));
    let mut signed = edns_query(7, "www.example.org", A, 1232, b"");
    let flags_at = signed.len() - 4;
    signed[flags_at] = DO;
    assert_eq!(flags(&signed, Freshness::New), (true, true));
}

#[test]
fn cut_for_the_client() {
    // 33 bytes of header and question, 16 for each address.
    let (answers, reply) = (40, Reply::to(&ask()).addresses(40, 60));
    let response = reply.clone().read().unwrap();
    let cut = write(&response, &ask(), given(Freshness::New));
    assert_eq!((cut[2] & TC, cut[7], cut.len()), (TC, 29, 33 + 29 * 16));
    let silent = Given { set_truncate_bit: false, ..given(Freshness::New) };
    assert_eq!(write(&response, &ask(), silent)[2] & TC, 0);
    let edns = edns_query(7, "www.example.org", A, 1232, b"");
    let whole = write(&response, &edns, given(Freshness::New));
    assert_eq!((whole[2] & TC, whole[7], whole.len()), (0, answers, 33 + 40 * 16 + 11));

    // Additional records go without a word.
    let response = Reply::to(&ask()).addresses(28, 60).record(2, A, 60, &[1; 4]);
    let response = response.record(2, A, 60, &[2; 4]).read().unwrap();
    let reply = write(&response, &ask(), given(Freshness::New));
    assert_eq!((reply[2] & TC, reply[7], reply[11]), (0, 28, 0));

    // What came cut stays cut.
    let response = Reply::to(&ask()).addresses(2, 60).flags(TC, 0).read().unwrap();
    assert_eq!(write(&response, &ask(), given(Freshness::New))[2] & TC, TC);
}

#[test]
fn errors() {
    let packet = edns_query(7, "www.example.org", A, 1232, b"");
    let request = Request::read(&packet, 512, Transport::Udp).unwrap();
    let mut out = Vec::new();
    write_error(
        &request,
        Rcode::ServFail,
        Some(ExtendedError::NoReachableAuthority),
        b"",
        &mut out,
    );
    assert_eq!(out[..12], [0, 7, 0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 1]);
    assert!(out.ends_with(&opt(1232, &[0, 15, 0, 2, 0, 22])));
    write_error(&request, Rcode::BadVers, None, b"", &mut out);
    assert_eq!((out[3], out[out.len() - 6]), (0, 1), "the upper bits stand in OPT");
}

/// A reply of some kind, with owners and data of some kind.
fn replies() -> impl Strategy<Value = Vec<u8>> {
    let owner = prop_oneof![
        Just(vec![0xc0, 12]),
        Just(vec![0xc0, 16]),
        Just(name("www.example.org")),
        Just(name("other.example")),
        Just(vec![0]),
    ];
    let record = (0..3usize, owner, proptest::sample::select(vec![1u16, 2, 5, 6, 16, 28, 33, 999]));
    let records = proptest::collection::vec((record, any::<u32>(), any::<u8>()), 0..60);
    let rcode = proptest::sample::select(vec![0u8, 2, 3, 5]);
    (records, rcode, any::<bool>(), any::<bool>()).prop_map(|(mut records, rcode, tc, edns)| {
        records.sort_by_key(|((section, ..), ..)| *section);
        let mut reply = Reply::to(&ask()).rcode(rcode).flags(if tc { TC } else { 0 }, 0);
        for ((section, owner, rtype), ttl, byte) in records {
            let data = match rtype {
                1 => vec![byte; 4],
                28 => vec![byte; 16],
                2 | 5 => vec![0xc0, 12],
                6 => [vec![0xc0, 12, 0xc0, 16], vec![byte; 20]].concat(),
                33 => [vec![byte; 6], name("target.example.org")].concat(),
                16 => [vec![20], vec![byte; 20]].concat(),
                _ => vec![byte; usize::from(byte)],
            };
            reply = reply.owned(section, &owner, rtype, ttl, &data);
        }
        if edns { reply.opt(b"").bytes() } else { reply.bytes() }
    })
}

fn check(packet: &[u8], limit: usize, age: u64, edns: Option<u16>) -> Result<bool, TestCaseError> {
    let question = &ask()[12..33];
    let asked = Asked { id: 7, question, exactly: false };
    let Ok(response) = Response::read(packet, asked, CAPS) else { return Ok(false) };
    let ask = match edns {
        Some(size) => edns_query(9, "WWW.example.org", A, size, b""),
        None => query(9, "WWW.example.org", A),
    };
    let request = Request::read(&ask, limit, Transport::Udp).unwrap();
    for freshness in [Freshness::New, Freshness::Kept(Duration::from_secs(age)), Freshness::Stale] {
        let mut out = Vec::new();
        response.write(&request, given(freshness), &mut out);
        prop_assert!(out.len() <= limit);
        prop_assert!(out.len() <= usize::from(edns.unwrap_or(512).clamp(512, 1232)));
        let parsed = domain::base::Message::from_octets(&out[..]).unwrap();
        prop_assert_eq!(parsed.header().id(), 9);
        let records = parsed.iter().map(|record| record.map(|(record, _)| record.ttl().as_secs()));
        let records = records.collect::<Result<Vec<u32>, _>>();
        prop_assert!(records.is_ok(), "{:?}", records);
        prop_assert_eq!(parsed.opt().is_some(), edns.is_some(), "{:?}", out);
        prop_assert!(response.ttl <= 86_400);
        if let Freshness::Kept(_) = freshness {
            for (ttl, was) in records.unwrap().iter().zip(&response.records) {
                prop_assert!(u64::from(*ttl) <= u64::from(was.ttl).saturating_sub(age));
            }
        }
    }
    Ok(true)
}

proptest! {
    /// Whatever a server says, clients get a message of the size they take that another
    /// implementation can read.
    #[test]
    fn replies_can_be_read(
        packet in replies(),
        limit in 300..1500usize,
        age in 0..100_000u64,
        edns in proptest::option::of(any::<u16>()),
    ) {
        prop_assert!(check(&packet, limit, age, edns)?, "an honest reply is read");
    }

    /// The same when the bytes were garbled on the way.
    #[test]
    fn garbled_replies_do_no_harm(
        packet in replies(),
        damage in proptest::collection::vec((33..2000usize, any::<u8>()), 1..20),
        limit in 300..1500usize,
        edns in proptest::option::of(any::<u16>()),
    ) {
        let mut packet = packet;
        for (at, byte) in damage {
            if let Some(place) = packet.get_mut(at) {
                *place = byte;
            }
        }
        check(&packet, limit, 5, edns)?;
    }

    /// Random bytes are no query that could do harm.
    #[test]
    fn random_queries(packet in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(request) = Request::read(&packet, 512, Transport::Udp) {
            prop_assert!(request.question.name.len() <= 255);
            request.key();
        }
    }
}
