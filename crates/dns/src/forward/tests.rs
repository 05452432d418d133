//! The forwarder before small servers that do what a test tells them, on real sockets.

mod upstream;

use std::collections::HashSet;
use std::net::SocketAddr;

use super::fixtures::{Reply, edns_query, opt, query};
use super::packet::{Cursor, Opt, TC};
use super::search::{PATIENCE, ROUNDS};
use super::*;
use crate::message::qtype::A;
use upstream::{Seen, Upstream};

const NAME: &str = "www.Example.org";
/// Long enough for a reply on a busy machine, short enough to wait for in vain.
const SHORT: Duration = Duration::from_millis(250);
const WAIT: Duration = Duration::from_secs(20);

fn config(resolvers: &[&Upstream]) -> ForwardConfig {
    let resolvers = resolvers.iter().map(|upstream| upstream.address).collect();
    ForwardConfig { resolvers, timeout: SHORT, ..ForwardConfig::default() }
}

fn forwarder(resolvers: &[&Upstream]) -> Forwarder {
    Forwarder::new(&config(resolvers)).unwrap()
}

/// Asks for A of a name, without EDNS.
async fn ask(forwarder: &Forwarder, name: &str) -> Vec<u8> {
    forwarder.forward(&query(0x0102, name, A), 512, Transport::Udp).await.unwrap()
}

/// Response code, and the last byte of every address in the answer.
fn told(reply: &[u8]) -> (u8, Vec<u8>) {
    let mut cursor = Cursor::new(reply);
    let header = cursor.header().unwrap();
    cursor.question().unwrap();
    let addresses = (0..header.counts[1]).map(|_| reply[cursor.record().unwrap().end - 1]);
    (header.second & 15, addresses.collect())
}

/// The code of the extended error in a reply.
fn extended_error(reply: &[u8]) -> Option<u8> {
    let mut cursor = Cursor::new(reply);
    let header = cursor.header().unwrap();
    cursor.question().unwrap();
    let records = header.counts[1..].iter().sum::<u16>();
    let last = (0..records).map(|_| cursor.record().unwrap()).last()?;
    Opt::of(reply, &last)?.option(15).map(|data| data[1])
}

/// A script that answers with an address that ends in `n`.
fn address(n: u8, ttl: u32) -> impl Fn(&Seen) -> Vec<Vec<u8>> {
    move |seen| vec![Reply::to(&seen.packet).record(0, A, ttl, &[10, 0, 0, n]).bytes()]
}

fn rcode(code: u8) -> impl Fn(&Seen) -> Vec<Vec<u8>> {
    move |seen| vec![Reply::to(&seen.packet).rcode(code).opt(b"").bytes()]
}

fn silent(_: &Seen) -> Vec<Vec<u8>> {
    Vec::new()
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !done().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_answer_comes_and_stays() {
    let server = Upstream::start(address(1, 60)).await;
    let forwarder = forwarder(&[&server]);
    for (n, name) in ["www.Example.org", "WWW.example.ORG"].iter().enumerate() {
        let reply = ask(&forwarder, name).await;
        assert_eq!(reply[..4], [1, 2, 0x81, 0x80]);
        assert_eq!(reply[12..33], query(0, name, A)[12..33], "the client's spelling");
        assert_eq!((reply[42], told(&reply)), (60 - n as u8, (0, vec![1])));
    }
    let stats = forwarder.stats();
    assert_eq!((stats.queries, stats.lookups, stats.cache_hits), (2, 1, 1));
    assert_eq!((stats.cache_entries, stats.in_flight), (1, 0));
    // What goes out: RD, AD, lower case, OPT with our size and the trail.
    let [seen] = &server.seen()[..] else { panic!("one query") };
    assert_eq!(seen.packet[2..12], [1, 0x20, 0, 1, 0, 0, 0, 0, 0, 1]);
    assert_eq!(seen.packet[12..33], query(0, "www.example.org", A)[12..33]);
    let trail = [&[0xff, 0x21, 0, 8][..], &forwarder.0.mark].concat();
    assert_eq!(seen.packet[33..], opt(1232, &trail));
}

#[tokio::test]
async fn zones_have_their_own_servers() {
    let (general, special) =
        (Upstream::start(address(1, 60)).await, Upstream::start(address(2, 60)).await);
    let zones = [("Example.ORG".to_owned(), vec![special.address])].into();
    let config = ForwardConfig { zone_resolvers: zones, ..config(&[&general]) };
    let forwarder = Forwarder::new(&config).unwrap();
    assert_eq!(told(&ask(&forwarder, "a.example.org").await), (0, vec![2]));
    assert_eq!(told(&ask(&forwarder, "a.example.com").await), (0, vec![1]));
    let off = Forwarder::new(&ForwardConfig { external_on: false, ..config }).unwrap();
    let reply = ask(&off, NAME).await;
    assert_eq!(reply[..4], [1, 2, 0x81, 5], "REFUSED without RA");
}

#[tokio::test]
async fn ids_and_ports_are_new_for_every_question() {
    let server = Upstream::start(address(1, 0)).await;
    let forwarder = forwarder(&[&server]);
    for _ in 0..32 {
        ask(&forwarder, NAME).await;
    }
    let seen = server.seen();
    let ids: HashSet<[u8; 2]> = seen.iter().map(|s| [s.packet[0], s.packet[1]]).collect();
    let ports: HashSet<u16> = seen.iter().map(|s| s.peer.port()).collect();
    // The chance of three equal ones of 32 is below one in a million.
    assert!(ids.len() >= 30 && ports.len() >= 30, "{} ids, {} ports", ids.len(), ports.len());
}

#[tokio::test]
async fn the_next_server_helps() {
    let good = Upstream::start(address(9, 0)).await;
    for code in [1, 2, 4, 5] {
        let bad = Upstream::start(rcode(code)).await;
        let forwarder = forwarder(&[&bad, &good]);
        assert_eq!(told(&ask(&forwarder, NAME).await), (0, vec![9]), "{code}");
        assert!(forwarder.stats().upstreams[0].up, "it did answer");
        assert_eq!(bad.count(), 1);
    }
    // NXDOMAIN is an answer.
    let bad = Upstream::start(rcode(3)).await;
    assert_eq!(told(&ask(&forwarder(&[&bad, &good]), NAME).await).0, 3);
}

#[tokio::test]
async fn the_last_error_is_passed_on_and_kept_shortly() {
    let (first, second) = (Upstream::start(rcode(2)).await, Upstream::start(rcode(5)).await);
    let forwarder = forwarder(&[&first, &second]);
    let packet = edns_query(1, NAME, A, 1232, b"");
    let first_time = forwarder.forward(&packet, 1232, Transport::Udp).await.unwrap();
    assert_eq!((told(&first_time).0, extended_error(&first_time)), (5, None));
    let again = forwarder.forward(&packet, 1232, Transport::Udp).await.unwrap();
    assert_eq!((told(&again).0, extended_error(&again)), (5, Some(13)));
    assert_eq!((first.count(), second.count()), (1, 1));
    until("asked again", async || {
        ask(&forwarder, NAME).await;
        first.count() > 1
    })
    .await;
}

#[tokio::test]
async fn a_dead_server_costs_one_wait_and_comes_back() {
    let dead = Upstream::start(silent).await;
    let good = Upstream::start(address(2, 0)).await;
    let config = ForwardConfig { timeout: PATIENCE * 2, ..config(&[&dead, &good]) };
    let forwarder = Forwarder::new(&config).unwrap();
    assert_eq!(told(&ask(&forwarder, NAME).await), (0, vec![2]));
    let stats = forwarder.stats().upstreams;
    assert_eq!((stats[0].up, stats[0].timeouts, stats[1].up), (false, 1, true));
    // From now on nobody waits for it, also when it is asked in the background.
    until("probed", async || {
        let start = Instant::now();
        assert_eq!(told(&ask(&forwarder, NAME).await), (0, vec![2]));
        assert!(start.elapsed() < PATIENCE, "waited");
        dead.count() > 1
    })
    .await;
    // It answers again: back into its place, the first.
    let address = dead.stop().await;
    let back = Upstream::at(address, self::address(1, 0)).await;
    until("back", async || told(&ask(&forwarder, NAME).await) == (0, vec![1])).await;
    assert!(forwarder.stats().upstreams[0].up);
    drop(back);
}

#[tokio::test]
async fn a_closed_port_costs_nothing() {
    let closed = Upstream::start(silent).await.stop().await;
    let good = Upstream::start(address(2, 60)).await;
    let config = ForwardConfig {
        resolvers: vec![closed, good.address],
        timeout: WAIT,
        ..ForwardConfig::default()
    };
    let forwarder = Forwarder::new(&config).unwrap();
    let start = Instant::now();
    assert_eq!(told(&ask(&forwarder, NAME).await), (0, vec![2]));
    assert!(start.elapsed() < PATIENCE, "the system says that it is closed");
    assert_eq!(forwarder.stats().upstreams[0].errors, 1);
}

/// With a long time-out the next server is asked before it is over, and the first one is noted.
#[tokio::test]
async fn patience_ends_before_the_time_out() {
    let (dead, good) = (Upstream::start(silent).await, Upstream::start(address(2, 0)).await);
    let config = ForwardConfig { timeout: WAIT, deadline: WAIT, ..config(&[&dead, &good]) };
    let forwarder = Forwarder::new(&config).unwrap();
    let start = Instant::now();
    assert_eq!(told(&ask(&forwarder, NAME).await), (0, vec![2]));
    assert!(start.elapsed() < WAIT / 2);
    assert!(!forwarder.stats().upstreams[0].up);
}

#[tokio::test]
async fn a_lost_packet_is_sent_again() {
    let lost = std::sync::atomic::AtomicBool::new(false);
    let server = Upstream::start(move |seen| match lost.swap(true, Ordering::Relaxed) {
        true => address(1, 60)(seen),
        false => Vec::new(),
    })
    .await;
    assert_eq!(told(&ask(&forwarder(&[&server]), NAME).await), (0, vec![1]));
}

#[tokio::test]
async fn the_deadline_holds() {
    let servers = [Upstream::start(silent).await, Upstream::start(silent).await];
    let config = ForwardConfig {
        timeout: WAIT,
        deadline: Duration::from_millis(300),
        ..config(&[&servers[0], &servers[1]])
    };
    let forwarder = Forwarder::new(&config).unwrap();
    let start = Instant::now();
    let packet = edns_query(1, NAME, A, 1232, b"");
    let reply = forwarder.forward(&packet, 1232, Transport::Udp).await.unwrap();
    assert!(start.elapsed() < WAIT / 2);
    assert_eq!((told(&reply).0, extended_error(&reply)), (2, Some(22)));
    let stats = forwarder.stats();
    assert_eq!((stats.failed, stats.in_flight, stats.upstreams[0].up), (1, 0, false));
}

#[tokio::test]
async fn cut_answers_are_fetched_over_tcp() {
    let big = |seen: &Seen| Reply::to(&seen.packet).addresses(100, 60);
    let server = Upstream::start(move |seen| match seen.transport {
        Transport::Udp => vec![Reply::to(&seen.packet).flags(TC, 0).bytes()],
        Transport::Tcp => vec![big(seen).bytes()],
    })
    .await;
    let forwarder = forwarder(&[&server]);
    let packet = query(1, NAME, A);
    let whole = forwarder.forward(&packet, 65_535, Transport::Tcp).await.unwrap();
    assert_eq!((whole[2] & TC, told(&whole).1.len()), (0, 100));
    // From the cache, cut for a client with 512 bytes.
    let cut = forwarder.forward(&packet, 65_535, Transport::Udp).await.unwrap();
    assert_eq!((cut[2] & TC, told(&cut).1.len(), cut.len() <= 512), (TC, 29, true));
    assert_eq!(server.count(), 2);
    assert_eq!(forwarder.stats().upstreams[0].tcp, 1);
}

#[tokio::test]
async fn a_cut_answer_is_better_than_none() {
    // TCP connections are closed without an answer.
    let server = Upstream::start(|seen| match seen.transport {
        Transport::Udp => vec![Reply::to(&seen.packet).addresses(3, 60).flags(TC, 0).bytes()],
        Transport::Tcp => Vec::new(),
    })
    .await;
    let forwarder = forwarder(&[&server]);
    for count in 1..3 {
        let reply = ask(&forwarder, NAME).await;
        assert_eq!((reply[2] & TC, told(&reply)), (TC, (0, vec![0, 1, 2])));
        assert_eq!(forwarder.stats().lookups, count, "it is not kept");
    }
}

#[tokio::test]
async fn forged_replies_are_passed_over() {
    let server = Upstream::start(|seen| {
        let forged = |packet: &[u8]| Reply::to(packet).record(0, A, 60, &[6, 6, 6, 6]).bytes();
        let mut other_id = seen.packet.clone();
        other_id[0] ^= 1;
        let mut other_name = seen.packet.clone();
        other_name[13] = b'x';
        let mut other_type = seen.packet.clone();
        other_type[30] = 28;
        let mut replies: Vec<_> =
            [other_id, other_name, other_type].iter().map(|p| forged(p)).collect();
        replies.extend([b"nonsense".to_vec(), seen.packet.clone()]);
        replies.extend(address(1, 60)(seen));
        replies
    })
    .await;
    let forwarder = forwarder(&[&server]);
    assert_eq!(told(&ask(&forwarder, NAME).await), (0, vec![1]));
    assert_eq!(forwarder.stats().upstreams[0].strays, 5);
}

/// A right answer from a wrong address never arrives; a flood of wrong ones from the right address
/// ends in TCP.
#[tokio::test]
async fn strangers_are_not_heard() {
    let stranger = std::sync::Arc::new(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let server = Upstream::start(move |seen| match seen.transport {
        Transport::Udp => {
            let right = Reply::to(&seen.packet).record(0, A, 60, &[6, 6, 6, 6]).bytes();
            stranger.send_to(&right, seen.peer).unwrap();
            let mut wrong = right;
            wrong[0] ^= 0x80;
            vec![wrong; 20]
        }
        Transport::Tcp => address(1, 60)(seen),
    })
    .await;
    let forwarder = forwarder(&[&server]);
    assert_eq!(told(&ask(&forwarder, NAME).await), (0, vec![1]));
    assert_eq!(forwarder.stats().upstreams[0].tcp, 1);
}

#[tokio::test]
async fn random_capitals() {
    let keeps = Upstream::start(address(1, 0)).await;
    let config = ForwardConfig { randomise_case: true, ..config(&[&keeps]) };
    let forwarder = Forwarder::new(&config).unwrap();
    let long = "abcdefghijklmnop.example.org";
    for _ in 0..8 {
        let reply = ask(&forwarder, long).await;
        assert_eq!(told(&reply), (0, vec![1]));
        assert_eq!(reply[12..46], query(0, long, A)[12..46]);
    }
    let spellings: HashSet<Vec<u8>> =
        keeps.seen().iter().map(|s| s.packet[12..46].into()).collect();
    assert!(spellings.len() >= 7, "{spellings:?}");
    // A server that does not keep them is asked over TCP.
    let loses = Upstream::start(|seen| {
        let mut reply = address(2, 0)(seen).remove(0);
        reply[12..46].make_ascii_lowercase();
        vec![reply]
    })
    .await;
    let config = ForwardConfig { resolvers: vec![loses.address], ..config };
    let forwarder = Forwarder::new(&config).unwrap();
    assert_eq!(told(&ask(&forwarder, long).await), (0, vec![2]));
    assert_eq!(forwarder.stats().upstreams[0].tcp, 1);
}

#[tokio::test]
async fn servers_without_edns() {
    // The OPT record of ours is the last thing in the message.
    let has_opt = |seen: &Seen| seen.packet[11] == 1;
    let old = Upstream::start(move |seen| match has_opt(seen) {
        true => vec![[&seen.packet[..2], &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]].concat()],
        false => address(1, 0)(seen),
    })
    .await;
    let forwarder = forwarder(&[&old]);
    for _ in 0..2 {
        assert_eq!(told(&ask(&forwarder, NAME).await), (0, vec![1]));
    }
    let with_opt: Vec<bool> = old.seen().iter().map(has_opt).collect();
    assert_eq!(with_opt, [true, false, false], "it is remembered");
}

#[tokio::test]
async fn the_same_question_goes_out_once() {
    let (open, gate) = std::sync::mpsc::channel();
    let gate = Mutex::new(gate);
    let server = Upstream::start(move |seen| {
        gate.lock().unwrap().recv().unwrap();
        address(1, 0)(seen)
    });
    // The gate blocks a thread, so the server has a runtime of its own.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.spawn(server).await.unwrap();
    let config =
        ForwardConfig { timeout: WAIT, deadline: WAIT, in_flight: 2, ..config(&[&server]) };
    let forwarder = Forwarder::new(&config).unwrap();
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..50u16 {
        let forwarder = forwarder.clone();
        // Spelling is no difference; flags are.
        let name = if n % 2 == 0 { "www.example.org" } else { "WWW.EXAMPLE.org" };
        clients.spawn(async move {
            let reply = forwarder.forward(&query(n, name, A), 512, Transport::Udp).await.unwrap();
            (u16::from_be_bytes([reply[0], reply[1]]) == n, told(&reply))
        });
    }
    until("joined", async || forwarder.stats().joined == 49).await;
    assert_eq!(forwarder.stats().in_flight, 1);
    let other = tokio::spawn({
        let forwarder = forwarder.clone();
        async move { ask(&forwarder, "other.example.org").await }
    });
    until("open", async || forwarder.stats().in_flight == 2).await;
    // The table is full for a third question.
    assert_eq!(told(&ask(&forwarder, "third.example.org").await).0, 2);
    assert_eq!(forwarder.stats().overload, 1);
    assert_eq!(server.count(), 1, "one at a time goes through the gate");
    for _ in 0..2 * ROUNDS {
        open.send(()).unwrap();
    }
    while let Some(reply) = clients.join_next().await {
        assert_eq!(reply.unwrap(), (true, (0, vec![1])));
    }
    assert_eq!(told(&other.await.unwrap()), (0, vec![1]));
    let for_name = server.seen().iter().filter(|s| s.packet[13] == b'w').count();
    assert!(
        for_name <= ROUNDS,
        "{for_name} queries for 50 clients; more than one only for slowness"
    );
    runtime.shutdown_background();
}

#[tokio::test]
async fn waiting_clients_are_limited() {
    let server = Upstream::start(silent).await;
    let config = ForwardConfig { waiting: 3, timeout: WAIT, deadline: WAIT, ..config(&[&server]) };
    let forwarder = Forwarder::new(&config).unwrap();
    let mut out = Vec::new();
    let mut begin = || forwarder.begin(&query(1, NAME, A), 512, Transport::Udp, &[], &mut out);
    let mut pending: Vec<Begun> = (0..3).map(|_| begin()).collect();
    assert!(pending.iter().all(|begun| matches!(begun, Begun::Pending(_))));
    assert!(matches!(begin(), Begun::Reply));
    pending.pop();
    assert!(matches!(begin(), Begun::Pending(_)), "a place that was given back");
    assert_eq!((told(&out).0, forwarder.stats().overload), (2, 1));
}

#[tokio::test]
async fn stale_answers_when_the_server_is_gone() {
    let server = Upstream::start(address(1, 1)).await;
    let forwarder = forwarder(&[&server]);
    let packet = edns_query(1, NAME, A, 1232, b"");
    let ask_edns = async || forwarder.forward(&packet, 1232, Transport::Udp).await.unwrap();
    assert_eq!((told(&ask_edns().await), extended_error(&ask_edns().await)), ((0, vec![1]), None));
    let address = server.stop().await;
    until("stale", async || {
        let reply = ask_edns().await;
        assert_eq!(told(&reply), (0, vec![1]), "never without an answer");
        extended_error(&reply) == Some(3)
    })
    .await;
    let reply = ask_edns().await;
    assert_eq!(reply[39..43], 30u32.to_be_bytes(), "TTL");
    // Right after the failure it is the last word, later nobody waits although it is tried.
    let lookups = forwarder.stats().lookups;
    until("tried again", async || {
        let start = Instant::now();
        assert_eq!(told(&ask_edns().await), (0, vec![1]));
        assert!(start.elapsed() < PATIENCE);
        forwarder.stats().lookups > lookups
    })
    .await;
    assert!(forwarder.stats().stale > 1);
    let back = Upstream::at(address, self::address(2, 1)).await;
    until("fresh", async || told(&ask_edns().await) == (0, vec![2])).await;
    drop(back);
}

/// A server that is only slow: the stale answer comes after 1.8 s, the fresh one is kept.
#[tokio::test]
async fn stale_answers_when_the_server_is_slow() {
    let count = std::sync::atomic::AtomicU32::new(0);
    let server = Upstream::start(move |seen| match count.fetch_add(1, Ordering::Relaxed) {
        0 => address(1, 1)(seen),
        _ => Vec::new(),
    })
    .await;
    let config = ForwardConfig { timeout: WAIT, deadline: WAIT, ..config(&[&server]) };
    let forwarder = Forwarder::new(&config).unwrap();
    until("looked up again", async || {
        assert_eq!(told(&ask(&forwarder, NAME).await), (0, vec![1]));
        forwarder.stats().lookups == 2
    })
    .await;
    let stats = forwarder.stats();
    assert_eq!((stats.stale, stats.in_flight), (1, 1));
    // Without the setting there is nothing to fall back on.
    let off = ForwardConfig { serve_stale: Duration::ZERO, ..config };
    let off = ForwardConfig { timeout: SHORT, deadline: SHORT, ..off };
    assert_eq!(told(&ask(&Forwarder::new(&off).unwrap(), NAME).await).0, 2);
}

#[tokio::test]
async fn in_a_race_the_first_answer_counts() {
    let (dead, good) = (Upstream::start(silent).await, Upstream::start(address(2, 0)).await);
    let config = ForwardConfig { race: true, timeout: PATIENCE * 2, ..config(&[&dead, &good]) };
    let forwarder = Forwarder::new(&config).unwrap();
    let start = Instant::now();
    assert_eq!(told(&ask(&forwarder, NAME).await), (0, vec![2]));
    assert!(start.elapsed() < PATIENCE, "nobody waited for the other");
    assert!(dead.count() >= 1);
    // That it is dead is found out in the background.
    until("down", async || !forwarder.stats().upstreams[0].up).await;
    assert!(forwarder.stats().upstreams[1].up);
    // A bad answer does not win.
    let (bad, good) = (Upstream::start(rcode(2)).await, Upstream::start(address(2, 0)).await);
    let config = ForwardConfig { race: true, ..self::config(&[&bad, &good]) };
    let forwarder = Forwarder::new(&config).unwrap();
    assert_eq!(told(&ask(&forwarder, NAME).await), (0, vec![2]));
    assert_eq!((bad.count(), good.count()), (1, 1));
}

/// Two forwarders that ask each other: found by the trail, at once.
#[tokio::test]
async fn a_circle_is_found() {
    let hold = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let here = hold.local_addr().unwrap();
    drop(hold);
    let config = ForwardConfig {
        resolvers: vec![here],
        timeout: WAIT,
        deadline: WAIT,
        ..ForwardConfig::default()
    };
    let first = Forwarder::new(&config).unwrap();
    let second = Forwarder::new(&config).unwrap();
    // Everything that either asks comes to the other one first, then to the first again.
    let (a, b) = (first.clone(), second.clone());
    let count = Arc::new(AtomicUsize::new(0));
    let socket = Arc::new(tokio::net::UdpSocket::bind(here).await.unwrap());
    tokio::spawn(async move {
        loop {
            let mut buffer = [0; 4096];
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            let turn = count.fetch_add(1, Ordering::Relaxed);
            let next = if turn.is_multiple_of(2) { b.clone() } else { a.clone() };
            let socket = socket.clone();
            tokio::spawn(async move {
                let reply = next.forward(&buffer[..length], 4096, Transport::Udp).await.unwrap();
                socket.send_to(&reply, peer).await.unwrap();
            });
        }
    });
    let start = Instant::now();
    let packet = edns_query(1, NAME, A, 1232, b"");
    let reply = first.forward(&packet, 1232, Transport::Udp).await.unwrap();
    assert_eq!(told(&reply).0, 2);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert_eq!((first.stats().loops, second.stats().loops), (1, 0));
}

/// A server in between that drops the option: the question comes back, joins itself, and ends.
#[tokio::test]
async fn a_circle_over_strangers_ends() {
    let socket = Arc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let config = ForwardConfig {
        resolvers: vec![socket.local_addr().unwrap()],
        timeout: SHORT,
        ..ForwardConfig::default()
    };
    let forwarder = Forwarder::new(&config).unwrap();
    let (back, count) = (forwarder.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    tokio::spawn(async move {
        loop {
            let mut buffer = [0; 4096];
            let (_, peer) = socket.recv_from(&mut buffer).await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let (back, socket) = (back.clone(), socket.clone());
            let mut packet = query(0, NAME, A);
            packet[..2].copy_from_slice(&buffer[..2]);
            tokio::spawn(async move {
                let reply = back.forward(&packet, 512, Transport::Udp).await.unwrap();
                let _ = socket.send_to(&reply, peer).await;
            });
        }
    });
    assert_eq!(told(&ask(&forwarder, NAME).await).0, 2);
    assert_eq!(count.load(Ordering::Relaxed), ROUNDS, "one packet for each try");
}

#[tokio::test]
async fn never_asks_itself() {
    let itself = Upstream::start(silent).await;
    let own = |text: &str| -> SocketAddr {
        text.replace("PORT", &itself.address.port().to_string()).parse().unwrap()
    };
    for listening in ["127.0.0.1:PORT", "0.0.0.0:PORT", "[::]:PORT"] {
        let config = ForwardConfig { own_addresses: vec![own(listening)], ..config(&[&itself]) };
        let error = Forwarder::new(&config).unwrap_err();
        assert!(matches!(error, ForwardConfigError::Loop { setting: RESOLVERS, .. }), "{error}");
    }
    // Should an address become ours later, no packet leaves.
    let servers = Servers::new(
        &[itself.address],
        Own::new(&[own("0.0.0.0:PORT")], Vec::new()),
        Ways { timeout: SHORT, deadline: SHORT, race: false, sockets: 8, caps: fixtures::CAPS },
    );
    let outgoing = Outgoing {
        question: query(0, NAME, A)[12..].to_vec(),
        first: 0,
        second: 0,
        dnssec_ok: false,
        trail: Vec::new(),
        randomise: false,
    };
    let verdict = Arc::new(servers).search(&[0], Arc::new(outgoing)).await;
    assert!(matches!(verdict, Verdict::Nothing));
    assert_eq!(itself.count(), 0);
}

#[tokio::test]
async fn what_is_not_forwarded() {
    let server = Upstream::start(address(1, 60)).await;
    let forwarder = forwarder(&[&server]);
    let reply = async |packet: &[u8]| forwarder.forward(packet, 512, Transport::Udp).await;
    assert_eq!(reply(b"short").await, None);
    let mut packet = query(1, NAME, A);
    packet[2] |= 0x80;
    assert_eq!(reply(&packet).await, None, "a reply");
    packet[2] = 0x28;
    assert_eq!(reply(&packet).await.unwrap(), [0, 1, 0xa8, 4, 0, 0, 0, 0, 0, 0, 0, 0], "UPDATE");
    for (qtype, code) in [(251, 5), (252, 5), (250, 5), (41, 1)] {
        assert_eq!(told(&reply(&query(1, NAME, qtype)).await.unwrap()).0, code, "{qtype}");
    }
    let mut chaos = query(1, NAME, A);
    chaos[32] = 3;
    assert_eq!(told(&reply(&chaos).await.unwrap()).0, 5);
    let mut version = edns_query(1, NAME, A, 1232, b"");
    let at = version.len() - 5;
    version[at] = 1;
    let bad_version = reply(&version).await.unwrap();
    assert_eq!(bad_version[bad_version.len() - 6], 1, "BADVERS");
    assert_eq!(server.count(), 0);
}
