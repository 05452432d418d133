//! The command line as a client of the API.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::process::{Command, Output};

use serde_json::{Value, json};
use waymark_stories::{Waymark, binary, eventually};

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[track_caller]
fn ok(output: Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, text(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_app_from_put_to_remove() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.json");
    let app = json!({"id": "/web", "cmd": "echo hello from $MESOS_TASK_ID; exec waymark whoami --port $PORT0",
                     "cpus": 0.01, "mem": 16, "healthChecks": [{"protocol": "HTTP", "path": "/health"}]});
    std::fs::write(&file, app.to_string()).unwrap();
    let waymark = Waymark::start(&[]);

    ok(waymark.client(&["app", "put", file.to_str().unwrap()]));
    waymark.wait_for_app("/web", 1);
    let list = ok(waymark.client(&["app", "list"]));
    assert!(list.contains("/web") && list.contains("1/1"), "{list}");
    let list: Value =
        serde_json::from_str(&ok(waymark.client(&["app", "list", "--json"]))).unwrap();
    assert!(list.to_string().contains("/web"));
    let shown: Value =
        serde_json::from_str(&ok(waymark.client(&["app", "get", "/web", "--json"]))).unwrap();
    assert!(shown.to_string().contains("/web"));
    assert!(ok(waymark.client(&["app", "get", "web"])).contains("/web"));

    ok(waymark.client(&["app", "scale", "/web", "3"]));
    waymark.wait_for_app("/web", 3);
    let tasks = ok(waymark.client(&["tasks"]));
    for id in waymark.task_ids("/web") {
        assert!(tasks.contains(&id), "{id} is missing in\n{tasks}");
    }
    let before = waymark.task_ids("/web");
    ok(waymark.client(&["app", "restart", "/web"]));
    waymark.wait_for_app("/web", 3);
    assert!(waymark.task_ids("/web").iter().all(|t| !before.contains(t)));

    let logs = ok(waymark.client(&["app", "logs", "/web"]));
    for id in waymark.task_ids("/web") {
        assert!(logs.contains(&format!("hello from {id}")), "{id} is missing in\n{logs}");
    }
    let status = ok(waymark.client(&["status"]));
    assert!(status.contains("dns") && status.contains("proxy"), "{status}");
    ok(waymark.client(&["app", "remove", "/web"]));
    eventually("it is gone", || {
        waymark.api("/v2/apps")["apps"].as_array()?.is_empty().then_some(())
    });
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let mut waymark = Waymark::start(&[]);
    assert_eq!(waymark.client(&["app", "get", "/none"]).status.code(), Some(4));
    assert_eq!(waymark.client(&["app", "scale", "/none", "many"]).status.code(), Some(2));
    assert_eq!(waymark.client(&["app", "nonsense"]).status.code(), Some(2));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.json");
    std::fs::write(&file, "{\"id\": \"/a\", \"cmd\": 7}").unwrap();
    let output = waymark.client(&["app", "put", file.to_str().unwrap()]);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{}", text(&output));
    assert!(text(&output).contains("cmd"), "{}", text(&output));
    let api = waymark.url("");
    assert!(waymark.stop().success());
    let output = Command::new(binary()).args(["status"]).env("WAYMARK_API", &api).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains(api.trim_end_matches('/')), "{}", text(&output));
}

#[test]
fn completions_and_help_are_there() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(binary()).args(["completions", shell]).output().unwrap();
        assert!(ok(output).contains("waymark"));
    }
    for command in [&["--help"][..], &["run", "--help"], &["app", "--help"], &["whoami", "--help"]]
    {
        let help = ok(Command::new(binary()).args(command).output().unwrap());
        assert!(help.len() > 200, "{help}");
    }
    assert!(ok(Command::new(binary()).arg("--version").output().unwrap()).contains("0.1.0"));
}
