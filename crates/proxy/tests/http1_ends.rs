//! HTTP/1 exchanges that do not end well, and whose fault it is: tasks that break off again and
//! again, clients that stand still, go away or send nonsense in the middle.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use support::http::{Recorder, Web, read_answer, status, text};
use support::tls::{Identity, listener};
use support::{PATIENCE, config, entry, eventually, free_port, how_it_ends, soon, task};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;
use waymark_model::{Protocol, Readiness};
use waymark_proxy::{Limits, ProxyConfig};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn the_only_task_gets_a_request_no_more_often_than_retries_allow() {
    for retries in [0, 2] {
        let broken = Recorder::start(|_| None).await;
        let config = ProxyConfig { hold: PATIENCE, connect_timeout: PATIENCE, ..config() };
        let labels = [("WAYMARK_0_RETRIES", retries.to_string())];
        let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
        let web = Web::with(config, &labels, &[broken.address]).await;
        assert_eq!(status(&web.ask(GET).await), 502);
        assert_eq!(broken.connections().len(), 1 + retries);
    }
}

/// A task that has begun to answer, and its client, which has sent this and has got that.
async fn half_an_answer(web: &Web, listener: &TcpListener, request: &[u8]) -> [TcpStream; 2] {
    let mut client = web.dial().await;
    client.write_all(request).await.unwrap();
    let (mut task, _) = soon("the request", listener.accept()).await.unwrap();
    soon("its head", task.read(&mut [0; 4096])).await.unwrap();
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    task.write_all(half.as_bytes()).await.unwrap();
    let mut got = vec![0; half.len()];
    soon("half", client.read_exact(&mut got)).await.unwrap();
    [client, task]
}

#[tokio::test]
async fn nothing_is_answered_in_the_middle_of_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let web = Web::start(&[listener.local_addr().unwrap()]).await;
    let post = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    let [mut client, _task] = half_an_answer(&web, &listener, post).await;
    client.write_all(b"no length\r\n").await.unwrap();
    let mut rest = Vec::new();
    let end = soon("the end", client.read_to_end(&mut rest)).await;
    assert!(end.is_err(), "a reset, not an end");
    assert_eq!(text(&rest), "");
    assert_eq!(web.proxy.http_totals().malformed, 1);
}

#[tokio::test]
async fn a_client_that_stands_still_is_cut_off_and_its_task_is_not_to_blame() {
    let task = Recorder::start(|_| {
        let body = vec![b'x'; 32 << 20];
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        Some([head.into_bytes(), body].concat())
    })
    .await;
    let limits = Limits { body_idle: Duration::from_millis(100), ..Limits::default() };
    let web = Web::with(ProxyConfig { limits, ..config() }, &[], &[task.address]).await;
    for cut in 1..=4 {
        let mut client = web.dial().await;
        client.write_all(GET).await.unwrap();
        eventually("it is cut off", || web.proxy.http_totals().slow_clients == cut).await;
        assert!(how_it_ends(&mut client).await.is_some(), "a reset, not an end");
    }
    let table = web.proxy.table();
    let errors = table.app("/web").unwrap().counters.response_errors.load(Relaxed);
    assert_eq!(errors, 0, "nothing is held against it");
}

#[tokio::test]
async fn who_goes_leaves_the_queue() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let labels = [("WAYMARK_0_MAX_CONNECTIONS", "1")];
    let web = Web::with(config(), &labels, &[listener.local_addr().unwrap()]).await;
    let waiting = || web.proxy.table().app("/web").unwrap().queue_len();
    let [seated, mut task] = half_an_answer(&web, &listener, GET).await;

    let mut gone = web.dial().await;
    gone.write_all(GET).await.unwrap();
    eventually("it waits", || waiting() == 1).await;
    gone.set_zero_linger().unwrap();
    drop(gone);
    eventually("its place is free", || waiting() == 0).await;

    // A client that only stops sending, as `nc -N` does, and one that sends ahead.
    let mut last = web.dial().await;
    last.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    last.shutdown().await.unwrap();
    eventually("it waits", || waiting() == 1).await;
    let mut ahead = web.dial().await;
    ahead.write_all(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo").await.unwrap();
    eventually("it waits", || waiting() == 2).await;
    ahead.write_all(b"dyGET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();

    task.write_all(&[b'x'; 96]).await.unwrap();
    drop(seated);
    let serving = tokio::spawn(async move {
        let mut seen = String::new();
        while !seen.contains("/2") {
            let mut buffer = [0; 4096];
            let n = task.read(&mut buffer).await.unwrap();
            seen.push_str(&text(&buffer[..n]));
            if !seen.contains("POST") || seen.contains("body") {
                task.write_all(OK.as_bytes()).await.unwrap();
            }
        }
        seen
    });
    assert!(text(&read_answer(&mut last).await).ends_with("ok"));
    assert_eq!(text(&read_answer(&mut ahead).await), OK);
    assert_eq!(text(&read_answer(&mut ahead).await), OK);
    let seen = soon("both", serving).await.unwrap();
    assert!(seen.contains("GET /last") && seen.contains("\r\n\r\nbody"), "{seen}");
}

#[tokio::test]
async fn interim_answers_have_an_end() {
    let answer = |n: usize| "HTTP/1.1 102 Processing\r\n\r\n".repeat(n) + OK;
    let most = Recorder::start(move |_| Some(answer(16).into_bytes())).await;
    let more = Recorder::start(move |_| Some(answer(17).into_bytes())).await;
    let old = b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    let mut web = Web::start(&[most.address]).await;
    assert_eq!(text(&web.ask(GET).await), answer(16));
    assert_eq!(status(&web.ask(old).await), 200);
    web.publish(&[], &[more.address]).await;
    assert_eq!(status(&web.ask(old).await), 502);
    let mut client = web.dial().await;
    client.write_all(GET).await.unwrap();
    assert!(how_it_ends(&mut client).await.is_some(), "part of them had gone out");
}

#[tokio::test]
async fn an_answer_without_length_ends_in_order_over_tls() {
    let identity = Identity::of("a.example");
    let (file, connector) = (identity.file(), identity.connector());
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall there is";
    let (backend, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = backend.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(answer.as_bytes()).await.unwrap();
    });

    let mut web = Web::start(&[]).await;
    let port = free_port();
    let labels = [("HAPROXY_0_SSL_CERT", file.to_str().unwrap()), ("HAPROXY_0_MODE", "http")];
    let tasks = vec![task("t", address, Readiness::Ready)];
    let app = entry("/tls", Protocol::Tcp, port, &labels, tasks);
    let version = web.writer.publish([(app.id.clone(), Some(app))]);
    eventually("applied", || web.proxy.output().applied() >= version).await;

    let stream = support::dial(port).await.unwrap();
    let connecting = connector.connect(ServerName::try_from("a.example").unwrap(), stream);
    let mut stream = soon("handshake", connecting).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let mut got = Vec::new();
    soon("the end", stream.read_to_end(&mut got)).await.expect("an end that is said");
    assert_eq!(text(&got), answer);
}
