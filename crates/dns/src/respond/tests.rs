use super::*;
use crate::fixtures::*;
use crate::forward::ForwardConfig;
use crate::message::read as read_query;
use std::time::Instant;

use crate::lease::{Clock, Leases};

const SRV: u8 = 33;
const A: u8 = 1;
/// Somebody outside, and somebody on the same network.
const OUTSIDE: [u8; 4] = [198, 51, 100, 7];
const INSIDE: [u8; 4] = [10, 0, 0, 9];

struct World {
    zone: Zone,
    policy: Policy,
    cookies: Cookies,
    _leases: Leases,
}

fn world(policy: Policy) -> World {
    let leases = leases();
    let zone = zone_of(&catalog(7, [web()]), &leases);
    World { zone, policy, cookies: Cookies::new([3; 16]), _leases: leases }
}

impl World {
    fn here(&self, seconds: u64) -> Here<'_> {
        Here {
            zone: &self.zone,
            policy: &self.policy,
            cookies: &self.cookies,
            is_stale: false,
            now: Now {
                moment: Clock::new(Instant::now()).moment(Instant::now()),
                since_start: Duration::from_secs(seconds),
                unix: 1_800_000_000 + seconds as u32,
            },
        }
    }

    fn responder(&self) -> Responder {
        Responder::new(&self.policy, 5)
    }
}

fn udp(address: [u8; 4]) -> Client {
    Client { address: IpAddr::from(address), transport: Transport::Udp }
}

/// A query, with an OPT record that holds options.
fn query(name: &str, qtype: u8, options: Option<&[u8]>) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(options.is_some())];
    for label in name.split('.') {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend([0, 0, qtype, 0, 1]);
    if let Some(options) = options {
        packet.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, options.len() as u8]);
        packet.extend_from_slice(options);
    }
    packet
}

fn web_query(options: Option<&[u8]>) -> Vec<u8> {
    query("web-shop.marathon.mesos", A, options)
}

fn cookie_option(cookie: &[u8]) -> Vec<u8> {
    [&[0, 10, 0, cookie.len() as u8][..], cookie].concat()
}

/// TC, RA, the whole response code, and the options of the reply.
fn read(reply: &[u8]) -> (bool, bool, u8, Vec<u8>) {
    let (low, flags) = (reply[3] & 15, (reply[2] & 2 != 0, reply[3] & 0x80 != 0));
    if reply[11] == 0 {
        return (flags.0, flags.1, low, Vec::new());
    }
    // OPT is last: root, type 41, size, high bits of the code.
    let opt = (12..reply.len()).rev().find(|at| {
        reply[*at..].starts_with(&[0, 0, 41, 4, 208])
            && usize::from(reply[at + 10]) == reply.len() - at - 11
    });
    let opt = opt.expect("an OPT record");
    (flags.0, flags.1, low | reply[opt + 5] << 4, reply[opt + 11..].to_vec())
}

#[test]
fn access_lists() {
    let some: AccessList = ["10.0.0.0/8".parse().unwrap()].into_iter().collect();
    let world = world(Policy { queries: some, ..Policy::default() });
    let mut responder = world.responder();
    let mut out = Vec::new();
    for (client, code) in [(INSIDE, 0), (OUTSIDE, 5)] {
        let verdict =
            responder.respond(world.here(0), udp(client), read_query(&web_query(None)), &mut out);
        assert!(matches!(verdict, Verdict::Reply(_)));
        assert_eq!(read(&out).2, code);
    }
}

#[test]
fn names_of_others() {
    let config = ForwardConfig {
        resolvers: vec!["192.0.2.53:53".parse().unwrap()],
        ..ForwardConfig::default()
    };
    let forwarder = Some(Forwarder::new(&config).unwrap());
    let with = Policy { forwarder, recursion_available: true, ..Policy::default() };
    let without = Policy { recursion_available: true, ..Policy::default() };
    let mut out = Vec::new();
    for (policy, client, name, forwarded, code, ra) in [
        (&with, INSIDE, "example.org", true, 0, true),
        (&with, OUTSIDE, "example.org", false, 5, false),
        (&with, INSIDE, "web-shop.marathon.mesos", false, 0, true),
        (&with, OUTSIDE, "web-shop.marathon.mesos", false, 0, false),
        (&with, INSIDE, "nothing.mesos", false, 3, true),
        (&without, INSIDE, "example.org", false, 5, false),
    ] {
        let world = world(policy.clone());
        let asked = query(name, A, None);
        let verdict =
            world.responder().respond(world.here(0), udp(client), read_query(&asked), &mut out);
        match verdict {
            Verdict::Forward(_) => assert!(forwarded, "{name}"),
            Verdict::Reply(_) => {
                assert!(!forwarded, "{name}");
                let (_, got_ra, got_code, _) = read(&out);
                assert_eq!((got_ra, got_code), (ra, code), "{name}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn cookies() {
    let world = world(Policy::default());
    let mut responder = world.responder();
    let mut out = Vec::new();
    // A client's part alone gets the whole; the whole comes back as it is.
    let first = web_query(Some(&cookie_option(&[9; 8])));
    responder.respond(world.here(0), udp(OUTSIDE), read_query(&first), &mut out);
    let (_, _, code, options) = read(&out);
    assert_eq!((code, options.len(), &options[..4]), (0, 28, &[0, 10, 0, 24][..]));
    responder.respond(
        world.here(60),
        udp(OUTSIDE),
        read_query(&web_query(Some(&options))),
        &mut out,
    );
    assert_eq!(read(&out).3, options);
    // Without a cookie none is given; one that breaks the format is told so.
    responder.respond(world.here(0), udp(OUTSIDE), read_query(&web_query(Some(&[]))), &mut out);
    assert!(read(&out).3.is_empty());
    for length in [0, 7, 9, 15, 41] {
        let broken = web_query(Some(&cookie_option(&vec![1; length])));
        responder.respond(world.here(0), udp(OUTSIDE), read_query(&broken), &mut out);
        assert_eq!(out[..12], [0x12, 0x34, 0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0], "{length}");
    }
    // With an unknown version of EDNS too.
    let mut packet = web_query(Some(&cookie_option(&[9; 8])));
    let version = packet.len() - 12 - 11 + 6;
    packet[version] = 1;
    responder.respond(world.here(0), udp(OUTSIDE), read_query(&packet), &mut out);
    assert_eq!((read(&out).2, read(&out).3.len()), (16, 28));
}

#[test]
fn rates() {
    let rate_limit = RateLimit { per_second: 3, slip: 2, ..RateLimit::default() };
    let world = world(Policy { rate_limit, ..Policy::default() });
    let mut responder = world.responder();
    let mut out = Vec::new();
    let mut ask = |client, packet: &[u8], out: &mut Vec<u8>| {
        responder.respond(world.here(0), client, read_query(packet), out)
    };
    let sent = |verdict: Verdict| matches!(verdict, Verdict::Reply(_));
    for (client, most) in [(udp(OUTSIDE), 3), (udp(INSIDE), 20)] {
        let count = (0..20).filter(|_| sent(ask(client, &web_query(None), &mut out))).count();
        assert_eq!(count, most);
    }
    // Every second is a small one, which sends clients to TCP.
    let mut small = 0;
    for _ in 0..10 {
        match ask(udp(OUTSIDE), &web_query(None), &mut out) {
            Verdict::Limited => assert!(out.is_empty()),
            Verdict::Slipped(outcome) => {
                small += 1;
                assert!(outcome.truncated);
                assert_eq!((read(&out).0, read(&out).2, out[7]), (true, 0, 0));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(small, 5);
    // Or to a cookie, with which there is no limit.
    let with_cookie = web_query(Some(&cookie_option(&[9; 8])));
    let slipped =
        (0..2).any(|_| matches!(ask(udp(OUTSIDE), &with_cookie, &mut out), Verdict::Slipped(_)));
    let (truncated, _, code, options) = read(&out);
    if slipped {
        assert_eq!((truncated, code), (false, 23));
    }
    let known = web_query(Some(&options));
    assert!((0..20).all(|_| sent(ask(udp(OUTSIDE), &known, &mut out))));
    // Errors have nothing smaller.
    let broken = &[1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let verdicts: Vec<Verdict> = (0..10).map(|_| ask(udp(OUTSIDE), broken, &mut out)).collect();
    assert_eq!(verdicts.iter().filter(|v| matches!(v, Verdict::Reply(_))).count(), 3);
    assert_eq!(verdicts.iter().filter(|v| matches!(v, Verdict::Limited)).count(), 7);
    // TCP has no limit.
    let mut tcp = Responder::unlimited(1);
    let client = Client { transport: Transport::Tcp, ..udp(OUTSIDE) };
    let all = (0..20)
        .all(|_| sent(tcp.respond(world.here(0), client, read_query(&web_query(None)), &mut out)));
    assert!(all);
}

#[test]
fn cuts_can_be_kept_to_oneself() {
    let many = (0..100).map(|n| task(&format!("web.{n}"), &format!("10.0.1.{n}")));
    let leases = leases();
    let zone = zone_of(&catalog(7, [app("/shop/web", many)]), &leases);
    for set_truncate_bit in [true, false] {
        let mut world = world(Policy { set_truncate_bit, ..Policy::default() });
        world.zone = zone.clone();
        let mut out = Vec::new();
        let verdict = world.responder().respond(
            world.here(0),
            udp(INSIDE),
            read_query(&web_query(None)),
            &mut out,
        );
        assert!(matches!(verdict, Verdict::Reply(Outcome { truncated: true, .. })));
        assert!(out.len() <= 512 && out.len() > 400);
        assert_eq!(read(&out).0, set_truncate_bit);
    }
}

/// Clients with EDNS are told when the source of the names is lost (RFC 8914).
#[test]
fn stale_answers_say_so() {
    let world = world(Policy::default());
    let here = Here { is_stale: true, ..world.here(0) };
    let mut out = Vec::new();
    let srv = query("_http._web-shop._tcp.marathon.mesos", SRV, Some(&[]));
    world.responder().respond(here, udp(INSIDE), read_query(&srv), &mut out);
    assert_eq!((read(&out).2, read(&out).3), (0, vec![0, 15, 0, 2, 0, 3]));
    assert_eq!(out[7], 1);
    world.responder().respond(here, udp(INSIDE), read_query(&web_query(None)), &mut out);
    assert_eq!((read(&out).2, out[11]), (0, 0));
}
