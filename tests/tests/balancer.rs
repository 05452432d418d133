//! What users of `waymark lb` do beside sending traffic: they look first, ask how it is, run it as
//! somebody who may not have port 80, over IPv6, and after a `waymark run` whose tasks come and go.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a story fails by panicking"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use waymark_stories::{
    FakeMarathon, Lb, Load, LoadKind, Namespace, PATIENCE, Waymark, binary, eventually, fake_app,
    fake_task, get, raw_exchange, request,
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `waymark` with these arguments, to its end.
fn waymark(args: &[&str]) -> Output {
    Command::new(binary()).args(args).stdin(Stdio::null()).output().expect("the binary runs")
}

/// An app of whoami, reached by the host name that the load names.
fn web(instances: u32) -> Value {
    json!({
        "id": "/web", "cmd": "exec waymark whoami --port $PORT0", "cpus": 0.01, "mem": 16,
        "instances": instances, "labels": {"HAPROXY_0_VHOST": "story"},
        "portDefinitions": [{"port": 0}],
        "healthChecks": [{"protocol": "HTTP", "path": "/health", "portIndex": 0,
                          "intervalSeconds": 1, "gracePeriodSeconds": 30}],
    })
}

#[test]
fn dry_prints_the_routes_and_ends() {
    let marathon = FakeMarathon::start();
    let mut app = fake_app("/shop/web", 10_000, &[fake_task("one"), fake_task("two")]);
    app["labels"] = json!({"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "shop.test",
                           "HAPROXY_0_PATH": "/cart", "HAPROXY_0_BACKEND_HEAD": "x"});
    marathon.put(app);
    let mut bad = fake_app("/bad", 10_001, &[]);
    bad["labels"] = json!({"HAPROXY_GROUP": "external", "HAPROXY_0_AUTH": "nothing"});
    marathon.put(bad);
    let mut hidden = fake_app("/hidden", 10_002, &[]);
    hidden["labels"] = json!({"HAPROXY_GROUP": "internal"});
    marathon.put(hidden);
    // As marathon-lb's container starts it.
    let url = marathon.url();
    let output = waymark(&[
        "lb",
        "--dry",
        "--sse",
        "--marathon",
        &url,
        "--group",
        "external",
        "--health-check",
        "--haproxy-config",
        "/marathon-lb/haproxy.cfg",
        "--command",
        "reload_haproxy.sh",
        "--log-format",
        "%(asctime)-15s %(name)s: %(message)s",
        "--data-dir",
        "/nowhere/at/all",
    ]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{err}");
    for part in [
        "http, https  shop.test /cart*",
        "tcp 10000    everything",
        "appid        X-Marathon-App-Id: /shop/web",
        "/shop/web:0",
        "labels that cannot be read\n  /bad HAPROXY_0_AUTH",
        "labels without effect\n  /shop/web HAPROXY_0_BACKEND_HEAD",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    assert!(!out.contains("/hidden"), "{out}");
    let output = waymark(&["lb", "--dry", "-m", "http://127.0.0.1:1", "--group", "*"]);
    let nobody = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{nobody}");
    assert!(nobody.contains("Marathon has not told its apps: 127.0.0.1:1"), "{nobody}");
    for flag in ["--sse", "--haproxy-config", "--command", "--log-format"] {
        assert!(err.contains(flag), "{flag} is told\n{err}");
    }
}

#[test]
fn status_tells_how_a_load_balancer_is() {
    let marathon = FakeMarathon::start();
    let lb = Lb::start(&[marathon.url()], &[]);
    let port = lb.ports.service_min;
    let mut bad = fake_app("/bad", port + 1, &[]);
    bad["labels"] = json!({"HAPROXY_0_BACKEND_WEIGHT": "heavy"});
    marathon.put(bad);
    marathon.put(fake_app("/one", port, &[fake_task("one")]));
    lb.until(port, Some("one"));
    let stats = lb.endpoint("stats");
    let output = waymark(&["status", "--api", &stats]);
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for part in [
        "(load balancer) at http://127.0.0.1:",
        "source   marathon http://",
        ": fresh, last word ",
        "http     port ",
        &format!("tcp {port}"),
        "/one:0",
        "labels that cannot be read\n  /bad HAPROXY_0_BACKEND_WEIGHT",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    let output = waymark(&["status", "--json", "--api", &stats]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["status"]["source"]["state"], "fresh");
    assert_eq!(document["quarantine"]["quarantined"][0]["app"], "/bad");
    let page = get(&format!("{stats}/haproxy?stats")).expect("the page").body;
    assert!(page.contains("Source marathon http://") && page.contains(": fresh, last word "));

    let output = waymark(&["tasks", "--api", &stats]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("asked of Marathon's API"), "{}", text(&output.stderr));
}

#[test]
fn who_may_not_have_port_80_is_told_what_to_do() {
    let network = Namespace::new();
    // Where anybody can start it.
    let folder = network.folder();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("the folder opens");
    let program = folder.join("waymark");
    fs::copy(binary(), &program).expect("the binary can be copied");
    let run = |more: &[&str]| {
        network
            .command("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["lb", "-m", "http://127.0.0.1:1", "--group", "*", "--data-dir"])
            .arg(format!("/tmp/waymark-nobody-{}", std::process::id()))
            .args(more)
            .output()
            .expect("it runs")
    };
    let output = run(&[]);
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{err}");
    for part in [
        "http-port (default): cannot listen on 0.0.0.0:80: Permission denied",
        "CAP_NET_BIND_SERVICE",
        "setcap",
        "--http-port 8000 --https-port 8443",
    ] {
        assert!(err.contains(part), "{part}\n{err}");
    }
    let output = run(&["--https-port", "off", "--http-port", "443"]);
    assert!(text(&output.stderr).contains("--http-port: cannot listen on 0.0.0.0:443"));
    let _ = fs::remove_dir_all(format!("/tmp/waymark-nobody-{}", std::process::id()));
}

#[test]
fn everything_over_ipv6() {
    let waymark = Waymark::start(&["--listen=::1", "--host-ip=::1"]);
    let tcp = json!({
        "id": "/echo", "cpus": 0.01, "mem": 16, "instances": 1,
        "cmd": "exec python3 -c 'import os, socketserver\nclass H(socketserver.StreamRequestHandler):\n def handle(self):\n  self.wfile.write(self.rfile.readline())\nclass S(socketserver.ThreadingTCPServer):\n address_family = 10\nS((\"::1\", int(os.environ[\"PORT0\"])), H).serve_forever()'",
        "portDefinitions": [{"port": 0}],
        "healthChecks": [{"protocol": "TCP", "portIndex": 0, "intervalSeconds": 1,
                          "gracePeriodSeconds": 60}],
    });
    let mut http = web(2);
    http["cmd"] = "exec waymark whoami --listen ::1 --port $PORT0".into();
    for app in [&tcp, &http] {
        let reply = waymark.send("POST", "/v2/apps", app);
        assert_eq!(reply.status, 201, "{}", reply.body);
    }
    waymark.wait_for_app("/web", 2);
    waymark.wait_for_app("/echo", 1);
    let front = waymark.endpoint("http").expect("the http port");
    assert!(front.starts_with("[::1]:"), "{front}");
    let by_host = eventually("the app is reached by its host name", || {
        let reply = request("GET", &format!("http://{front}/?json"), &[("Host", "story")], "");
        reply.ok().filter(|reply| reply.status == 200)
    });
    assert!(by_host.body.contains("::1"), "{}", by_host.body);
    let port = waymark.service_port("/web");
    eventually("and by its service port", || {
        get(&format!("http://[::1]:{port}/")).ok().filter(|reply| reply.status == 200)
    });
    let echo = (std::net::Ipv6Addr::LOCALHOST, waymark.service_port("/echo"));
    eventually("lines come back", || {
        raw_exchange(echo.into(), b"line\n").ok().filter(|echoed| echoed == b"line\n")
    });
    let explained = waymark.client(&["explain", "GET", "http://story/", "--from", "2001:db8::7"]);
    assert_eq!(explained.status.code(), Some(0), "{}", text(&explained.stderr));
}

/// The tasks of `/web` in this state.
fn in_state(waymark: &Waymark, state: &str) -> Vec<String> {
    let tasks = waymark.api("/v2/tasks")["tasks"].as_array().cloned().unwrap_or_default();
    let of_state = tasks.iter().filter(|task| task["state"] == state);
    of_state.filter_map(|task| task["id"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_separate_balancer_hears_of_a_scale_down_in_time() {
    let waymark = Waymark::start(&["--drain-timeout=60s"]);
    assert_eq!(waymark.send("POST", "/v2/apps", &web(4)).status, 201);
    waymark.wait_for_app("/web", 4);
    let lb = Lb::start(&[waymark.url("")], &["--health-check"]);
    eventually("the follower reaches the app", || {
        lb.ask_host("story", "/").filter(|reply| reply.status == 200)
    });
    let front: std::net::SocketAddr = lb.endpoint("http").parse().expect("an address");
    let loads = [LoadKind::ConnectionPerRequest, LoadKind::KeepAlive]
        .map(|kind| Load::start(front.port(), "/", kind, 3));
    eventually("the load runs", || (loads[0].answered() > 50).then_some(()));

    // A request that is not whole yet holds its task; meanwhile everybody can see what is to come.
    let port = waymark.service_port("/web");
    let held: Vec<TcpStream> = (0..8)
        .map(|_| {
            let begun = b"POST /echo HTTP/1.1\r\nHost: story\r\nConnection: close\r\n\
                          Content-Length: 4\r\n\r\nab";
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("a socket has time-outs");
            stream.write_all(begun).expect("it is sent");
            stream
        })
        .collect();
    eventually("every task has some of them", || {
        let service = waymark.api("/v1/services/web");
        let endpoints = service["endpoints"].as_array()?;
        endpoints.iter().all(|e| e["active"].as_u64() >= Some(1)).then_some(())
    });
    let scale = |instances: u32| {
        let reply = waymark.send("PUT", "/v2/apps/web", &json!({"instances": instances}));
        assert_eq!(reply.status, 200, "{}", reply.body);
    };
    scale(1);
    let going = eventually("tasks that go are told as such", || {
        Some(in_state(&waymark, "TASK_KILLING")).filter(|going| going.len() == 3)
    });
    let stats = lb.endpoint("stats");
    eventually("the follower takes nothing new to them", || {
        let service = get(&format!("{stats}/v1/services/web")).ok()?.json();
        let endpoints = service["endpoints"].as_array()?;
        let draining = endpoints.iter().filter(|e| e["state"] == "draining");
        draining
            .filter_map(|e| e["task"].as_str())
            .all(|task| going.iter().any(|id| id == task))
            .then_some(())
            .filter(|()| endpoints.iter().filter(|e| e["state"] == "draining").count() == 3)
    });
    assert_eq!(in_state(&waymark, "TASK_KILLING"), going, "they drain for as long as it takes");
    for mut stream in held {
        stream.write_all(b"cd").expect("the rest is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the whole answer");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("abcd"), "{answer}");
    }
    // Without anybody to wait for, too.
    for instances in [1, 3, 1] {
        scale(instances);
        waymark.wait_for_app("/web", instances.into());
        let so_far = loads[0].answered();
        eventually("it goes on", || (loads[0].answered() > so_far + 50).then_some(()));
    }
    loads.into_iter().for_each(|load| load.finish().assert_flawless(100));
}
