//! Waymark dies at any moment; the next start finds everything as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use waymark_stories::{Waymark, eventually, get};

fn app(id: &str, instances: u32) -> Value {
    json!({
        "id": id, "cmd": "exec waymark whoami --port $PORT0", "instances": instances,
        "cpus": 0.01, "mem": 16,
        "healthChecks": [{"protocol": "HTTP", "path": "/health", "intervalSeconds": 1,
                          "timeoutSeconds": 5, "gracePeriodSeconds": 60}],
    })
}

/// Process ids of an app's tasks by task id, as the tasks themselves tell.
fn pids(waymark: &Waymark, id: &str) -> BTreeMap<String, u64> {
    let tasks = waymark.api(&format!("/v2/apps{id}/tasks"));
    let ports = tasks["tasks"].as_array().unwrap().iter();
    ports
        .map(|t| {
            let port = t["ports"][0].as_u64().unwrap();
            let reply = get(&format!("http://127.0.0.1:{port}/?json")).expect("the task answers");
            (t["id"].as_str().unwrap().to_owned(), reply.json()["pid"].as_u64().unwrap())
        })
        .collect()
}

#[test]
fn tasks_are_adopted_and_traffic_flows_again() {
    let mut waymark = Waymark::start(&[]);
    assert_eq!(waymark.send("POST", "/v2/apps", &app("/a", 3)).status, 201);
    waymark.wait_for_app("/a", 3);
    let (port, before) = (waymark.service_port("/a"), pids(&waymark, "/a"));

    waymark.kill_9();
    waymark.spawn(&[]);
    eventually("the service port answers again", || {
        get(&format!("http://127.0.0.1:{port}/")).ok().filter(|r| r.status == 200)
    });
    waymark.wait_until_it_serves();
    waymark.wait_for_app("/a", 3);
    assert_eq!(pids(&waymark, "/a"), before, "the same processes");
}

#[test]
fn a_task_that_died_meanwhile_is_replaced() {
    let mut waymark = Waymark::start(&[]);
    assert_eq!(waymark.send("POST", "/v2/apps", &app("/a", 2)).status, 201);
    waymark.wait_for_app("/a", 2);
    let before = pids(&waymark, "/a");
    waymark.kill_9();
    let (gone, pid) = before.first_key_value().unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(*pid).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
    waymark.start_again(&[]);
    eventually("the dead task is replaced, the other kept", || {
        let now = waymark.task_ids("/a");
        (now.len() == 2 && !now.contains(gone) && now.iter().any(|t| before.contains_key(t)))
            .then_some(())
    });
}

/// Fifty times: change something, kill -9 at a moment that differs each time, start again. Every
/// change that was answered is there afterwards, and no port ever moves.
#[test]
fn fifty_kills_lose_nothing() {
    let mut waymark = Waymark::start(&[]);
    assert_eq!(waymark.send("POST", "/v2/apps", &app("/quiet", 2)).status, 201);
    waymark.wait_for_app("/quiet", 2);
    let quiet = pids(&waymark, "/quiet");
    let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
    let mut ports: BTreeMap<String, u16> = BTreeMap::new();
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for round in 0..50 {
        let id = format!("/r/a{}", next(4));
        let instances = next(3) + 1;
        let sleeper = json!({"id": id, "cmd": "sleep 100000", "instances": instances,
                             "cpus": 0.01, "mem": 16, "backoffSeconds": 0});
        let reply = waymark.send("PUT", &format!("/v2/apps{id}?force=true"), &sleeper);
        assert!([200, 201].contains(&reply.status), "round {round}: {}", reply.body);
        wanted.insert(id.clone(), instances);
        let port = waymark.service_port(&id);
        assert_eq!(*ports.entry(id).or_insert(port), port, "round {round}");

        // Somewhere between "just stored" and "all launched".
        let moment = Instant::now() + Duration::from_micros(next(60_000));
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        waymark.kill_9();
        waymark.start_again(&[]);

        let apps = waymark.api("/v2/apps");
        let apps = apps["apps"].as_array().unwrap();
        let found: BTreeMap<String, u64> = apps
            .iter()
            .filter(|a| a["id"] != "/quiet")
            .map(|a| (a["id"].as_str().unwrap().to_owned(), a["instances"].as_u64().unwrap()))
            .collect();
        // Tasks that nobody touches are the same processes all the time.
        assert_eq!(pids(&waymark, "/quiet"), quiet, "round {round}");
        assert_eq!(found, wanted, "round {round}");
        for (id, port) in &ports {
            assert_eq!(waymark.service_port(id), *port, "round {round}");
        }
    }
    waymark.wait_until_deployed();
    for (id, count) in &wanted {
        waymark.wait_for_app(id, *count);
    }
    let total: u64 = wanted.values().sum();
    eventually("as many processes as tasks, none left over from killed rounds", || {
        let sleepers = waymark.task_processes().into_iter().filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|c| c.starts_with(b"sleep\x00100000\x00"))
        });
        (sleepers.count() as u64 == total).then_some(())
    });
}

/// A file that is refused at a restart takes nothing down.
#[test]
fn a_refused_file_ends_no_tasks() {
    let mut waymark = Waymark::start(&[]);
    assert_eq!(waymark.send("POST", "/v2/apps", &app("/a", 1)).status, 201);
    waymark.wait_for_app("/a", 1);
    let (port, before) = (waymark.service_port("/a"), pids(&waymark, "/a"));
    waymark.kill_9();
    let file = waymark.data.join("conflict.json");
    let conflict = json!({"id": "/b", "cmd": "sleep 1", "portDefinitions": [{"port": port}]});
    std::fs::write(&file, conflict.to_string()).unwrap();
    waymark.spawn(&["--strict-service-ports", file.to_str().unwrap()]);
    let status = waymark.wait_for_exit();
    assert!(!status.success(), "{}", waymark.errors());
    assert!(waymark.errors().contains(&port.to_string()), "{}", waymark.errors());
    waymark.start_again(&[]);
    waymark.wait_for_app("/a", 1);
    assert_eq!(pids(&waymark, "/a"), before);
}
