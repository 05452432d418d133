//! `waymark lb` follows a Marathon, whatever happens to it.

use std::time::{Duration, Instant};

use serde_json::json;
use waymark_stories::{FakeMarathon, Lb, MarathonFault, Waymark, eventually, fake_app, fake_task};

/// A Marathon with one app and a load balancer that serves it.
struct Scene {
    marathon: FakeMarathon,
    lb: Lb,
    /// The app's service port; the next ones are free.
    port: u16,
}

impl Scene {
    fn new() -> Scene {
        let marathon = FakeMarathon::start();
        let lb = Lb::start(&[marathon.url()], &[]);
        let port = lb.ports.service_min;
        marathon.put(fake_app("/one", port, &[fake_task("one")]));
        lb.until(port, Some("one"));
        Scene { marathon, lb, port }
    }
}

#[test]
fn waymark_itself_is_a_marathon_to_follow() {
    let waymark = Waymark::start(&[]);
    let app = json!({"id": "/web", "cmd": "exec waymark whoami --port $PORT0", "instances": 1,
        "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "web.example.org"},
        "portDefinitions": [{"port": 0}], "cpus": 0.01, "mem": 16,
        "healthChecks": [{"protocol": "TCP", "portIndex": 0, "intervalSeconds": 1,
            "gracePeriodSeconds": 30}]});
    assert_eq!(waymark.send("POST", "/v2/apps", &app).status, 201);
    waymark.wait_for_app("/web", 1);
    let lb = Lb::start(&[waymark.url("")], &["--strict-mode=false"]);
    let hosts = |count: usize| {
        eventually(&format!("{count} tasks answer\n{}", lb.log()), || {
            let mut names: Vec<String> = (0..20)
                .filter_map(|_| lb.ask_host("web.example.org", "/?json"))
                .filter(|reply| reply.status == 200)
                .map(|reply| reply.json()["taskId"].as_str().unwrap_or_default().to_owned())
                .collect();
            names.sort();
            names.dedup();
            (names.len() == count).then_some(names)
        })
    };
    assert_eq!(hosts(1), waymark.task_ids("/web"));
    waymark.send("PUT", "/v2/apps/web", &json!({"instances": 3}));
    assert_eq!(hosts(3).len(), 3);
    waymark.send("PUT", "/v2/apps/web", &json!({"instances": 0}));
    eventually("the host has nobody behind it", || {
        lb.ask_host("web.example.org", "/").filter(|reply| reply.status == 503)
    });
    waymark.send("DELETE", "/v2/apps/web", &json!({}));
    eventually("the app is gone", || (waymark.api("/v2/apps")["apps"] == json!([])).then_some(()));
}

#[test]
fn a_marathon_that_fails_takes_no_route_away() {
    let Scene { marathon, lb, port } = Scene::new();
    let faults = [
        MarathonFault::Close,
        MarathonFault::List(503, r#"{"message":"no leader"}"#.to_owned()),
        MarathonFault::List(200, r#"{"message":"no leader"}"#.to_owned()),
        MarathonFault::List(200, r#"{"apps":[{"id":"/one""#.to_owned()),
        MarathonFault::List(200, "<html>Log in first</html>".to_owned()),
        MarathonFault::Hang,
    ];
    let (a, b) = (fake_task("a"), fake_task("b"));
    for (n, fault) in faults.into_iter().enumerate() {
        marathon.fail(fault.clone());
        // Who hangs is not asked again for a while.
        let times = if fault == MarathonFault::Hang { 1 } else { 2 };
        lb.stays(port, "one", &format!("{fault:?} is met"), || marathon.seen().faults >= times);
        marathon.fail(MarathonFault::None);
        // It is followed again, in the way of before.
        let (task, name) = if n % 2 == 0 { (a, "a") } else { (b, "b") };
        marathon.put(fake_app("/two", port + 1, &[task]));
        lb.until(port + 1, Some(name));
    }
}

#[test]
fn a_stream_that_falls_silent_is_noticed_within_seconds() {
    let Scene { marathon, lb, port } = Scene::new();
    // Two signs of life tell how often they come.
    lb.stays(port, "one", "signs of life", || marathon.seen().beats >= 3);
    marathon.fail(MarathonFault::Silent);
    marathon.put(fake_app("/one", port, &[fake_task("two")]));
    let start = Instant::now();
    lb.until(port, Some("two"));
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert!(lb.log().contains("silent"), "{}", lb.log());
}

#[test]
fn a_new_leader_is_followed_and_the_dead_first_one_does_not_matter() {
    let (old, new) = (FakeMarathon::start(), FakeMarathon::start());
    new.follow(&old);
    let lb = Lb::start(&[old.url(), new.url()], &[]);
    let port = lb.ports.service_min;
    let one = fake_app("/one", port, &[fake_task("one")]);
    old.put(one.clone());
    lb.until(port, Some("one"));
    new.put(one);
    new.follow(&new);
    old.fail(MarathonFault::Close);
    lb.stays(port, "one", "the dead one is asked", || old.seen().faults >= 1);
    new.put(fake_app("/two", port + 1, &[fake_task("two")]));
    lb.until(port + 1, Some("two"));
    assert_eq!(lb.ask(port).as_deref(), Some("one"));
}

#[test]
fn an_app_that_makes_no_sense_stops_nobody_and_keeps_its_routes() {
    let Scene { marathon, lb, port } = Scene::new();
    let mut bad = fake_app("/one", port, &[]);
    bad["tasks"] = json!([{"id": "one.1", "ports": "none"}]);
    marathon.put(bad);
    marathon.put(fake_app("/two", port + 1, &[fake_task("two")]));
    lb.until(port + 1, Some("two"));
    assert_eq!(lb.ask(port).as_deref(), Some("one"));
    eventually("the log says why", || lb.log().contains("/tasks(0)/ports").then_some(()));
    marathon.put(fake_app("/one", port, &[fake_task("better")]));
    lb.until(port, Some("better"));
}

#[test]
fn an_empty_list_is_not_believed_at_once_and_a_deletion_is() {
    let Scene { marathon, lb, port } = Scene::new();
    marathon.put(fake_app("/two", port + 1, &[fake_task("two")]));
    lb.until(port + 1, Some("two"));
    marathon.remove("/two");
    lb.until(port + 1, None);
    // A leader that has just been elected and knows nothing yet.
    marathon.fail(MarathonFault::List(200, r#"{"apps":[]}"#.to_owned()));
    lb.stays(port, "one", "an empty list", || marathon.seen().faults >= 1);
    marathon.fail(MarathonFault::None);
    lb.stays(port, "one", "a list that is not empty", || marathon.seen().lists >= 1);
    // When it stays so, it must be true.
    marathon.fail(MarathonFault::List(200, r#"{"apps":[]}"#.to_owned()));
    lb.until(port, None);
}

#[test]
fn after_a_restart_the_last_routes_serve_while_marathon_is_away() {
    let Scene { marathon, mut lb, port } = Scene::new();
    lb.stop();
    marathon.fail(MarathonFault::Close);
    lb.start_again();
    lb.until(port, Some("one"));
    assert_eq!(lb.ask_host("one.example.org", "/").map(|reply| reply.body), Some("one".to_owned()));
    // After a crash, too.
    lb.kill_9();
    lb.start_again();
    lb.until(port, Some("one"));
    marathon.fail(MarathonFault::None);
    marathon.put(fake_app("/one", port, &[fake_task("two")]));
    lb.until(port, Some("two"));
}
