//! What the runtime API can do is done without a reload, and a real HAProxy then does it: requests show it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod running;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use running::{Folder, Service, Task};
use waymark_haproxy::apply::{Applier, Outcome, Why};
use waymark_haproxy::{Rendered, Server};

/// Applies, and says how.
async fn apply(
    applier: &mut Applier,
    folder: &Folder,
    version: u64,
    services: &[Service],
) -> Outcome {
    applier.apply(&folder.wanted(version, services)).await.unwrap()
}

/// Waits until another worker answers.
async fn another_worker(folder: &Folder, before: u32) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while folder.stats().info().await.map_or(before, |info| info.pid) == before {
        assert!(Instant::now() < deadline, "no other worker");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn ports(tasks: &[&Task]) -> BTreeSet<u16> {
    tasks.iter().map(|task| task.port).collect()
}

#[tokio::test]
async fn servers_come_and_go_without_a_reload() {
    let (folder, a, b) = (Folder::new(), Task::start(), Task::start());
    let service = |servers: &[Server]| [Service::new("web", servers)];
    let (_haproxy, mut applier) = folder.running(&service(&[a.server()])).await;
    assert_eq!(folder.answering("web", 4), ports(&[&a]));
    let pid = folder.stats().info().await.unwrap().pid;

    let checked =
        Server { options: format!("{} check inter 2s fall 3", b.server().options), ..b.server() };
    let both = [a.server(), checked.clone()];
    assert_eq!(apply(&mut applier, &folder, 2, &service(&both)).await, Outcome::Runtime(3));
    assert_eq!(folder.answering("web", 8), ports(&[&a, &b]));

    let drained = [Server { disabled: true, ..a.server() }, checked.clone()];
    assert_eq!(apply(&mut applier, &folder, 3, &service(&drained)).await, Outcome::Runtime(1));
    assert_eq!(folder.answering("web", 8), ports(&[&b]));

    assert_eq!(apply(&mut applier, &folder, 4, &service(&both)).await, Outcome::Runtime(1));
    assert_eq!(folder.answering("web", 8), ports(&[&a, &b]));

    assert_eq!(apply(&mut applier, &folder, 5, &service(&[checked])).await, Outcome::Runtime(1));
    assert_eq!(folder.answering("web", 8), ports(&[&b]));
    assert_eq!(applier.status().leaving, 1);

    // Back before it was deleted.
    assert_eq!(apply(&mut applier, &folder, 6, &service(&both)).await, Outcome::Runtime(1));
    assert_eq!(folder.answering("web", 8), ports(&[&a, &b]));
    assert_eq!(
        (applier.status().leaving, applier.status().reloads, applier.status().reloads_avoided),
        (0, 0, 5)
    );
    assert_eq!(folder.stats().info().await.unwrap().pid, pid);
    let text = std::fs::read_to_string(folder.config()).unwrap();
    assert_eq!(text, folder.render(&service(&both), "").config, "a restart finds the newest");
}

#[tokio::test]
async fn weights_and_addresses_change_without_a_reload() {
    let (folder, a, b) = (Folder::new(), Task::start(), Task::start());
    let service = |servers: &[Server]| [Service::new("web", servers)];
    let with = |server: Server, more: &str| Server {
        options: format!("{}{more}", server.options),
        ..server
    };
    let (_haproxy, mut applier) = folder.running(&service(&[a.server(), b.server()])).await;

    let idle = [a.server(), with(b.server(), " weight 0")];
    assert_eq!(apply(&mut applier, &folder, 2, &service(&idle)).await, Outcome::Runtime(1));
    assert_eq!(folder.answering("web", 8), ports(&[&a]));

    let moved = [Server { port: b.port, ..a.server() }, with(b.server(), " weight 0")];
    assert_eq!(apply(&mut applier, &folder, 3, &service(&moved)).await, Outcome::Runtime(1));
    assert_eq!(folder.answering("web", 8), ports(&[&b]));
}

#[tokio::test]
async fn maps_change_without_a_reload() {
    let (folder, a, b) = (Folder::new(), Task::start(), Task::start());
    let services = [Service::new("a", &[a.server()]), Service::new("b", &[b.server()])];
    let (_haproxy, mut applier) = folder.running(&services).await;
    assert_eq!(folder.get("by_map", "/", "b.example"), Err("503".to_owned()));

    // More entries than fit one command, and the first of two for one host counts.
    let many: String = (0..2000).map(|n| format!("host-{n}.example.com a\n")).collect();
    let map = format!("b.example b\nb.example a\n{many}");
    let mut wanted = folder.wanted(2, &services);
    wanted.rendered = Arc::new(folder.render(&services, &map));
    assert_eq!(applier.apply(&wanted).await.unwrap(), Outcome::Runtime(1));
    assert_eq!(folder.get("by_map", "/", "b.example"), Ok(b.port.to_string()));
    assert_eq!(folder.get("by_map", "/", "host-1999.example.com"), Ok(a.port.to_string()));
    assert_eq!(std::fs::read_to_string(folder.path("domain2backend.map")).unwrap(), map);

    wanted.rendered = Arc::new(folder.render(&services, "b.example a\n"));
    assert_eq!(applier.apply(&wanted).await.unwrap(), Outcome::Runtime(1));
    assert_eq!(folder.get("by_map", "/", "b.example"), Ok(a.port.to_string()));
    assert_eq!(folder.get("by_map", "/", "host-1.example.com"), Err("503".to_owned()));
}

#[tokio::test]
async fn commands_through_the_master_need_no_admin_socket() {
    let (folder, a, b) = (Folder::new(), Task::start(), Task::start());
    let plain = |servers: &[Server]| -> Rendered {
        let mut rendered = folder.render(&[Service::new("web", servers)], "");
        for text in [&mut rendered.config, &mut rendered.frame] {
            *text = text.replace(" level admin", "");
        }
        rendered
    };
    let (first, second) = (plain(&[a.server()]), plain(&[a.server(), b.server()]));
    std::fs::write(folder.config(), &first.config).unwrap();
    std::fs::write(folder.path("domain2backend.map"), "").unwrap();
    let _haproxy = folder.haproxy();
    let mut wanted = folder.wanted(1, &[]);

    // marathon-lb's socket has no level: HAProxy denies, and a reload does it.
    let mut applier = Applier::new(folder.options()).unwrap();
    wanted.rendered = Arc::new(first.clone());
    assert_eq!(applier.apply(&wanted).await.unwrap(), Outcome::Nothing);
    wanted.rendered = Arc::new(second.clone());
    let outcome = applier.apply(&wanted).await.unwrap();
    assert!(
        matches!(&outcome, Outcome::Reloaded(Why::Refused(reason)) if reason.contains("Permission denied")),
        "{outcome:?}"
    );

    let mut options = folder.options();
    options.worker = Some(folder.master().worker());
    let mut applier = Applier::new(options).unwrap();
    assert_eq!(applier.apply(&wanted).await.unwrap(), Outcome::Nothing);
    wanted.rendered = Arc::new(first);
    assert_eq!(applier.apply(&wanted).await.unwrap(), Outcome::Runtime(1));
    assert_eq!(folder.answering("web", 4), ports(&[&a]));
}

#[tokio::test]
async fn what_commands_cannot_do_is_reloaded_and_the_state_goes_on() {
    let (folder, a, b) = (Folder::new(), Task::start(), Task::start());
    let sticky = |server: Server| Server {
        options: format!("{} cookie {}", server.options, server.name),
        ..server
    };
    let service = |servers: &[Server]| Service {
        lines: "  cookie S insert\n".into(),
        ..Service::new("web", servers)
    };
    let (_haproxy, mut applier) = folder.running(&[service(&[sticky(a.server())])]).await;

    // 2.6 takes no cookie on an added server; later versions do.
    let outcome =
        apply(&mut applier, &folder, 2, &[service(&[sticky(a.server()), sticky(b.server())])])
            .await;
    let old = folder.stats().version().await.unwrap().major < 3;
    assert_eq!(matches!(outcome, Outcome::Reloaded(Why::Server { .. })), old, "{outcome:?}");
    assert_eq!(folder.answering("web", 8), ports(&[&a, &b]));

    // Drained by a command, back by a reload: the state that is handed on does not hold it in maintenance.
    let drained = Server { disabled: true, ..sticky(a.server()) };
    assert_eq!(
        apply(&mut applier, &folder, 3, &[service(&[drained, sticky(b.server())])]).await,
        Outcome::Runtime(1)
    );
    let both = service(&[sticky(a.server()), sticky(b.server())]);
    let more = Service::new("more", &[a.server()]);
    assert_eq!(apply(&mut applier, &folder, 4, &[both, more]).await, Outcome::Reloaded(Why::Frame));
    assert_eq!(folder.answering("web", 8), ports(&[&a, &b]));
    assert_eq!(folder.answering("more", 2), ports(&[&a]));
    assert!(std::fs::read_to_string(folder.path("global")).unwrap().contains(&b.server().name));
}

#[tokio::test]
async fn what_others_did_to_haproxy_is_found() {
    let (folder, a, b) = (Folder::new(), Task::start(), Task::start());
    let service = |servers: &[Server]| [Service::new("web", servers)];
    let (_haproxy, mut applier) = folder.running(&service(&[a.server()])).await;

    // Somebody adds a server by hand.
    let answer = folder.stats().ask("add server web/stranger 127.0.0.1:9 id 7").await.unwrap();
    assert!(answer.contains("registered"), "{answer}");
    let outcome = apply(&mut applier, &folder, 2, &service(&[a.server(), b.server()])).await;
    assert_eq!(outcome, Outcome::Reloaded(Why::Differs { backend: "web".into() }));

    // Somebody reloads it: the files hold what was applied, so nothing is lost and nothing is reloaded again.
    let before = folder.stats().info().await.unwrap().pid;
    folder.master().ask("reload").await.unwrap();
    another_worker(&folder, before).await;
    assert_eq!(apply(&mut applier, &folder, 3, &service(&[b.server()])).await, Outcome::Runtime(1));
    assert_eq!(folder.answering("web", 4), ports(&[&b]));

    // Somebody reloads it with something else.
    std::fs::write(folder.config(), folder.render(&service(&[a.server()]), "").config).unwrap();
    let before = folder.stats().info().await.unwrap().pid;
    folder.master().ask("reload").await.unwrap();
    another_worker(&folder, before).await;
    assert_eq!(
        apply(&mut applier, &folder, 4, &service(&[b.server()])).await,
        Outcome::Reloaded(Why::Unknown)
    );
    assert_eq!(folder.answering("web", 4), ports(&[&b]));
}
