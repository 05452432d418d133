//! A task is taken out of names and routing first, and ended when nobody uses it any more.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waymark_stories::{PATIENCE, Waymark, eventually, get};

fn web(instances: u32) -> Value {
    json!({"id": "/web", "cmd": "exec waymark whoami --port $PORT0", "instances": instances,
           "cpus": 0.01, "mem": 16, "healthChecks": [{"protocol": "HTTP", "path": "/health"}]})
}

fn start(flags: &[&str]) -> (Waymark, u16) {
    let waymark = Waymark::start(flags);
    assert_eq!(waymark.send("POST", "/v2/apps", &web(1)).status, 201);
    waymark.wait_for_app("/web", 1);
    let port = waymark.service_port("/web");
    eventually("the service port answers", || get(&format!("http://127.0.0.1:{port}/")).ok());
    (waymark, port)
}

/// An answer that takes two seconds is not cut off by a restart in its middle.
#[test]
fn a_request_in_flight_is_answered() {
    let (waymark, port) = start(&["--drain-timeout=30s"]);
    let old = waymark.task_ids("/web");
    let mut slow = TcpStream::connect(("127.0.0.1", port)).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    slow.write_all(b"GET /slow?ms=2000 HTTP/1.1\r\nHost: story\r\nConnection: close\r\n\r\n")
        .unwrap();
    assert_eq!(waymark.send("POST", "/v2/apps/web/restart", &json!({})).status, 200);
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    assert!(answer.contains(&old[0]), "the old task answered: {answer}");
    waymark.wait_until_deployed();
}

/// A connection that never ends holds its task up to the bound, no longer.
#[test]
fn the_drain_is_bounded() {
    let (waymark, port) = start(&["--drain-timeout=2s"]);
    let mut held = TcpStream::connect(("127.0.0.1", port)).unwrap();
    held.set_read_timeout(Some(PATIENCE)).unwrap();
    held.write_all(b"GET / HTTP/1.1\r\nHost: story\r\n\r\n").unwrap();
    let mut byte = [0];
    held.read_exact(&mut byte).unwrap();
    let started = Instant::now();
    let reply = waymark.send("PUT", "/v2/apps/web", &json!({"instances": 0}));
    assert_eq!(reply.status, 200, "{}", reply.body);
    eventually("it has left the names", || {
        (waymark.dig("web.marathon.mesos", "A").rcode == "NXDOMAIN").then_some(())
    });
    assert!(waymark.task_ids("/web").len() == 1 || started.elapsed() >= Duration::from_secs(2));
    let mut rest = Vec::new();
    // The end of the connection, clean or not, is the end of the task.
    let _ = held.read_to_end(&mut rest);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1900), "ended after {took:?}, before the bound");
    eventually("the task is gone", || waymark.task_ids("/web").is_empty().then_some(()));
}

/// An address that DNS has handed out is kept alive until it can no longer be cached.
#[test]
fn the_drain_outwaits_dns() {
    let (waymark, _) = start(&["--drain-timeout=30s", "--dns-ttl=3s"]);
    let answer = waymark.dig("web.marathon.mesos", "A");
    assert_eq!(answer.ttl, Some(3));
    let handed_out = Instant::now();
    assert_eq!(waymark.send("PUT", "/v2/apps/web", &json!({"instances": 0})).status, 200);
    eventually("the task is gone", || waymark.task_processes().is_empty().then_some(()));
    let took = handed_out.elapsed();
    assert!(took >= Duration::from_millis(2900), "ended {took:?} after it was handed out");
}

/// Nobody uses it: it goes at once.
#[test]
fn an_idle_task_does_not_wait() {
    let waymark = Waymark::start(&["--drain-timeout=120s"]);
    assert_eq!(waymark.send("POST", "/v2/apps", &web(1)).status, 201);
    waymark.wait_for_app("/web", 1);
    assert_eq!(waymark.send("PUT", "/v2/apps/web", &json!({"instances": 0})).status, 200);
    // PATIENCE is half the drain's bound.
    eventually("the task is gone", || waymark.task_processes().is_empty().then_some(()));
}
