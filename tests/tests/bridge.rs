//! `waymark haproxy-marathon-bridge` prints what the old script printed, from `waymark run` as the
//! Marathon, and HAProxy takes it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::json;
use tempfile::TempDir;
use waymark_stories::{Waymark, binary};

fn bridge(root: &TempDir, words: &[&str]) -> Output {
    Command::new(binary())
        .arg("haproxy-marathon-bridge")
        .args(words)
        .env("WAYMARK_BRIDGE_ROOT", root.path())
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

#[test]
fn the_configuration_of_a_marathon() {
    let root = TempDir::new().unwrap();
    let waymark = Waymark::start(&[]);
    let app = |instances: u32| {
        json!({"id": "/shop/web", "cmd": "exec waymark whoami --port $PORT0",
            "instances": instances, "cpus": 0.01, "mem": 16, "portDefinitions": [{"port": 0}]})
    };
    waymark.send("PUT", "/v2/apps/shop/web", &app(2));
    waymark.wait_for_app("/shop/web", 2);
    let port = waymark.service_port("/shop/web");
    let marathon = waymark.url("").trim_start_matches("http://").to_owned();

    // The first one does not answer.
    let output = bridge(&root, &["127.0.0.1:1", &marathon]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let (_, section) = text.split_once(&format!("\nlisten shop_web-{port}\n")).expect("a listener");
    let lines: Vec<&str> = section.lines().map(str::trim).collect();
    let bind = format!("bind 0.0.0.0:{port}");
    assert_eq!(lines[..4], [bind.as_str(), "mode tcp", "option tcplog", "balance leastconn"]);
    assert_eq!(lines.len(), 6);
    assert!(
        lines[4].starts_with("server shop_web-2 ") && lines[4].ends_with(" check"),
        "{section}"
    );
    assert!(lines[5].starts_with("server shop_web-1 "), "{section}");

    // HAProxy, which test.sh installs, has checked what is installed here.
    assert!(bridge(&root, &["refresh_system_haproxy", &marathon]).status.success());
    let installed = root.path().join("etc/haproxy/haproxy.cfg");
    assert_eq!(fs::read_to_string(&installed).unwrap(), text);
    let checked = Command::new("haproxy").arg("-c").arg("-f").arg(&installed).output();
    assert!(checked.expect("HAProxy is installed").status.success());
    let again = bridge(&root, &["refresh_system_haproxy", &marathon]);
    assert!(again.status.success() && again.stderr.is_empty(), "nothing changed");
    // What HAProxy could not be told of before is made up for.
    let unloaded = installed.with_extension("unloaded");
    assert!(!unloaded.exists());
    fs::write(&unloaded, "").unwrap();
    assert!(bridge(&root, &["refresh_system_haproxy", &marathon]).status.success());
    assert!(!unloaded.exists());

    // Without any Marathon only the head comes, and what is installed stays.
    let lost = bridge(&root, &["127.0.0.1:1"]);
    let head = String::from_utf8(lost.stdout).unwrap();
    assert_eq!(lost.status.code(), Some(1));
    assert!(text.starts_with(&head) && head.ends_with("stats auth admin:admin\n"), "{head}");
    assert_eq!(bridge(&root, &["refresh_system_haproxy", "127.0.0.1:1"]).status.code(), Some(1));
    assert_eq!(fs::read_to_string(&installed).unwrap(), text);

    // The endpoints that were installed are those of a refresh without any.
    let shown = bridge(&root, &["install_cronjob", &marathon]);
    assert!(String::from_utf8(shown.stdout).unwrap().contains("OnUnitActiveSec=1min"));
    assert!(!root.path().join("etc/haproxy-marathon-bridge").exists(), "only told");
    assert!(bridge(&root, &["install_cronjob", "--write", &marathon]).status.success());
    assert!(root.path().join("etc/systemd/system/haproxy-marathon-bridge.timer").exists());
    waymark.send("PUT", "/v2/apps/shop/web", &app(1));
    waymark.wait_for_app("/shop/web", 1);
    let changed = bridge(&root, &["logged", "refresh_system_haproxy"]);
    assert!(changed.status.success());
    assert_eq!(fs::read_to_string(&installed).unwrap().matches("  server ").count(), 1);
}

#[test]
fn what_is_wrong_is_told() {
    let root = TempDir::new().unwrap();
    for (words, code, part) in [
        (&[][..], 1, "Usage:"),
        (&["--what"], 1, "--what"),
        (&["refresh_system_haproxy"], 2, "which Marathons"),
        (&["install_cronjob"], 2, "which Marathons"),
    ] {
        let output = bridge(&root, words);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
        assert!(text.contains(part), "{text}");
    }
    let help = bridge(&root, &["--help"]);
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().starts_with("Usage:"));
}
