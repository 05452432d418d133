//! What happens between two changes, with a real HAProxy: renewed certificates, servers that are deleted when they are idle,
//! old workers that are counted, files that are reloaded on request.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod running;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use running::{Folder, Service, Task};
use tokio::sync::watch;
use waymark_haproxy::Rendered;
use waymark_haproxy::apply::{Applier, Handle, Status, Wanted, start};

/// Writes a certificate for this name, with its key, as one file that replaces the old one.
fn certificate(path: &Path, name: &str) {
    let new = path.with_extension("new");
    let subject = format!("/CN={name}");
    let run = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &subject,
        ])
        .args([
            "-keyout".as_ref(),
            new.as_os_str(),
            "-out".as_ref(),
            new.with_extension("crt").as_os_str(),
        ])
        .stderr(Stdio::null())
        .status();
    assert!(run.unwrap().success());
    let text = std::fs::read_to_string(&new).unwrap()
        + "\n"
        + &std::fs::read_to_string(new.with_extension("crt")).unwrap();
    std::fs::File::create(&new).unwrap().write_all(text.as_bytes()).unwrap();
    std::fs::rename(&new, path).unwrap();
}

/// The name in the certificate that HAProxy shows.
fn shown(socket: &Path) -> String {
    let run = Command::new("openssl")
        .args(["s_client".as_ref(), "-unix".as_ref(), socket.as_os_str()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let subject = text.lines().find(|line| line.starts_with("subject="));
    subject.unwrap_or_default().rsplit('=').next().unwrap_or_default().trim().to_owned()
}

fn run(
    folder: &Folder,
    first: Wanted,
) -> (Handle, watch::Sender<Option<Arc<Wanted>>>, watch::Receiver<Status>) {
    let (wanted, follow) = watch::channel(Some(Arc::new(first)));
    let mut follow = follow;
    follow.mark_changed();
    let handle = start(Applier::new(folder.options()).unwrap(), follow).unwrap();
    let status = handle.status();
    (handle, wanted, status)
}

async fn until(status: &mut watch::Receiver<Status>, what: impl FnMut(&Status) -> bool) -> Status {
    tokio::time::timeout(Duration::from_secs(60), status.wait_for(what))
        .await
        .expect("in time")
        .unwrap()
        .clone()
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_reload() {
    let (folder, task) = (Folder::new(), Task::start());
    let pem = folder.path("site.pem");
    certificate(&pem, "first");
    let mut wanted = folder.wanted(1, &[Service::new("web", &[task.server()])]);
    let bind = format!(
        "frontend by_map\n  bind unix@{}/tls ssl crt {}\n",
        folder.dir.path().display(),
        pem.display()
    );
    let with = |text: &str| text.replacen("frontend by_map\n", &bind, 1);
    wanted.rendered = Arc::new(Rendered {
        config: with(&wanted.rendered.config),
        frame: with(&wanted.rendered.frame),
        ..(*wanted.rendered).clone()
    });
    std::fs::write(folder.config(), &wanted.rendered.config).unwrap();
    std::fs::write(folder.path("domain2backend.map"), "").unwrap();
    let _haproxy = folder.haproxy();
    let (handle, sender, mut status) = run(&folder, wanted);
    until(&mut status, |status| status.version == 1).await;
    assert_eq!(shown(&folder.path("tls")), "first");

    // The first look remembers what the file is like.
    tokio::time::timeout(Duration::from_secs(30), status.changed()).await.expect("a look").unwrap();
    certificate(&pem, "second");
    let after = until(&mut status, |status| status.commands == 2).await;
    assert_eq!(shown(&folder.path("tls")), "second");
    assert_eq!((after.reloads, after.reloads_avoided), (0, 1));

    // A file that is no certificate is refused, and what HAProxy has stays.
    std::fs::write(&pem, "no certificate").unwrap();
    tokio::time::timeout(Duration::from_secs(30), status.changed()).await.expect("a look").unwrap();
    assert_eq!(shown(&folder.path("tls")), "second");
    drop(sender);
    handle.join();
}

#[tokio::test]
async fn servers_are_deleted_when_idle_and_old_workers_are_counted() {
    let (folder, a, b) = (Arc::new(Folder::new()), Task::start(), Task::start());
    let services = |task: &Task| [Service::new("web", &[task.server()])];
    let (_haproxy, applier) = folder.running(&services(&a)).await;
    drop(applier);
    let (handle, wanted, mut status) = run(&folder, folder.wanted(1, &services(&a)));
    until(&mut status, |status| status.version == 1).await;

    // A request that is under way when its server is taken out is answered, and the server is deleted after it.
    let slow = {
        let folder = folder.clone();
        std::thread::spawn(move || folder.get("web", "/slow12000", "x"))
    };
    let busy = async || {
        let Ok(servers) = folder.stats().servers(Some("web")).await else { return false };
        let command = format!("show stat {} 4 -1", servers["web"][0].backend);
        let answer = folder.stats().ask(&command).await.unwrap();
        answer.lines().skip(1).any(|line| line.split(',').nth(4) == Some("1"))
    };
    let until_busy = async || {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !busy().await {
            assert!(Instant::now() < deadline, "no request is under way");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until_busy().await;
    wanted.send_replace(Some(Arc::new(folder.wanted(2, &services(&b)))));
    let now = until(&mut status, |status| status.version == 2).await;
    assert_eq!((now.leaving, now.reloads), (1, 0));
    assert_eq!(folder.answering("web", 2), [b.port].into());
    until(&mut status, |status| status.leaving == 0).await;
    assert!(slow.is_finished(), "no server is deleted under a request");
    assert_eq!(slow.join().unwrap(), Ok(a.port.to_string()));
    assert_eq!(folder.stats().servers(None).await.unwrap()["web"].len(), 1);

    // A worker that has a request in hand outlives a reload.
    let slow = {
        let folder = folder.clone();
        std::thread::spawn(move || folder.get("web", "/slow12000", "x"))
    };
    until_busy().await;
    handle.reload();
    until(&mut status, |status| status.reloads == 1).await;
    let old = until(&mut status, |status| status.lingering.workers == 1).await.lingering;
    assert!(old.connections >= 1 && old.oldest > Duration::from_secs(10), "{old:?}");
    assert_eq!(slow.join().unwrap(), Ok(b.port.to_string()));
    until(&mut status, |status| status.lingering.workers == 0).await;
    drop(wanted);
    handle.join();
}

#[tokio::test]
async fn reloads_that_come_too_soon_are_one() {
    let (folder, task) = (Folder::new(), Task::start());
    let services = |n: usize| [Service::new(&format!("web{n}"), &[task.server()])];
    let (_haproxy, applier) = folder.running(&services(0)).await;
    drop(applier);
    let mut options = folder.options();
    options.spacing = Duration::from_secs(3);
    let (wanted, mut follow) = watch::channel(Some(Arc::new(folder.wanted(1, &services(0)))));
    follow.mark_changed();
    let handle = start(Applier::new(options).unwrap(), follow).unwrap();
    let mut status = handle.status();
    until(&mut status, |status| status.version == 1).await;
    for n in 2..8 {
        wanted
            .send_replace(Some(Arc::new(folder.wanted(n, &services(usize::try_from(n).unwrap())))));
        until(&mut status, |status| status.wanted == n).await;
    }
    let now = until(&mut status, |status| status.version == 7).await;
    assert_eq!((now.reloads, now.failures), (2, 0), "the first at once, all others together");
    assert_eq!(folder.answering("web7", 2), [task.port].into());
    drop(wanted);
    handle.join();
}
