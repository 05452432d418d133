//! Connections that wait because every task has its most, and retries that are too many.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::io::ErrorKind;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use support::*;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use waymark_model::{Protocol, Readiness, TaskEntry};
use waymark_proxy::ProxyConfig;

/// Publishes the app with labels and waits until it is applied.
async fn route(
    world: &mut World,
    port: u16,
    labels: &[(&str, &str)],
    tasks: Vec<std::sync::Arc<TaskEntry>>,
) {
    world.put(entry("/a", Protocol::Tcp, port, labels, tasks)).await;
}

/// A client that has the only place at the only task, and another one that waits for it.
async fn one_waits(
    world: &mut World,
    port: u16,
    first: &Backend,
) -> (TcpStream, JoinHandle<std::io::Result<String>>) {
    route(world, port, &ONE, vec![first.ready()]).await;
    let mut seated = dial(port).await.unwrap();
    ask(&mut seated, "x").await.unwrap();
    let waiter = tokio::spawn(ask_once(port));
    eventually("waits", || waiting(world, port) == 1).await;
    (seated, waiter)
}

const ONE: [(&str, &str); 1] = [("WAYMARK_0_MAX_CONNECTIONS", "1")];

fn waiting(world: &World, port: u16) -> u32 {
    world.proxy.table().service(port).unwrap().pool.queue_len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_beyond_the_most_wait_for_others_to_leave() {
    let (backend, port) = (Backend::start("b").await, free_port());
    let mut world = World::start(config());
    route(&mut world, port, &[("WAYMARK_0_MAX_CONNECTIONS", "2")], vec![backend.ready()]).await;
    let mut seated = Vec::new();
    for _ in 0..2 {
        let mut client = dial(port).await.unwrap();
        ask(&mut client, "x").await.unwrap();
        seated.push(client);
    }
    let mut waiters = tokio::task::JoinSet::new();
    for n in 0..6 {
        waiters.spawn(async move { ask_once(port).await });
        eventually("waits", || waiting(&world, port) == n + 1).await;
    }
    assert_eq!((backend.accepted(), world.connections("b")), (2, 2));
    drop(seated);
    while let Some(answer) = soon("its turn", waiters.join_next()).await {
        assert_eq!(answer.unwrap().unwrap(), "b");
    }
    let pool = world.proxy.table().service(port).unwrap().pool.clone();
    assert_eq!((pool.counters.queued.load(Relaxed), pool.queue_len()), (6, 0));
    assert_eq!(pool.counters.queue_refused.load(Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_has_an_end_and_a_time() {
    let (backend, port) = (Backend::start("b").await, free_port());
    let mut world = World::start(config());
    let labels = [
        ("WAYMARK_0_MAX_CONNECTIONS", "1"),
        ("WAYMARK_0_QUEUE", "1"),
        ("WAYMARK_0_TIMEOUT_QUEUE", "300ms"),
    ];
    route(&mut world, port, &labels, vec![backend.ready()]).await;
    let mut seated = dial(port).await.unwrap();
    ask(&mut seated, "x").await.unwrap();
    let since = Instant::now();
    let waiter = tokio::spawn(how_a_client_ends(port));
    eventually("waits", || waiting(&world, port) == 1).await;
    assert_eq!(how_a_client_ends(port).await, Some(ErrorKind::ConnectionReset), "one too many");
    let end = soon("it waited long enough", waiter).await.unwrap();
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    assert!(since.elapsed() >= Duration::from_millis(200));
    assert_eq!((waiting(&world, port), backend.accepted()), (0, 1));
    assert_eq!(ask(&mut seated, "still").await.unwrap(), "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_appears_takes_those_who_wait() {
    let (first, second) = (Backend::start("first").await, Backend::start("second").await);
    let (mut world, port) = (World::start(config()), free_port());
    let (_seated, waiter) = one_waits(&mut world, port, &first).await;
    route(&mut world, port, &ONE, vec![first.ready(), second.ready()]).await;
    assert_eq!(soon("served", waiter).await.unwrap().unwrap(), "second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_not_given_a_task_that_drains() {
    let (first, second) = (Backend::start("first").await, Backend::start("second").await);
    let (mut world, port) = (World::start(config()), free_port());
    let (seated, waiter) = one_waits(&mut world, port, &first).await;
    let tasks = vec![first.task(Readiness::Draining), second.ready()];
    route(&mut world, port, &ONE, tasks).await;
    assert_eq!(soon("served", waiter).await.unwrap().unwrap(), "second");
    drop(seated);
    eventually("drained", || world.connections("first") == 0).await;
    assert_eq!(first.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_on_other_tasks_are_limited() {
    let (backend, port) = (Backend::start("b").await, free_port());
    let mut world = World::start(ProxyConfig { retry_attempts: 1, ..config() });
    let mut tasks: Vec<_> =
        (0..3).map(|n| task(&format!("bad{n}"), refusing(), Readiness::Ready)).collect();
    tasks.push(backend.ready());
    route(&mut world, port, &[("HAPROXY_0_BALANCE", "first"), ("WAYMARK_0_RETRIES", "1")], tasks)
        .await;
    let (mut served, mut reset) = (0, 0);
    for _ in 0..4 {
        match ask_once(port).await {
            Ok(_) => served += 1,
            Err(_) => reset += 1,
        }
    }
    // Two attempts for each client; who failed is tried last from then on.
    assert!(served >= 2 && served + reset == 4, "{served} served, {reset} reset");
    assert!(world.port(port).connect_errors <= 3, "{:?}", world.port(port));
}
