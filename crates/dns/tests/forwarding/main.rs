//! Names outside the domain, asked with dig, answered by a real unbound behind us.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod unbound;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use unbound::{Unbound, free_address};
use waymark_dns::forward::{ForwardConfig, Forwarder};
use waymark_dns::{Dns, DnsConfig, Policy, Server, Sockets};

const WAIT: Duration = Duration::from_secs(40);
/// Long enough for a real server on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A server of ours with a forwarder; stops when dropped.
struct Ours {
    address: SocketAddr,
    forwarder: Forwarder,
    _server: Server,
}

fn start(upstreams: &[SocketAddr], change: impl FnOnce(&mut ForwardConfig)) -> Ours {
    let sockets = Sockets::bind(&[(Ipv4Addr::LOCALHOST, 0).into()], 1).unwrap();
    let address = sockets.addresses()[0];
    let mut config = ForwardConfig {
        resolvers: upstreams.to_vec(),
        own_addresses: vec![address],
        timeout: TIMEOUT,
        ..ForwardConfig::default()
    };
    change(&mut config);
    let forwarder = Forwarder::new(&config).unwrap();
    let policy = Policy { forwarder: Some(forwarder.clone()), ..Policy::open() };
    let dns = Arc::new(Dns::new(DnsConfig { policy, ..DnsConfig::default() }).unwrap());
    let server = Server::start(&dns, sockets).unwrap();
    Ours { address, forwarder, _server: server }
}

/// What dig saw.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: String,
    /// Owner, type and data, without times, sorted.
    records: Vec<String>,
    ttl: Option<u32>,
    has_tc: bool,
    /// The number of an extended error.
    error: Option<u32>,
}

/// Asks with dig; `words` are options, name and type.
fn dig(server: SocketAddr, words: &str) -> Seen {
    let output = Command::new("dig")
        .args([&format!("@{}", server.ip()), "-p", &server.port().to_string()])
        .args(["+tries=1", "+time=30", "+noall", "+comments", "+answer"])
        .args(words.split(' '))
        .output()
        .expect("dig (Debian package bind9-dnsutils)");
    let text = String::from_utf8(output.stdout).unwrap();
    let behind = |mark: &str| {
        let rest = text.split_once(mark)?.1;
        rest.split([',', ';', ' ', '\n']).next().map(str::to_owned)
    };
    let mut records = Vec::new();
    let mut ttl = None;
    for line in text.lines().filter(|line| !line.starts_with(';') && !line.is_empty()) {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        ttl = words.remove(1).parse().ok();
        records.push(words.join(" "));
    }
    records.sort();
    let flags = text.split_once("flags:").map_or("", |(_, rest)| rest).split(';').next();
    Seen {
        status: behind("status: ").unwrap_or_else(|| "none".to_owned()),
        records,
        ttl,
        has_tc: flags.is_some_and(|flags| flags.contains(" tc")),
        error: behind("EDE: ").and_then(|number| number.parse().ok()),
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a server answers for its zone.
fn wait_for(server: &Unbound) {
    until("unbound answers", || {
        (dig(server.address, "+time=1 example.org SOA").status == "NOERROR").then_some(())
    });
}

fn records(address: u8, ttl: u32) -> Vec<String> {
    let mut records = vec![
        "example.org. 300 IN SOA ns.example.org. root.example.org. 1 60 60 60 7".to_owned(),
        format!("www.example.org. {ttl} IN A 192.0.2.{address}"),
        "www.example.org. 60 IN AAAA 2001:db8::1".to_owned(),
        "alias.example.org. 60 IN CNAME www.example.org.".to_owned(),
        "example.org. 60 IN MX 10 mail.example.org.".to_owned(),
        "_http._tcp.example.org. 60 IN SRV 0 5 80 www.example.org.".to_owned(),
        "text.example.org. 60 IN TXT \"a b\" \"c\"".to_owned(),
        "odd.example.org. 60 IN TYPE65280 \\# 4 0a000001".to_owned(),
    ];
    records.extend((0..100).map(|n| format!("many.example.org. 60 IN A 192.0.2.{n}")));
    records
}

#[test]
fn what_clients_get_is_what_the_server_says() {
    let server = Unbound::with_records(free_address(), &records(1, 60));
    wait_for(&server);
    for randomise_case in [false, true] {
        let ours = start(&[server.address], |config| config.randomise_case = randomise_case);
        for question in [
            "www.example.org A",
            "WWW.example.ORG AAAA",
            "www.example.org TXT",
            "alias.example.org CNAME",
            "example.org MX",
            "example.org SOA",
            "_http._tcp.example.org SRV",
            "text.example.org TXT",
            "odd.example.org TYPE65280",
            "missing.example.org A",
            "many.example.org A",
            "+tcp many.example.org A",
            "+noedns www.example.org A",
        ] {
            let theirs = dig(server.address, question);
            // From the server, and from the cache.
            for _ in 0..2 {
                let seen = dig(ours.address, question);
                assert_eq!(seen.status, theirs.status, "{question}");
                assert_eq!(seen.records, theirs.records, "{question}");
            }
        }
        // Cut for those who do not take more, whole for those who ask again.
        let cut = dig(ours.address, "+ignore +noedns many.example.org A");
        assert!(cut.has_tc && cut.records.len() < 100);
        assert_eq!(dig(ours.address, "+noedns many.example.org A").records.len(), 100);
        // Our own domain is not theirs.
        assert_eq!(dig(ours.address, "leader.mesos A").status, "SERVFAIL", "no catalog yet");
        let stats = ours.forwarder.stats();
        assert!(stats.cache_hits >= 12 && stats.failed == 0, "{stats:?}");
        assert_eq!(stats.upstreams[0].strays, 0);
    }
}

#[test]
fn a_frozen_server_is_left_and_taken_back() {
    let (first, second) = (
        Unbound::with_records(free_address(), &records(1, 0)),
        Unbound::with_records(free_address(), &records(2, 0)),
    );
    wait_for(&first);
    wait_for(&second);
    let ours = start(&[first.address, second.address], |_| ());
    let ask = || dig(ours.address, "www.example.org A").records;
    let answer = |n: u8| vec![format!("www.example.org. IN A 192.0.2.{n}")];
    assert_eq!(ask(), answer(1));
    first.signal("STOP");
    assert_eq!(ask(), answer(2), "without an error in between");
    assert!(!ours.forwarder.stats().upstreams[0].up);
    first.signal("CONT");
    until("the first is back", || (ask() == answer(1)).then_some(()));
    // Both at once: whoever is alive wins.
    let race = start(&[first.address, second.address], |config| config.race = true);
    first.signal("STOP");
    assert_eq!(dig(race.address, "www.example.org A").records, answer(2));
    first.signal("CONT");
}

#[test]
fn a_killed_server_leaves_its_answers() {
    let address = free_address();
    let server = Unbound::with_records(address, &records(1, 1));
    wait_for(&server);
    let ours = start(&[address], |_| ());
    let ask = || dig(ours.address, "www.example.org A");
    let fresh = ask();
    assert_eq!((fresh.records.len(), fresh.error), (1, None));
    let missing = dig(ours.address, "missing.example.org A");
    assert_eq!(missing.status, "NXDOMAIN");
    drop(server);
    let stale = until("a stale answer", || Some(ask()).filter(|seen| seen.error.is_some()));
    assert_eq!((stale.error, stale.ttl, &stale.records), (Some(3), Some(30), &fresh.records));
    assert_eq!(dig(ours.address, "never.example.org A").error, Some(22));
    assert!(ours.forwarder.stats().stale >= 1);
    let server = Unbound::with_records(address, &records(2, 1));
    wait_for(&server);
    until("the new answer", || ask().records[0].ends_with(".2").then_some(()));
}

/// Unbound asks us for what we ask it: the question ends, and does not multiply.
#[test]
fn a_circle_over_unbound_ends() {
    let address = free_address();
    let ours = start(&[address], |config| {
        config.timeout = Duration::from_millis(300);
    });
    let server = Unbound::forwarding_to(address, ours.address);
    until("unbound answers", || {
        // Its own root is not asked for: a name that it knows by itself.
        (dig(server.address, "+time=1 localhost A").status == "NOERROR").then_some(())
    });
    let seen = dig(ours.address, "www.example.com A");
    assert_eq!(seen.status, "SERVFAIL");
    let stats = ours.forwarder.stats();
    assert!(stats.upstreams[0].tries <= 6, "{stats:?}");
    assert!(stats.joined + stats.loops >= 1, "it came back: {stats:?}");
}
