//! State documents, and masters that give none.

use std::io::Write;

use waymark_catalog::Standing;
use waymark_sources::mesos::{Mode, ZkTarget};

use crate::cluster::{Following, config, state};
use crate::server::{Reply, Server};

/// Polls one master that answers well.
async fn polled() -> (Server, Following, String) {
    let server = Server::start().await;
    let at = server.addr.to_string();
    let good = state(&at, 2);
    server.answer(move |_| Reply::json(&good));
    let mut config = config(&[&at]);
    config.subscribe = false;
    let following = Following::start(config);
    following.until_tasks(2).await;
    (server, following, at)
}

#[tokio::test]
async fn no_bad_answer_changes_the_catalog() {
    let (server, following, at) = polled().await;
    let version = following.reader.latest().version;
    type Bad = (&'static str, Box<dyn Fn(&str) -> Reply + Send>);
    let bad: Vec<Bad> = vec![
        ("connection closed", Box::new(|_| Reply::Close)),
        ("503", Box::new(|_| Reply::status(503))),
        ("500", Box::new(|at| Reply::Full(500, "", state(at, 0).to_string().into_bytes()))),
        ("401", Box::new(|_| Reply::status(401))),
        ("no complete answer", Box::new(|_| Reply::Hang)),
        ("redirected more", Box::new(|at| Reply::Redirect(format!("//{at}/master/state")))),
        ("redirected to", Box::new(|_| Reply::Redirect("ftp://x/".to_owned()))),
        ("reading a body", Box::new(|at| Reply::Cut(state(at, 0).to_string().into_bytes()))),
        ("not JSON", Box::new(|_| Reply::json(""))),
        ("not JSON", Box::new(|_| Reply::json("<html>"))),
        ("no leader", Box::new(|_| Reply::json(r#"{"slaves":[],"frameworks":[]}"#))),
        (
            "list of frameworks",
            Box::new(|at| {
                let mut absurd = state(at, 0);
                absurd["frameworks"] = serde_json::Value::Null;
                Reply::json(absurd)
            }),
        ),
        (
            "no agent",
            Box::new(|at| {
                let mut absurd = state(at, 0);
                absurd["slaves"] = serde_json::json!([1, null, {}]);
                Reply::json(absurd)
            }),
        ),
        (
            "agree",
            Box::new(|at| {
                let mut other = state(at, 0);
                other["pid"] = serde_json::json!("master@10.9.9.9:1");
                Reply::json(other)
            }),
        ),
        (
            "unpacked",
            Box::new(|at| {
                let body = state(at, 0).to_string().into_bytes();
                Reply::Full(200, "Content-Encoding: gzip\r\n", body)
            }),
        ),
    ];
    for (why, reply) in bad {
        let asked = at.clone();
        server.answer(move |_| reply(&asked));
        following.until_lost(why).await;
        assert_eq!(following.status.report().mode, Mode::Lost, "{why}");
        let good = state(&at, 2);
        server.answer(move |_| Reply::json(&good));
        following.until_tasks(2).await;
        assert_eq!(following.reader.latest().version, version, "{why}");
    }
    let empty = state(&at, 0);
    server.answer(move |_| Reply::json(&empty));
    following.until_tasks(0).await;
}

#[tokio::test]
async fn a_state_that_changes_is_published_once() {
    let (server, following, at) = polled().await;
    let before = following.reader.latest();
    let loads = following.status.report().full_states;
    following.until(|_, _, report| report.full_states > loads + 2).await;
    assert_eq!(following.reader.latest().version, before.version);
    let more = state(&at, 3);
    server.answer(move |_| Reply::json(&more));
    following.until_tasks(3).await;
    let after = following.reader.latest();
    assert_eq!(after.version, before.version + 1);
    assert_eq!(after.cluster.group_changes_since(&before.cluster).count(), 1);
}

#[tokio::test]
async fn a_packed_state_is_understood() {
    let (server, following, at) = polled().await;
    assert!(server.asked().iter().all(|asked| asked.header("accept-encoding") == Some("gzip")));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(state(&at, 5).to_string().as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    server.answer(move |_| Reply::Full(200, "Content-Encoding: gzip\r\n", packed.clone()));
    following.until_tasks(5).await;
}

#[tokio::test]
async fn the_list_is_gone_through_and_standbys_send_on() {
    let (leader, standby, old) =
        (Server::start().await, Server::start().await, Server::start().await);
    let at = leader.addr.to_string();
    let (good, to) = (state(&at, 2), format!("//{at}/master/state"));
    leader.answer(move |_| Reply::json(&good));
    standby.answer(move |_| Reply::Redirect(to.clone()));
    // Before Mesos 1.0 standbys answered with their own, empty state.
    let mut empty = state(&at, 0);
    empty["pid"] = serde_json::json!(format!("master@{}", old.addr));
    old.answer(move |_| Reply::json(&empty));
    let masters = [standby.addr.to_string(), old.addr.to_string()];
    for first in &masters {
        let mut config = config(&["127.0.0.1:1", first]);
        config.subscribe = false;
        let following = Following::start(config);
        following.until_tasks(2).await;
        let catalog = following.reader.latest();
        let known = catalog.cluster.masters.as_ref().unwrap();
        assert_eq!(known.leader.as_ref().map(|m| m.port), Some(leader.addr.port()));
        assert_eq!(known.all.len(), 2);
    }
}

#[tokio::test]
async fn the_last_state_serves_when_everything_is_down() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let at = server.addr.to_string();
    let good = state(&at, 2);
    server.answer(move |_| Reply::json(&good));
    let mut config = config(&[&at]);
    (config.subscribe, config.data_dir) = (false, Some(directory.path().to_owned()));
    // ZooKeeper is down all the time; the list is there at first only.
    config.zk = Some(ZkTarget::parse("zk://127.0.0.1:1/mesos").unwrap());
    let before = {
        let following = Following::start(config.clone());
        following.until_tasks(2).await;
        let file = directory.path().join("mesos-state.json");
        following.until(|_, _, _| file.exists()).await;
        following.reader.latest()
    };
    server.answer(|_| Reply::Close);
    let mut other = config.clone();
    config.masters.clear();
    let following = Following::start(config);
    following
        .until(|catalog, standing, _| {
            catalog.cluster == before.cluster && matches!(standing, Standing::Stale { .. })
        })
        .await;
    let restored = following.reader.latest();
    assert!(restored.version > before.version);
    // The same from the master itself is no change.
    let good = state(&at, 2);
    server.answer(move |_| Reply::json(&good));
    following.until_tasks(2).await;
    let changes = following.reader.latest().cluster.group_changes_since(&restored.cluster).count();
    assert_eq!(changes, 0);
    // It is not the word of another cluster.
    (other.zk, other.masters) = (None, vec!["127.0.0.1:1".to_owned()]);
    let following = Following::start(other);
    following.until(|_, _, report| report.failures > 1).await;
    assert_eq!(following.reader.latest().version, 0);
}

#[tokio::test]
async fn a_data_directory_that_is_none_and_a_file_that_is_cut_are_no_trouble() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mesos-state.json");
    std::fs::write(&file, "{\"begin\":").unwrap();
    let server = Server::start().await;
    let at = server.addr.to_string();
    let good = state(&at, 2);
    server.answer(move |_| Reply::json(&good));
    for data_dir in [directory.path().to_owned(), file.join("below")] {
        let mut config = config(&[&at]);
        config.data_dir = Some(data_dir);
        Following::start(config).until_tasks(2).await;
    }
}
