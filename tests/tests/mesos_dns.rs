//! `waymark mesos-dns` as an operator meets it: what is refused and how, what serves without any
//! master, and the HTTP API with the state of a scripted master.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use waymark_stories::{Reply, binary, eventually, get, repository, request, resolve};

/// What `-version` prints.
const VERSION: &[u8] = concat!(env!("CARGO_PKG_VERSION"), "\n").as_bytes();

/// A master that serves one state, and no stream of events.
struct Master {
    address: SocketAddr,
    state: Arc<Mutex<Value>>,
}

impl Master {
    fn start() -> Master {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(Value::Null));
        let served = state.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                let body = served.lock().unwrap().to_string();
                let status = match head.starts_with(b"GET /master/state") {
                    true => "200 OK",
                    false => "404 Not Found",
                };
                // A client that has gone needs no answer.
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        let master = Master { address, state };
        master.say(json!([]));
        master
    }

    /// Has these tasks of `marathon` run on one agent.
    fn say(&self, tasks: Value) {
        *self.state.lock().unwrap() = json!({
            "id": "m", "pid": format!("master@{}", self.address),
            "leader": format!("master@{}", self.address),
            "slaves": [{"id": "a-S3", "pid": "slave(1)@10.0.0.4:5051", "hostname": "10.0.0.4"}],
            "frameworks": [{
                "id": "f", "name": "marathon", "pid": "scheduler-1@10.0.0.2:8090",
                "hostname": "10.0.0.2", "active": true, "tasks": tasks
            }]
        });
    }
}

/// The task `web.1` with a container address and a named port.
fn web() -> Value {
    json!({
        "id": "web.1", "name": "web.shop", "framework_id": "f", "slave_id": "a-S3",
        "state": "TASK_RUNNING", "resources": {"ports": "[31005-31005]"},
        "statuses": [{"state": "TASK_RUNNING", "timestamp": 1.0, "container_status": {
            "network_infos": [{"ip_addresses": [{"ip_address": "9.0.0.7"}]}]}}],
        "discovery": {"name": "web.shop", "visibility": "FRAMEWORK", "ports": {"ports": [
            {"number": 8080, "name": "http", "protocol": "tcp"}]}}
    })
}

/// A folder with a configuration file.
struct Setting {
    folder: TempDir,
}

impl Setting {
    /// Addresses are loopback's and ports free ones, unless `members` say otherwise.
    fn new(members: Value) -> Setting {
        let folder = TempDir::with_prefix("waymark-mesos-dns-").unwrap();
        let mut config = json!({
            "listener": "127.0.0.1", "port": 0, "httplistener": "127.0.0.1", "httpport": 0,
            "dataDir": folder.path().join("data"), "refreshSeconds": 1, "externalon": false,
        });
        for (name, value) in members.as_object().unwrap() {
            config[name] = value.clone();
        }
        let setting = Setting { folder };
        setting.write(&serde_json::to_string_pretty(&config).unwrap());
        setting
    }

    fn write(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("config.json")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.args(["mesos-dns", "-config"]).arg(self.file()).stdin(Stdio::null());
        command
    }

    /// Runs it where it must refuse; gives its message.
    fn refused(&self, code: i32) -> String {
        let output = self.command().output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(!text.contains("panicked"), "{text}");
        text
    }

    fn start(self) -> Served {
        let log = self.folder.path().join("log");
        let child = self.command().stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut served = Served { setting: self, child: Some(child), endpoints: Value::Null };
        served.endpoints = eventually("it serves", || {
            let text = fs::read_to_string(served.data().join("endpoints.json")).ok()?;
            serde_json::from_str(&text).ok()
        });
        served
    }
}

/// A running one.
struct Served {
    setting: Setting,
    child: Option<Child>,
    endpoints: Value,
}

impl Served {
    fn data(&self) -> PathBuf {
        self.setting.folder.path().join("data")
    }

    fn dns(&self) -> SocketAddr {
        self.endpoints["dns"].as_str().unwrap().parse().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.endpoints["api"].as_str().unwrap())
    }

    fn get(&self, path: &str) -> Reply {
        get(&self.url(path)).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.setting.folder.path().join("log")).unwrap()
    }

    fn wait_until_ready(&self) {
        eventually("it is ready", || (self.get("/v1/ready").status == 200).then_some(()));
    }

    /// Asks it to stop; gives its exit code and its folder.
    fn stop(mut self) -> (Option<i32>, String) {
        let mut child = self.child.take().unwrap();
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
        let status = eventually("it stops", || child.try_wait().unwrap());
        (status.code(), self.log())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).arg("mesos-dns").args(arguments).output().unwrap()
}

#[test]
fn the_command_line_is_that_of_mesos_dns() {
    for arguments in [&["-version"][..], &["--version"], &["-v", "2", "-version=true"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(output.stdout, VERSION);
    }
    let help = run(&["--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.status.success() && text.contains("-config FILE"), "{text}");
    for arguments in [&["-configg", "x"][..], &["-config"], &["-v", "x"]] {
        let output = run(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("Usage: waymark mesos-dns"), "{text}");
    }
    // Installed in place of Mesos-DNS, under its name.
    let folder = TempDir::new().unwrap();
    let link = folder.path().join("mesos-dns");
    std::os::unix::fs::symlink(binary(), &link).unwrap();
    assert_eq!(Command::new(&link).arg("-version").output().unwrap().stdout, VERSION);
}

#[test]
fn a_wrong_configuration_is_refused_with_file_and_name() {
    let setting = Setting::new(json!({}));
    for (text, parts) in [
        ("", &["config.json:1:"][..]),
        ("[]", &["config.json:1:", "JSON object"]),
        ("{}", &["config.json: masters:", "zk"]),
        ("{\"masters\": [\"10.0.0.1:5050\"],\n \"refreshSeconds\": 0}", &[":2: refreshSeconds:"]),
        ("{\"masters\": [\"10.0.0.1:5050\"],\n\n \"port\": \"53\"}", &[":3: port:", "\"53\""]),
        ("{\"masters\": [\"10.0.0.1:5050\"], \"listener\": \"x\"}", &[":1: listener:"]),
        ("{\"masters\": [\"10.0.0.1:5050\"], \"IPSources\": [\"rkt\"]}", &["IPSources:", "rkt"]),
        (
            "{\"masters\": [\"10.0.0.1:5050\"], \"MesosHTTPSOn\": true, \"CACertFile\": \"/dev/null\"}",
            &["CACertFile"],
        ),
    ] {
        setting.write(text);
        let message = setting.refused(2);
        for part in parts {
            assert!(message.contains(part), "{part:?} is missing in: {message}");
        }
    }
    fs::remove_file(setting.file()).unwrap();
    assert!(setting.refused(2).contains("-config FILE"));
}

#[test]
fn a_taken_port_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let setting = Setting::new(json!({"masters": ["127.0.0.1:1"], "port": port}));
    let message = setting.refused(1);
    assert!(message.contains("error: port: cannot listen on"), "{message}");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let setting = Setting::new(json!({"masters": ["127.0.0.1:1"], "httpport": port}));
    let message = setting.refused(1);
    assert!(message.contains("httpport: cannot listen on"), "{message}");
}

/// A resolver that answers every query with the query's own header as an empty NOERROR.
fn resolver() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            packet[2] |= 0x80;
            packet[3] = 0x80;
            let _ = socket.send_to(&packet[..length], from);
        }
    });
    address
}

#[test]
fn without_a_master_it_serves_what_it_can() {
    let served = Setting::new(json!({
        "masters": ["127.0.0.1:1"], "externalon": true, "resolvers": [resolver().to_string()],
        "colour": "blue", "httpUser": "", "resolver": [],
    }))
    .start();
    assert_eq!(resolve(served.dns(), "web.marathon.mesos", "A").rcode, "SERVFAIL");
    assert_eq!(resolve(served.dns(), "example.org", "A").rcode, "NOERROR");
    assert_eq!(served.get("/v1/ready").status, 503);
    assert_eq!(served.get("/v1/hosts/web.marathon.mesos").status, 503);
    assert_eq!(served.get("/v1/version").json()["Source"], "silent");
    assert!(served.get("/metrics").body.contains("\nwaymark_source_fresh 0\n"));
    let (code, log) = served.stop();
    assert_eq!(code, Some(0));
    for part in [
        "unknown member \"colour\" is ignored",
        "did you mean \"resolvers\"?",
        "serving DNS",
        "serving HTTP",
        "127.0.0.1:1",
        "stopped",
    ] {
        assert!(log.contains(part), "{part:?} is missing in: {log}");
    }
}

#[test]
fn names_and_api_of_a_master_without_events() {
    let master = Master::start();
    master.say(json!([web()]));
    let served = Setting::new(json!({"masters": [master.address.to_string()]})).start();
    served.wait_until_ready();
    let answer = resolve(served.dns(), "web.shop.marathon.mesos", "A");
    assert_eq!((answer.addresses.len(), answer.ttl), (1, Some(60)));
    let answer = resolve(served.dns(), "_http._web-shop._tcp.marathon.mesos", "SRV");
    assert_eq!(answer.services.len(), 1);

    let host = served.get("/v1/hosts/web-shop.marathon.mesos").json();
    assert_eq!(host, json!([{"host": "web-shop.marathon.mesos.", "ip": "9.0.0.7"}]));
    let service = served.get("/v1/services/_web-shop._tcp.marathon.mesos").json();
    assert_eq!(service[0]["port"], "8080");
    let list = served.get("/v1/enumerate").json();
    assert_eq!(list["frameworks"][0]["tasks"][0]["id"], "web.1");
    let axfr = served.get("/v1/axfr").json();
    assert_eq!(axfr["Records"]["As"]["leader.mesos."], json!(["127.0.0.1"]));
    let version = served.get("/v1/version").json();
    assert_eq!((&version["Source"], &version["SourceMode"]), (&json!("fresh"), &json!("poll")));

    // A watch is answered when the name changes.
    let path = "/v1/watch?name=web.shop.marathon.mesos&wait=50s";
    let index = served.get(path).json()["index"].as_str().unwrap().to_owned();
    let url = served.url(&format!("{path}&index={index}"));
    let waiting = std::thread::spawn(move || get(&url).unwrap());
    master.say(json!([]));
    let told = waiting.join().unwrap().json();
    assert_eq!((&told["exists"], &told["records"]), (&json!(false), &json!([])));
    // The name was given out a moment ago.
    let lease = served.get("/v1/lease?task=web.1").json();
    assert!(lease["leased"] == true && lease["seconds"].as_f64().unwrap() > 0.0, "{lease}");
}

#[test]
fn the_last_state_outlives_the_master_and_a_restart() {
    let master = Master::start();
    master.say(json!([web()]));
    let served = Setting::new(json!({"masters": [master.address.to_string()]})).start();
    served.wait_until_ready();
    let kept = TempDir::new().unwrap();
    let file = served.data().join("mesos-state.json");
    let copy = kept.path().join("mesos-state.json");
    eventually("the state is kept", || fs::copy(&file, &copy).ok());
    drop(served);
    // The same master, which makes no sense any more.
    *master.state.lock().unwrap() = Value::Null;
    let masters = [master.address.to_string()];
    let again = Setting::new(json!({"masters": masters, "dataDir": kept.path()}));
    let log = again.folder.path().join("log");
    let child = again.command().stderr(File::create(log).unwrap()).spawn().unwrap();
    let mut served = Served { setting: again, child: Some(child), endpoints: Value::Null };
    served.endpoints = eventually("it serves", || {
        serde_json::from_str(&fs::read_to_string(kept.path().join("endpoints.json")).ok()?).ok()
    });
    served.wait_until_ready();
    let answer = resolve(served.dns(), "web.shop.marathon.mesos", "A");
    assert_eq!(answer.addresses.len(), 1);
    assert_eq!(served.get("/v1/version").json()["Source"], "stale");
}

#[test]
fn a_password_guards_the_api() {
    let folder = TempDir::new().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "sesame\n").unwrap();
    let served = Setting::new(json!({
        "masters": ["127.0.0.1:1"], "httpUser": "ann", "httpPasswordFile": password,
        "mesosAuthentication": "basic", "mesosCredentials": {"principal": "p", "secret": "hush"},
    }))
    .start();
    assert_eq!(served.get("/v1/config").status, 401);
    let right = [("Authorization", "Basic YW5uOnNlc2FtZQ==")];
    let config = request("GET", &served.url("/v1/config"), &right, "").unwrap();
    assert_eq!(config.status, 200);
    assert_eq!(config.json()["MesosCredentials"], json!({"Principal": "p", "Secret": "******"}));
    assert!(!config.body.contains("hush") && !served.log().contains("hush"));
}

#[test]
fn the_example_starts() {
    let path = repository().join("examples/mesos-dns/config.json");
    let text = fs::read_to_string(path).unwrap();
    let mut example: Value = serde_json::from_str(&text).unwrap();
    for (name, value) in [
        ("listener", json!("127.0.0.1")),
        ("httplistener", json!("127.0.0.1")),
        ("port", json!(0)),
        ("httpport", json!(0)),
        ("masters", json!(["127.0.0.1:1"])),
    ] {
        assert!(example.as_object_mut().unwrap().insert(name.to_owned(), value).is_some());
    }
    example.as_object_mut().unwrap().remove("dataDir");
    let served = Setting::new(example).start();
    assert_eq!(served.get("/v1/config").json()["Domain"], "mesos");
    assert!(!served.log().contains("WARN waymark::mesos_dns:"), "{}", served.log());
}

#[test]
fn the_same_settings_in_toml() {
    let setting = Setting::new(json!({}));
    let file = setting.folder.path().join("waymark.toml");
    let write = |text: &str| fs::write(&file, format!("api-port = 8080\n{text}")).unwrap();
    let refused = |path: &Path| {
        let output = run(&["--config", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    write("");
    assert!(refused(&file).contains("there is no table [mesos-dns]"));
    write("[mesos-dns]\nmasters = [\"127.0.0.1:1\"]\nrefresh-secs = 5\n");
    let message = refused(&file);
    assert!(message.contains("waymark.toml:4: refresh-secs:"), "{message}");
}
