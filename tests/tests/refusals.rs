//! Bad input gets a clear answer and breaks nothing: exit code 2 and one message before anything
//! has started, Marathon's status and body from the API.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use waymark_stories::{Waymark, binary, raw_exchange, request};

/// Runs `waymark run` where it must refuse; gives its message.
fn refused(data: &Path, args: &[&str]) -> String {
    let waymark = Waymark::prepared(data.to_owned(), &[]);
    message(waymark.command(args).output().unwrap())
}

fn message(output: Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

#[test]
fn bad_files_are_refused_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let broken = write("broken.json", "{\n  \"id\": \"/a\",\n  \"cmd\": \n}\n");
    assert_says(&refused(&data, &[&broken]), &["broken.json:4:"]);
    let typed = write("typed.json", "{\n  \"id\": \"/a\",\n  \"instances\": \"three\"\n}\n");
    assert_says(&refused(&data, &[&typed]), &["typed.json:3:", "instances"]);
    let name = write(
        "name.json",
        "{\"id\": \"/g\", \"apps\": [\n{\"id\": \"web\", \"cmd\": \"x\",\n\"portDefinitions\": [{\"name\": \"Bad_Name\"}]}]}",
    );
    assert_says(&refused(&data, &[&name]), &["name.json:3:", "name"]);
    let no_id = write("noid.json", "{\"cmd\": \"x\"}");
    assert_says(&refused(&data, &[&no_id]), &["noid.json:1:", "id"]);
    let missing = folder.path().join("none.json").display().to_string();
    assert_says(&refused(&data, &[&missing]), &["none.json", "No such file"]);
    assert!(!data.join("waymark.redb").exists(), "nothing has started");
}

#[test]
fn bad_settings_are_refused_with_their_source() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (args, parts) in [
        (
            &["--local-port-min=20000", "--local-port-max=10000"][..],
            &["local-port-min", "20000"][..],
        ),
        (&["--drain-timeout=soon"], &["drain-timeout", "soon"]),
        (&["--listen=localhost:1"], &["listen", "localhost:1"]),
        (&["--task-ports=32000-31000"], &["task-ports"]),
        (&["--api-port=70000"], &["api-port", "70000"]),
        (&["--api-prot=1"], &["api-prot", "api-port"]),
    ] {
        // The flags under test come alone: those of the harness would override them.
        let output = Command::new(binary())
            .arg("run")
            .args(args)
            .arg(format!("--data-dir={}", data.display()))
            .output()
            .unwrap();
        assert_says(&message(output), parts);
    }
    let config = folder.path().join("waymark.toml");
    std::fs::write(&config, "# comment\napi-prot = 8080\n").unwrap();
    let flag = format!("--config={}", config.display());
    assert_says(&refused(&data, &[&flag]), &["waymark.toml:2:", "api-prot", "api-port"]);
    std::fs::write(&config, "drain-timeout = \"never ever\"\n").unwrap();
    assert_says(&refused(&data, &[&flag]), &["waymark.toml:1:", "drain-timeout"]);
    let output = Command::new(binary())
        .arg("run")
        .arg(format!("--data-dir={}", data.display()))
        .env("WAYMARK_DNS_PORT", "fifty-three")
        .output()
        .unwrap();
    assert_says(&message(output), &["WAYMARK_DNS_PORT", "fifty-three"]);
}

#[test]
fn taken_ports_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for setting in ["api-port", "dns-port"] {
        let other = if setting == "api-port" { "--dns-port=0" } else { "--api-port=0" };
        let output = Command::new(binary())
            .args(["run", other, &format!("--{setting}={port}")])
            .arg(format!("--data-dir={}", data.display()))
            .output()
            .unwrap();
        assert_says(&message(output), &[setting, &port]);
    }
    let output = Command::new(binary())
        .args(["run", "--api-port=18080", "--dns-port=18080"])
        .arg(format!("--data-dir={}", data.display()))
        .output()
        .unwrap();
    assert_says(&message(output), &["api-port", "dns-port", "18080"]);
}

#[test]
fn two_on_one_data_folder() {
    let first = Waymark::start(&[]);
    let text = refused(&first.data, &[]);
    assert_says(&text, &["data-dir", &first.pid().to_string()]);
    assert_eq!(first.api("/v2/apps"), json!({"apps": []}), "the first one goes on");
}

#[test]
fn a_folder_that_cannot_be_written() {
    let text = refused(Path::new("/proc/waymark"), &[]);
    assert_says(&text, &["data-dir", "/proc/waymark"]);
}

#[test]
fn bad_bodies_get_marathons_answers() {
    let waymark = Waymark::start(&[]);
    let post = |body: &str| {
        request("POST", &waymark.url("/v2/apps"), &[("Content-Type", "application/json")], body)
            .unwrap()
    };
    let reply = post("{\"id\": ");
    assert_eq!((reply.status, &reply.json()["message"]), (400, &json!("Invalid JSON")));
    let reply = post("");
    assert_eq!(
        (reply.status, &reply.json()["message"]),
        (400, &json!("Please specify data in JSON format"))
    );
    let reply = post("{\"id\": 7, \"cmd\": \"x\"}");
    assert_eq!(reply.status, 422);
    assert_eq!(
        reply.json(),
        json!({"message": "Invalid JSON",
               "details": [{"path": "/id", "errors": ["error.expected.jsstring"]}]})
    );
    let reply = post("{\"id\": \"/a\"}");
    assert_eq!((reply.status, &reply.json()["message"]), (422, &json!("Object is not valid")));
    let app = json!({"id": "/a", "cmd": "sleep 1000", "cpus": 0.01, "mem": 16});
    assert_eq!(post(&app.to_string()).status, 201);
    let reply = post(&app.to_string());
    assert_eq!(
        (reply.status, &reply.json()["message"]),
        (409, &json!("An app with id [/a] already exists."))
    );
    for (method, path) in [("GET", "/v2/apps/none"), ("DELETE", "/v2/apps/none")] {
        let reply = waymark.send(method, path, &Value::Null);
        assert_eq!(
            (reply.status, &reply.json()["message"]),
            (404, &json!("App '/none' does not exist")),
            "{method} {path}"
        );
    }
    assert_eq!(request("GET", &waymark.url("/v2/nonsense"), &[], "").unwrap().status, 404);
    assert_eq!(waymark.api("/v2/apps")["apps"].as_array().unwrap().len(), 1);
}

#[test]
fn nonsense_on_the_wire_harms_nothing() {
    let waymark = Waymark::start(&[]);
    let api = waymark.endpoint("api").unwrap().trim_start_matches("http://").parse().unwrap();
    for bytes in [&b"\0\0\0\0"[..], b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", &[b'a'; 100_000]] {
        let _ = raw_exchange(api, bytes);
    }
    let huge = format!("{{\"id\": \"/a\", \"cmd\": \"{}\"}}", "x".repeat(5 * 1024 * 1024));
    let reply = request("POST", &waymark.url("/v2/apps"), &[], &huge);
    assert!(reply.as_ref().map_or(true, |r| r.status == 413), "{reply:?}");
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let reply = request("PUT", &waymark.url("/v2/apps"), &[], &deep).unwrap();
    assert_eq!(reply.status, 400, "{}", reply.body);
    assert_eq!(waymark.api("/v2/apps"), json!({"apps": []}));
}

#[test]
fn a_service_port_of_two_apps_is_shown_or_refused() {
    let app = |id: &str, port: u16| {
        json!({"id": id, "cmd": "sleep 1000", "cpus": 0.01, "mem": 16,
               "portDefinitions": [{"port": port}]})
    };
    let mut waymark = Waymark::start(&[]);
    let port = waymark.ports.service_min + 7;
    assert_eq!(waymark.send("POST", "/v2/apps", &app("/a", port)).status, 201);
    let reply = waymark.send("POST", "/v2/apps", &app("/b", port));
    assert_eq!(reply.status, 201, "Marathon accepts it: {}", reply.body);
    let warning = reply.header("warning").unwrap_or_default();
    assert_says(warning, &[&port.to_string(), "/a"]);
    let status = waymark.client(&["status"]);
    assert_says(&String::from_utf8_lossy(&status.stdout), &[&port.to_string(), "/a", "/b"]);
    assert_says(&waymark.errors(), &[&port.to_string()]);
    assert!(waymark.stop().success());

    waymark.start_again(&["--strict-service-ports"]);
    let reply = waymark.send("POST", "/v2/apps", &app("/c", port));
    assert_eq!(reply.status, 422, "{}", reply.body);
    assert_says(&reply.body, &[&port.to_string()]);
    // What was accepted before does not block anything else.
    assert_eq!(waymark.send("POST", "/v2/apps", &app("/d", 0)).status, 201);
}

#[test]
fn the_range_of_service_ports_can_be_used_up() {
    let waymark = Waymark::start(&["--config=/dev/null"]);
    let (min, size) = (waymark.ports.service_min, waymark_stories::PortRanges::SIZE);
    let ports: Vec<Value> = (0..size).map(|_| json!({"port": 0})).collect();
    let app = json!({"id": "/all", "instances": 0, "cmd": "sleep 1000", "portDefinitions": ports});
    let reply = waymark.send("POST", "/v2/apps", &app);
    assert_eq!(reply.status, 201, "{}", reply.body);
    let more = json!({"id": "/more", "instances": 0, "cmd": "sleep 1000", "portDefinitions": [{"port": 0}]});
    let reply = waymark.send("POST", "/v2/apps", &more);
    let text = format!("All ports in the range [{min}-{}) are already in use", min + size - 1);
    assert_eq!((reply.status, &reply.json()["message"]), (500, &json!(text)));
    assert_eq!(waymark.send("DELETE", "/v2/apps/all", &Value::Null).status, 200);
    waymark.wait_until_deployed();
    assert_eq!(waymark.send("POST", "/v2/apps", &more).status, 201);
    assert_eq!(waymark.service_port("/more"), min);
}
