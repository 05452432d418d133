//! HTTP/2, gRPC and WebSockets with the clients that people use: curl, h2load, grpcio, websockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::process::Command;

use serde_json::{Value, json};
use waymark_stories::{Waymark, eventually, get, repository};

/// Debian's Python, whose packages test.sh installs.
const PYTHON: &str = "/usr/bin/python3";

fn script(name: &str) -> String {
    repository().join("tests/support").join(name).display().to_string()
}

fn start() -> Waymark {
    Waymark::start(&["--workers=2", "--http-port=0"])
}

fn app(id: &str, cmd: &str, labels: Value) -> Value {
    json!({
        "id": id, "cmd": cmd, "instances": 2, "cpus": 0.01, "mem": 16, "labels": labels,
        "healthChecks": [{"protocol": "TCP", "intervalSeconds": 1, "gracePeriodSeconds": 60}],
    })
}

/// Deploys an app and waits until it serves; its service port.
fn deploy(waymark: &Waymark, app: &Value) -> u16 {
    let reply = waymark.send("POST", "/v2/apps", app);
    assert_eq!(reply.status, 201, "{}", reply.body);
    let id = app["id"].as_str().unwrap();
    waymark.wait_for_app(id, app["instances"].as_u64().unwrap());
    waymark.service_port(id)
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().expect("the program is there");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn whoami(labels: &Value) -> Value {
    let mut labels = labels.clone();
    labels["HAPROXY_0_MODE"] = "http".into();
    app("/web", "exec waymark whoami --port $PORT0", labels)
}

/// curl's exit, its version of HTTP and the status.
fn curl(args: &[&str]) -> String {
    run("curl", &[&["-s", "-o", "/dev/null", "-w", "%{http_version} %{http_code}"], args].concat())
}

#[test]
fn curl_speaks_both_versions() {
    let waymark = start();
    let port = deploy(&waymark, &whoami(&json!({"HAPROXY_0_VHOST": "web.test"})));
    let service = format!("http://127.0.0.1:{port}/");
    eventually("the service port answers", || get(&service).ok().filter(|r| r.status == 200));
    assert_eq!(curl(&["--http1.1", &service]), "1.1 200");
    assert_eq!(curl(&["--http2-prior-knowledge", &service]), "2 200");
    let shared = waymark.endpoint("http").expect("the shared port");
    let host = "Host: web.test";
    eventually("the host is routed", || {
        (curl(&["--http2-prior-knowledge", "-H", host, &shared]) == "2 200").then_some(())
    });
    let nobody = "Host: nobody.test";
    assert_eq!(curl(&["--http2-prior-knowledge", "-H", nobody, &shared]), "2 503");
}

/// Over TLS the handshake says which version is spoken.
#[test]
fn alpn_chooses_the_version() {
    let waymark = start();
    deploy(&waymark, &whoami(&json!({"HAPROXY_0_VHOST": "web.test"})));
    let https = waymark.endpoint("https").expect("the https port");
    let port = https.rsplit_once(':').expect("a port").1;
    let resolve = format!("web.test:{port}:127.0.0.1");
    let url = |path: &str| format!("https://web.test:{port}{path}");
    // The certificate is Waymark's own, made because none was given.
    let ask = |more: &[&str]| curl(&[&["-k", "--resolve", &resolve], more].concat());
    eventually("the host answers", || (ask(&["--http2", &url("/")]) == "2 200").then_some(()));
    assert_eq!(ask(&["--http1.1", &url("/")]), "1.1 200");
    assert_eq!(ask(&["--http2", "--no-alpn", &url("/")]), "1.1 200");

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let body: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(file("sent"), &body).unwrap();
    let sent = format!("@{}", file("sent"));
    run(
        "curl",
        &[
            "-sSk",
            "--fail",
            "--http2",
            "--resolve",
            &resolve,
            "--data-binary",
            &sent,
            "-o",
            &file("got"),
            &url("/echo"),
        ],
    );
    assert!(std::fs::read(file("got")).unwrap() == body, "a body goes both ways unharmed");

    let each = "%{http_version} %{http_code}\n";
    let many = url("/bytes?n=1000&x=[1-50]");
    let args = ["-sSk", "-Z", "--http2", "--resolve", &resolve, "-o", "/dev/null", "-w", each];
    let answers = run("curl", &[&args[..], &[&many]].concat());
    assert_eq!(answers.lines().filter(|line| *line == "2 200").count(), 50, "{answers}");
}

#[test]
fn h2load_finds_no_failure() {
    let waymark = start();
    let port = deploy(&waymark, &whoami(&json!({})));
    let service = format!("http://127.0.0.1:{port}/");
    eventually("the service port answers", || get(&service).ok().filter(|r| r.status == 200));
    let report = run("h2load", &["-n", "3000", "-c", "5", "-m", "20", &service]);
    assert!(report.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
    assert!(report.contains("status codes: 3000 2xx"), "{report}");
}

#[test]
fn grpc_streams_both_ways_with_trailers_and_errors() {
    let waymark = start();
    let cmd = format!("exec {PYTHON} {} serve $PORT0", script("grpc_echo.py"));
    let labels = json!({"HAPROXY_0_MODE": "http", "WAYMARK_0_BACKEND_PROTOCOL": "grpc"});
    let port = deploy(&waymark, &app("/grpc", &cmd, labels));
    let target = format!("127.0.0.1:{port}");
    let found = run(PYTHON, &[&script("grpc_echo.py"), "check", &target]);
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["unary"], 100_000);
    assert_eq!(found["trailers"], "100000");
    assert_eq!(found["repeat"], json!((0..200).collect::<Vec<i32>>()));
    assert_eq!(found["join"], "a,b,c");
    assert_eq!(found["chat"], json!(["echo one", "echo two", "echo three"]));
    assert_eq!(found["fail"], json!(["NOT_FOUND", "nothing is here: 100 %", "told"]));
    assert_eq!(found["missing"][0], "UNIMPLEMENTED");
    // Without a task, the client hears it in its own words.
    let reply = waymark.send("PUT", "/v2/apps/grpc", &json!({"instances": 0}));
    assert_eq!(reply.status, 200, "{}", reply.body);
    waymark.wait_for_app("/grpc", 0);
    let service = format!("http://127.0.0.1:{port}/story.Echo/Unary");
    let head = run(
        "curl",
        &[
            "-s",
            "-D",
            "-",
            "-o",
            "/dev/null",
            "--http2-prior-knowledge",
            "-X",
            "POST",
            "-H",
            "Content-Type: application/grpc",
            &service,
        ],
    );
    assert!(head.starts_with("HTTP/2 200") && head.contains("grpc-status: 14"), "{head}");
}

#[test]
fn clients_of_http_1_reach_tasks_of_http_2() {
    let waymark = start();
    let cmd = format!("exec {PYTHON} {} serve $PORT0", script("grpc_echo.py"));
    let labels = json!({"HAPROXY_0_MODE": "http", "WAYMARK_0_BACKEND_PROTOCOL": "http2"});
    let port = deploy(&waymark, &app("/grpc", &cmd, labels));
    // grpcio answers what is no gRPC, and what it has no method for, in trailers alone.
    let head = run(
        "curl",
        &[
            "-s",
            "-D",
            "-",
            "-o",
            "/dev/null",
            "--http1.1",
            "-X",
            "POST",
            "-H",
            "Content-Type: application/grpc",
            "-H",
            "TE: trailers",
            &format!("http://127.0.0.1:{port}/story.Echo/Missing"),
        ],
    );
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("grpc-status: 12"), "{head}");
}

#[test]
fn websockets_pass() {
    let waymark = start();
    let cmd = format!("exec {PYTHON} {} serve $PORT0", script("websocket_echo.py"));
    let labels = json!({"HAPROXY_0_MODE": "http"});
    let port = deploy(&waymark, &app("/ws", &cmd, labels));
    let url = format!("ws://127.0.0.1:{port}/");
    let found = run(PYTHON, &[&script("websocket_echo.py"), "check", &url]);
    let expected = json!({"protocol": "chat", "text": "hello", "binary": 300_000, "close": 1000});
    assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), expected);
}
