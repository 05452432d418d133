//! Datagrams to tasks and back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket};
use std::sync::Arc;
use std::time::Duration;

use support::*;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use waymark_model::{Protocol, Readiness, TaskEntry};
use waymark_proxy::{Limits, PortStats, ProxyConfig};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A task that answers each datagram `x` with `name:x`.
struct Echo {
    name: &'static str,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Echo {
    async fn start(name: &'static str, ip: IpAddr) -> Echo {
        let socket = UdpSocket::bind((ip, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 65_535];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let mut answer = format!("{name}:").into_bytes();
                answer.extend_from_slice(&buffer[..length]);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        Echo { name, address, task }
    }

    fn ready(&self) -> Arc<TaskEntry> {
        self.as_is(Readiness::Ready)
    }

    fn as_is(&self, readiness: Readiness) -> Arc<TaskEntry> {
        task(self.name, self.address, readiness)
    }

    async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// A UDP port that is free.
fn free_udp_port() -> u16 {
    loop {
        let port = free_port();
        if StdSocket::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}

async fn route_with(
    world: &mut World,
    port: u16,
    tasks: Vec<Arc<TaskEntry>>,
    labels: &[(&str, &str)],
) {
    world.put(entry("/dns", Protocol::Udp, port, labels, tasks)).await;
}

async fn route(world: &mut World, port: u16, tasks: Vec<Arc<TaskEntry>>) {
    route_with(world, port, tasks, &[]).await;
}

/// A client that talks to one address.
async fn client(to: impl Into<SocketAddr>) -> UdpSocket {
    let to: SocketAddr = to.into();
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

/// Sends a datagram and returns the name of who answered; a connected socket takes only what comes
/// from where it sent to.
async fn exchange(client: &UdpSocket, text: &str) -> String {
    client.send(text.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 65_535];
    let length = soon("answer", client.recv(&mut buffer)).await.unwrap();
    let answer = String::from_utf8(buffer[..length].to_vec()).unwrap();
    let (name, echoed) = answer.split_once(':').unwrap();
    assert_eq!(echoed, text);
    name.to_owned()
}

fn stats(world: &World) -> PortStats {
    world.proxy.udp_stats().into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_stays_with_its_task_and_clients_are_spread() {
    let (a, b) = (Echo::start("a", LOCALHOST).await, Echo::start("b", LOCALHOST).await);
    let (mut world, port) = (World::start(config()), free_udp_port());
    route(&mut world, port, vec![a.ready(), b.ready()]).await;
    let mut names = Vec::new();
    for _ in 0..10 {
        let client = client((LOCALHOST, port)).await;
        let first = exchange(&client, "one").await;
        for _ in 0..5 {
            assert_eq!(exchange(&client, "more").await, first);
        }
        names.push(first);
    }
    assert!(names.contains(&"a".to_owned()) && names.contains(&"b".to_owned()), "{names:?}");
    // An answer is there a moment before it is counted.
    let bytes = (10 * (3 + 5 * 4), 10 * (5 + 5 * 6));
    let counted = || (stats(&world).bytes_in, stats(&world).bytes_out) == bytes;
    eventually("all bytes are counted", counted).await;
    let stats = stats(&world);
    assert_eq!((stats.accepted, stats.active, stats.udp_dropped), (10, 10, 0));
    assert_eq!(world.connections("a") + world.connections("b"), 10);
    assert_eq!(world.proxy.totals().udp_sessions, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_and_empty_datagrams_arrive_as_they_are() {
    let a = Echo::start("a", LOCALHOST).await;
    let (mut world, port) = (World::start(config()), free_udp_port());
    route(&mut world, port, vec![a.ready()]).await;
    let client = client((LOCALHOST, port)).await;
    assert_eq!(exchange(&client, &"x".repeat(65_000)).await, "a");
    assert_eq!(exchange(&client, "").await, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_from_the_address_that_was_asked() {
    let a = Echo::start("a", LOCALHOST).await;
    let six = Echo::start("six", Ipv6Addr::LOCALHOST.into()).await;
    for listen in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
        let mut world = World::start(ProxyConfig { listen, ..config() });
        let port = free_udp_port();
        route(&mut world, port, vec![a.ready()]).await;
        for ip in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 7)] {
            let client = client((ip, port)).await;
            assert_eq!(exchange(&client, "x").await, "a", "{ip} of {listen}");
        }
        if listen.is_ipv6() {
            route(&mut world, port, vec![six.ready()]).await;
            let client = client((Ipv6Addr::LOCALHOST, port)).await;
            assert_eq!(exchange(&client, "x").await, "six", "between two families too");
        }
        world.proxy.stop(Duration::ZERO).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_task_loses_its_clients_one_datagram_later() {
    let (old, new) = (Echo::start("old", LOCALHOST).await, Echo::start("new", LOCALHOST).await);
    let (mut world, port) = (World::start(config()), free_udp_port());
    route(&mut world, port, vec![old.ready()]).await;
    let client = client((LOCALHOST, port)).await;
    assert_eq!(exchange(&client, "x").await, "old");
    route(&mut world, port, vec![old.as_is(Readiness::Draining), new.ready()]).await;
    assert_eq!(world.connections("old"), 1, "it may still answer");
    assert_eq!(exchange(&client, "x").await, "new");
    eventually("the old one is free", || world.connections("old") == 0).await;
}

/// Nobody waits for the whole time-out of a client that is silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_keeps_no_draining_task_for_long() {
    let (old, new) = (Echo::start("old", LOCALHOST).await, Echo::start("new", LOCALHOST).await);
    let limits = Limits { udp_timeout: Duration::from_secs(3600), ..Limits::default() };
    let (mut world, port) = (World::start(ProxyConfig { limits, ..config() }), free_udp_port());
    route(&mut world, port, vec![old.ready()]).await;
    let clients = [client((LOCALHOST, port)).await, client((LOCALHOST, port)).await];
    for client in &clients {
        assert_eq!(exchange(client, "x").await, "old");
    }
    route(&mut world, port, vec![old.as_is(Readiness::Draining), new.ready()]).await;
    assert_eq!(exchange(&clients[0], "x").await, "new");
    assert_eq!(world.connections("old"), 1, "the silent one's");
    eventually("the old one is free", || world.connections("old") == 0).await;
    assert_eq!(world.connections("new"), 1, "no other session has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_task_refuses_goes_to_another_one() {
    let (dead, live) = (Echo::start("dead", LOCALHOST).await, Echo::start("live", LOCALHOST).await);
    let (mut world, port) = (World::start(config()), free_udp_port());
    let tasks = vec![dead.ready(), live.ready()];
    dead.stop().await;
    route(&mut world, port, tasks).await;
    for _ in 0..20 {
        let client = client((LOCALHOST, port)).await;
        assert_eq!(exchange(&client, "x").await, "live");
    }
    assert!(stats(&world).connect_errors > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_task_datagrams_are_dropped_and_counted() {
    let (mut world, port) = (World::start(config()), free_udp_port());
    route(&mut world, port, vec![]).await;
    let client = client((LOCALHOST, port)).await;
    client.send(b"x").await.unwrap();
    eventually("counted", || stats(&world).udp_dropped == 1).await;
    assert_eq!(stats(&world).no_endpoint, 1);
    let a = Echo::start("a", LOCALHOST).await;
    route(&mut world, port, vec![a.ready()]).await;
    assert_eq!(exchange(&client, "x").await, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_when_it_is_not_used() {
    let a = Echo::start("a", LOCALHOST).await;
    let limits = Limits { udp_timeout: Duration::from_millis(200), ..Limits::default() };
    let (mut world, port) = (World::start(ProxyConfig { limits, ..config() }), free_udp_port());
    route(&mut world, port, vec![a.ready()]).await;
    let client = client((LOCALHOST, port)).await;
    exchange(&client, "x").await;
    assert_eq!(world.connections("a"), 1);
    eventually("forgotten", || world.connections("a") == 0).await;
    assert_eq!(world.proxy.totals().udp_sessions, 0);
    assert_eq!(exchange(&client, "x").await, "a", "a new one");
    // The label has the last word: a session of a service without it is over meanwhile.
    let b = Echo::start("b", LOCALHOST).await;
    let (short, long) = (free_udp_port(), [("WAYMARK_0_TIMEOUT_UDP", "1h")]);
    route_with(&mut world, port, vec![a.ready()], &long).await;
    world.put(entry("/short", Protocol::Udp, short, &[], vec![b.ready()])).await;
    exchange(&client, "x").await;
    let other = self::client((LOCALHOST, short)).await;
    exchange(&other, "x").await;
    eventually("the other's is over", || world.connections("b") == 0).await;
    assert_eq!(world.connections("a"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_table_forgets_who_was_silent_for_longest() {
    let a = Echo::start("a", LOCALHOST).await;
    let limits = Limits { udp_sessions: 3, ..Limits::default() };
    let (mut world, port) = (World::start(ProxyConfig { limits, ..config() }), free_udp_port());
    route(&mut world, port, vec![a.ready()]).await;
    for _ in 0..10 {
        let client = client((LOCALHOST, port)).await;
        assert_eq!(exchange(&client, "x").await, "a");
    }
    assert_eq!((stats(&world).udp_evicted, stats(&world).active), (7, 3));
    eventually("seats are given back", || world.connections("a") == 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_at_one_service_takes_nothing_from_another_nor_from_who_talks() {
    let (a, b) = (Echo::start("a", LOCALHOST).await, Echo::start("b", LOCALHOST).await);
    let limits = Limits { udp_sessions: 8, udp_service_sessions: 4, ..Limits::default() };
    let mut world = World::start(ProxyConfig { limits, ..config() });
    let (flooded, other) = (free_udp_port(), free_udp_port());
    world.put(entry("/flooded", Protocol::Udp, flooded, &[], vec![a.ready()])).await;
    world.put(entry("/other", Protocol::Udp, other, &[], vec![b.ready()])).await;
    let of = |world: &World, port| {
        world.proxy.udp_stats().into_iter().find(|stats| stats.port == port).unwrap()
    };
    let mut quiet = Vec::new();
    for _ in 0..3 {
        let client = client((LOCALHOST, other)).await;
        exchange(&client, "x").await;
        quiet.push(client);
    }
    let talks = client((LOCALHOST, flooded)).await;
    exchange(&talks, "x").await;
    exchange(&talks, "x").await;
    let task_sees = world.connections("a");
    for _ in 0..20 {
        let client = client((LOCALHOST, flooded)).await;
        exchange(&client, "one of many").await;
    }
    assert_eq!((of(&world, flooded).active, of(&world, flooded).udp_evicted), (4, 17));
    assert_eq!((of(&world, other).active, of(&world, other).udp_evicted), (3, 0));
    assert_eq!(task_sees, 1);
    exchange(&talks, "x").await;
    assert_eq!(of(&world, flooded).accepted, 21, "who talks has the session of its beginning");
    assert_eq!(of(&world, flooded).udp_dropped, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_that_are_not_allowed_get_nothing() {
    let a = Echo::start("a", LOCALHOST).await;
    let (mut world, port) = (World::start(config()), free_udp_port());
    let allowed = [("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "127.0.0.7/32")];
    route_with(&mut world, port, vec![a.ready()], &allowed).await;
    let from = |ip: [u8; 4]| async move {
        let socket = UdpSocket::bind((IpAddr::from(ip), 0)).await.unwrap();
        socket.connect((LOCALHOST, port)).await.unwrap();
        socket
    };
    let refused = from([127, 0, 0, 8]).await;
    refused.send(b"x").await.unwrap();
    eventually("counted", || stats(&world).denied == 1).await;
    assert_eq!(exchange(&from([127, 0, 0, 7]).await, "x").await, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_port_is_free_and_can_come_back() {
    let a = Echo::start("a", LOCALHOST).await;
    let (mut world, port) = (World::start(config()), free_udp_port());
    for _ in 0..3 {
        route(&mut world, port, vec![a.ready()]).await;
        let client = client((LOCALHOST, port)).await;
        assert_eq!(exchange(&client, "x").await, "a");
        world.remove("/dns").await;
        drop(StdSocket::bind((LOCALHOST, port)).unwrap());
        eventually("the task is free", || world.connections("a") == 0).await;
    }
}
