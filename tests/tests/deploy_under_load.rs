//! Clients notice nothing while an app is updated, scaled and restarted under them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use serde_json::{Value, json};
use waymark_stories::{Load, LoadKind, Waymark, eventually, get};

fn web(instances: u32, version: &str) -> Value {
    json!({
        "id": "/web", "cmd": "exec waymark whoami --port $PORT0", "instances": instances,
        "cpus": 0.01, "mem": 16, "env": {"RELEASE": version},
        "healthChecks": [{"protocol": "HTTP", "path": "/health", "intervalSeconds": 1,
                          "timeoutSeconds": 10, "gracePeriodSeconds": 60}],
        "upgradeStrategy": {"minimumHealthCapacity": 1.0, "maximumOverCapacity": 0.5},
    })
}

fn start(instances: u32) -> (Waymark, u16) {
    let waymark = Waymark::start(&["--drain-timeout=5s"]);
    assert_eq!(waymark.send("POST", "/v2/apps", &web(instances, "1")).status, 201);
    waymark.wait_for_app("/web", u64::from(instances));
    let port = waymark.service_port("/web");
    eventually("the service port answers", || {
        get(&format!("http://127.0.0.1:{port}/")).ok().filter(|r| r.status == 200)
    });
    (waymark, port)
}

/// Runs `change` under load of both kinds and requires that every request was answered.
fn under_load(waymark: &Waymark, port: u16, change: impl FnOnce(&Waymark)) {
    let loads = [LoadKind::ConnectionPerRequest, LoadKind::KeepAlive]
        .map(|kind| Load::start(port, "/", kind, 4));
    let flowing = |least: u64| {
        eventually("requests flow", || loads.iter().all(|l| l.answered() >= least).then_some(()));
    };
    flowing(50);
    change(waymark);
    let so_far = loads.iter().map(Load::answered).max().unwrap();
    flowing(so_far + 50);
    for load in loads {
        load.finish().assert_flawless(100);
    }
}

#[test]
fn a_rolling_update_loses_no_request() {
    let (waymark, port) = start(3);
    let before = waymark.task_ids("/web");
    under_load(&waymark, port, |waymark| {
        let reply = waymark.send("PUT", "/v2/apps/web", &web(3, "2"));
        assert_eq!(reply.status, 200, "{}", reply.body);
        waymark.wait_until_deployed();
    });
    waymark.wait_for_app("/web", 3);
    let after = waymark.task_ids("/web");
    assert!(before.iter().all(|t| !after.contains(t)), "{before:?} {after:?}");
    let reply = get(&format!("http://127.0.0.1:{port}/?json&env=all")).unwrap();
    assert_eq!(reply.json()["env"]["RELEASE"], "2");
}

#[test]
fn scaling_down_loses_no_request() {
    let (waymark, port) = start(4);
    under_load(&waymark, port, |waymark| {
        let reply = waymark.send("PUT", "/v2/apps/web", &json!({"instances": 1}));
        assert_eq!(reply.status, 200, "{}", reply.body);
        waymark.wait_until_deployed();
    });
    waymark.wait_for_app("/web", 1);
}

#[test]
fn restart_and_kill_lose_no_request() {
    let (waymark, port) = start(2);
    under_load(&waymark, port, |waymark| {
        let reply = waymark.send("POST", "/v2/apps/web/restart", &json!({}));
        assert_eq!(reply.status, 200, "{}", reply.body);
        waymark.wait_until_deployed();
        let victim = waymark.task_ids("/web")[0].clone();
        let path = format!("/v2/apps/web/tasks/{victim}");
        assert_eq!(waymark.send("DELETE", &path, &json!({})).status, 200);
        eventually("the killed task is replaced", || {
            let now = waymark.task_ids("/web");
            (!now.contains(&victim) && now.len() == 2).then_some(())
        });
    });
}

/// During an update the number of healthy instances never falls below the minimum.
#[test]
fn an_update_keeps_its_minimum() {
    let (waymark, _) = start(3);
    let reply = waymark.send("PUT", "/v2/apps/web", &web(3, "2"));
    assert_eq!(reply.status, 200, "{}", reply.body);
    eventually("the update is over", || {
        let app = waymark.app("/web");
        // Draining tasks still count as healthy here; names must never be fewer than the minimum.
        let named = waymark.dig("_web._tcp.marathon.mesos", "SRV").services.len();
        assert!(named >= 3, "only {named} instances are named");
        app["deployments"].as_array().is_some_and(Vec::is_empty).then_some(())
    });
}
