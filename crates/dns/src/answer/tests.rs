//! Answers as `domain`, another implementation of the wire format, reads them.

use std::net::Ipv4Addr;

use domain::base::iana::{Class, Opcode, OptRcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, ParsedRecord};
use domain::rdata::AllRecordData;
use proptest::prelude::*;
use waymark_model::AppEntry;

use super::*;
use crate::fixtures::*;
use crate::lease::Leases;

/// A query as a client may send it.
#[derive(Clone)]
pub(super) struct Ask<'a> {
    name: &'a str,
    qtype: u16,
    class: Class,
    edns: Option<(u16, u8)>,
}

pub(super) fn ask(name: &str, qtype: u16) -> Ask<'_> {
    Ask { name, qtype, class: Class::IN, edns: None }
}

impl Ask<'_> {
    pub(super) fn packet(&self) -> Vec<u8> {
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_id(0x1234);
        builder.header_mut().set_rd(true);
        let mut builder = builder.question();
        let name: Name<Vec<u8>> = self.name.parse().unwrap();
        builder.push((name, Rtype::from_int(self.qtype), self.class)).unwrap();
        let mut builder = builder.additional();
        if let Some((payload, version)) = self.edns {
            builder
                .opt(|opt| {
                    opt.set_udp_payload_size(payload);
                    opt.set_version(version);
                    opt.set_dnssec_ok(true);
                    Ok(())
                })
                .unwrap();
        }
        builder.finish()
    }
}

/// A reply read by `domain`; records as `owner TTL class type data`.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) rcode: String,
    pub(super) flags: String,
    pub(super) answer: Vec<String>,
    pub(super) authority: Vec<String>,
    pub(super) additional: Vec<String>,
    pub(super) edns: Option<u16>,
    pub(super) length: usize,
    pub(super) outcome: Outcome,
}

pub(super) fn get(zone: &Zone, ask: Ask<'_>, transport: Transport) -> Read {
    let packet = ask.packet();
    let mut out = Vec::new();
    let outcome = Answerer::new(3).answer(zone, &packet, transport, HOST, now(), &mut out).unwrap();
    read(&out, outcome)
}

pub(super) fn read(bytes: &[u8], outcome: Outcome) -> Read {
    let message = Message::from_octets(bytes).unwrap();
    let (_, answer, authority, additional) = message.sections().unwrap();
    let all = |section: domain::base::message::RecordSection<'_, &[u8]>| -> Vec<String> {
        section.map(|record| show(record.unwrap())).filter(|text| !text.is_empty()).collect()
    };
    let header = message.header();
    assert!(header.qr());
    let flags = [
        (header.aa(), "aa"),
        (header.tc(), "tc"),
        (header.rd(), "rd"),
        (header.ra(), "ra"),
        (header.ad(), "ad"),
    ];
    Read {
        rcode: message.opt_rcode().to_string(),
        flags: flags
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| *name)
            .collect::<Vec<_>>()
            .join(" "),
        answer: all(answer),
        authority: all(authority),
        additional: all(additional),
        edns: message.opt().map(|opt| opt.udp_payload_size()),
        length: bytes.len(),
        outcome,
    }
}

/// A record as text, with data read in full; empty for OPT.
fn show(record: ParsedRecord<'_, &[u8]>) -> String {
    if record.rtype() == Rtype::OPT {
        return String::new();
    }
    let record = record.into_any_record::<AllRecordData<_, _>>().unwrap();
    format!("{} {} {} {}", record.owner(), record.ttl().as_secs(), record.rtype(), record.data())
}

pub(super) fn udp(zone: &Zone, name: &str, qtype: u16) -> Read {
    get(zone, ask(name, qtype), Transport::Udp)
}

fn zone(apps: impl IntoIterator<Item = AppEntry>) -> Zone {
    zone_of(&catalog(7, apps), &leases())
}

/// `/many` with `n` tasks on as many agents, each with a port.
pub(super) fn many(n: u16) -> AppEntry {
    app(
        "/many",
        (0..n).map(|n| {
            let mut task =
                task(&format!("many.{n}"), &Ipv4Addr::from(0x0a00_0000 + u32::from(n)).to_string());
            task.discovery = vec![port(31000, None, "tcp")];
            task
        }),
    )
}

const SOA: &str = "mesos 5 SOA ns1.mesos. root.ns1.mesos. 7 60 600 86400 5";

#[test]
fn addresses_and_services() {
    let zone = zone([web()]);
    let reply = udp(&zone, "Web-Shop.marathon.MESOS", qtype::A);
    assert_eq!((&*reply.rcode, &*reply.flags), ("NOERROR", "aa rd"));
    assert_eq!(reply.answer, ["Web-Shop.marathon.MESOS 5 A 9.0.0.7"], "the case is kept");
    assert!(reply.authority.is_empty() && reply.additional.is_empty() && reply.edns.is_none());

    let reply = udp(&zone, "_http._web-shop._tcp.marathon.mesos", qtype::SRV);
    let target = "web-shop-e844k-s3.marathon.mesos";
    let owner = "_http._web-shop._tcp.marathon.mesos";
    assert_eq!(reply.answer, [format!("{owner} 5 SRV 0 1 8080 {target}")]);
    assert_eq!(reply.additional, [format!("{target} 5 A 9.0.0.7")]);

    // A target in the additional section once, however many ports it has.
    let mut two = task("t", "10.0.0.4");
    two.host_ports = vec![31000, 31001];
    let zone = self::zone([app("/two", [two])]);
    let reply = udp(&zone, "_two._udp.marathon.slave.mesos", qtype::SRV);
    assert_eq!((reply.answer.len(), reply.additional.len()), (2, 1));
}

#[test]
fn the_apex() {
    let zone = zone([web()]);
    assert_eq!(udp(&zone, "mesos", qtype::SOA).answer, [SOA]);
    assert_eq!(udp(&zone, "mesos", qtype::ANY).answer, [SOA]);
    let reply = udp(&zone, "mesos", qtype::NS);
    assert_eq!(reply.answer, ["mesos 5 NS ns1.mesos."]);
    assert_eq!(reply.additional, ["ns1.mesos 5 A 192.0.2.1"]);
    assert_eq!(udp(&zone, "leader.mesos", qtype::A).answer, ["leader.mesos 5 A 192.0.2.1"]);
}

/// Every negative answer has the zone's SOA; what has names below it exists.
#[test]
fn no_data_and_no_name() {
    let zone = zone([web()]);
    for (name, qtype, rcode) in [
        ("web-shop.marathon.mesos", qtype::AAAA, "NOERROR"),
        ("web-shop.marathon.mesos", qtype::SRV, "NOERROR"),
        ("web-shop.marathon.mesos", qtype::SOA, "NOERROR"),
        ("web-shop.marathon.mesos", 16, "NOERROR"),
        ("_web-shop._tcp.marathon.mesos", qtype::A, "NOERROR"),
        ("mesos", qtype::A, "NOERROR"),
        ("shop.marathon.mesos", qtype::A, "NOERROR"),
        ("_tcp.marathon.mesos", qtype::SRV, "NOERROR"),
        ("_tcp.marathon.mesos", qtype::ANY, "NOERROR"),
        ("nope.mesos", qtype::A, "NXDOMAIN"),
        ("nope.mesos", qtype::SRV, "NXDOMAIN"),
        ("nope.mesos", qtype::NS, "NXDOMAIN"),
        ("nope.mesos", 43, "NXDOMAIN"),
        ("x.web-shop.marathon.mesos", qtype::ANY, "NXDOMAIN"),
    ] {
        let reply = udp(&zone, name, qtype);
        assert_eq!((&*reply.rcode, &*reply.flags), (rcode, "aa rd"), "{name} {qtype}");
        assert_eq!(reply.authority, [SOA], "{name} {qtype}");
        assert!(reply.answer.is_empty());
    }
}

#[test]
fn what_is_not_ours() {
    let zone = zone([web()]);
    let name = "web-shop.marathon.mesos";
    let rcode = |ask: Ask<'_>| {
        let reply = get(&zone, ask, Transport::Tcp);
        assert_eq!(reply.flags, "rd");
        assert!(reply.answer.is_empty() && reply.authority.is_empty());
        reply.rcode
    };
    assert_eq!(rcode(ask("example.org", qtype::A)), "REFUSED");
    assert_eq!(rcode(ask(".", qtype::NS)), "REFUSED");
    for qtype in [qtype::AXFR, qtype::IXFR, qtype::TSIG, qtype::TKEY] {
        assert_eq!(rcode(ask("mesos", qtype)), "REFUSED");
    }
    for class in [Class::CH, Class::HS, Class::ANY, Class::NONE] {
        assert_eq!(rcode(Ask { class, ..ask(name, qtype::A) }), "REFUSED");
    }
    assert_eq!(rcode(ask(name, qtype::OPT)), "FORMERR");
    let empty = Zone::new(&config()).unwrap();
    assert_eq!(udp(&empty, name, qtype::A).rcode, "SERVFAIL");
    assert_eq!(udp(&empty, "mesos", qtype::SOA).rcode, "SERVFAIL");
    assert_eq!(udp(&empty, "example.org", qtype::A).rcode, "REFUSED");
}

#[test]
fn edns() {
    let zone = zone([many(100)]);
    let name = "many.marathon.mesos";
    let with = |edns| get(&zone, Ask { edns, ..ask(name, qtype::A) }, Transport::Udp);
    for (asked, given) in
        [(None, 512), (Some((100, 0)), 512), (Some((700, 0)), 700), (Some((9000, 0)), 1232)]
    {
        let reply = with(asked);
        assert_eq!(reply.flags, "aa tc rd", "{asked:?}");
        assert!(reply.length <= given && reply.length > given - 16, "{asked:?}: {}", reply.length);
        assert_eq!(reply.edns, asked.map(|_| 1232));
        assert!(reply.outcome.truncated);
    }
    let reply = with(Some((1232, 1)));
    assert_eq!((&*reply.rcode, reply.answer.len()), ("BADVERS", 0));
    let reply = get(&zone, ask(name, qtype::A), Transport::Tcp);
    assert_eq!((&*reply.flags, reply.answer.len()), ("aa rd", 100));

    // DO comes back, as RFC 3225 wants it.
    let mut out = Vec::new();
    let packet = Ask { edns: Some((1232, 0)), ..ask("mesos", qtype::SOA) }.packet();
    Answerer::new(1).answer(&zone, &packet, Transport::Udp, HOST, now(), &mut out);
    assert!(Message::from_octets(&*out).unwrap().opt().unwrap().dnssec_ok());
    assert_eq!(Message::from_octets(&*out).unwrap().opt_rcode(), OptRcode::NOERROR);
}

/// Additional addresses that have no room are left out without TC.
#[test]
fn a_courtesy_is_not_truncation() {
    let zone = zone([many(8)]);
    let reply = udp(&zone, "_many._tcp.marathon.mesos", qtype::SRV);
    assert_eq!((reply.answer.len(), &*reply.flags), (8, "aa rd"));
    assert!(reply.additional.len() < 8);
    let reply = get(&zone, ask("_many._tcp.marathon.mesos", qtype::SRV), Transport::Tcp);
    assert_eq!((reply.answer.len(), reply.additional.len()), (8, 8));
}

/// More records than a message can hold: a part of them, and pointers that stay in reach.
#[test]
fn sets_larger_than_a_message() {
    let zone = zone([many(5000)]);
    for (name, qtype) in
        [("many.marathon.mesos", qtype::A), ("_many._tcp.marathon.mesos", qtype::SRV)]
    {
        let reply = get(&zone, ask(name, qtype), Transport::Tcp);
        assert_eq!(reply.flags, "aa tc rd");
        assert!(reply.length <= 65_535 && reply.answer.len() > 1000, "{}", reply.answer.len());
    }
    let zone = self::zone([many(700)]);
    let reply = get(&zone, ask("_many._tcp.marathon.mesos", qtype::SRV), Transport::Tcp);
    assert_eq!((reply.answer.len(), reply.additional.len()), (700, 700));
    let zone = self::zone([many(1000)]);
    let reply = get(&zone, ask("_many._tcp.marathon.mesos", qtype::SRV), Transport::Tcp);
    assert_eq!((reply.answer.len(), &*reply.flags), (1000, "aa rd"));
}

#[test]
fn any_is_one_set() {
    let zone = zone([web()]);
    assert_eq!(udp(&zone, "web-shop.marathon.mesos", qtype::ANY).answer.len(), 1);
    let reply = udp(&zone, "_web-shop._tcp.marathon.mesos", qtype::ANY);
    assert_eq!(reply.answer.len(), 1);
    assert!(reply.answer[0].contains("SRV"));
}

/// Apps on one name give the union, without repeating what both have; likewise tasks that share
/// an address.
#[test]
fn equal_records_are_given_once() {
    let one = |id: &str, n: u8| {
        app(id, [task(&format!("{id}{n}"), "10.0.0.4"), task(&format!("{id}x"), "10.0.0.5")])
    };
    let zone = zone([one("/a/b", 1), one("/b-a", 2)]);
    let mut answer = udp(&zone, "b-a.marathon.mesos", qtype::A).answer;
    answer.sort();
    assert_eq!(answer, ["b-a.marathon.mesos 5 A 10.0.0.4", "b-a.marathon.mesos 5 A 10.0.0.5"]);
}

/// Each record comes first about equally often.
#[test]
fn the_order_is_random() {
    let zone = zone([many(4)]);
    let packet = ask("many.marathon.mesos", qtype::A).packet();
    let mut answerer = Answerer::new(1);
    let mut firsts = std::collections::BTreeMap::<_, u32>::new();
    let mut out = Vec::new();
    for _ in 0..4000 {
        let outcome =
            answerer.answer(&zone, &packet, Transport::Udp, HOST, now(), &mut out).unwrap();
        *firsts.entry(read(&out, outcome).answer.swap_remove(0)).or_default() += 1;
    }
    assert_eq!(firsts.len(), 4);
    assert!(firsts.values().all(|n| (800..1200).contains(n)), "{firsts:?}");
}

/// A task is leased by every answer that leads to it, and by no other.
#[test]
fn leases_are_noted() {
    let leased = |name: &str, qtype: u16| -> Vec<&'static str> {
        let leases: Leases = leases();
        let mut dual = task("dual", "10.0.0.5");
        dual.addresses = vec![ip("fd00::1")];
        let shared = app("/shop/web", [task("a", "10.0.0.4"), task("b", "10.0.0.4"), dual]);
        let zone = zone_of(&catalog(1, [shared, web_api()]), &leases);
        udp(&zone, name, qtype);
        ["a", "b", "dual", "api"]
            .into_iter()
            .filter(|id| leases.until(&waymark_model::TaskId::from_text(id)).is_some())
            .collect()
    };
    fn web_api() -> AppEntry {
        let mut api = task("api", "10.0.0.4");
        api.host_ports = vec![31000];
        api.discovery = vec![port(31000, Some("x"), "tcp")];
        app("/api", [api])
    }
    for (name, qtype, want) in [
        ("web-shop.marathon.mesos", qtype::A, &["a", "b"][..]),
        ("web.shop.marathon.mesos", qtype::AAAA, &["dual"]),
        ("web-shop.marathon.mesos", qtype::ANY, &["a", "b"]),
        ("web-shop.marathon.slave.mesos", qtype::A, &["a", "b", "dual"]),
        ("web-shop.marathon.mesos", qtype::SRV, &[]),
        ("_api._tcp.marathon.mesos", qtype::SRV, &["api"]),
        ("_x._api._tcp.marathon.mesos", qtype::SRV, &["api"]),
        ("_api._udp.marathon.slave.mesos", qtype::SRV, &["api"]),
        ("_api._tcp.marathon.mesos", qtype::A, &[]),
        ("api.marathon.mesos", qtype::AAAA, &[]),
        ("nope.marathon.mesos", qtype::A, &[]),
    ] {
        assert_eq!(leased(name, qtype), want, "{name} {qtype}");
    }
}

/// Bytes that are no query, by hand: what is sent back.
#[test]
fn odd_packets() {
    let zone = zone([web()]);
    let good = Ask { edns: Some((1232, 0)), ..ask("web-shop.marathon.mesos", qtype::A) }.packet();
    let answer = |packet: &[u8]| {
        let mut out = Vec::new();
        let outcome = Answerer::new(1).answer(&zone, packet, Transport::Udp, HOST, now(), &mut out);
        outcome.map(|outcome| (outcome.rcode, out.len()))
    };
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = good.clone();
        change(&mut packet);
        answer(&packet)
    };
    let formerr = Some((Rcode::FormErr, 12));
    let opt = good.len() - 11;
    assert_eq!(answer(&good).map(|(rcode, _)| rcode), Some(Rcode::NoError));
    assert_eq!(answer(&[]), None);
    assert_eq!(answer(&good[..11]), None);
    assert_eq!(changed(&|p| p[2] |= 0x80), None, "a reply");
    for opcode in 1..16 {
        assert_eq!(changed(&|p| p[2] = opcode << 3), Some((Rcode::NotImp, 12)));
    }
    assert_eq!(answer(&good[..12]), formerr, "no question");
    for length in 13..good.len() {
        assert_eq!(answer(&good[..length]), formerr, "cut at {length}");
    }
    assert_eq!(changed(&|p| p[5] = 0), formerr, "no question announced");
    assert_eq!(changed(&|p| p[5] = 2), formerr, "two questions");
    assert_eq!(changed(&|p| p[12] = 0xc0), formerr, "a pointer in the question");
    assert_eq!(changed(&|p| p[12] = 0x40), formerr, "an unknown kind of label");
    assert_eq!(changed(&|p| p[opt] = 1), formerr, "OPT of a name");
    assert_eq!(changed(&|p| p.swap(9, 11)), formerr, "OPT in the authority section");
    assert_eq!(
        changed(&|p| {
            p[11] = 2;
            let o = p[opt..].to_vec();
            p.extend(o)
        }),
        formerr,
        "two OPTs"
    );
    assert_eq!(
        changed(&|p| {
            let n = p.len();
            p[n - 1] = 3;
            p.extend([0, 1, 9])
        }),
        formerr,
        "half an option"
    );
    let rest_ignored = changed(&|p| p.extend([1, 2, 3])).map(|(rcode, _)| rcode);
    assert_eq!(rest_ignored, Some(Rcode::NoError));
    let mut long = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    long.extend([[1, b'a']; 128].concat());
    long.extend([0, 0, 1, 0, 1]);
    assert_eq!(answer(&long), formerr, "a name of 257 bytes");
}

/// What `domain` says of a reply to a packet that it could read as well.
fn check_reply(packet: &[u8], transport: Transport, out: &[u8]) -> Result<(), TestCaseError> {
    let limit = if transport == Transport::Udp { 1232 } else { 65_535 };
    prop_assert!(out.len() <= limit);
    let reply = Message::from_octets(out).map_err(|_| TestCaseError::fail("short"))?;
    prop_assert!(reply.header().qr());
    prop_assert_eq!(&packet[..2], &out[..2]);
    let has_opt = reply.opt().is_some();
    if transport == Transport::Udp && !has_opt {
        prop_assert!(out.len() <= 512);
    }
    for question in reply.question() {
        prop_assert!(question.is_ok());
    }
    let (_, answer, authority, additional) =
        reply.sections().map_err(|e| TestCaseError::fail(e.to_string()))?;
    let mut end = 0;
    for record in answer.chain(authority).chain(additional) {
        let record = record.map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert!(record.to_any_record::<AllRecordData<_, _>>().is_ok());
        end += 1;
    }
    prop_assert!(end <= out.len());
    if reply.header_counts().qdcount() == 1 {
        let asked = Message::from_octets(packet).unwrap();
        prop_assert!(reply.is_answer(&asked) || asked.header_counts().qdcount() != 1);
        prop_assert_eq!(asked.header().opcode(), Opcode::QUERY);
    }
    Ok(())
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "web-shop.marathon.mesos",
            "_web-shop._tcp.marathon.mesos",
            "many.marathon.mesos",
            "_many._tcp.marathon.mesos",
            "mesos",
            "slave.mesos",
            "shop.marathon.mesos",
            "example.org",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z_-]{1,63}(\\.[a-z0-9-]{1,20}){0,3}\\.mesos",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Well-formed queries, and the same with bytes changed, cut off or added: a reply is readable,
    /// answers the question, and is never larger than allowed.
    #[test]
    fn replies_are_readable(
        name in any_name(),
        qtype in prop_oneof![Just(qtype::A), Just(qtype::SRV), Just(qtype::ANY), Just(qtype::SOA), any::<u16>()],
        edns in prop::option::of((any::<u16>(), 0u8..2)),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        tcp: bool,
    ) {
        let zone = ZONE.with(Zone::clone);
        let mut packet = Ask { edns, ..ask(&name, qtype) }.packet();
        for (at, byte) in changes {
            *at.get_mut(&mut packet) = byte;
        }
        if let Some(cut) = cut {
            packet.truncate(cut.index(packet.len()));
        }
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let mut out = Vec::new();
        if Answerer::new(1).answer(&zone, &packet, transport, HOST, now(), &mut out).is_some() {
            check_reply(&packet, transport, &out)?;
        }
    }

    #[test]
    fn noise_is_survived(packet in prop::collection::vec(any::<u8>(), 0..600), header: bool, tcp: bool) {
        let zone = ZONE.with(Zone::clone);
        let mut packet = packet;
        if header && packet.len() > 12 {
            // Past the first checks.
            packet[2] = 0;
            packet[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 2]);
        }
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let mut out = Vec::new();
        if Answerer::new(1).answer(&zone, &packet, transport, HOST, now(), &mut out).is_some() {
            check_reply(&packet, transport, &out)?;
        }
    }
}

thread_local! {
    static ZONE: Zone = zone([web(), many(100)]);
}

#[test]
fn addresses_of_both_families_are_apart() {
    let mut dual = task("t", "10.0.0.4");
    dual.addresses = vec![ip("9.0.0.7"), ip("fd00::7")];
    dual.discovery = vec![port(80, None, "tcp")];
    let zone = zone([app("/d", [dual])]);
    let answer = |qtype| udp(&zone, "d.marathon.mesos", qtype).answer;
    assert_eq!(answer(qtype::A), ["d.marathon.mesos 5 A 9.0.0.7"]);
    assert_eq!(answer(qtype::AAAA), ["d.marathon.mesos 5 AAAA fd00::7"]);
    assert_eq!(udp(&zone, "_d._tcp.marathon.mesos", qtype::SRV).additional.len(), 2);
}
