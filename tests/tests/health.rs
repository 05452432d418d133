//! What happens to tasks that fail their checks or crash, and to their neighbours.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use serde_json::{Value, json};
use waymark_stories::{Load, LoadKind, Waymark, eventually, get};

fn checked(id: &str, instances: u32, failures: u32) -> Value {
    json!({
        "id": id, "cmd": "exec waymark whoami --port $PORT0", "instances": instances,
        "cpus": 0.01, "mem": 16,
        "healthChecks": [{"protocol": "HTTP", "path": "/health", "intervalSeconds": 1,
                          "timeoutSeconds": 10, "gracePeriodSeconds": 0,
                          "maxConsecutiveFailures": failures}],
    })
}

#[test]
fn an_unhealthy_task_gets_no_traffic_and_is_replaced() {
    let waymark = Waymark::start(&[]);
    assert_eq!(waymark.send("POST", "/v2/apps", &checked("/web", 2, 5)).status, 201);
    waymark.wait_for_app("/web", 2);
    let sick = waymark.api("/v2/apps/web/tasks")["tasks"][0].clone();
    let id = sick["id"].as_str().unwrap().to_owned();
    let host_port = sick["ports"][0].as_u64().unwrap();
    assert_eq!(waymark.dig("_web._tcp.marathon.mesos", "SRV").services.len(), 2);

    get(&format!("http://127.0.0.1:{host_port}/health/down")).unwrap();
    eventually("it has left the names", || {
        let services = waymark.dig("_web._tcp.marathon.mesos", "SRV").services;
        (services.len() == 1 && u64::from(services[0].1) != host_port).then_some(())
    });
    // No traffic either, though it still runs.
    assert!(waymark.task_ids("/web").contains(&id), "it is not killed at the first failure");
    let port = waymark.service_port("/web");
    for _ in 0..20 {
        let reply = get(&format!("http://127.0.0.1:{port}/?json")).unwrap();
        assert_ne!(reply.json()["taskId"], id.as_str());
    }
    eventually("it is replaced after five failures", || {
        let now = waymark.task_ids("/web");
        (now.len() == 2 && !now.contains(&id)).then_some(())
    });
    waymark.wait_for_app("/web", 2);
    let failure = waymark.app("/web")["lastTaskFailure"].clone();
    assert_eq!(failure["taskId"], id.as_str(), "{failure}");
}

#[test]
fn a_task_that_recovers_gets_traffic_again() {
    let waymark = Waymark::start(&[]);
    assert_eq!(waymark.send("POST", "/v2/apps", &checked("/web", 2, 0)).status, 201);
    waymark.wait_for_app("/web", 2);
    let tasks = waymark.task_ids("/web");
    let host_port = waymark.api("/v2/apps/web/tasks")["tasks"][0]["ports"][0].as_u64().unwrap();
    let named = |count: usize| {
        eventually(&format!("{count} are named"), || {
            (waymark.dig("_web._tcp.marathon.mesos", "SRV").services.len() == count).then_some(())
        });
    };
    get(&format!("http://127.0.0.1:{host_port}/health/down")).unwrap();
    named(1);
    get(&format!("http://127.0.0.1:{host_port}/health/up")).unwrap();
    named(2);
    assert_eq!(waymark.task_ids("/web"), tasks, "maxConsecutiveFailures 0 never kills");
}

#[test]
fn tcp_and_command_checks_work_too() {
    let waymark = Waymark::start(&[]);
    let mut tcp = checked("/tcp", 1, 3);
    tcp["healthChecks"] = json!([{"protocol": "TCP", "intervalSeconds": 1, "timeoutSeconds": 5}]);
    let command = json!({
        "id": "/command", "cmd": "touch alive; sleep 1000", "cpus": 0.01, "mem": 16,
        "portDefinitions": [],
        "healthChecks": [{"protocol": "COMMAND", "command": {"value": "test -f alive && test -n \"$MESOS_TASK_ID\""},
                          "intervalSeconds": 1, "timeoutSeconds": 5, "gracePeriodSeconds": 0}],
    });
    for app in [&tcp, &command] {
        let reply = waymark.send("POST", "/v2/apps", app);
        assert_eq!(reply.status, 201, "{}", reply.body);
    }
    waymark.wait_for_app("/tcp", 1);
    waymark.wait_for_app("/command", 1);
}

#[test]
fn a_crashing_app_backs_off_and_harms_no_other() {
    let waymark = Waymark::start(&[]);
    assert_eq!(waymark.send("POST", "/v2/apps", &checked("/good", 2, 3)).status, 201);
    waymark.wait_for_app("/good", 2);
    let load = Load::start(waymark.service_port("/good"), "/", LoadKind::ConnectionPerRequest, 2);

    let crash = json!({"id": "/crash", "cmd": "echo started; exit 7", "instances": 2, "cpus": 0.01, "mem": 16,
                       "backoffSeconds": 1, "backoffFactor": 3.0});
    assert_eq!(waymark.send("POST", "/v2/apps", &crash).status, 201);
    let delayed = eventually("its launches are delayed by at least 9 s", || {
        let queue = waymark.api("/v2/queue");
        let item = queue["queue"].as_array()?.iter().find(|i| i["app"]["id"] == "/crash")?.clone();
        (item["delay"]["timeLeftSeconds"].as_u64()? >= 5).then_some(item)
    });
    assert_eq!(delayed["delay"]["overdue"], false);
    let app = waymark.app("/crash");
    let failure = &app["lastTaskFailure"];
    assert_eq!(failure["state"], "TASK_FAILED", "{failure}");
    assert!(failure["message"].as_str().unwrap().contains('7'), "{failure}");

    load.finish().assert_flawless(50);
    assert_eq!(waymark.task_ids("/good").len(), 2);
    // It can be removed although its deployment will never end.
    let reply = waymark.send("DELETE", "/v2/apps/crash", &json!({}));
    assert_eq!(reply.status, 200, "{}", reply.body);
    eventually("it is gone", || {
        (get(&waymark.url("/v2/apps/crash")).ok()?.status == 404).then_some(())
    });
}

#[test]
fn nothing_a_task_started_outlives_it() {
    let waymark = Waymark::start(&[]);
    // A grandchild in a session of its own, deaf to TERM.
    let app = json!({
        "id": "/family", "cpus": 0.01, "mem": 16, "portDefinitions": [],
        "cmd": "setsid sh -c \"trap '' TERM; while :; do sleep 1; done\" & trap '' TERM; while :; do sleep 1; done",
        "taskKillGracePeriodSeconds": 1,
    });
    assert_eq!(waymark.send("POST", "/v2/apps", &app).status, 201);
    waymark.wait_for_app("/family", 1);
    eventually("the family is there", || (waymark.task_processes().len() >= 3).then_some(()));
    assert_eq!(waymark.send("DELETE", "/v2/apps/family", &json!({})).status, 200);
    eventually("the family is gone", || waymark.task_processes().is_empty().then_some(()));
    // And no zombie is left with Waymark as its parent.
    let zombies = || {
        let pid = waymark.pid().to_string();
        std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            std::fs::read_to_string(entry.path().join("stat")).is_ok_and(|stat| {
                let rest: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
                rest.first() == Some(&"Z") && rest.get(1) == Some(&pid.as_str())
            })
        })
    };
    eventually("no zombie is left", || (!zombies()).then_some(()));
}
