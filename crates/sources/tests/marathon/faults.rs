//! Marathons that fail, lie or are silent.

use std::time::Duration;

use serde_json::json;
use waymark_sources::marathon::Mode;

use crate::fake::{Fake, Following, app, config, gone};
use crate::server::{Asked, Reply};

/// Everything but the state of the server.
fn lists(asked: &Asked) -> bool {
    asked.path.starts_with("/v2/apps?")
}

#[tokio::test]
async fn no_bad_answer_changes_the_catalog() {
    let fake = Fake::start(&[app("/web", 10000, 2)]).await;
    let following = Following::of(&fake).await;
    let version = following.reader.latest().version;
    let whole = json!({"apps": []}).to_string();
    let faults: Vec<fn(&str) -> Reply> = vec![
        |_| Reply::Full(503, "", b"{\"message\":\"no leader\"}".to_vec()),
        |_| Reply::json("{\"message\":\"no leader\"}"),
        |_| Reply::json("<html>"),
        |_| Reply::json("{\"apps\":null}"),
        |_| Reply::json("{\"apps\":[{\"id\":\"/web\""),
        |whole| Reply::Cut(whole.as_bytes().to_vec()),
        |_| Reply::status(401),
        |_| Reply::Close,
        |_| Reply::Hang,
        |_| Reply::Redirect("ftp://x/".to_owned()),
    ];
    for fault in faults {
        let whole = whole.clone();
        let failures = following.status.report().failures;
        fake.fail(move |asked| lists(asked).then(|| fault(&whole)));
        fake.hang_up();
        following.until(|_, _, report| report.failures > failures + 1).await;
        assert_eq!(following.tasks("/web"), 2);
        fake.mend();
        following.until_fresh().await;
    }
    assert_eq!(following.reader.latest().version, version);
}

#[tokio::test]
async fn what_only_a_list_leaves_out_is_believed_when_it_is_said_again() {
    let fake = Fake::start(&[app("/web", 10000, 2), app("/b", 10001, 1)]).await;
    let following = Following::of(&fake).await;
    // A list without an app, and one with an app without its tasks.
    let mut bare = app("/b", 10001, 0);
    bare["instances"] = 1.into();
    let half = json!({"apps": [bare]});
    fake.fail(move |asked| lists(asked).then(|| Reply::json(&half)));
    fake.hang_up();
    following.until(|_, _, report| report.doubted == 2 && report.full_reads == 2).await;
    assert_eq!((following.tasks("/web"), following.tasks("/b")), (2, 1));
    fake.mend();
    following.until(|_, _, report| report.doubted == 0).await;
    assert_eq!((following.tasks("/web"), following.tasks("/b")), (2, 1));
    // This time it stays so.
    fake.with(|world| world.apps.remove("/web"));
    fake.hang_up();
    following.until_tasks("/web", -1).await;
    assert!(following.status.report().full_reads >= 5);
}

#[tokio::test]
async fn emptiness_takes_longer_to_believe() {
    let fake = Fake::start(&[app("/web", 10000, 2)]).await;
    let following = Following::of(&fake).await;
    fake.with(|world| world.apps.clear());
    fake.hang_up();
    following.until(|_, _, report| report.doubted == 1).await;
    let start = std::time::Instant::now();
    following.until_tasks("/web", -1).await;
    assert!(start.elapsed() > Duration::from_millis(1200), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_app_that_makes_no_sense_keeps_its_entry_and_stops_nobody() {
    let fake = Fake::start(&[app("/web", 10000, 2), app("/b", 10001, 1)]).await;
    let following = Following::of(&fake).await;
    let mut bad = app("/web", 10000, 1);
    bad["tasks"][0]["ports"] = json!("31000");
    fake.put(bad.clone());
    fake.put(app("/b", 10001, 3));
    fake.event("status_update_event", json!({"appId": "/web"}));
    fake.event("status_update_event", json!({"appId": "/b"}));
    following.until_tasks("/b", 3).await;
    following.until(|_, _, report| report.problem_count == 1).await;
    assert_eq!(following.tasks("/web"), 2);
    let reason = following.status.report().problems.into_values().next().unwrap();
    assert_eq!(reason, "/tasks(0)/ports: error.expected.jsarray");
    // In a list, too; and beside an element that says not even its id, none is missing.
    fake.with(|world| world.apps.remove("/b"));
    let list = json!({"apps": [bad, {"labels": {}}]});
    fake.fail(move |asked| lists(asked).then(|| Reply::json(&list)));
    fake.hang_up();
    following.until(|_, _, report| report.unnamed == 1 && report.mode == Mode::Stream).await;
    assert_eq!((following.tasks("/web"), following.tasks("/b")), (2, 3));
    assert_eq!(following.status.report().doubted, 0);
    fake.mend();
    fake.put(app("/web", 10000, 1));
    fake.put(app("/b", 10001, 1));
    fake.hang_up();
    following.until_tasks("/web", 1).await;
    following.until(|_, _, report| report.problem_count == 0).await;
}

#[tokio::test]
async fn only_marathons_own_word_takes_an_app_away() {
    let fake = Fake::start(&[app("/web", 10000, 2), app("/b", 10001, 1)]).await;
    let following = Following::of(&fake).await;
    fake.fail(|asked| {
        asked
            .path
            .starts_with("/v2/apps/web")
            .then(|| Reply::Full(404, "", b"<html>not found</html>".to_vec()))
    });
    fake.event("status_update_event", json!({"appId": "/web"}));
    following.until(|_, _, report| report.problem_count == 1).await;
    assert_eq!(following.tasks("/web"), 2);
    fake.fail(|asked| asked.path.starts_with("/v2/apps/web").then(|| gone("/v2/apps/web")));
    fake.event("status_update_event", json!({"appId": "/web"}));
    following.until_tasks("/web", -1).await;
}

#[tokio::test]
async fn a_silent_stream_is_noticed() {
    let fake = Fake::start(&[app("/web", 10000, 1)]).await;
    let mut config = config(&[fake.url()]);
    (config.probe, config.silence) = (Duration::from_millis(200), Duration::from_millis(900));
    let following = Following::start(config);
    following.until_fresh().await;
    // The Marathon answers, but the stream brings nothing, not even a sign of life.
    following.until(|_, _, report| report.last_failure.is_some()).await;
    let report = following.status.report();
    let reason = report.last_failure.unwrap();
    assert!(reason.contains("silent"), "{reason}");
    following.until(|_, _, report| report.reconnects > 0).await;
    // With signs of life it stays.
    let beating = fake.clone();
    let beats = tokio::spawn(async move {
        loop {
            beating.beat();
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    });
    following.until_fresh().await;
    let failures = following.status.report().failures;
    tokio::time::timeout(Duration::from_secs(2), following.until(|_, _, r| r.failures > failures))
        .await
        .unwrap_err();
    beats.abort();
    // Nobody answers any more, over connections that stay open.
    fake.fail(|_| Some(Reply::Hang));
    following.until_lost("").await;
    assert_eq!(following.tasks("/web"), 1);
}

#[tokio::test]
async fn a_new_leader_is_followed() {
    let old = Fake::start(&[app("/web", 10000, 1)]).await;
    let new = Fake::start(&[app("/web", 10000, 2)]).await;
    let at_new = new.server.addr.to_string();
    let leader = old.server.addr.to_string();
    new.with(|world| world.leader = leader);
    let mut config = config(&[old.url(), new.url()]);
    config.probe = Duration::from_millis(100);
    let following = Following::start(config);
    following.until_tasks("/web", 1).await;
    old.with(|world| world.leader = at_new.clone());
    new.with(|world| world.leader = at_new);
    following.until_tasks("/web", 2).await;
    following.until(|_, _, report| report.endpoint == Some(new.url())).await;
    // The first in the list is away; its failure costs a moment.
    old.fail(|_| Some(Reply::Close));
    new.put(app("/web", 10000, 3));
    new.hang_up();
    following.until_tasks("/web", 3).await;
}

#[tokio::test]
async fn the_last_word_serves_while_no_marathon_answers() {
    let directory = tempfile::tempdir().unwrap();
    let fake = Fake::start(&[app("/web", 10000, 2), app("/b", 10001, 1)]).await;
    let mut config = config(&[fake.url()]);
    config.data_dir = Some(directory.path().to_owned());
    let following = Following::start(config.clone());
    following.until_fresh().await;
    let before = following.reader.latest();
    let file = directory.path().join("marathon-state.json");
    let start = std::time::Instant::now();
    while !file.exists() {
        assert!(start.elapsed() < crate::fake::DEADLINE);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(following);
    fake.fail(|_| Some(Reply::Close));
    let following = Following::start(config.clone());
    following.until_lost("").await;
    let after = following.reader.latest();
    assert_eq!(after.apps, before.apps);
    assert!(after.version > before.version);
    // An app that has gone meanwhile goes; one that is unreadable stays as it was.
    fake.with(|world| world.apps.remove("/b"));
    let mut bad = app("/web", 10000, 1);
    bad["labels"] = json!(7);
    fake.put(bad);
    fake.mend();
    following.until_tasks("/b", -1).await;
    assert_eq!(following.tasks("/web"), 2);
    // The word of other Marathons is not used.
    drop(following);
    config.urls = vec!["http://127.0.0.1:1".to_owned()];
    let following = Following::start(config);
    following.until_lost("").await;
    assert_eq!(following.reader.latest().version, 0);
}
