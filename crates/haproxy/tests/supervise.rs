//! Waymark runs a real HAProxy itself: starts it, starts it again, adopts one that runs, ends it in order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod running;

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use running::{Folder, Service, Task, eventually};
use tokio::sync::watch;
use waymark_haproxy::apply::{Applier, End, Method, Program, Supervised, Wanted, start, supervise};

struct Supervisor {
    end: watch::Sender<End>,
    status: watch::Receiver<Supervised>,
    task: tokio::task::JoinHandle<()>,
}

impl Supervisor {
    fn start(folder: &Folder, binary: &str) -> Self {
        let program = Program {
            binary: binary.into(),
            config: folder.config(),
            master: folder.path("master"),
        };
        let (end, told) = watch::channel(End::Supervise);
        let (say, status) = watch::channel(Supervised::default());
        Self { end, status, task: tokio::spawn(supervise(program, told, say)) }
    }

    async fn until(&mut self, what: impl FnMut(&Supervised) -> bool) -> Supervised {
        let wait = self.status.wait_for(what);
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("in time").unwrap().clone()
    }

    async fn end(self, how: End) {
        self.end.send_replace(how);
        tokio::time::timeout(Duration::from_secs(30), self.task).await.expect("in time").unwrap();
    }
}

fn applier(folder: &Folder) -> Applier {
    let mut options = folder.options();
    options.worker = Some(folder.master().worker());
    options.method = Some(Method::Supervised(folder.master()));
    Applier::new(options).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_restarts_is_adopted_and_ends() {
    let (folder, a, b) = (Folder::new(), Task::start(), Task::start());
    let mut first = Supervisor::start(&folder, "haproxy");
    let (wanted, follow) = watch::channel(None);
    let handle = start(applier(&folder), follow).unwrap();
    let mut status = handle.status();

    // Nothing runs before there is a configuration; the first one starts it.
    wanted.send_replace(Some(Arc::new(folder.wanted(1, &[Service::new("web", &[a.server()])]))));
    status.wait_for(|status| status.version == 1).await.unwrap();
    assert_eq!(folder.answering("web", 2), [a.port].into());
    let before = first.until(|status| status.master.is_some()).await;
    assert_eq!((before.starts, before.adopted), (1, false));

    // Servers change by commands through the master.
    wanted.send_replace(Some(Arc::new(folder.wanted(2, &[Service::new("web", &[b.server()])]))));
    let now = status.wait_for(|status| status.version == 2).await.unwrap().clone();
    assert_eq!((now.reloads_avoided, now.reloads), (1, 0), "{now:?}");

    // A master that is killed takes its worker with it; another is started, with the newest.
    kill(Pid::from_raw(before.master.unwrap().cast_signed()), Signal::SIGKILL).unwrap();
    let after = first.until(|status| status.starts == 2 && status.master.is_some()).await;
    assert_ne!(after.master, before.master);
    let deadline = Instant::now() + Duration::from_secs(30);
    while folder.master().processes().await.ok().and_then(|all| all.master) != after.master {
        assert!(Instant::now() < deadline, "the new master does not answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eventually("it answers again", || folder.get("web", "/", "x") == Ok(b.port.to_string()));

    // A Waymark that ends leaves it running, and the next one finds it.
    first.end(End::Leave).await;
    drop(wanted);
    handle.join();
    assert_eq!(folder.answering("web", 2), [b.port].into());
    let mut second = Supervisor::start(&folder, "haproxy");
    let adopted = second.until(|status| status.adopted).await;
    assert_eq!((adopted.master, adopted.starts), (after.master, 0));
    let mut applier = applier(&folder);
    let same: Wanted = folder.wanted(3, &[Service::new("web", &[b.server()])]);
    assert_eq!(applier.apply(&same).await.unwrap(), waymark_haproxy::apply::Outcome::Nothing);

    second.end(End::Stop).await;
    eventually("it is gone", || folder.get("web", "/", "x").is_err());
}

#[tokio::test]
async fn a_binary_that_is_missing_is_said_and_tried_again() {
    let folder = Folder::new();
    std::fs::write(folder.config(), "").unwrap();
    let mut supervisor = Supervisor::start(&folder, "/nowhere/haproxy");
    let status = supervisor.until(|status| status.error.is_some()).await;
    assert!(status.error.as_ref().unwrap().contains("cannot start /nowhere/haproxy"), "{status:?}");
    assert_eq!((status.starts, status.master), (0, None));
    supervisor.end(End::Stop).await;
}
