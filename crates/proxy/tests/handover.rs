//! One balancer after the other, with clients that come all the time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use support::*;
use waymark_catalog::Writer;
use waymark_proxy::handover::{self, Kind, Successors};
use waymark_proxy::{Proxy, SocketKey};

/// A balancer that took over from whoever serves the path, with one route, and serves it itself.
async fn next(path: &Path, port: u16, backend: &Backend) -> (World, Successors) {
    let (writer, reader) = Writer::new(0);
    let (inherited, predecessor) = match handover::take(path, Kind::Traffic).unwrap() {
        Some((inherited, predecessor)) => (inherited, Some(predecessor)),
        None => (Default::default(), None),
    };
    let proxy = Proxy::start_with(config(), reader, inherited).unwrap();
    let output = proxy.output();
    let mut world = World { writer, proxy, output };
    world.publish("/a", port, vec![backend.ready()]);
    let untaken = soon("ready", world.proxy.ready()).await;
    assert!(untaken.iter().all(|key| *key != SocketKey::Tcp(([127, 0, 0, 1], port).into())));
    if let Some(predecessor) = predecessor {
        let ready = tokio::task::spawn_blocking(|| predecessor.ready());
        soon("released", ready).await.unwrap().unwrap();
        world.proxy.rebind();
    }
    let successors = handover::serve(path, world.proxy.sockets(), Kind::Traffic).unwrap();
    (world, successors)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_fails_while_balancers_follow_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handover");
    let (backend, port) = (Backend::start("b").await, free_port());
    let (world, mut successors) = next(&path, port, &backend).await;
    let mut now = world;
    let mut kept = dial(port).await.unwrap();
    assert_eq!(ask(&mut kept, "x").await.unwrap(), "b");

    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, asked) = (stop.clone(), asked.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(ask_once(port).await.unwrap(), "b");
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let mut stopping = Vec::new();
    for _ in 0..5 {
        let before = asked.load(Ordering::SeqCst);
        eventually("some clients", || asked.load(Ordering::SeqCst) > before + 50).await;
        let old = now.proxy;
        let retire = tokio::spawn(async move {
            let mut successor = successors.next().await;
            old.stop_then(Duration::from_secs(5), || successor.released()).await;
        });
        stopping.push(retire);
        (now, successors) = next(&path, port, &backend).await;
    }
    assert_eq!(ask(&mut kept, "still here").await.unwrap(), "b", "by the first one");
    drop(kept);
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        soon("client", client).await.unwrap();
    }
    for retire in stopping {
        soon("the old one ends", retire).await.unwrap();
    }
    assert_eq!(ask_once(port).await.unwrap(), "b");
}

/// The next process dies at the worst moments: with the sockets, before it said that it is ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_one_goes_on_when_the_new_one_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handover");
    let (backend, port) = (Backend::start("b").await, free_port());
    let (_world, mut successors) = next(&path, port, &backend).await;
    for _ in 0..3 {
        let taken = handover::take(&path, Kind::Traffic).unwrap().unwrap();
        assert_eq!(taken.0.len(), 1);
        drop(taken);
        assert_eq!(ask_once(port).await.unwrap(), "b");
    }
    let none = tokio::time::timeout(Duration::from_millis(50), successors.next()).await;
    assert!(none.is_err(), "nobody was ready");
}

/// The old process is gone at once when the new one has the sockets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_new_one_has_everything_when_the_old_one_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handover");
    let (backend, port) = (Backend::start("b").await, free_port());
    let (old, _successors) = next(&path, port, &backend).await;
    let (inherited, _predecessor) = handover::take(&path, Kind::Traffic).unwrap().unwrap();
    soon("the old one's end", old.proxy.stop(Duration::ZERO)).await;
    // Nobody accepts now, and nobody is refused.
    let mut client = dial(port).await.unwrap();
    let (mut writer, reader) = Writer::new(0);
    let proxy = Proxy::start_with(config(), reader, inherited).unwrap();
    let id = app_id("/a");
    let mut app = waymark_model::AppEntry::new(id.clone(), "marathon");
    app.services = vec![waymark_model::Service {
        index: 0,
        port,
        protocol: waymark_model::Protocol::Tcp,
        name: None,
        labels: Default::default(),
    }];
    app.tasks = vec![backend.ready()];
    writer.publish([(id, Some(app))]);
    assert_eq!(ask(&mut client, "x").await.unwrap(), "b");
    drop(proxy);
}
