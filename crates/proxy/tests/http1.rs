//! HTTP/1 through the load balancer: connections kept and ended, bodies both ways, what is repeated
//! and what is not, what Waymark answers itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use support::http::{Recorder, Web, answered_at_once, read_answer, status, text};
use support::{config, eventually, how_it_ends, refusing, soon, task};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use waymark_model::Readiness;
use waymark_proxy::{AccessLog, AccessLogFormat, Limits, ProxyConfig};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn limited(limits: Limits) -> ProxyConfig {
    ProxyConfig { limits, ..config() }
}

#[tokio::test]
async fn both_connections_are_kept() {
    let task = Recorder::start(answered_at_once(OK)).await;
    let web = Web::start(&[task.address]).await;
    let mut client = web.dial().await;
    for _ in 0..3 {
        client.write_all(GET).await.unwrap();
        assert_eq!(text(&read_answer(&mut client).await), OK);
        eventually("an idle connection holds no seat", || web.in_use(task.address) == 0).await;
    }
    // Another client gets the same connection to the task.
    assert_eq!(text(&web.ask(GET).await), OK);
    assert_eq!(task.connections().len(), 1);
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_a_row() {
    let task = Recorder::start(|request| {
        let path = text(request).split(' ').nth(1).unwrap().to_owned();
        let body = format!("<{path}>");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        Some((head + &body).into_bytes())
    })
    .await;
    let web = Web::start(&[task.address]).await;
    let mut client = web.dial().await;
    let three = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxy\
                 POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nz\r\n0\r\n\r\n\
                 GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.write_all(three.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    soon("all answers", client.read_to_end(&mut all)).await.unwrap();
    let all = text(&all);
    let place = |part: &str| all.find(part).unwrap_or_else(|| panic!("{part} in {all}"));
    assert!(place("</1>") < place("</2>") && place("</2>") < place("</3>"));
    assert!(all.contains("Connection: close"), "{all}");
}

#[tokio::test]
async fn a_large_body_goes_both_ways() {
    let body = vec![b'x'; 3 << 20];
    let (wanted, reply) = (body.len(), body.clone());
    let task = Recorder::start(move |request| {
        let head = request.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        if request.len() < head + wanted {
            return Some(Vec::new());
        }
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {wanted}\r\n\r\n").into_bytes();
        answer.extend_from_slice(&reply);
        Some(answer)
    })
    .await;
    let web = Web::start(&[task.address]).await;
    let mut client = web.dial().await;
    let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {wanted}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&body).await.unwrap();
    let answer = read_answer(&mut client).await;
    assert!(answer.ends_with(&body) && answer.len() < body.len() + 200, "{}", answer.len());
}

#[tokio::test]
async fn a_dead_kept_connection_costs_nothing() {
    // It answers once on each connection and then closes it without a word.
    let task = Recorder::start(|request| {
        let first = text(request).matches("HTTP/1.1\r\n").count() == 1;
        first.then(|| OK.into())
    })
    .await;
    let served = Arc::new(AtomicUsize::new(0));
    let web = Web::start(&[task.address]).await;
    let mut client = web.dial().await;
    for _ in 0..20 {
        client.write_all(GET).await.unwrap();
        assert_eq!(text(&read_answer(&mut client).await), OK);
        served.fetch_add(1, SeqCst);
    }
    assert_eq!(served.load(SeqCst), 20);
}

#[tokio::test]
async fn a_request_goes_to_another_task_when_one_refuses() {
    let task = Recorder::start(answered_at_once(OK)).await;
    let web = Web::start(&[refusing(), refusing(), task.address]).await;
    for _ in 0..10 {
        let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
        assert_eq!(text(&web.ask(post).await), OK, "a refused connection has taken nothing");
    }
}

#[tokio::test]
async fn only_idempotent_requests_are_repeated_when_a_task_breaks_off() {
    let broken = Recorder::start(|_| None).await;
    let whole = Recorder::start(answered_at_once(OK)).await;
    let web = Web::start(&[broken.address, whole.address]).await;
    let ask = async |request: &[u8]| status(&web.ask(request).await);
    for _ in 0..6 {
        assert_eq!(ask(GET).await, 200);
    }
    assert!(!broken.connections().is_empty(), "it was tried");
    let mut web = web;
    web.publish(&[], &[broken.address]).await;
    let answer = web.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").await;
    assert_eq!(status(&answer), 502);
    assert!(text(&answer).contains("X-Waymark-Reason: the task gave no answer"));
}

#[tokio::test]
async fn without_a_task_the_answer_is_503() {
    let web = Web::start(&[]).await;
    let answer = text(&web.ask(GET).await);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 1"), "{answer}");
    assert!(answer.contains("Connection: keep-alive"), "{answer}");
}

#[tokio::test]
async fn an_upgrade_is_relayed_after_101_and_holds_its_seat() {
    let task = Recorder::start(|bytes| {
        let bytes = text(bytes);
        let upgraded =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
        Some(if bytes.starts_with("GET") { upgraded.into() } else { bytes.into_bytes() })
    })
    .await;
    let web = Web::start(&[task.address]).await;
    let mut client = web.dial().await;
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    client.write_all(request).await.unwrap();
    let head = text(&{
        let mut head = vec![0; 4096];
        let n = soon("101", client.read(&mut head)).await.unwrap();
        head.truncate(n);
        head
    });
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("Upgrade: echo"), "{head}");
    for _ in 0..3 {
        client.write_all(b"\x00\xffbytes\n").await.unwrap();
        let mut echo = [0; 8];
        soon("the echo", client.read_exact(&mut echo)).await.unwrap();
    }
    assert_eq!(web.in_use(task.address), 1);
    drop(client);
    eventually("the seat is free", || web.in_use(task.address) == 0).await;
}

#[tokio::test]
async fn an_expected_continue_comes_before_the_body() {
    let task = Recorder::start(|bytes| {
        let whole = bytes.ends_with(b"body");
        Some(if whole { OK.into() } else { b"HTTP/1.1 100 Continue\r\n\r\n".to_vec() })
    })
    .await;
    let web = Web::start(&[task.address]).await;
    let mut client = web.dial().await;
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    client.write_all(head).await.unwrap();
    let mut interim = [0; 25];
    soon("100", client.read_exact(&mut interim)).await.unwrap();
    assert_eq!(text(&interim), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body").await.unwrap();
    assert_eq!(text(&read_answer(&mut client).await), OK);
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let refusal = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let task = Recorder::start(move |_| Some(refusal.into())).await;
    let web = Web::start(&[task.address]).await;
    let mut client = web.dial().await;
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        .await
        .unwrap();
    let (mut read, mut write) = client.split();
    let sending = async {
        while write.write_all(&[b'x'; 4096]).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        () = sending => {}
        _ = read.read_to_end(&mut answer) => {}
    }
    if answer.is_empty() {
        let _ = read.read_to_end(&mut answer).await;
    }
    assert_eq!(status(&answer), 413, "{}", text(&answer));
}

#[tokio::test]
async fn slow_clients_and_slow_tasks_are_told_so() {
    let short = Duration::from_millis(100);
    let silent = Recorder::start(|_| Some(Vec::new())).await;
    let limits = Limits {
        head_timeout: short,
        body_idle: short,
        response_timeout: short,
        keep_alive: short,
        ..Limits::default()
    };
    let web = Web::with(limited(limits), &[], &[silent.address]).await;
    let begun = web.ask(b"GET / HTTP/1.1\r\nHost").await;
    assert_eq!(status(&begun), 408, "{}", text(&begun));
    let body = web.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nx").await;
    assert_eq!(status(&body), 408, "{}", text(&body));
    let answer = web.ask(GET).await;
    assert_eq!(status(&answer), 504, "{}", text(&answer));
    let mut client = web.dial().await;
    assert_eq!(how_it_ends(&mut client).await, None, "a client that says nothing is just closed");
    let totals = web.proxy.http_totals();
    assert_eq!((totals.slow_heads, totals.slow_bodies, totals.slow_answers), (1, 1, 1));
}

#[tokio::test]
async fn heads_have_limits() {
    let task = Recorder::start(answered_at_once(OK)).await;
    let limits = Limits { head_bytes: 20_000, headers: 10, ..Limits::default() };
    let web = Web::with(limited(limits), &[], &[task.address]).await;
    let with = |line: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
    let ask = async |request: String| status(&web.ask(request.as_bytes()).await);
    assert_eq!(ask(with(&"X: y\r\n".repeat(9))).await, 200);
    assert_eq!(ask(with(&"X: y\r\n".repeat(10))).await, 431);
    assert_eq!(ask(with(&format!("X: {}\r\n", "y".repeat(19_000)))).await, 200);
    assert_eq!(ask(with(&format!("X: {}\r\n", "y".repeat(21_000)))).await, 431);
    assert_eq!(ask(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(16_400))).await, 414);
    assert_eq!(ask(format!("GET /{}", "y".repeat(16_400))).await, 414, "before it is complete");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let web = Web::start(&[listener.local_addr().unwrap()]).await;
    let mut client = web.dial().await;
    client.write_all(GET).await.unwrap();
    let (mut task, _) = soon("the request", listener.accept()).await.unwrap();
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    soon("its head", task.read(&mut [0; 4096])).await.unwrap();
    task.write_all(half.as_bytes()).await.unwrap();
    let mut got = vec![0; half.len()];
    soon("half", client.read_exact(&mut got)).await.unwrap();
    assert_eq!(text(&got), half);
    drop(task);
    assert!(how_it_ends(&mut client).await.is_some(), "a reset, not an end");
}

#[tokio::test]
async fn a_client_comes_back_to_its_task_by_its_cookie() {
    let (a, b) =
        (Recorder::start(answered_at_once(OK)).await, Recorder::start(answered_at_once(OK)).await);
    let sticky = [("HAPROXY_0_STICKY", "true"), ("HAPROXY_0_MODE", "http")];
    let web = Web::with(config(), &sticky, &[a.address, b.address]).await;
    let first = text(&web.ask(GET).await);
    let line = first.lines().find(|line| line.starts_with("Set-Cookie: ")).unwrap();
    let cookie = line.strip_prefix("Set-Cookie: ").unwrap().strip_suffix("; path=/").unwrap();
    let (name, value) = cookie.split_once('=').unwrap();
    assert_eq!((name, value.len()), ("mesosphere_server_id", 10), "{first}");
    assert!(first.contains("Cache-Control: private"), "{first}");
    let before = (a.connections().concat().len(), b.connections().concat().len());
    for _ in 0..6 {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: x=1; {cookie}\r\n\r\n");
        let answer = text(&web.ask(request.as_bytes()).await);
        assert_eq!(answer, OK, "nothing is set anew");
    }
    let after = (a.connections().concat().len(), b.connections().concat().len());
    assert!((before.0 == after.0) != (before.1 == after.1), "one of them only");
    let seen = a.seen() + &b.seen();
    assert!(seen.contains("Cookie: x=1\r\n") && !seen.contains(value), "{seen}");
}

#[tokio::test]
async fn idle_connections_to_a_draining_task_are_closed() {
    let closed = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = closed.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
        count.fetch_add(1, SeqCst);
    });
    let mut web = Web::start(&[address]).await;
    assert_eq!(text(&web.ask(GET).await), OK);
    let draining = task(&format!("web.{}", address.port()), address, Readiness::Draining);
    web.publish_tasks(&[], vec![draining]).await;
    eventually("it is closed", || closed.load(SeqCst) == 1).await;
}

#[tokio::test]
async fn every_request_has_a_line_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let log = AccessLog { file: Some(file.clone()), format: AccessLogFormat::Json };
    let task = Recorder::start(answered_at_once(OK)).await;
    let config = ProxyConfig { access_log: Some(log), ..config() };
    let web = Web::with(config, &[], &[task.address]).await;
    web.ask(b"GET /one HTTP/1.1\r\nHost: a\r\nUser-Agent: test\r\n\r\n").await;
    web.ask(b"POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
    let lines = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("two lines", || lines().lines().count() == 2).await;
    let lines = lines();
    assert!(lines.contains("\"target\":\"/one\"") && lines.contains("\"userAgent\":\"test\""));
    assert!(lines.contains("\"bytesIn\":3,"), "{lines}");
    assert!(lines.contains(&format!("\"task\":\"{}\"", task.address)), "{lines}");
}

#[tokio::test]
async fn an_upgraded_request_has_its_line_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let log = AccessLog { file: Some(file.clone()), format: AccessLogFormat::Json };
    const AGREED: &str =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    let task = Recorder::start(|came| {
        Some(if came.starts_with(b"GET") { AGREED.into() } else { came.to_vec() })
    })
    .await;
    let web =
        Web::with(ProxyConfig { access_log: Some(log), ..config() }, &[], &[task.address]).await;
    let mut client = web.dial().await;
    let ask = b"GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    client.write_all(ask).await.unwrap();
    let head = read_answer(&mut client).await;
    assert_eq!(status(&head), 101);
    let since = std::time::Instant::now();
    // Another request is over meanwhile, so its line is there before.
    web.ask(b"GET /other HTTP/1.1\r\nHost: nobody\r\nConnection: close\r\n\r\n").await;
    client.write_all(&[b'x'; 1000]).await.unwrap();
    soon("an echo", client.read_exact(&mut [0; 1000])).await.unwrap();
    let lines = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("the other's line", || lines().contains("/other")).await;
    assert!(!lines().contains("/up"), "{}", lines());
    let open_for = since.elapsed();
    drop(client);
    eventually("its line", || lines().contains("/up")).await;
    let text = lines();
    let line = text.lines().find(|line| line.contains("/up")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["status"], &line["bytesIn"]), (&101.into(), &1000.into()), "{line}");
    assert_eq!(line["bytesOut"], head.len() + 1000, "{line}");
    assert!(line["milliseconds"].as_f64().unwrap() >= open_for.as_secs_f64() * 1000.0, "{line}");
}

#[tokio::test]
async fn a_stop_ends_kept_connections_and_lets_requests_finish() {
    let task = Recorder::start(answered_at_once(OK)).await;
    let web = Web::start(&[task.address]).await;
    let mut idle = web.dial().await;
    idle.write_all(GET).await.unwrap();
    read_answer(&mut idle).await;
    let stop = tokio::spawn(async move { web.proxy.stop(Duration::from_secs(9)).await });
    assert_eq!(how_it_ends(&mut idle).await, None);
    soon("the stop", stop).await.unwrap();
}
