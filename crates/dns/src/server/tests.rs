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
