//! What two ends see of each other through the relay.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use waymark_model::Readiness;

/// A client and the server's end of its connection, through a proxy.
async fn connected(config: waymark_proxy::ProxyConfig) -> (World, u16, TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut world = World::start(config);
    let port = free_port();
    let ready = task("t", listener.local_addr().unwrap(), Readiness::Ready);
    world.route("/a", port, vec![ready]).await;
    let client = dial(port).await.unwrap();
    let (server, _) = soon("accept", listener.accept()).await.unwrap();
    (world, port, client, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_back_and_are_counted() {
    let (backend, mut world, port) =
        (Backend::start("one").await, World::start(config()), free_port());
    world.route("/a", port, vec![backend.ready()]).await;
    let mut client = dial(port).await.unwrap();
    assert_eq!(ask(&mut client, "hello").await.unwrap(), "one");
    assert_eq!(ask(&mut client, "again").await.unwrap(), "one");
    let stats = world.port(port);
    assert_eq!((stats.accepted, stats.active, stats.tasks[0].active), (1, 1, 1));
    assert_eq!((stats.bytes_in, stats.bytes_out), (12, 20));
    drop(client);
    eventually("nothing active", || world.port(port).active == 0).await;
    let stats = world.port(port);
    assert_eq!((stats.tasks[0].active, stats.resets, stats.failed), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_may_end_first_and_still_read() {
    let (world, port, mut client, mut server) = connected(config()).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut got = Vec::new();
    soon("question", server.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, b"question");
    server.write_all(b"answer").await.unwrap();
    drop(server);
    let mut got = Vec::new();
    soon("answer", client.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, b"answer");
    eventually("it ended in order", || world.port(port).active == 0).await;
    assert_eq!(world.port(port).resets, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_may_end_first_and_still_read() {
    let (_world, _, mut client, mut server) = connected(config()).await;
    server.write_all(b"greeting").await.unwrap();
    server.shutdown().await.unwrap();
    let mut got = Vec::new();
    soon("greeting", client.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, b"greeting");
    client.write_all(b"late").await.unwrap();
    drop(client);
    let mut got = Vec::new();
    soon("late", server.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, b"late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_by_the_server_resets_the_client() {
    let (world, port, mut client, mut server) = connected(config()).await;
    // A reset before the balancer has seen the connection established is a refusal instead.
    client.write_all(b"x").await.unwrap();
    soon("byte", server.read_u8()).await.unwrap();
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(how_it_ends(&mut client).await, Some(ErrorKind::ConnectionReset));
    eventually("counted", || world.port(port).resets == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_by_the_client_resets_the_server() {
    let (_world, _, client, mut server) = connected(config()).await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(how_it_ends(&mut server).await, Some(ErrorKind::ConnectionReset));
}

/// A server that answers early and closes with a request half read resets the connection; the
/// answer was there before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_survives_the_reset_after_it() {
    for _ in 0..50 {
        let (_world, _, mut client, mut server) = connected(config()).await;
        client.write_all(&[b'x'; 4096]).await.unwrap();
        let mut some = [0; 10];
        soon("request", server.read_exact(&mut some)).await.unwrap();
        server.write_all(b"413").await.unwrap();
        drop(server);
        let mut got = [0; 3];
        soon("answer", client.read_exact(&mut got)).await.unwrap();
        assert_eq!(&got, b"413");
        assert_eq!(how_it_ends(&mut client).await, Some(ErrorKind::ConnectionReset));
    }
}

/// Both directions full at once, each reader slower than its writer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_in_both_directions_arrives_whole() {
    const LENGTH: usize = 12 << 20;
    fn byte(at: usize) -> u8 {
        (at % 251) as u8
    }
    async fn send(mut to: impl AsyncWriteExt + Unpin) {
        let data: Vec<u8> = (0..LENGTH).map(byte).collect();
        to.write_all(&data).await.unwrap();
        to.shutdown().await.unwrap();
    }
    async fn receive(mut from: impl AsyncReadExt + Unpin) -> usize {
        let (mut at, mut buffer) = (0, vec![0; 7000]);
        loop {
            let length = from.read(&mut buffer).await.unwrap();
            if length == 0 {
                return at;
            }
            assert!((at..).zip(&buffer[..length]).all(|(at, got)| byte(at) == *got));
            at += length;
        }
    }
    let (world, port, client, server) = connected(config()).await;
    let ((client_in, client_out), (server_in, server_out)) =
        (client.into_split(), server.into_split());
    let all = async {
        tokio::join!(send(client_out), send(server_out), receive(client_in), receive(server_in))
    };
    let (_, _, down, up) = soon("bulk", all).await;
    assert_eq!((down, up), (LENGTH, LENGTH));
    let stats = world.port(port);
    assert_eq!((stats.bytes_in, stats.bytes_out), (LENGTH as u64, LENGTH as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let config =
        waymark_proxy::ProxyConfig { idle_timeout: Duration::from_millis(400), ..config() };
    let (world, port, mut client, mut server) = connected(config).await;
    let since = tokio::time::Instant::now();
    // Longer than the time-out in all, never idle for long.
    while since.elapsed() < Duration::from_millis(800) {
        client.write_all(b"x").await.unwrap();
        soon("byte", server.read_u8()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let quiet_since = tokio::time::Instant::now();
    assert_eq!(how_it_ends(&mut client).await, Some(ErrorKind::ConnectionReset));
    assert!(quiet_since.elapsed() > Duration::from_millis(300));
    assert_eq!(how_it_ends(&mut server).await, Some(ErrorKind::ConnectionReset));
    eventually("counted", || world.port(port).idle_closed == 1).await;
}
