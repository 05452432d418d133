//! `waymark lb` follows a Marathon, and the stats port tells what is routed. The Marathon is
//! `waymark run`'s own API.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a story fails by panicking"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use waymark_stories::{
    Load, LoadKind, Reply, Waymark, binary, eventually, get, raw_exchange, repository, request,
};

/// A running `waymark lb`.
struct Balancer {
    child: Child,
    data: PathBuf,
    _folder: Option<TempDir>,
}

impl Balancer {
    /// Follows this Marathon with these flags besides; waits until it routes.
    fn follow(marathon: &str, flags: &[&str]) -> Balancer {
        let folder = TempDir::with_prefix("waymark-story-lb-").expect("a temporary folder");
        let data = folder.path().join("data");
        // Service ports are `waymark run`'s own on 127.0.0.1.
        let flags = [flags, &["--listen=127.0.0.2"]].concat();
        let mut balancer = Balancer::start(data, marathon, &flags);
        balancer._folder = Some(folder);
        balancer.wait_until_it_routes();
        balancer
    }

    fn start(data: PathBuf, marathon: &str, flags: &[&str]) -> Balancer {
        let child = Command::new(binary())
            .args(["lb", "--sse", "--marathon", marathon, "--http-port=0", "--https-port=0"])
            .args(["--appid-port=0", "--stats-port=0"])
            .arg(format!("--data-dir={}", data.display()))
            .args(flags)
            .stdin(Stdio::null())
            .spawn()
            .expect("the binary starts");
        Balancer { child, data, _folder: None }
    }

    fn wait_until_it_routes(&self) {
        eventually("the load balancer has routes", || {
            let stats = self.endpoint("stats")?;
            let routes = get(&format!("{stats}/v1/routes")).ok()?.json();
            routes["version"].as_u64().filter(|version| *version > 0)
        });
    }

    fn endpoint(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.data.join("endpoints.json")).ok()?;
        let value: Value = serde_json::from_str(&text).ok()?;
        value[name].as_str().map(str::to_owned)
    }

    fn stats(&self, path: &str) -> Reply {
        let stats = self.endpoint("stats").expect("endpoints.json names the stats port");
        get(&format!("{stats}{path}")).expect("the stats port answers")
    }

    /// Asks for a host name on the shared port.
    fn host(&self, host: &str) -> Option<Reply> {
        let http = self.endpoint("http")?;
        request("GET", &format!("http://{http}/"), &[("Host", host)], "").ok()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // The number of one that has ended may be another's by now.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

fn app(id: &str, labels: Value) -> Value {
    json!({
        "id": id, "cmd": "exec waymark whoami --port $PORT0", "cpus": 0.01, "mem": 32,
        "instances": 2, "labels": labels,
        "portDefinitions": [{"port": 0, "protocol": "tcp"}],
        "healthChecks": [{"protocol": "HTTP", "path": "/health", "portIndex": 0,
                          "intervalSeconds": 1, "gracePeriodSeconds": 30}],
    })
}

/// The rows of the statistics, each by column.
fn csv(text: &str) -> Vec<std::collections::HashMap<String, String>> {
    let mut lines = text.lines();
    let head = lines.next().expect("a head").trim_start_matches("# ");
    let columns: Vec<&str> = head.split(',').collect();
    let row = |line: &str| {
        let cells = line.split(',').map(str::to_owned);
        columns.iter().map(|c| (*c).to_owned()).zip(cells).collect()
    };
    lines.map(row).collect()
}

#[test]
fn an_existing_marathon_is_followed() {
    let marathon = Waymark::start(&[]);
    let labels = json!({"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "web.test"});
    marathon.send("PUT", "/v2/apps/web", &app("/web", labels));
    marathon.send("PUT", "/v2/apps/hidden", &app("/hidden", json!({"HAPROXY_0_VHOST": "no.test"})));
    marathon.wait_for_app("/web", 2);
    let balancer = Balancer::follow(&marathon.url(""), &["--group", "external", "-H"]);

    let served = |host: &str| balancer.host(host).map(|reply| reply.status);
    eventually("the app is reached by its host name", || served("web.test").filter(|s| *s == 200));
    assert_eq!(served("no.test"), Some(503), "an app in no group that was asked for");

    // What scripts of marathon-lb's users read.
    let port = marathon.service_port("/web");
    let backend = format!("web_{port}");
    assert!(
        balancer.stats("/_haproxy_getvhostmap").body.contains(&format!("web.test {backend}\n"))
    );
    assert!(balancer.stats("/_haproxy_getappmap").body.contains(&format!("/web {backend}\n")));
    assert_eq!(balancer.stats("/_haproxy_health_check").status, 200);
    assert_eq!(balancer.stats("/_haproxy_getpids").body.split_whitespace().count(), 1);
    let rows = csv(&balancer.stats("/haproxy?stats;csv").body);
    let up = rows.iter().filter(|row| row["pxname"] == backend && row["status"] == "UP");
    let names: Vec<&str> = up.map(|row| row["svname"].as_str()).collect();
    assert_eq!(names.len(), 3, "two servers and their backend: {names:?}");
    assert!(
        names.iter().any(|name| name.starts_with("127_0_0_1_3") || name.starts_with("127_0_0_1_"))
    );

    // Changes follow by themselves.
    marathon.send("PUT", "/v2/apps/web", &json!({"instances": 1}));
    eventually("a task less", || {
        let service = balancer.stats("/v1/services/web").json();
        service["tasks"].as_u64().filter(|tasks| *tasks == 1)
    });
    marathon.send("DELETE", "/v2/apps/web", &json!({}));
    eventually("no route any more", || served("web.test").filter(|s| *s == 503));
}

#[test]
fn a_new_process_takes_over_without_a_failed_request() {
    let marathon = Waymark::start(&[]);
    // As the load names its host.
    let web = app("/web", json!({"HAPROXY_0_VHOST": "story"}));
    marathon.send("PUT", "/v2/apps/web", &web);
    marathon.wait_for_app("/web", 2);
    let folder = TempDir::with_prefix("waymark-story-lb-").expect("a temporary folder");
    let data = folder.path().join("data");
    let flags = ["--group", "*", "--listen=127.0.0.1", "--takeover"];
    let start = || Balancer::start(data.clone(), &marathon.url(""), &flags);
    let mut old = start();
    old.wait_until_it_routes();
    eventually("the app is reached", || old.host("story").filter(|reply| reply.status == 200));
    let http = old.endpoint("http").expect("the http port");
    let port = http.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let loads = [LoadKind::ConnectionPerRequest, LoadKind::KeepAlive]
        .map(|kind| Load::start(port, "/", kind, 4));
    eventually("the load runs", || (loads[0].answered() > 50).then_some(()));
    for _ in 0..2 {
        let new = start();
        let status = eventually("the old process ends", || old.child.try_wait().ok().flatten());
        assert!(status.success(), "{status}");
        new.wait_until_it_routes();
        assert_eq!(new.endpoint("http").as_deref(), Some(http.as_str()));
        let so_far = loads[0].answered();
        eventually("the new process answers", || (loads[0].answered() > so_far + 50).then_some(()));
        old = new;
    }
    loads.into_iter().for_each(|load| load.finish().assert_flawless(100));
}

#[test]
fn metrics_and_signals() {
    let marathon = Waymark::start(&[]);
    let bad = json!({"HAPROXY_0_VHOST": "bad.test", "HAPROXY_0_BACKEND_WEIGHT": "heavy"});
    marathon.send("PUT", "/v2/apps/bad", &app("/bad", bad));
    marathon.wait_for_app("/bad", 2);
    let balancer = Balancer::follow(&marathon.url(""), &["--group", "*"]);
    let metrics = balancer.stats("/metrics").body;
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a sample");
        assert!(name.starts_with("waymark_") && value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(metrics.ends_with("# EOF\n"));
    assert!(metrics.contains("waymark_source_fresh 1\n"), "{metrics}");
    assert!(metrics.contains("waymark_proxy_quarantined{app=\"/bad\",kept=\"false\"} 1\n"));
    let quarantine = balancer.stats("/v1/quarantine").json();
    assert_eq!(quarantine["quarantined"][0]["app"], "/bad");
    assert_eq!(quarantine["quarantined"][0]["errors"][0]["label"], "HAPROXY_0_BACKEND_WEIGHT");

    let stats = balancer.endpoint("stats").expect("the stats port");
    let signal = format!("{stats}/_mlb_signal/hup");
    assert_eq!(request("POST", &signal, &[], "").expect("an answer").status, 200);
    for header in
        [("Origin", "http://evil.test"), ("Host", "evil.test"), ("Sec-Fetch-Site", "cross-site")]
    {
        let reply = request("GET", &signal, &[header], "").expect("an answer");
        assert_eq!(reply.status, 403, "{header:?}");
    }
}

#[test]
fn where_a_request_goes() {
    let waymark = Waymark::start(&[]);
    let labels = json!({"HAPROXY_0_VHOST": "shop.test", "HAPROXY_0_PATH": "/cart"});
    waymark.send("PUT", "/v2/apps/shop", &app("/shop", labels));
    waymark.wait_for_app("/shop", 2);
    let port = waymark.service_port("/shop");
    eventually("the routes are there", || {
        let routes = waymark.api("/v1/routes?app=/shop");
        routes["routes"].as_array().filter(|routes| routes.len() == 3).map(Vec::len)
    });
    let explain = |args: &[&str]| {
        let output = waymark.client(&[&["explain", "GET"], args].concat());
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (code, text) = explain(&["http://shop.test/cart/1"]);
    assert_eq!(code, Some(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["listener  http", "host      shop.test"]);
    assert_eq!(
        lines[2],
        format!("rules     shop.test prefix /cart, priority 1 -> shop_{port} 100: met")
    );
    assert_eq!(lines[3], "decision  forward: a task answers");
    assert!(lines[4].starts_with(&format!("service   /shop:0 (shop_{port}), port {port}")));
    assert_eq!(text.matches(": PICKED").count(), 1, "{text}");
    assert_eq!(text.matches(": may be picked").count(), 1, "{text}");

    for (question, part) in [
        (&["GET", "shop.test"][..], "is not a URL to explain"),
        (&["GET", "http://shop.test:99999/"], "\"99999\" is not a port"),
        (&["GET", "http://ann:swordfish@shop.test/"], "has no user and password"),
        (&["http://shop.test/", "GET"], "is not a method; write one such as GET, and then the URL"),
        (&["", "http://shop.test/"], "\"\" is not a method"),
        (&["GET", "http://shop.test/", "--from", "300.1.1.1"], "is not an address to come from"),
        (&["GET", "http://shop.test/", "-H", "nothing"], "is not a header"),
    ] {
        let output = waymark.client(&[&["explain"], question].concat());
        let text = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{question:?}: {text}");
        assert!(text.contains(part) && !text.contains("swordfish"), "{question:?}: {text}");
    }
    let (code, text) = explain(&["http://shop.test/other"]);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("the host has no rule for this path"), "{text}");
    let (code, text) = explain(&[&format!("http://127.0.0.1:{port}/"), "--json"]);
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &document["listener"]), (Some(0), &json!(format!("service {port}"))));
}

#[test]
fn what_is_wrong_is_told_before_anything_starts() {
    for (args, part) in [
        (&["lb"][..], "marathon is needed"),
        (&["lb", "--marathon", "http://127.0.0.1:1"], "group is needed"),
        (&["lb", "--marathon", "ftp://a", "--group", "*"], "--marathon: \"ftp\" is not a scheme"),
        (&["lb", "--http-prot", "80"], "--http-port"),
        (
            &["lb", "-m", "http://a", "--group", "*", "--auth-credentials", "swordfish"],
            "--auth-credentials: needs the form user:password",
        ),
        (
            &["lb", "-m", "http://a", "--group", "*", "--http-port", "9090"],
            "--http-port and stats-port (default) are both 9090",
        ),
        (
            &["lb", "-m", "http://a", "--group", "*", "--marathon-ca-cert", "/nowhere.pem"],
            "--marathon-ca-cert: /nowhere.pem",
        ),
        (&["run", "--http-port", "65536"], "--http-port: \"65536\" is not a port"),
        (&["run", "--marathon", "http://a"], "--marathon"),
    ] {
        let folder = TempDir::new().expect("a temporary folder");
        let output = Command::new(binary())
            .args(args)
            .env("WAYMARK_DATA_DIR", folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(part) && !text.contains("swordfish"), "{args:?}: {text}");
    }
}

/// Debian's Python, whose packages test.sh installs.
const PYTHON: &str = "/usr/bin/python3";

/// Calls the example's service by its host name at the address it is given.
const CALL: &str = "import grpc, sys
options = [('grpc.default_authority', 'grpc.localhost')]
channel = grpc.insecure_channel(sys.argv[1], options=options)
call = channel.unary_unary('/example.Echo/Any')
assert call(b'hello', timeout=5) == b'hello'";

#[test]
fn the_examples_work() {
    let examples = repository().join("examples/traffic");
    let file = |name: &str| examples.join(name).display().to_string();
    let files = ["vhost.json", "canary.json", "tcp-udp.json"].map(file);
    let waymark = Waymark::start(&files.each_ref().map(String::as_str));
    // Another Python may come first in $PATH; the packages are Debian's.
    let grpc = fs::read_to_string(examples.join("grpc.json")).expect("the example");
    let mut grpc: Value = serde_json::from_str(&grpc).expect("JSON");
    let cmd = grpc["cmd"].as_str().expect("a command").replace("python3", PYTHON);
    grpc["cmd"] = cmd.into();
    assert_eq!(waymark.send("POST", "/v2/apps", &grpc).status, 201);
    waymark.wait_until_deployed();
    let http = waymark.endpoint("http").expect("the http port");
    let ask = |host: &str| {
        let reply = request("GET", &format!("http://{http}/"), &[("Host", host)], "").ok()?;
        let first = reply.body.lines().next()?.to_owned();
        (reply.status == 200).then_some(first)
    };
    eventually("the site answers", || ask("site.localhost").filter(|name| name == "name: site"));
    let mut seen = std::collections::BTreeSet::new();
    eventually("both versions answer", || {
        seen.extend(ask("canary.localhost"));
        (seen.len() == 2).then_some(())
    });
    let port = waymark.service_port("/echo");
    eventually("datagrams come back", || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").ok()?;
        socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).ok()?;
        socket.send_to(b"hello", ("127.0.0.1", port)).ok()?;
        let mut buffer = [0; 16];
        let (length, _) = socket.recv_from(&mut buffer).ok()?;
        (&buffer[..length] == b"hello").then_some(())
    });
    let echoed = raw_exchange(([127, 0, 0, 1], port).into(), b"line\n");
    assert_eq!(echoed.expect("an echo"), b"line\n");
    eventually("a gRPC call comes back", || {
        let output = Command::new(PYTHON).args(["-c", CALL, &http]).output().ok()?;
        output.status.success().then_some(()).ok_or(output.stderr).ok()
    });
}
