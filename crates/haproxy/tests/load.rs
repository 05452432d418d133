//! Steady load through a real HAProxy while what is behind it changes: no request fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod running;

use running::{Folder, Load, Service, Task};
use waymark_haproxy::Server;
use waymark_haproxy::apply::Outcome;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_request_fails_while_servers_come_go_drain_and_haproxy_reloads() {
    let folder = Folder::new();
    let tasks: Vec<Task> = (0..4).map(|_| Task::start()).collect();
    let checked = |server: Server| Server {
        options: format!("{} check inter 1s fall 3", server.options),
        ..server
    };
    let all: Vec<Server> = tasks.iter().map(|task| checked(task.server())).collect();
    let web = |servers: &[Server]| Service::new("web", servers);
    let (_haproxy, mut applier) = folder.running(&[web(&all[..2])]).await;
    let load = Load::start(&folder, "web", 8);
    load.wait(200);
    let mut version = 1;
    let mut reloads = 0;
    for round in 0..12 {
        // Every pair of neighbours in turn: one comes, one goes; then one is drained and comes back; every third time the
        // frame changes as well.
        let at = round % 3;
        let pair = all[at..at + 2].to_vec();
        let mut drained = pair.clone();
        drained[0].disabled = true;
        for servers in [&pair, &drained, &pair] {
            let mut services = vec![web(servers)];
            if round % 3 == 2 {
                services.push(Service::new(&format!("other-{version}"), &all));
            }
            version += 1;
            let outcome = applier.apply(&folder.wanted(version, &services)).await.unwrap();
            reloads += u64::from(matches!(outcome, Outcome::Reloaded(_)));
            load.wait(50);
        }
    }
    let status = applier.status().clone();
    let (done, failed) = load.end();
    assert_eq!(failed, Vec::<String>::new(), "{done} were answered");
    assert!(done > 1_000, "{done}");
    assert!(reloads >= 8 && status.reloads == reloads, "{status:?}");
    assert!(status.reloads_avoided >= 20, "{status:?}");
    println!(
        "{done} requests, none failed; {} reloads, {} avoided",
        status.reloads, status.reloads_avoided
    );
}
