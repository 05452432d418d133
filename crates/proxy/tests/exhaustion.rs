//! A process without a file descriptor left. Alone in its program: the limit is the process's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::fs::File;
use std::net::Ipv4Addr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::*;
use tokio::net::TcpSocket;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepting_pauses_while_no_descriptor_is_left_and_goes_on_after() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 256, hard).unwrap();
    let (backend, mut world, port) =
        (Backend::start("b").await, World::start(config()), free_port());
    world.route("/a", port, vec![backend.ready()]).await;
    let mut before = dial(port).await.unwrap();
    assert_eq!(ask(&mut before, "x").await.unwrap(), "b");
    assert_eq!(world.proxy.totals().max_connections, 112, "an eighth of 256 is left to others");

    // The client has its own descriptor already; nobody else gets one.
    let client = TcpSocket::new_v4().unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    let mut client = client.connect((Ipv4Addr::LOCALHOST, port).into()).await.unwrap();
    eventually("a pause", || world.proxy.totals().accept_pauses > 0).await;
    assert_eq!(ask(&mut before, "still").await.unwrap(), "b", "open connections go on");

    drop(hoard);
    assert_eq!(ask(&mut client, "at last").await.unwrap(), "b");
}
