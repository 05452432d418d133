//! What labels make of a service port, and TLS that is passed through.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use support::tls::{Identity, listener};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;
use waymark_model::{Protocol, TaskEntry};
use waymark_proxy::proxy_protocol::{Addresses, Preface, read, write};
use waymark_proxy::{Limits, PortStats, ProxyConfig};
use waymark_routing::ProxyVersion;

async fn route(world: &mut World, port: u16, tasks: Vec<Arc<TaskEntry>>, labels: &[(&str, &str)]) {
    world.put(entry("/a", Protocol::Tcp, port, labels, tasks)).await;
}

fn addresses(source: &str, destination: &str) -> Addresses {
    Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn front(world: &World) -> PortStats {
    world.proxy.fronts().into_iter().next().unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_allowed_sources_are_relayed() {
    let (backend, mut world, port) =
        (Backend::start("b").await, World::start(config()), free_port());
    let label = "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL";
    route(&mut world, port, vec![backend.ready()], &[(label, "10.0.0.0/8 192.0.2.0/24")]).await;
    assert_eq!(how_a_client_ends(port).await, Some(ErrorKind::ConnectionReset));
    assert_eq!((world.port(port).denied, backend.accepted()), (1, 0));
    route(&mut world, port, vec![backend.ready()], &[(label, "127.0.0.1")]).await;
    assert_eq!(ask_once(port).await.unwrap(), "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_before_tells_who_the_client_is() {
    let (backend, mut world, port) =
        (Backend::start("b").await, World::start(config()), free_port());
    let labels = [
        ("HAPROXY_0_BIND_OPTIONS", "accept-proxy"),
        ("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/8"),
    ];
    route(&mut world, port, vec![backend.ready()], &labels).await;
    let allowed = addresses("10.1.2.3:1000", "192.0.2.1:80");
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let mut client = dial(port).await.unwrap();
        // The header and what follows in one piece, and a byte at a time.
        let header = write(version, allowed);
        client.write_all(&[&header[..], b"hello\n"].concat()).await.unwrap();
        let mut answer = [0; 8];
        soon("answer", client.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"b:hello\n");
        let mut client = dial(port).await.unwrap();
        for byte in &header {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(ask(&mut client, "x").await.unwrap(), "b");
    }
    let mut denied = dial(port).await.unwrap();
    let foreign = addresses("192.0.2.9:1000", "192.0.2.1:80");
    denied.write_all(&write(ProxyVersion::V2, foreign)).await.unwrap();
    assert_eq!(how_it_ends(&mut denied).await, Some(ErrorKind::ConnectionReset));
    let mut without = dial(port).await.unwrap();
    without.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    how_it_ends(&mut without).await;
    let stats = world.port(port);
    assert_eq!((stats.denied, stats.bad_proxy_headers, backend.accepted()), (1, 1, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_is_not_waited_for() {
    let limits = Limits { hello_timeout: Duration::from_millis(100), ..Limits::default() };
    let https = free_port();
    let config = ProxyConfig { limits, https_port: Some(https), ..config() };
    let (backend, mut world, port) = (Backend::start("b").await, World::start(config), free_port());
    route(&mut world, port, vec![backend.ready()], &[("HAPROXY_0_BIND_OPTIONS", "accept-proxy")])
        .await;
    let mut silent = dial(port).await.unwrap();
    silent.write_all(b"PROXY TCP4").await.unwrap();
    how_it_ends(&mut silent).await;
    assert_eq!(world.port(port).bad_proxy_headers, 1);
    let mut half = dial(https).await.unwrap();
    half.write_all(&[22, 3, 1, 1, 0, 1]).await.unwrap();
    how_it_ends(&mut half).await;
    assert_eq!(front(&world).hello_timeouts, 1);
    eventually("both are gone", || world.proxy.totals().connections == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_told_who_the_client_is() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (mut world, port) = (World::start(config()), free_port());
    let ready = task("t", listener.local_addr().unwrap(), waymark_model::Readiness::Ready);
    for version in ["v1", "v2"] {
        let labels = [("WAYMARK_0_SEND_PROXY", version)];
        route(&mut world, port, vec![ready.clone()], &labels).await;
        let mut client = dial(port).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let (mut server, _) = soon("accept", listener.accept()).await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"hello") {
            soon("bytes", server.read_buf(&mut bytes)).await.unwrap();
        }
        let expected = Addresses {
            source: client.local_addr().unwrap(),
            destination: client.peer_addr().unwrap(),
        };
        let length = bytes.len() - 5;
        let whole = Preface::Whole { addresses: Some(expected), length };
        assert_eq!(read(&bytes), Ok(whole), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_the_name_of_a_tcp_service_is_passed_through() {
    let identity = Identity::of("db.example");
    let (acceptor, connector) = (identity.acceptor(), identity.connector());
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.write_all(b"hello").await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    let https = free_port();
    let mut world = World::start(ProxyConfig { https_port: Some(https), ..config() });
    let ready = task("t", address, waymark_model::Readiness::Ready);
    let labels = [("HAPROXY_0_VHOST", "db.example"), ("HAPROXY_0_MODE", "tcp")];
    route(&mut world, free_port(), vec![ready], &labels).await;
    let connect = |name: &'static str| {
        let connector = connector.clone();
        async move {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, https)).await.unwrap();
            connector.connect(ServerName::try_from(name).unwrap(), stream).await
        }
    };
    // The client verifies the task's own certificate: nobody stands between.
    for _ in 0..3 {
        let mut stream = soon("handshake", connect("db.example")).await.unwrap();
        let mut said = String::new();
        soon("hello", stream.read_to_string(&mut said)).await.unwrap();
        assert_eq!(said, "hello");
    }
    assert!(soon("refusal", connect("other.example")).await.is_err());
    let stats = front(&world);
    assert_eq!((stats.accepted, stats.hello_timeouts), (4, 0));
    assert!(stats.bytes_out > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_ends_at_a_service_port_with_a_certificate() {
    let identity = Identity::of("db.example");
    let (file, connector) = (identity.file(), identity.connector());

    let (backend, mut world, port) =
        (Backend::start("b").await, World::start(config()), free_port());
    let labels = [("HAPROXY_0_SSL_CERT", file.to_str().unwrap()), ("HAPROXY_0_MODE", "tcp")];
    route(&mut world, port, vec![backend.ready()], &labels).await;
    let name = ServerName::try_from("db.example").unwrap();
    for _ in 0..3 {
        let stream = dial(port).await.unwrap();
        let connecting = connector.connect(name.clone(), stream);
        let mut stream = soon("handshake", connecting).await.unwrap();
        for _ in 0..3 {
            stream.write_all(b"in clear\n").await.unwrap();
            let mut answer = [0; 11];
            soon("answer", stream.read_exact(&mut answer)).await.unwrap();
            assert_eq!(&answer, b"b:in clear\n");
        }
        // An end of stream is passed on, both ways, and so is what comes after one of them.
        stream.write_all(b"last\n").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        soon("end", stream.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest, b"b:last\n");
    }
    let mut plain = dial(port).await.unwrap();
    plain.write_all(b"hello there, no TLS\n").await.unwrap();
    how_it_ends(&mut plain).await;
    assert_eq!(backend.accepted(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_can_be_spoken_to_in_tls() {
    let (acceptor, (listener, address)) = (Identity::of("localhost").acceptor(), listener().await);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut asked = [0; 5];
            stream.read_exact(&mut asked).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let (mut world, port) = (World::start(config()), free_port());
    let ready = task("t", address, waymark_model::Readiness::Ready);
    let labels = [("WAYMARK_0_BACKEND_TLS", "insecure")];
    route(&mut world, port, vec![ready], &labels).await;
    let mut client = dial(port).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let mut said = String::new();
    soon("answer", client.read_to_string(&mut said)).await.unwrap();
    assert_eq!(said, "hello");
}
