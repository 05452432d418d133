//! Clients of every protocol at once, while their apps are updated, scaled down and killed: HTTP with
//! kept connections and with one for each request, TCP, WebSocket, gRPC.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use waymark_stories::{Load, LoadKind, Outcome, Waymark, eventually, repository};

const PYTHON: &str = "/usr/bin/python3";

/// Clients of each kind; the scripts start three.
const CLIENTS: usize = 3;

const APPS: [&str; 4] = ["/web", "/tcp", "/ws", "/grpc"];

fn script(name: &str) -> String {
    repository().join("tests/support").join(name).display().to_string()
}

fn app(id: &str, release: &str) -> Value {
    let (cmd, labels) = match id {
        "/web" => {
            ("exec waymark whoami --port $PORT0".to_owned(), json!({"HAPROXY_0_MODE": "http"}))
        }
        "/tcp" => (format!("exec {PYTHON} {} talk $PORT0", script("label_task.py")), json!({})),
        "/ws" => (
            format!("exec {PYTHON} {} serve $PORT0", script("websocket_echo.py")),
            json!({"HAPROXY_0_MODE": "http"}),
        ),
        _ => (
            format!("exec {PYTHON} {} serve $PORT0", script("grpc_echo.py")),
            json!({"HAPROXY_0_MODE": "http", "WAYMARK_0_BACKEND_PROTOCOL": "grpc"}),
        ),
    };
    json!({
        "id": id, "cmd": cmd, "instances": 2, "cpus": 0.01, "mem": 16, "labels": labels,
        "env": {"RELEASE": release},
        "healthChecks": [{"protocol": "TCP", "intervalSeconds": 1, "timeoutSeconds": 10,
                          "gracePeriodSeconds": 60}],
        "upgradeStrategy": {"minimumHealthCapacity": 1.0, "maximumOverCapacity": 0.5},
    })
}

/// Everybody at once.
struct Mix {
    http: Vec<Load>,
    tcp: Vec<JoinHandle<Outcome>>,
    stop: Arc<AtomicBool>,
    scripts: Vec<Child>,
}

impl Mix {
    fn start(waymark: &Waymark) -> Mix {
        let port = |id: &str| waymark.service_port(id);
        let kinds = [LoadKind::KeepAlive, LoadKind::ConnectionPerRequest];
        let http = kinds.map(|kind| Load::start(port("/web"), "/", kind, CLIENTS)).into();
        let stop = Arc::new(AtomicBool::new(false));
        let (tcp_port, tcp_stop) = (port("/tcp"), &stop);
        let tcp = (0..CLIENTS).map(|_| {
            let stop = tcp_stop.clone();
            std::thread::spawn(move || talk(tcp_port, &stop))
        });
        let loads = [
            ("websocket_echo.py", format!("ws://127.0.0.1:{}/", port("/ws"))),
            ("grpc_echo.py", format!("127.0.0.1:{}", port("/grpc"))),
        ];
        let scripts = loads.map(|(name, target)| {
            let mut command = Command::new(PYTHON);
            command.args([script(name), "load".into(), target]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts")
        });
        Mix { http, tcp: tcp.collect(), stop, scripts: scripts.into() }
    }

    /// Waits until so many more requests have been answered.
    fn flow(&self, more: u64) {
        let least = self.http.iter().map(Load::answered).max().unwrap() + more;
        eventually("requests flow", || {
            self.http.iter().all(|load| load.answered() >= least).then_some(())
        });
    }

    /// Ends it: what became of each kind's requests.
    fn finish(self) -> Vec<(&'static str, Outcome)> {
        self.stop.store(true, Ordering::Relaxed);
        let names = ["kept", "single", "tcp", "websocket", "grpc"];
        let mut outcomes: Vec<Outcome> = self.http.into_iter().map(Load::finish).collect();
        let mut tcp = Outcome::default();
        for client in self.tcp {
            let outcome = client.join().expect("a client does not panic");
            tcp.answered += outcome.answered;
            tcp.failures.extend(outcome.failures);
        }
        outcomes.push(tcp);
        for mut script in self.scripts {
            drop(script.stdin.take());
            let output = script.wait_with_output().expect("it ends");
            let told: Value = serde_json::from_slice(&output.stdout).expect("it tells");
            let failures = told["failures"].as_array().unwrap();
            outcomes.push(Outcome {
                answered: told["answered"].as_u64().unwrap(),
                failures: failures.iter().map(Value::to_string).collect(),
            });
        }
        names.into_iter().zip(outcomes).collect()
    }
}

/// Conversations of some words over TCP, one after the other.
fn talk(port: u16, stop: &AtomicBool) -> Outcome {
    let mut outcome = Outcome::default();
    while !stop.load(Ordering::Relaxed) {
        match conversation(port) {
            Ok(()) => outcome.answered += 1,
            Err(error) => outcome.failures.push(error.to_string()),
        }
    }
    outcome
}

fn conversation(port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut next = || lines.next().unwrap_or(Err(std::io::ErrorKind::UnexpectedEof.into()));
    next()?;
    for word in 0..10 {
        writeln!(stream, "{word}")?;
        if next()? != word.to_string() {
            return Err(std::io::Error::other("another word came back"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn start() -> Waymark {
    let waymark = Waymark::start(&["--drain-timeout=10s", "--workers=2"]);
    for id in APPS {
        let reply = waymark.send("POST", "/v2/apps", &app(id, "1"));
        assert_eq!(reply.status, 201, "{}", reply.body);
    }
    for id in APPS {
        waymark.wait_for_app(id, 2);
    }
    waymark
}

fn assert_flawless(outcomes: Vec<(&'static str, Outcome)>) {
    for (kind, outcome) in outcomes {
        assert!(outcome.failures.is_empty(), "{kind}: {:?}", outcome.failures);
        assert!(outcome.answered >= 10, "{kind}: only {} were answered", outcome.answered);
    }
}

#[test]
fn a_rolling_update_and_scaling_down_lose_nothing() {
    let waymark = start();
    let mix = Mix::start(&waymark);
    mix.flow(50);
    for id in APPS {
        let reply = waymark.send("PUT", &format!("/v2/apps{id}"), &app(id, "2"));
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    waymark.wait_until_deployed();
    mix.flow(50);
    for id in APPS {
        let reply = waymark.send("PUT", &format!("/v2/apps{id}"), &json!({"instances": 1}));
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    waymark.wait_until_deployed();
    mix.flow(50);
    assert_flawless(mix.finish());
}

#[test]
fn a_killed_task_takes_with_it_what_it_was_at() {
    let waymark = start();
    let mix = Mix::start(&waymark);
    mix.flow(50);
    for id in APPS {
        let victim = process_of(&waymark, id);
        kill(Pid::from_raw(victim), Signal::SIGKILL).expect("it can be killed");
    }
    mix.flow(100);
    for id in APPS {
        waymark.wait_for_app(id, 2);
    }
    mix.flow(50);
    for (kind, outcome) in mix.finish() {
        // Each client was at one thing at most, and the killed task had a part of them.
        let lost = outcome.failures.len();
        assert!(lost <= CLIENTS, "{kind}: {lost} lost: {:?}", outcome.failures);
        assert!(outcome.answered >= 10, "{kind}: only {} were answered", outcome.answered);
    }
}

/// A process of one of the app's tasks.
fn process_of(waymark: &Waymark, id: &str) -> i32 {
    let variable = format!("MARATHON_APP_ID={id}\0");
    let processes = waymark.task_processes();
    let of_app = processes.into_iter().find(|pid| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.windows(variable.len()).any(|part| part == variable.as_bytes())
    });
    of_app.expect("the app has a task")
}
