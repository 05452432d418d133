//! The event stream, and masters that do not have it.

use tokio::sync::mpsc;
use waymark_model::Readiness;
use waymark_sources::mesos::Mode;

use crate::cluster::{Following, added, call, config, master, state, subscribed, updated};
use crate::server::{Asked, Reply, Server};

/// A master whose streams are fed by the test, one sender for each that was opened.
struct Streaming {
    server: Server,
    opened: mpsc::UnboundedReceiver<mpsc::UnboundedSender<Vec<u8>>>,
}

impl Streaming {
    async fn start() -> Streaming {
        let server = Server::start().await;
        let at = server.addr.to_string();
        let (sender, opened) = mpsc::unbounded_channel();
        server.answer(move |asked| match (asked.path.as_str(), call(asked)) {
            (_, "GET_MASTER") => Reply::json(master(&at)),
            (_, "SUBSCRIBE") => {
                let (feed, pieces) = mpsc::unbounded_channel();
                let _ = sender.send(feed);
                Reply::Pieces(pieces)
            }
            ("/master/state-summary", _) => Reply::json(state(&at, 0)),
            _ => Reply::status(404),
        });
        Streaming { server, opened }
    }

    fn config(&self) -> waymark_sources::mesos::MesosConfig {
        config(&[&self.server.addr.to_string()])
    }

    /// The next stream that is opened, with its first record sent.
    async fn next(&mut self, tasks: usize, heartbeat: f64) -> mpsc::UnboundedSender<Vec<u8>> {
        let opened = tokio::time::timeout(crate::cluster::DEADLINE, self.opened.recv());
        let feed = opened.await.unwrap().unwrap();
        let first = subscribed(tasks, heartbeat);
        let (a, b) = first.split_at(first.len() / 2);
        feed.send(a.to_vec()).unwrap();
        feed.send(b.to_vec()).unwrap();
        feed
    }
}

fn polls(asked: &[Asked]) -> usize {
    asked.iter().filter(|asked| asked.path == "/master/state").count()
}

#[tokio::test]
async fn events_are_followed_and_the_frameworks_pid_is_asked_for() {
    let mut streaming = Streaming::start().await;
    let following = Following::start(streaming.config());
    let feed = streaming.next(2, 15.0).await;
    following.until_tasks(2).await;
    // The v1 API does not say where the old driver listens.
    following
        .until(|catalog, _, _| {
            catalog.cluster.frameworks.values().all(|framework| framework.port == Some(1234))
        })
        .await;
    feed.send(added(2)).unwrap();
    following.until_tasks(3).await;
    feed.send([updated(0, "TASK_KILLING"), updated(1, "TASK_FINISHED")].concat()).unwrap();
    following.until_tasks(2).await;
    let catalog = following.reader.latest();
    let killed = catalog.cluster.groups.values().find(|g| &*g.id.name == "t0").unwrap();
    assert_eq!(killed.tasks[0].readiness, Readiness::Draining);
    let report = following.status.report();
    assert_eq!((report.mode, report.full_states), (Mode::Stream, 1));
    assert_eq!(polls(&streaming.server.asked()), 0);
}

#[tokio::test]
async fn a_stream_that_ends_is_silent_or_has_a_gap_is_made_anew() {
    let mut streaming = Streaming::start().await;
    let following = Following::start(streaming.config());
    let feed = streaming.next(2, 15.0).await;
    following.until_tasks(2).await;
    let version = following.reader.latest().version;

    drop(feed);
    following.until_lost("").await;
    assert_eq!(following.reader.latest().cluster.tasks(), 2);
    // Heartbeats were promised and do not come.
    let silent = streaming.next(2, 0.05).await;
    following.until_tasks(2).await;
    following.until_lost("no heartbeat").await;
    drop(silent);

    let gap = streaming.next(2, 15.0).await;
    following.until_tasks(2).await;
    gap.send(updated(7, "TASK_RUNNING")).unwrap();
    following.until_lost("an event is missing").await;

    let garbage = streaming.next(2, 15.0).await;
    following.until_tasks(2).await;
    garbage.send(b"<html>".to_vec()).unwrap();
    following.until_lost("length").await;

    let catalog = following.reader.latest();
    assert_eq!(catalog.cluster.tasks(), 2);
    // The pid that was asked for is all that changed.
    assert!(catalog.version <= version + 1);
    let _feed = streaming.next(3, 15.0).await;
    following.until_tasks(3).await;
}

#[tokio::test]
async fn masters_without_the_stream_are_polled() {
    for status in [400, 401, 404, 406, 500, 501, 502] {
        let server = Server::start().await;
        let at = server.addr.to_string();
        let good = state(&at, 2);
        server.answer(move |asked| match asked.path.as_str() {
            "/api/v1" => Reply::status(status),
            _ => Reply::json(&good),
        });
        let following = Following::start(config(&[&at]));
        following.until_tasks(2).await;
        let report = following.status.report();
        assert_eq!((report.mode, report.failures), (Mode::Poll, 0), "{status}");
    }
}

/// A master that has just been elected answers so until it knows its agents; what it lists
/// meanwhile is empty, and would empty the zone.
#[tokio::test]
async fn a_master_that_is_not_ready_is_not_polled() {
    let server = Server::start().await;
    let at = server.addr.to_string();
    let good = state(&at, 2);
    server.answer(move |asked| match asked.path.as_str() {
        "/api/v1" => Reply::status(503),
        _ => Reply::json(&good),
    });
    let following = Following::start(config(&[&at]));
    following.until_lost("503").await;
    assert_eq!(following.reader.latest().version, 0);
    assert_eq!(following.status.report().full_states, 0);
}

#[tokio::test]
async fn a_stream_that_begins_with_nonsense_is_replaced_by_polling() {
    let server = Server::start().await;
    let at = server.addr.to_string();
    let good = state(&at, 2);
    server.answer(move |asked| match (asked.path.as_str(), call(asked)) {
        (_, "GET_MASTER") => Reply::json(master("10.0.0.7:5050")),
        (_, "SUBSCRIBE") => Reply::json("2\n{}"),
        _ => Reply::json(&good),
    });
    let following = Following::start(config(&[&at]));
    following.until_tasks(2).await;
    assert_eq!(following.status.report().mode, Mode::Poll);
}

#[tokio::test]
async fn a_stream_without_heartbeats_is_of_an_old_master_that_is_polled() {
    let server = Server::start().await;
    let at = server.addr.to_string();
    let good = state(&at, 2);
    let keep = std::sync::Mutex::new(Vec::new());
    server.answer(move |asked| match (asked.path.as_str(), call(asked)) {
        (_, "GET_MASTER") => Reply::json(master("10.0.0.7:5050")),
        (_, "SUBSCRIBE") => {
            let (feed, pieces) = mpsc::unbounded_channel();
            let _ = feed.send(subscribed(1, 0.0));
            keep.lock().unwrap().push(feed);
            Reply::Pieces(pieces)
        }
        _ => Reply::json(&good),
    });
    let following = Following::start(config(&[&at]));
    following.until_tasks(2).await;
    assert_eq!(following.status.report().mode, Mode::Poll);
}

#[tokio::test]
async fn a_standby_sends_on_and_the_leader_streams() {
    let mut streaming = Streaming::start().await;
    let standby = Server::start().await;
    let to = format!("//{}/api/v1", streaming.server.addr);
    standby.answer(move |_| Reply::Redirect(to.clone()));
    let following = Following::start(config(&[&standby.addr.to_string()]));
    let _feed = streaming.next(2, 15.0).await;
    following.until_tasks(2).await;
    let leader = following.status.report().leader;
    assert_eq!(leader, Some(streaming.server.addr.to_string()));
}
