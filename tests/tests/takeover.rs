//! One `waymark run` after the other, with clients of everything it serves all the time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a story fails by panicking"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use waymark_stories::{
    Load, LoadKind, Steady, Successor, Waymark, eventually, get, repository, request,
};

/// Longer than anything takes here but a lost datagram.
const WAIT: Duration = Duration::from_secs(20);

fn web() -> Value {
    json!({
        "id": "/web", "cmd": "exec waymark whoami --port $PORT0", "instances": 3,
        "cpus": 0.01, "mem": 16, "portDefinitions": [{"port": 0, "name": "web"}],
        // As the load names its host.
        "labels": {"HAPROXY_0_VHOST": "story"},
        "healthChecks": [{"protocol": "HTTP", "path": "/health", "intervalSeconds": 1,
                          "timeoutSeconds": 5, "gracePeriodSeconds": 60}],
    })
}

/// An app that has no tasks, for its definition alone.
fn note(number: u64) -> Value {
    json!({"id": "/note", "cmd": "true", "instances": 0, "labels": {"NUMBER": number.to_string()}})
}

/// A Waymark with apps for every kind of traffic.
fn scene(flags: &[&str]) -> Waymark {
    let echo = repository().join("examples/traffic/tcp-udp.json");
    let flags = [flags, &["--mesos-dns-port=0", "--keep-tasks"]].concat();
    let mut waymark = Waymark::start(&[&flags[..], &[echo.to_str().unwrap()]].concat());
    // For the ones after it.
    waymark.flags = flags.into_iter().map(str::to_owned).collect();
    assert_eq!(waymark.send("POST", "/v2/apps", &web()).status, 201);
    waymark.wait_for_app("/web", 3);
    waymark.wait_for_app("/echo", 2);
    waymark
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

/// What must be the same whoever serves.
fn what_stays(waymark: &Waymark) -> (BTreeMap<String, u64>, Vec<String>, Vec<Option<String>>) {
    let places = ["api", "dns", "mesos_dns", "http", "https", "appid", "stats"];
    let places = places.map(|name| waymark.endpoint(name)).to_vec();
    (pids(waymark, "/web"), waymark.task_ids("/echo"), places)
}

fn ended(mut child: Child) {
    let status = eventually("the old process ends", || child.try_wait().ok().flatten());
    assert!(status.success(), "{status}");
}

fn kill_9(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Clients of the API and of DNS.
fn clients(waymark: &Waymark) -> Vec<Steady> {
    let (api, dns) = (waymark.url(""), waymark.endpoint("dns").unwrap());
    let (read, written, stats) = (api.clone(), api.clone(), waymark.endpoint("stats").unwrap());
    let mesos_dns = waymark.endpoint("mesos_dns").unwrap();
    let ok = |reply: Result<waymark_stories::Reply, String>| match reply {
        Ok(reply) if [200, 201].contains(&reply.status) => Ok(reply),
        Ok(reply) => Err(format!("{}: {}", reply.status, reply.body)),
        Err(error) => Err(error),
    };
    let dns: SocketAddr = dns.parse().unwrap();
    vec![
        Steady::start("GET /v2/apps", move |_| {
            let reply = ok(get(&format!("{read}/v2/apps")))?;
            let apps = reply.json()["apps"].as_array().map_or(0, Vec::len);
            if apps >= 2 { Ok(()) } else { Err(format!("{apps} apps")) }
        }),
        // Every answered change is there in the next one's view, whoever answered it.
        Steady::start("PUT /v2/apps/note", move |number| {
            let (url, json) =
                (format!("{written}/v2/apps/note"), [("Content-Type", "application/json")]);
            ok(request("PUT", &format!("{url}?force=true"), &json, &note(number).to_string()))?;
            let seen = ok(get(&url))?.json()["app"]["labels"]["NUMBER"].clone();
            let seen = seen.as_str().and_then(|seen| seen.parse().ok());
            if seen == Some(number) { Ok(()) } else { Err(format!("{number}, read {seen:?}")) }
        }),
        Steady::start("GET of Mesos-DNS's API", move |_| {
            let reply = ok(get(&format!("{mesos_dns}/v1/hosts/web.marathon.mesos")))?;
            let hosts = reply.json();
            if hosts[0]["ip"] == "127.0.0.1" { Ok(()) } else { Err(reply.body) }
        }),
        Steady::start("GET of the stats port", move |_| {
            ok(get(&format!("{stats}/v1/routes"))).map(|_| ())
        }),
        Steady::start("DNS over UDP", move |number| ask(dns, number, false)),
        Steady::start("DNS over TCP", move |number| ask(dns, number, true)),
    ]
}

/// Asks for the addresses of `/web`, once: nothing may be lost.
fn ask(dns: SocketAddr, number: u64, tcp: bool) -> Result<(), String> {
    let id = [(number >> 8) as u8, number as u8];
    let question =
        [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0], b"\x03web\x08marathon\x05mesos\0\0\x01\0\x01"]
            .concat();
    let mut answer = vec![0; 1500];
    let said = |error: std::io::Error| error.to_string();
    if tcp {
        let mut stream = TcpStream::connect_timeout(&dns, WAIT).map_err(said)?;
        stream.set_read_timeout(Some(WAIT)).map_err(said)?;
        stream
            .write_all(&[&(question.len() as u16).to_be_bytes()[..], &question].concat())
            .map_err(said)?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).map_err(said)?;
        answer.truncate(usize::from(u16::from_be_bytes(length)));
        stream.read_exact(&mut answer).map_err(said)?;
    } else {
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(said)?;
        socket.connect(dns).map_err(said)?;
        socket.set_read_timeout(Some(WAIT)).map_err(said)?;
        socket.send(&question).map_err(said)?;
        let length = socket.recv(&mut answer).map_err(said)?;
        answer.truncate(length);
    }
    let (rcode, answers) = (answer[3] & 15, answer[7]);
    let is_good = answer[..2] == id && rcode == 0 && answers > 0;
    if is_good { Ok(()) } else { Err(format!("rcode {rcode}, {answers} answers")) }
}

/// A client of the echo app, whose datagrams must all come back.
fn datagrams(port: u16) -> Steady {
    Steady::start("UDP", move |number| {
        let said = |error: std::io::Error| error.to_string();
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(said)?;
        socket.set_read_timeout(Some(WAIT)).map_err(said)?;
        let text = number.to_string();
        socket.send_to(text.as_bytes(), ("127.0.0.1", port)).map_err(said)?;
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).map_err(said)?;
        if &buffer[..length] == text.as_bytes() { Ok(()) } else { Err("another answer".into()) }
    })
}

/// A connection that is open for a long time.
struct Line(BufReader<TcpStream>);

impl Line {
    fn to(port: u16) -> Line {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        Line(BufReader::new(stream))
    }

    fn echoes(&mut self, text: &str) {
        self.0.get_mut().write_all(format!("{text}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        self.0.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim_end(), text);
    }
}

/// An event stream; `None` once it has ended.
fn next_event(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    loop {
        line.clear();
        match stream.read_line(&mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) if line.starts_with("event:") => return Some(line.trim_end().to_owned()),
            Ok(_) => {}
        }
    }
}

fn event_stream(api: &str) -> BufReader<TcpStream> {
    let address = api.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    let ask =
        format!("GET /v2/events HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n");
    stream.write_all(ask.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.contains(" 200 "), "{line}");
    stream
}

#[test]
fn two_upgrades_in_a_row_fail_no_request() {
    let mut waymark = scene(&[]);
    let socket = waymark.data.join("handover.sock");
    let stays = what_stays(&waymark);
    let (web, echo) = (waymark.service_port("/web"), waymark.service_port("/echo"));
    let api = waymark.url("");
    let loads = [LoadKind::ConnectionPerRequest, LoadKind::KeepAlive]
        .map(|kind| Load::start(web, "/", kind, 2));
    let mut clients = clients(&waymark);
    clients.push(datagrams(echo));
    for round in 0..2 {
        assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        clients.iter().for_each(|client| client.goes_on(5));
        let mut line = Line::to(echo);
        line.echoes("by the old one");
        let mut events = event_stream(&api);

        let old = waymark.spawn_successor(&[]);
        while next_event(&mut events).is_some() {}
        let mut events = event_stream(&api);
        waymark.wait_until_it_has_taken_over();
        line.echoes("still by the old one");
        drop(line);
        ended(old);
        assert_eq!(what_stays(&waymark), stays, "round {round}");
        clients.iter().for_each(|client| client.goes_on(5));
        let event = next_event(&mut events);
        assert!(event.is_some(), "the stream that came in place of the old one's tells of changes");
    }
    for load in loads {
        load.finish().assert_flawless(50);
    }
    for client in clients {
        client.finish().assert_flawless(10);
    }
    // Everything can still be changed.
    waymark.send("PUT", "/v2/apps/web?force=true", &json!({"instances": 4}));
    waymark.wait_for_app("/web", 4);
}

/// A task's end waits for the connections to it that the process before still relays.
#[test]
fn connections_of_the_old_process_count_as_uses_of_their_tasks() {
    let mut waymark = scene(&["--stop-timeout=30s"]);
    let echo = waymark.service_port("/echo");
    let mut lines = [Line::to(echo), Line::to(echo)];
    lines.iter_mut().for_each(|line| line.echoes("before"));
    let old = waymark.spawn_successor(&[]);
    waymark.wait_until_it_has_taken_over();
    waymark.send("DELETE", "/v2/apps/echo?force=true", &json!({}));
    eventually("its tasks are draining", || {
        let status = get(&format!("http://127.0.0.1:{echo}/")).is_err();
        status.then_some(())
    });
    lines.iter_mut().for_each(|line| line.echoes("after"));
    drop(lines);
    ended(old);
    eventually("the app is gone", || {
        let reply = get(&waymark.url("/v2/apps/echo")).ok()?;
        let tasks = waymark.api("/v2/tasks");
        let left = tasks["tasks"].as_array()?.iter().filter(|t| t["appId"] == "/echo").count();
        (reply.status == 404 && left == 0).then_some(())
    });
}

#[test]
fn a_failed_upgrade_leaves_everything_as_it_was() {
    let mut waymark = scene(&[]);
    let stays = what_stays(&waymark);
    let clients = clients(&waymark);
    // What is wrong is found before anything is asked for.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("--api-port={}", taken.local_addr().unwrap().port());
    for args in [&["--dns-ttl=soon"][..], &["/nowhere.json"], &[&taken]] {
        let output = waymark.command(&[&["--takeover"], args].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        clients.iter().for_each(|client| client.goes_on(3));
    }
    // Gone when the old process has stopped acting already.
    for words in [&b""[..], b"Y"] {
        let mut successor = Successor::of(&waymark.data);
        for word in words {
            assert_eq!(successor.say(*word), b'A');
        }
        drop(successor);
        clients.iter().for_each(|client| client.goes_on(3));
    }
    assert_eq!(what_stays(&waymark), stays);
    waymark.send("PUT", "/v2/apps/web?force=true", &json!({"instances": 4}));
    waymark.wait_for_app("/web", 4);
    // None of it is in the way of one that succeeds.
    let old = waymark.spawn_successor(&[]);
    waymark.wait_until_it_has_taken_over();
    ended(old);
    clients.iter().for_each(|client| client.goes_on(3));
    for client in clients {
        client.finish().assert_flawless(10);
    }
}

/// Behind the point of no return traffic goes on, and yet another process finds everything.
#[test]
fn a_new_process_that_dies_late_is_followed_by_another() {
    let mut waymark = scene(&[]);
    let stays = what_stays(&waymark);
    let web = waymark.service_port("/web");
    let load = Load::start(web, "/", LoadKind::ConnectionPerRequest, 2);
    let mut successor = Successor::of(&waymark.data);
    assert_eq!((successor.say(b'Y'), successor.say(b'C')), (b'A', b'A'));
    let clients = clients(&waymark);
    drop(successor);
    let before = load.answered();
    eventually("traffic goes on", || (load.answered() > before + 50).then_some(()));
    let old = waymark.spawn_successor(&[]);
    waymark.wait_until_it_has_taken_over();
    ended(old);
    clients.iter().for_each(|client| client.goes_on(5));
    assert_eq!(what_stays(&waymark), stays);
    load.finish().assert_flawless(100);
    for client in clients {
        client.finish().assert_flawless(5);
    }
}

/// `kill -9` of either process at moments that differ: afterwards one serves, with the same tasks.
#[test]
fn kills_in_the_middle_leave_one_that_serves() {
    let mut waymark = scene(&[]);
    let stays = what_stays(&waymark).0;
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for round in 0..12 {
        let old = waymark.spawn_successor(&[]);
        let moment = Instant::now() + Duration::from_micros(next(250_000));
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        if round % 2 == 0 {
            kill_9(old);
        } else {
            waymark.kill_9();
            // Whatever the one before has let go of, the next one gets.
            waymark.adopt_child(old);
            let old = waymark.spawn_successor(&[]);
            waymark.wait_until_it_has_taken_over();
            eventually_gone(old);
        }
        waymark.wait_until_it_has_taken_over();
        waymark.wait_for_app("/web", 3);
        assert_eq!(pids(&waymark, "/web"), stays, "round {round}");
    }
}

fn eventually_gone(mut child: Child) {
    eventually("the old process ends", || child.try_wait().ok().flatten());
}

/// The old process hangs when it is asked, and then dies: the new one goes on as after a crash.
#[test]
fn an_old_process_that_dies_when_asked_is_done_without() {
    let mut waymark = scene(&[]);
    let stays = what_stays(&waymark).0;
    waymark.signal(Signal::SIGSTOP);
    let old = waymark.spawn_successor(&[]);
    // The listening end and one that nobody has accepted; both keep the name of before it was moved.
    let ends = format!("{}/handover.", waymark.data.display());
    eventually("it has asked", || {
        let sockets = std::fs::read_to_string("/proc/net/unix").ok()?;
        (sockets.matches(&ends).count() > 1).then_some(())
    });
    kill(Pid::from_raw(i32::try_from(old.id()).unwrap()), Signal::SIGKILL).unwrap();
    eventually_gone(old);
    waymark.wait_until_it_has_taken_over();
    waymark.wait_for_app("/web", 3);
    assert_eq!(pids(&waymark, "/web"), stays);
    assert!(waymark.errors().contains("starting as after a crash"), "{}", waymark.errors());
}
