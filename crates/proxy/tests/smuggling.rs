//! Requests and answers that two readers could frame in two ways: each is refused, or forwarded
//! exactly. The cases are data (`smuggling/*.txt`); their form is explained there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::time::Duration;

use support::http::{Recorder, Web, read_answer, status, text, unescape};
use support::{eventually, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[derive(Default)]
struct Case {
    name: String,
    send: Vec<u8>,
    reply: Option<Vec<u8>>,
    status: Option<u16>,
    expected: Option<String>,
}

fn cases(file: &str) -> Vec<Case> {
    let blocks = file.split("\n\n").filter(|block| block.contains("case: "));
    let cases: Vec<_> = blocks.map(case).collect();
    assert!(cases.len() > 10);
    cases
}

fn case(block: &str) -> Case {
    let mut case = Case::default();
    for line in block.lines().filter(|line| !line.starts_with('#')) {
        let (key, value) = line.split_once(':').unwrap();
        let value = value.strip_prefix(' ').unwrap_or(value);
        match key {
            "case" => case.name = value.to_owned(),
            "send" | "ask" => case.send = unescape(value),
            "reply" => case.reply = Some(unescape(value)),
            "status" => case.status = Some(value.parse().unwrap()),
            "forward" | "pass" => case.expected = Some(text(&unescape(value))),
            _ => panic!("what is {key}?"),
        }
    }
    case
}

/// The cases of requests; each in one piece, and byte by byte.
async fn requests(file: &str) {
    for case in cases(file) {
        one_request(&case, false).await;
        one_request(&case, true).await;
    }
}

async fn one_request(case: &Case, piecemeal: bool) {
    let expected = case.expected.clone();
    let done = expected.clone();
    let task = Recorder::start(move |request| {
        let whole = Some(support::http::without_forwarding(&text(request))) == done;
        Some(if whole { ANSWER.into() } else { Vec::new() })
    })
    .await;
    let web = Web::start(&[task.address]).await;
    let mut client = web.dial().await;
    client.set_nodelay(true).unwrap();
    if piecemeal {
        for byte in &case.send {
            // A refusal may come before the last byte.
            if client.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    } else {
        client.write_all(&case.send).await.unwrap();
    }
    let what = format!("{} (piecemeal: {piecemeal})", case.name);
    if let Some(expected) = expected {
        let wait = eventually(&what, || task.seen() == expected);
        if tokio::time::timeout(Duration::from_secs(3), wait).await.is_err() {
            panic!("{what}:\nwanted {expected:?}\n   got {:?}", task.seen());
        }
        assert_eq!(status(&read_answer(&mut client).await), 200, "{what}");
        assert_eq!(task.seen(), expected, "{what}: nothing more");
        return;
    }
    let answer = read_answer(&mut client).await;
    assert_eq!(Some(status(&answer)), case.status, "{what}: {}", text(&answer));
    assert!(!is_complete(&task.seen()), "{what}: the task got {:?}", task.seen());
}

/// Whether a strict reader would take it for a request and its body.
fn is_complete(seen: &str) -> bool {
    match seen.split_once("\r\n\r\n") {
        None => false,
        Some((head, body)) if head.contains("Transfer-Encoding: chunked") => {
            body.ends_with("0\r\n\r\n") || body.ends_with("\r\n\r\n")
        }
        Some(_) => true,
    }
}

#[tokio::test]
async fn framing() {
    requests(include_str!("smuggling/framing.txt")).await;
}

#[tokio::test]
async fn chunks() {
    requests(include_str!("smuggling/chunks.txt")).await;
}

#[tokio::test]
async fn lines() {
    requests(include_str!("smuggling/lines.txt")).await;
}

#[tokio::test]
async fn answers() {
    for case in cases(include_str!("smuggling/answers.txt")) {
        let reply = case.reply.clone().unwrap();
        let task = Recorder::start(move |_| Some(reply.clone()).filter(|r| !r.is_empty())).await;
        let web = Web::start(&[task.address]).await;
        let mut client = web.dial().await;
        let usual = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        let ask = if case.send.is_empty() { usual } else { case.send.clone() };
        client.write_all(&ask).await.unwrap();
        if let Some(wanted) = case.status {
            let answer = read_answer(&mut client).await;
            assert_eq!(status(&answer), wanted, "{}: {}", case.name, text(&answer));
            continue;
        }
        let wanted = case.expected.clone().unwrap();
        let mut got = vec![0; wanted.len()];
        let read = soon(&case.name, client.read_exact(&mut got)).await;
        assert!(read.is_ok(), "{}: {:?}", case.name, text(&got));
        assert_eq!(text(&got), wanted, "{}", case.name);
    }
}
