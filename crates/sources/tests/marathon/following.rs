//! Following a Marathon that behaves.

use serde_json::json;
use waymark_model::Readiness;
use waymark_sources::marathon::Mode;

use crate::fake::{DEADLINE, Fake, Following, app, config};
use crate::server::{Reply, Server};

#[tokio::test]
async fn what_events_name_is_asked_for_and_nothing_else() {
    let fake = Fake::start(&[app("/web", 10000, 2), app("/other", 10001, 1)]).await;
    let following = Following::of(&fake).await;
    let catalog = following.reader.latest();
    let web = catalog.apps.values().find(|app| app.id.as_str() == "/web").unwrap();
    assert_eq!((&*web.framework, web.services[0].port, web.instances), ("mine", 10000, 2));
    let addresses: Vec<String> =
        web.tasks.iter().map(|task| task.endpoints[0].address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:31000", "127.0.0.1:31001"]);
    assert!(web.tasks.iter().all(|task| task.readiness == Readiness::Ready));

    fake.put(app("/web", 10000, 3));
    fake.put(app("/other", 10001, 5));
    fake.event("status_update_event", json!({"appId": "/web", "taskStatus": "TASK_RUNNING"}));
    following.until_tasks("/web", 3).await;
    assert_eq!(following.tasks("/other"), 1);
    assert_eq!((fake.asked("/v2/apps?"), fake.asked("/v2/apps/other")), (1, 0));

    // A new app, and one that goes.
    fake.put(app("/new/one", 10002, 1));
    let plan = json!({"plan": {"steps": [{"actions": [{"action": "x", "app": "/new/one"}]}]}});
    fake.event("deployment_info", plan);
    following.until_tasks("/new/one", 1).await;
    fake.with(|world| world.apps.remove("/web"));
    fake.event("app_terminated_event", json!({"appId": "/web"}));
    following.until_tasks("/web", -1).await;
    following.until(|_, _, report| report.pods == Some(1)).await;
    let report = following.status.report();
    assert_eq!((report.mode, report.full_reads, report.failures), (Mode::Stream, 1, 0));
    assert!(report.events >= 4 && report.last_event.is_some());
    assert_eq!(report.version.as_deref(), Some("1.8.222"));

    // What makes no sense as an event makes everything be asked for, pods too.
    fake.with(|world| world.pods = 3);
    fake.event("status_update_event", json!({}));
    following.until_tasks("/other", 5).await;
    following.until(|_, _, report| report.pods == Some(3)).await;
}

#[tokio::test]
async fn an_app_that_is_visible_late_is_asked_for_again() {
    let fake = Fake::start(&[app("/web", 10000, 1)]).await;
    let following = Following::of(&fake).await;
    fake.event("status_update_event", json!({"appId": "/web"}));
    let start = std::time::Instant::now();
    while fake.asked("/v2/apps/web") == 0 {
        assert!(start.elapsed() < DEADLINE);
        tokio::task::yield_now().await;
    }
    following.until(|_, _, report| report.app_reads == 1).await;
    fake.put(app("/web", 10000, 2));
    following.until_tasks("/web", 2).await;
}

#[tokio::test]
async fn a_marathon_without_events_is_asked_again_and_again() {
    let fake = Fake::start(&[app("/web", 10000, 1)]).await;
    fake.fail(|asked| asked.path.starts_with("/v2/events").then(|| Reply::status(404)));
    let following = Following::of(&fake).await;
    assert_eq!(following.status.report().mode, Mode::Poll);
    fake.put(app("/web", 10000, 2));
    following.until_tasks("/web", 2).await;
}

#[tokio::test]
async fn standbys_send_on_and_the_leader_is_asked_directly_where_it_is_known() {
    let leader = Fake::start(&[app("/web", 10000, 1)]).await;
    let standby = Server::start().await;
    let (info, to) = (leader.server.addr.to_string(), leader.url());
    standby.answer(move |asked| match asked.path.as_str() {
        "/v2/info" => Reply::json(json!({"name": "mine", "leader": info})),
        path => Reply::Redirect(format!("{to}{path}")),
    });
    let url = format!("http://{}", standby.addr);
    let following = Following::start(config(&[url.clone(), leader.url()]));
    following.until_tasks("/web", 1).await;
    following.until_fresh().await;
    assert!(standby.asked().iter().all(|asked| asked.path == "/v2/info"));
    drop(following);
    // Where only the standby is known, its word is followed.
    let following = Following::start(config(std::slice::from_ref(&url)));
    following.until_tasks("/web", 1).await;
    assert_eq!(following.status.report().endpoint, Some(url));
}
