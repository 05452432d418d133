//! The server on real sockets, asked as clients ask.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use std::time::{Duration, Instant};

use waymark_catalog::{Output, Writer};

use super::*;
use crate::{Dns, DnsConfig, Stats};

const WAIT: Duration = Duration::from_secs(20);

/// A query for SOA of `mesos`, with an id.
fn query(id: u8) -> Vec<u8> {
    [&[0, id, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x05mesos\0\0\x06\0\x01"].concat()
}

fn framed(packet: &[u8]) -> Vec<u8> {
    [&(packet.len() as u16).to_be_bytes()[..], packet].concat()
}

/// A server with an empty catalog of version 9, that stops when dropped.
struct Running {
    dns: Arc<Dns>,
    address: SocketAddr,
    _server: Server,
    _follower: tokio::runtime::Runtime,
    _writer: Writer,
}

fn start(workers: usize, change: impl FnOnce(&mut DnsConfig)) -> Running {
    let mut config = DnsConfig::default();
    change(&mut config);
    let dns = Arc::new(Dns::new(config).unwrap());
    let (mut writer, reader) = Writer::new(8);
    writer.publish([]);
    let sockets = Sockets::bind(&[(Ipv4Addr::LOCALHOST, 0).into()], workers).unwrap();
    let address = sockets.addresses()[0];
    let server = Server::start(&dns, sockets).unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let follower = dns.clone();
    runtime.spawn(async move { follower.follow(reader).await });
    wait_until("applied", || dns.applied() == 9);
    Running { dns, address, _server: server, _follower: runtime, _writer: writer }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream
    }

    fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(self.address).unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        socket
    }

    fn stats(&self) -> Stats {
        self.dns.stats()
    }
}

fn read_framed(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut packet).unwrap();
    packet
}

/// NOERROR, one record in the answer, the id asked with.
fn assert_soa(packet: &[u8], id: u8) {
    assert_eq!((packet[1], packet[3] & 15, packet[7]), (id, 0, 1));
    assert!(packet.ends_with(&[0, 0, 0, 5]), "the SOA's last field");
}

/// Whether the server has closed, by end of file or reset.
fn is_closed(mut stream: TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn udp_and_tcp_on_one_port() {
    for workers in [1, 2] {
        let server = start(workers, |_| ());
        let (udp, mut tcp) = (server.udp(), server.connect());
        let mut buffer = [0; 600];
        for id in 0..20 {
            udp.send(&query(id)).unwrap();
            let length = udp.recv(&mut buffer).unwrap();
            assert_soa(&buffer[..length], id);
            tcp.write_all(&framed(&query(id))).unwrap();
            assert_soa(&read_framed(&mut tcp), id);
        }
        // What gets no answer harms nobody.
        udp.send(&[1, 2, 3]).unwrap();
        udp.send(&query(77)).unwrap();
        let length = udp.recv(&mut buffer).unwrap();
        assert_soa(&buffer[..length], 77);
        wait_until("counted", || server.stats().ignored == 1);
        let stats = server.stats();
        assert_eq!(stats.queries[0][3] + stats.queries[1][3], 41);
        assert_eq!(stats.tcp_accepted, 1);
    }
}

/// Many queries in one segment, and one query in many.
#[test]
fn tcp_takes_any_segments() {
    let server = start(1, |_| ());
    let mut stream = server.connect();
    stream.set_nodelay(true).unwrap();
    let all: Vec<u8> = (0..200).flat_map(|id| framed(&query(id))).collect();
    stream.write_all(&all).unwrap();
    for id in 0..200 {
        assert_soa(&read_framed(&mut stream), id);
    }
    for byte in framed(&query(201)) {
        stream.write_all(&[byte]).unwrap();
    }
    assert_soa(&read_framed(&mut stream), 201);
}

#[test]
fn tcp_connections_end() {
    let server = start(1, |config| config.tcp_idle = Duration::from_millis(50));
    // Silent, silent in the middle of a query, and after one.
    assert!(is_closed(server.connect()));
    let mut half = server.connect();
    half.write_all(&framed(&query(1))[..9]).unwrap();
    assert!(is_closed(half));
    let mut after = server.connect();
    after.write_all(&framed(&query(1))).unwrap();
    assert_soa(&read_framed(&mut after), 1);
    assert!(is_closed(after));

    let server = start(1, |_| ());
    for nonsense in [&[0xff, 0xff][..], &[0, 0], &[0, 3, 1, 2, 3]] {
        let mut stream = server.connect();
        stream.write_all(nonsense).unwrap();
        assert!(is_closed(stream), "{nonsense:?}");
    }
}

/// Who does not read gets no more than what waits in the system's buffers, and is closed.
#[test]
fn a_client_that_does_not_read_is_closed() {
    let server = start(1, |config| config.tcp_idle = Duration::from_millis(100));
    let mut stream = server.connect();
    stream.set_write_timeout(Some(WAIT)).unwrap();
    let many: Vec<u8> = framed(&query(1)).repeat(1000);
    let deadline = Instant::now() + WAIT;
    while stream.write_all(&many).is_ok() {
        assert!(Instant::now() < deadline, "still taken");
    }
}

#[test]
fn connections_are_limited() {
    let server = start(1, |config| config.tcp_connections = 2);
    let mut first: Vec<TcpStream> = (0..2).map(|_| server.connect()).collect();
    for stream in &mut first {
        stream.write_all(&framed(&query(1))).unwrap();
        assert_soa(&read_framed(stream), 1);
    }
    assert!(is_closed(server.connect()));
    assert_eq!(server.stats().tcp_refused, 1);
    // A place that is given back is taken again.
    first.pop();
    wait_until("a free place", || {
        let mut stream = server.connect();
        stream.write_all(&framed(&query(2))).is_ok() && stream.read_exact(&mut [0; 2]).is_ok()
    });
    let stats = server.stats();
    assert_eq!(stats.tcp_accepted, 3);
}

/// One client cannot take all places.
#[test]
fn connections_of_one_client_are_limited() {
    let server = start(2, |config| config.tcp_connections_per_client = 1);
    let mut first = server.connect();
    first.write_all(&framed(&query(1))).unwrap();
    assert_soa(&read_framed(&mut first), 1);
    assert!(is_closed(server.connect()));
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    other.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    other.connect(&server.address.into()).unwrap();
    let mut other = TcpStream::from(other);
    other.set_read_timeout(Some(WAIT)).unwrap();
    other.write_all(&framed(&query(2))).unwrap();
    assert_soa(&read_framed(&mut other), 2);
}

/// A query for A of `xN.example` for other servers.
fn foreign(id: u8, name: u8) -> Vec<u8> {
    let header = [0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..], &[2, b'x', name], b"\x07example\0\0\x01\0\x01"].concat()
}

/// A server that forwards to one that answers every name but `xS.example`, which it keeps silent
/// about.
fn start_forwarding() -> Running {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let tcp = std::net::TcpListener::bind(udp.local_addr().unwrap());
    let upstream = udp.local_addr().unwrap();
    let answer = |query: &[u8]| {
        let mut reply = query.get(..12 + 12 + 4).unwrap_or_default().to_vec();
        reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, query[14]]);
        (query[14] != b's').then_some(reply)
    };
    std::thread::spawn(move || {
        let mut buffer = [0; 600];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            if let Some(reply) = answer(&buffer[..length]) {
                udp.send_to(&reply, peer).unwrap();
            }
        }
    });
    if let Ok(tcp) = tcp {
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                std::thread::spawn(move || {
                    while let Some(reply) = try_read_framed(&mut stream).map(|q| answer(&q)) {
                        if reply.is_none_or(|reply| stream.write_all(&framed(&reply)).is_err()) {
                            // Silent, with an open connection.
                            std::thread::park();
                        }
                    }
                });
            }
        });
    }
    let config = crate::forward::ForwardConfig {
        resolvers: vec![upstream],
        timeout: Duration::from_millis(700),
        deadline: Duration::from_millis(700),
        ..Default::default()
    };
    start(1, |c| c.policy.forwarder = Some(crate::forward::Forwarder::new(&config).unwrap()))
}

fn try_read_framed(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut packet).ok()?;
    Some(packet)
}

/// Others are asked, and nobody waits for them who did not ask for that.
#[test]
fn forwards_without_holding_anybody_up() {
    let server = start_forwarding();
    let udp = server.udp();
    let mut buffer = [0; 600];
    udp.send(&foreign(1, b's')).unwrap();
    for (id, name) in [(2, b'a'), (3, b'b'), (4, b'a')] {
        udp.send(&foreign(id, name)).unwrap();
        let length = udp.recv(&mut buffer).unwrap();
        assert_eq!((buffer[1], buffer[3] & 15), (id, 0));
        assert!(buffer[..length].ends_with(&[10, 1, 2, name]));
    }
    udp.send(&query(5)).unwrap();
    let length = udp.recv(&mut buffer).unwrap();
    assert_soa(&buffer[..length], 5);
    // In the end the silent one is given up.
    udp.recv(&mut buffer).unwrap();
    assert_eq!((buffer[1], buffer[3] & 15), (1, 2));
    assert_eq!(server.stats().forwarded, 4);

    // The same on one connection: answers come as they are ready.
    let mut tcp = server.connect();
    let all = [foreign(1, b's'), query(2), foreign(3, b'c')].map(|packet| framed(&packet));
    tcp.write_all(&all.concat()).unwrap();
    let mut order = Vec::new();
    for _ in 0..3 {
        let reply = read_framed(&mut tcp);
        assert_eq!(reply[3] & 15, if reply[1] == 1 { 2 } else { 0 });
        order.push(reply[1]);
    }
    assert_eq!(order[0], 2, "the zone's own answer waits for nobody: {order:?}");
}

/// What was asked before the client said that it asks no more is answered.
#[test]
fn half_closed_connections_get_their_answers() {
    let server = start_forwarding();
    let mut tcp = server.connect();
    let all = [foreign(1, b'd'), query(2)].map(|packet| framed(&packet));
    tcp.write_all(&all.concat()).unwrap();
    tcp.shutdown(std::net::Shutdown::Write).unwrap();
    let mut ids: Vec<u8> = (0..2).map(|_| read_framed(&mut tcp)[1]).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
    assert!(is_closed(tcp));
}

/// More questions for others than are asked about at once, on one connection.
#[test]
fn many_forwarded_on_one_connection() {
    let server = start_forwarding();
    let mut tcp = server.connect();
    let all: Vec<u8> = (0..1000u32)
        .flat_map(|n| framed(&foreign((n % 256) as u8, b'0' + (n % 10) as u8)))
        .collect();
    let mut writer = tcp.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&all).unwrap());
    for _ in 0..1000 {
        assert_eq!(read_framed(&mut tcp)[3] & 15, 0);
    }
    writing.join().unwrap();
}

/// Bound to all addresses, each answers as itself; several listeners are one server.
#[test]
fn replies_come_from_the_address_that_was_asked() {
    let [v4, v6] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::from([0u16; 8])];
    for (listen, asked) in [
        (vec![v4], vec!["127.0.0.1", "127.77.0.9"]),
        (vec![v6], vec!["::1", "127.77.0.9"]),
        (vec![v6, v4], vec!["::1", "127.77.0.9"]),
    ] {
        let listen: Vec<SocketAddr> = listen.into_iter().map(|ip| (ip, 0).into()).collect();
        // A machine may be without IPv6.
        let Ok(sockets) = Sockets::bind(&listen, 2) else { continue };
        let addresses = sockets.addresses().to_vec();
        let dns = Arc::new(Dns::new(DnsConfig::default()).unwrap());
        let server = Server::start(&dns, sockets).unwrap();
        for ip in asked.into_iter().map(|ip| ip.parse::<IpAddr>().unwrap()) {
            let of_family = addresses.iter().find(|a| a.is_ipv4() == ip.is_ipv4());
            let port = of_family.unwrap_or(&addresses[0]).port();
            asks_and_is_answered_by(SocketAddr::new(ip, port));
        }
        server.stop();
    }
}

fn asks_and_is_answered_by(asked: SocketAddr) {
    let ours = if asked.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let udp = UdpSocket::bind(ours).unwrap();
    udp.set_read_timeout(Some(WAIT)).unwrap();
    udp.send_to(&query(5), asked).unwrap();
    let mut buffer = [0; 600];
    let (_, from) = udp.recv_from(&mut buffer).unwrap();
    assert_eq!(from, asked);
    // Nothing is published yet: SERVFAIL.
    assert_eq!((buffer[1], buffer[3] & 15), (5, 2));
    let mut tcp = TcpStream::connect(asked).unwrap();
    tcp.set_read_timeout(Some(WAIT)).unwrap();
    tcp.write_all(&framed(&query(6))).unwrap();
    assert_eq!(read_framed(&mut tcp)[3] & 15, 2);
}

/// Stopping wakes threads that wait for packets, frees the ports, and closes connections.
#[test]
fn stops() {
    let running = start(3, |_| ());
    let address = running.address;
    let idle = running.connect();
    drop(running);
    assert!(is_closed(idle));
    Sockets::bind(&[address], 1).unwrap();
}

/// Floods of nonsense, and of queries that seem to come from everywhere, leave those answered who
/// show a cookie or come by TCP.
#[test]
fn floods_leave_honest_clients_answered() {
    const ANSWERS: u8 = 200;
    let server = start(2, |config| {
        let rate_limit = crate::rate_limit::RateLimit {
            per_second: 50,
            slip: 2,
            exempt: crate::access::AccessList::default(),
        };
        config.policy.rate_limit = rate_limit;
    });
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..2u8)
        .map(|kind| {
            let (stop, address) = (stop.clone(), server.address);
            std::thread::spawn(move || flood(kind, address, &stop))
        })
        .collect();
    wait_until("limited", || server.stats().limited > 0 && server.stats().ignored > 0);

    // By UDP with a cookie, as resolvers ask: again when nothing comes.
    let udp = server.udp();
    udp.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let deadline = Instant::now() + WAIT;
    let mut cookie = vec![7; 8];
    let (mut answered, mut buffer) = (0, [0; 600]);
    while answered < ANSWERS {
        assert!(Instant::now() < deadline, "{answered} answers by UDP");
        udp.send(&with_cookie(&query(answered), &cookie)).unwrap();
        let Ok(length) = udp.recv(&mut buffer) else { continue };
        if buffer[1] != answered {
            continue;
        }
        cookie = buffer[length - 24..length].to_vec();
        // BADCOOKIE means: again with this one.
        if buffer[3] & 15 == 0 {
            answered += 1;
        }
    }
    let mut tcp = server.connect();
    for id in 0..ANSWERS {
        tcp.write_all(&framed(&query(id))).unwrap();
        assert_soa(&read_framed(&mut tcp), id);
    }
    stop.store(true, Ordering::Relaxed);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
}

/// Sends nonsense, or good queries from many addresses of the honest client's network.
fn flood(kind: u8, server: SocketAddr, stop: &AtomicBool) {
    let sockets: Vec<UdpSocket> =
        (2..34).map(|host| UdpSocket::bind((Ipv4Addr::new(127, 0, 0, host), 0)).unwrap()).collect();
    let mut random = 1u64;
    for socket in sockets.iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
        let packet = if kind == 0 {
            let bytes = std::iter::repeat_with(|| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) as u8
            });
            bytes.take(60).collect()
        } else {
            query(1)
        };
        // A full buffer is a flood as well.
        let _ = socket.send_to(&packet, server);
    }
}

/// A query with a cookie.
fn with_cookie(query: &[u8], cookie: &[u8]) -> Vec<u8> {
    let mut packet = query.to_vec();
    packet[11] = 1;
    packet.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4 + cookie.len() as u8]);
    packet.extend([0, 10, 0, cookie.len() as u8]);
    packet.extend_from_slice(cookie);
    packet
}
