//! The forwarder before a small server that does what a test tells it, on real sockets.

use std::net::SocketAddr;

use tokio::net::UdpSocket;

use super::*;

/// A query for A of `www.example.org` with id 0x0102 and RD.
fn query() -> Vec<u8> {
    let header = [1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..], b"\x03wWw\x07example\x03org\0\0\x01\0\x01"].concat()
}

#[tokio::test]
async fn an_answer_comes_and_stays() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = server.local_addr().unwrap();
    let config = ForwardConfig { resolvers: vec![address], ..ForwardConfig::default() };
    let forwarder = Forwarder::new(&config).unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        let (_, peer) = server.recv_from(&mut buffer).await.unwrap();
        let mut answer = query();
        answer[..2].copy_from_slice(&buffer[..2]);
        answer[12..33].copy_from_slice(&buffer[12..33]);
        answer[2..4].copy_from_slice(&[0x81, 0x80]);
        answer[7] = 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 3]);
        server.send_to(&answer, peer).await.unwrap();
    });
    for ttl in [60, 59] {
        let reply = forwarder.forward(&query(), 512, Transport::Udp).await.unwrap();
        assert_eq!(reply[..4], [1, 2, 0x81, 0x80]);
        assert_eq!(reply[12..33], query()[12..33], "the client's spelling");
        assert_eq!((reply[42], &reply[45..]), (ttl, &[10, 1, 2, 3][..]));
    }
    let stats = forwarder.stats();
    assert_eq!((stats.queries, stats.lookups, stats.cache_hits), (2, 1, 1));
    let off = ForwardConfig { external_on: false, ..config };
    let reply = Forwarder::new(&off).unwrap().forward(&query(), 512, Transport::Udp).await;
    assert_eq!(reply.unwrap()[..4], [1, 2, 0x81, 5]);
}
