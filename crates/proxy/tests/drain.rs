//! What a drain relies on: exact counts, and nothing new after the version is applied.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use support::*;
use tokio::task::JoinHandle;
use waymark_model::Readiness::{Draining, Ready};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_task_keeps_what_it_has_and_gets_nothing_new() {
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let (mut world, port) = (World::start(config()), free_port());
    world.route("/a", port, vec![old.ready()]).await;
    let mut clients = Vec::new();
    for n in 1..=3 {
        let mut client = dial(port).await.unwrap();
        assert_eq!(ask(&mut client, "x").await.unwrap(), "old");
        assert_eq!(world.connections("old"), n);
        clients.push(client);
    }
    world.route("/a", port, vec![new.ready(), old.task(Draining)]).await;
    for _ in 0..20 {
        assert_eq!(ask_once(port).await.unwrap(), "new");
    }
    assert_eq!(world.connections("old"), 3);
    for left in (0..3).rev() {
        let mut client = clients.pop().unwrap();
        assert_eq!(ask(&mut client, "still").await.unwrap(), "old");
        drop(client);
        eventually("one less", || world.connections("old") == left).await;
    }
    assert_eq!(old.accepted(), 3);
}

/// Clients that connect, ask a few times and leave, as fast as they can.
struct Clients {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    running: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(port: u16, count: usize) -> Clients {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let one = |n: usize| {
            let (stop, answers) = (stop.clone(), answers.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let mut client = dial(port).await.unwrap();
                    for _ in 0..=n % 4 {
                        ask(&mut client, "x").await.expect("no request may fail");
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        let running = (0..count).map(one).collect();
        Clients { stop, answers, running }
    }

    async fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.running {
            soon("client", client).await.unwrap();
        }
        self.answers.load(Ordering::Relaxed)
    }
}

/// A rolling replacement, again and again, under load: a task is drained as soon as its successor
/// is ready, and its server closed the moment it counts as unused. Not one request may fail, and
/// nobody may reach a server after that moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_come_and_go_under_load_without_a_failed_request() {
    let (mut world, port) = (World::start(config()), free_port());
    let mut present = Backend::start("t0").await;
    world.route("/a", port, vec![present.ready()]).await;
    let clients = Clients::start(port, 8);
    for round in 1..=60 {
        let next = Backend::start(&format!("t{round}")).await;
        world.publish("/a", port, vec![present.ready(), next.ready()]);
        eventually("traffic on the new task", || next.accepted() > 2).await;

        let version = world.publish("/a", port, vec![present.task(Draining), next.ready()]);
        world.applied(version).await;
        let mut least = world.connections(&present.name);
        eventually("drained", || {
            let now = world.connections(&present.name);
            assert!(now <= least, "a connection began after the drain was applied");
            least = now;
            now == 0
        })
        .await;
        let accepted = present.accepted();
        world.publish("/a", port, vec![next.ready()]);
        assert_eq!(present.accepted(), accepted, "nobody came after it was unused");
        present = next;
    }
    let answers = clients.finish().await;
    assert!(answers > 1000, "only {answers} answers");
    let stats = world.port(port);
    assert_eq!((stats.failed, stats.no_endpoint, stats.connect_errors, stats.resets), (0, 0, 0, 0));
}

/// Readiness flips as fast as it can while clients connect: the count of a task that is withheld
/// never rises, whatever the workers are doing at that moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_count_never_rises_once_the_drain_is_applied() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let (mut world, port) = (World::start(config()), free_port());
    world.route("/a", port, vec![a.ready(), b.ready()]).await;
    let clients = Clients::start(port, 8);
    for round in 0..300 {
        let (on, off) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let version = world.publish("/a", port, vec![on.task(Ready), off.task(Draining)]);
        world.applied(version).await;
        let mut least = world.connections(&off.name);
        for _ in 0..200 {
            let now = world.connections(&off.name);
            assert!(now <= least, "round {round}: rose from {least} to {now}");
            least = now;
            std::hint::spin_loop();
        }
    }
    clients.finish().await;
}
