//! Service ports that come, go, change and cannot be had.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use support::*;
use waymark_proxy::{Limits, ListenerState, ProxyConfig};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_listened_on_before_the_first_version() {
    let mut world = World::start(config());
    assert_eq!((world.output.applied(), world.proxy.stats().len()), (0, 0));
    let version = world.writer.publish([]);
    world.applied(version).await;
    assert_eq!(world.output.name(), "proxy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named_retried_and_harms_no_other() {
    let (backend, mut world, port, other) =
        (Backend::start("b").await, World::start(config()), free_port(), free_port());
    let squatter = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    world.route("/a", port, vec![backend.ready()]).await;
    world.route("/b", other, vec![backend.ready()]).await;
    let ListenerState::Failed(reason) = world.port(port).listener else {
        panic!("{:?}", world.port(port))
    };
    assert!(reason.contains("in use"), "{reason}");
    assert_eq!(ask_once(other).await.unwrap(), "b");
    drop(squatter);
    eventually("listening", || world.is_listening(port)).await;
    assert_eq!(ask_once(port).await.unwrap(), "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reserved_port_is_refused() {
    let (backend, port) = (Backend::start("b").await, free_port());
    let mut world =
        World::start(ProxyConfig { reserved_ports: BTreeSet::from([port]), ..config() });
    world.route("/a", port, vec![backend.ready()]).await;
    assert_eq!(world.port(port).listener, ListenerState::Reserved);
    assert_eq!(dial(port).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_outlive_their_port() {
    let (backend, mut world, port, other) =
        (Backend::start("b").await, World::start(config()), free_port(), free_port());
    world.route("/a", port, vec![backend.ready()]).await;
    let mut client = dial(port).await.unwrap();
    assert_eq!(ask(&mut client, "before").await.unwrap(), "b");

    world.route("/a", other, vec![backend.ready()]).await;
    assert_eq!(dial(port).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ask(&mut client, "moved").await.unwrap(), "b");
    let mut second = dial(other).await.unwrap();
    assert_eq!(ask(&mut second, "new port").await.unwrap(), "b");

    world.remove("/a").await;
    assert!(world.proxy.stats().is_empty());
    assert_eq!(ask(&mut client, "removed").await.unwrap(), "b");
    assert_eq!(ask(&mut second, "removed").await.unwrap(), "b");
    assert_eq!(world.connections("b"), 2, "a removed task's connections still count");
    drop((client, second));
    eventually("unused", || world.connections("b") == 0).await;
    assert_eq!(world.proxy.totals().connections, 0);

    world.route("/a", port, vec![backend.ready()]).await;
    assert_eq!(ask_once(port).await.unwrap(), "b", "the port can be had again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_connections_do_not_feel_changes() {
    let (backend, mut world, port) =
        (Backend::start("b").await, World::start(config()), free_port());
    world.route("/a", port, vec![backend.ready()]).await;
    let mut client = dial(port).await.unwrap();
    for round in 0..30 {
        let passing = free_port();
        world.route("/passing", passing, vec![backend.ready()]).await;
        assert_eq!(ask_once(passing).await.unwrap(), "b");
        assert_eq!(ask(&mut client, &format!("{round}")).await.unwrap(), "b");
        world.remove("/passing").await;
        assert_eq!(ask(&mut client, &format!("{round}")).await.unwrap(), "b");
    }
    assert_eq!(world.port(port).accepted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_apps_share_a_port() {
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    let (mut world, port) = (World::start(config()), free_port());
    world.route("/blue", port, vec![blue.ready()]).await;
    world.route("/green", port, vec![green.ready()]).await;
    let mut names = BTreeSet::new();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = dial(port).await.unwrap();
        names.insert(ask(&mut client, "x").await.unwrap());
        clients.push(client);
    }
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["blue", "green"], "least connections");
    world.remove("/blue").await;
    assert_eq!(ask_once(port).await.unwrap(), "green");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_limit_clients_wait_for_others_to_leave() {
    let backend = Backend::start("b").await;
    let (mut world, port) =
        (World::start(ProxyConfig { max_connections: 2, ..config() }), free_port());
    world.route("/a", port, vec![backend.ready()]).await;
    let mut first = dial(port).await.unwrap();
    let mut second = dial(port).await.unwrap();
    ask(&mut first, "x").await.unwrap();
    ask(&mut second, "x").await.unwrap();
    let third = tokio::spawn(ask_once(port));
    eventually("at the limit", || world.proxy.totals().limit_hits == 1).await;
    assert_eq!(backend.accepted(), 2);
    drop(first);
    assert_eq!(soon("its turn", third).await.unwrap().unwrap(), "b");
    let totals = world.proxy.totals();
    assert_eq!(totals.max_connections, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_busy_port_uses_every_worker() {
    let (backend, mut world, port) =
        (Backend::start("b").await, World::start(config()), free_port());
    world.route("/a", port, vec![backend.ready()]).await;
    let mut clients = Vec::new();
    for _ in 0..60 {
        let mut client = dial(port).await.unwrap();
        assert_eq!(ask(&mut client, "x").await.unwrap(), "b");
        clients.push(client);
    }
    let handed_over = world.proxy.totals().handed_over;
    assert!((15..=30).contains(&handed_over), "{handed_over}");
    assert_eq!(world.connections("b"), 60);
    drop(clients);
    eventually("all gone", || world.proxy.totals().connections == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_connections_end_and_then_resets_them() {
    let (backend, mut world, port) =
        (Backend::start("b").await, World::start(config()), free_port());
    world.route("/a", port, vec![backend.ready()]).await;
    let (mut brief, mut endless) = (dial(port).await.unwrap(), dial(port).await.unwrap());
    ask(&mut brief, "x").await.unwrap();
    ask(&mut endless, "x").await.unwrap();
    let stopping = tokio::spawn(async move { world.proxy.stop(Duration::from_millis(300)).await });
    let refused = async {
        while dial(port).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("closed listener", refused).await;
    assert_eq!(ask(&mut brief, "still").await.unwrap(), "b");
    drop(brief);
    assert_eq!(how_it_ends(&mut endless).await, Some(ErrorKind::ConnectionReset));
    soon("stopped", stopping).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_source_may_have_so_many_connections() {
    let limits = Limits { connections_per_source: 2, ..Limits::default() };
    let config = ProxyConfig { limits, ..config() };
    let (backend, mut world, port) = (Backend::start("b").await, World::start(config), free_port());
    world.route("/a", port, vec![backend.ready()]).await;
    let mut first = dial(port).await.unwrap();
    let mut second = dial(port).await.unwrap();
    ask(&mut first, "x").await.unwrap();
    ask(&mut second, "x").await.unwrap();
    assert_eq!(how_a_client_ends(port).await, Some(ErrorKind::ConnectionReset));
    assert_eq!(world.proxy.totals().source_refusals, 1);
    drop(first);
    eventually("one gone", || world.proxy.totals().connections == 1).await;
    assert_eq!(ask_once(port).await.unwrap(), "b");
}
