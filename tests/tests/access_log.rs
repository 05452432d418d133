//! The access log beside the tools that read and rotate it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use waymark_stories::{Waymark, eventually, repository};

/// What the documentation tells logrotate, for this file.
fn documented(file: &Path) -> String {
    let page = fs::read_to_string(repository().join("docs/load-balancer.md")).unwrap();
    let named = "/var/log/waymark/access.log";
    let block = page.split("```").find(|block| block.contains(named)).expect("the example");
    block.trim_start_matches("text").replace(named, &file.display().to_string())
}

#[test]
fn logrotate_loses_no_line_and_curl_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let flags = [&format!("--access-log={}", file.display()), "--access-log-format=combined"];
    let waymark = Waymark::start(&flags);
    let app = json!({"id": "/web", "cmd": "exec waymark whoami --port $PORT0", "cpus": 0.01, "mem": 16,
        "labels": {"HAPROXY_0_MODE": "http"}, "portDefinitions": [{"port": 0}]});
    assert_eq!(waymark.send("POST", "/v2/apps", &app).status, 201);
    waymark.wait_for_app("/web", 1);
    let url = format!("http://127.0.0.1:{}", waymark.service_port("/web"));
    let curl = |path: &str| {
        let url = format!("{url}{path}");
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-o", "/dev/null", "--retry", "5", "--retry-connrefused"]);
        assert!(
            curl.args(["-A", "story/1", "-e", "http://from/", &url]).status().unwrap().success()
        );
    };
    let text = |file: &Path| fs::read_to_string(file).unwrap_or_default();
    curl("/before");
    eventually("a line", || text(&file).contains("/before").then_some(()));
    let line = text(&file).lines().last().unwrap().to_owned();
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.contains("] \"GET /before HTTP/1.1\" 200 "), "{line}");
    assert!(line.ends_with(" \"http://from/\" \"story/1\""), "{line}");

    let rules = folder.path().join("logrotate.conf");
    fs::write(&rules, documented(&file)).unwrap();
    let state = folder.path().join("state");
    let rotate = Command::new("logrotate").arg("-f").arg("-s").arg(&state).arg(&rules).output();
    let rotate = rotate.expect("test.sh installs logrotate");
    assert!(rotate.status.success(), "{}", String::from_utf8_lossy(&rotate.stderr));
    assert!(text(&old).contains("/before"));
    let mut asked = 0;
    eventually("the file is opened anew", || {
        curl(&format!("/after-{asked}"));
        asked += 1;
        file.exists().then_some(())
    });
    let all = || text(&old) + &text(&file);
    eventually("every request has its line", || {
        (0..asked).all(|n| all().contains(&format!("GET /after-{n} HTTP"))).then_some(())
    });
}
