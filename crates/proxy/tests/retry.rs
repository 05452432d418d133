//! Clients whose first task does not take the connection, or who have none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use support::*;
use tokio::net::{TcpSocket, TcpStream};
use waymark_model::Readiness::{HealthUnknown, Ready};
use waymark_proxy::ProxyConfig;

fn holding() -> ProxyConfig {
    ProxyConfig { hold: PATIENCE, connect_timeout: PATIENCE, ..config() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_goes_to_another_task() {
    let (backend, mut world, port) =
        (Backend::start("good").await, World::start(config()), free_port());
    let tasks =
        vec![task("bad1", refusing(), Ready), backend.ready(), task("bad2", refusing(), Ready)];
    world.route("/a", port, tasks).await;
    for _ in 0..100 {
        assert_eq!(ask_once(port).await.unwrap(), "good");
    }
    let stats = world.port(port);
    assert!(stats.retries >= 1 && stats.retries == stats.connect_errors, "{stats:?}");
    assert!(stats.retries < 20, "a task that refused is left alone for a while: {stats:?}");
    assert_eq!((stats.failed, stats.no_endpoint), (0, 0));
    assert_eq!(world.connections("bad1") + world.connections("bad2"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_task_costs_one_try() {
    // A queue of length 0 that is full: further SYNs are dropped.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let silent = silent.listen(0).unwrap();
    let address = silent.local_addr().unwrap();
    let mut fillers = Vec::new();
    while let Ok(Ok(filler)) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        fillers.push(filler);
    }
    let config = ProxyConfig { try_timeout: Duration::from_millis(100), ..config() };
    let (backend, mut world, port) =
        (Backend::start("good").await, World::start(config), free_port());
    world.route("/a", port, vec![task("silent", address, Ready), backend.ready()]).await;
    for _ in 0..20 {
        assert_eq!(ask_once(port).await.unwrap(), "good");
    }
    assert!(world.port(port).retries >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_ready_task_the_client_is_reset() {
    let (backend, mut world, port) =
        (Backend::start("b").await, World::start(config()), free_port());
    world.route("/a", port, vec![backend.task(HealthUnknown)]).await;
    assert_eq!(how_a_client_ends(port).await, Some(ErrorKind::ConnectionReset));
    eventually("counted", || world.port(port).no_endpoint == 1).await;

    world.route("/a", port, vec![task("bad", refusing(), Ready)]).await;
    assert_eq!(how_a_client_ends(port).await, Some(ErrorKind::ConnectionReset));
    eventually("counted", || world.port(port).failed == 1).await;
    assert_eq!(backend.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_client_is_served_by_the_task_that_appears() {
    let (backend, mut world, port) =
        (Backend::start("late").await, World::start(holding()), free_port());
    world.route("/a", port, vec![]).await;
    let client = tokio::spawn(ask_once(port));
    eventually("held", || world.port(port).held == 1).await;
    world.publish("/a", port, vec![backend.ready()]);
    assert_eq!(soon("answer", client).await.unwrap().unwrap(), "late");
    assert_eq!(world.port(port).no_endpoint, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_client_is_served_when_its_task_accepts_again() {
    let (mut world, port) = (World::start(holding()), free_port());
    let address = refusing();
    world.route("/a", port, vec![task("back", address, Ready)]).await;
    let client = tokio::spawn(ask_once(port));
    eventually("held", || world.port(port).held == 1).await;
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let _backend = Backend::on("back", listener);
    assert_eq!(soon("answer", client).await.unwrap().unwrap(), "back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_clients_are_held_than_may_be() {
    let (mut world, port) = (World::start(ProxyConfig { max_held: 2, ..holding() }), free_port());
    world.route("/a", port, vec![]).await;
    let _held = (dial(port).await.unwrap(), dial(port).await.unwrap());
    eventually("held", || world.port(port).held == 2).await;
    assert_eq!(how_a_client_ends(port).await, Some(ErrorKind::ConnectionReset));
    assert_eq!(world.port(port).no_endpoint, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_ends() {
    let config = ProxyConfig { hold: Duration::from_millis(100), ..config() };
    let (mut world, port) = (World::start(config), free_port());
    world.route("/a", port, vec![]).await;
    let since = std::time::Instant::now();
    assert_eq!(how_a_client_ends(port).await, Some(ErrorKind::ConnectionReset));
    assert!(since.elapsed() >= Duration::from_millis(50));
}
