//! Requests by HTTP/2 to a task that speaks HTTP/1.1, byte by byte.

use std::cell::RefCell;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;

use super::exchange::Broken;
use super::front::{Terms, serve};
use super::head;
use super::limits::*;
use super::pump::{Client, Failure, Patience, pump};
use super::to_h1::{Ask, Body, ToH1};
use crate::Limits;
use crate::config::BUFFER_LEN;

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A client of HTTP/2, the proxy's streams between, and a task that the test plays.
struct Scene {
    client: SendRequest<Bytes>,
    task: DuplexStream,
    /// How the exchange ended, and whether its connection can be used again.
    end: oneshot::Receiver<Result<bool, Failure>>,
    connection: JoinHandle<()>,
}

/// How the one request of a scene is carried.
#[derive(Clone, Copy)]
struct Setting {
    body: Body,
    patience: Duration,
    /// Room in the sockets to and from the task.
    room: usize,
}

impl Setting {
    fn of(body: Body) -> Setting {
        Setting { body, patience: Duration::from_secs(20), room: 64 * 1024 }
    }
}

async fn scene(setting: Setting) -> Scene {
    let (near, far) = duplex(64 * 1024);
    let (task, tasks_end) = duplex(setting.room);
    let (tell, end) = oneshot::channel();
    let mut once = Some((tasks_end, tell));
    spawn_local(async move {
        let terms = Terms {
            streams: 8,
            header_list: MAX_HEADER_LIST,
            preface: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(60),
        };
        let counters = Counters::default();
        let never = std::future::pending();
        serve(far, Vec::new(), &terms, &counters, never, |request, respond| {
            let (parts, body) = request.into_parts();
            let (io, tell) = once.take().expect("one request");
            Some(async move {
                let mut client = Client::new(respond, body);
                let head = head::check(&parts).expect("well formed");
                let told = [(
                    HeaderName::from_static("x-forwarded-proto"),
                    HeaderValue::from_static("http"),
                )];
                let ask = Ask {
                    method: parts.method.as_str(),
                    target: head.target,
                    authority: head.authority,
                    headers: &parts.headers,
                    told: &told,
                    cookie: Some("sticky"),
                    body: setting.body,
                    upgrade: None,
                };
                let mut exchange = ToH1::new(io, &ask, &Limits::default());
                let patience = Patience {
                    response: setting.patience,
                    contents: setting.patience,
                    agreed: setting.patience,
                };
                let scratch = RefCell::new(vec![0; BUFFER_LEN].into_boxed_slice());
                let end = pump(&scratch, &mut client, &mut exchange, patience, |_| {}).await;
                let end = end.map(|()| exchange.into_idle(Duration::MAX).is_some());
                let _ = tell.send(end);
            })
        })
        .await;
    });
    let (client, connection) = client::handshake(near).await.expect("handshake");
    let connection = spawn_local(async move { drop(connection.await) });
    Scene { client, task, end, connection }
}

impl Scene {
    /// What the task reads, up to and with this.
    async fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = timeout(Duration::from_secs(10), self.task.read_u8()).await;
            match byte.expect("bytes in time") {
                Ok(byte) => read.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(read).expect("text")
    }

    async fn say(&mut self, answer: &str) {
        self.task.write_all(answer.as_bytes()).await.expect("open");
    }

    async fn end(self) -> Result<bool, Failure> {
        timeout(Duration::from_secs(10), self.end).await.expect("an end in time").expect("told")
    }
}

fn get(path: &str) -> http::request::Builder {
    Request::get(format!("http://a.test{path}")).version(Version::HTTP_2)
}

fn local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    LocalSet::new().block_on(&runtime.expect("runtime"), test);
}

async fn text(answer: Response<h2::RecvStream>) -> (String, Option<HeaderMap>) {
    let mut body = answer.into_body();
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("contents");
        body.flow_control().release_capacity(data.len()).expect("so much came");
        all.extend_from_slice(&data);
    }
    (String::from_utf8(all).expect("text"), body.trailers().await.expect("trailers"))
}

#[test]
fn a_request_becomes_one_of_http_1() {
    local(async {
        let mut scene = scene(Setting::of(Body::None)).await;
        let request = get("/x?y=1")
            .header("user-agent", "t")
            .header("cookie", "a=1")
            .header("cookie", "sticky=2")
            .header("cookie", "b=3; c=4")
            .header("x-forwarded-proto", "https")
            .header("x_forwarded_for", "6.6.6.6")
            .header("forwarded", "for=6.6.6.6")
            .header("te", "trailers")
            .header("sec-websocket-key", "x");
        let (answer, _) = scene.client.send_request(request.body(()).unwrap(), true).unwrap();
        let head = scene.read_until("\r\n\r\n").await;
        assert_eq!(
            head,
            "GET /x?y=1 HTTP/1.1\r\nhost: a.test\r\nuser-agent: t\r\ncookie: a=1; b=3; c=4\r\n\
             x-forwarded-proto: http\r\n\r\n"
        );
        scene.say(ANSWER).await;
        let answer = answer.await.expect("answer");
        assert_eq!(answer.headers()["content-length"], "2");
        assert_eq!(text(answer).await.0, "ok");
        assert!(scene.end().await.expect("whole"), "the connection can be used again");
    });
}

#[test]
fn a_length_is_written_once() {
    local(async {
        let mut scene = scene(Setting::of(Body::Length(5))).await;
        let request = Request::post("http://a.test/")
            .header("content-length", "5")
            .header("content-length", "5");
        let (answer, mut send) =
            scene.client.send_request(request.body(()).unwrap(), false).unwrap();
        send.send_data("hello".into(), true).unwrap();
        let sent = scene.read_until("hello").await;
        assert_eq!(sent.matches("ontent-").count(), 1, "{sent}");
        assert!(sent.ends_with("Content-Length: 5\r\n\r\nhello"), "{sent}");
        scene.say(ANSWER).await;
        assert_eq!(answer.await.expect("answer").status(), 200);
    });
}

#[test]
fn contents_of_unknown_length_are_chunked_and_trailers_follow() {
    local(async {
        let mut scene = scene(Setting::of(Body::Chunked)).await;
        let request = Request::post("http://a.test/").body(()).unwrap();
        let (answer, mut send) = scene.client.send_request(request, false).unwrap();
        send.send_data("0\r\n\r\nGET /".into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", HeaderValue::from_static("1"));
        trailers.insert("content-length", HeaderValue::from_static("7"));
        trailers.insert("x-forwarded-for", HeaderValue::from_static("6.6.6.6"));
        send.send_trailers(trailers).unwrap();
        let sent = scene.read_until("checksum: 1\r\n\r\n").await;
        let body =
            "Transfer-Encoding: chunked\r\n\r\na\r\n0\r\n\r\nGET /\r\n0\r\nchecksum: 1\r\n\r\n";
        assert!(sent.ends_with(body), "{sent}");
        scene.say(ANSWER).await;
        assert_eq!(answer.await.expect("answer").status(), 200);
        assert!(scene.end().await.expect("whole"));
    });
}

/// The answer to a GET, and how the exchange ends.
async fn answered(
    said: &[&str],
    close: bool,
) -> (Option<(u16, String, String)>, Result<bool, Failure>) {
    let mut scene = scene(Setting::of(Body::None)).await;
    let (answer, _) = scene.client.send_request(get("/").body(()).unwrap(), true).unwrap();
    scene.read_until("\r\n\r\n").await;
    for part in said {
        scene.say(part).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    if close {
        scene.task.shutdown().await.unwrap();
    }
    let answer = match timeout(Duration::from_secs(10), answer).await.expect("in time") {
        Ok(answer) => answer,
        Err(_) => return (None, scene.end().await),
    };
    let status = answer.status().as_u16();
    let fields = answer.headers().iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()));
    let fields = fields.collect::<Vec<_>>().join(", ");
    let (body, trailers) = text(answer).await;
    let trailers = trailers.map_or(String::new(), |t| format!(" {t:?}"));
    (Some((status, fields, format!("{body}{trailers}"))), scene.end().await)
}

#[test]
fn answers_lose_what_belongs_to_the_connection() {
    type Case<'a> = (&'a [&'a str], bool, u16, &'a str, &'a str, bool);
    let cases: &[Case<'_>] = &[
        (
            &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nok"],
            false,
            200,
            "content-length: 2, x: y",
            "ok",
            true,
        ),
        (
            &["HTTP/1.1 200 OK\r\nContent-Le", "ngth: 2\r\n\r\no", "k"],
            false,
            200,
            "content-length: 2",
            "ok",
            true,
        ),
        (
            &[
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n\r\n2\r\nok\r\n",
                "1\r\n!\r\n0\r\n\r\n",
            ],
            false,
            200,
            "",
            "ok!",
            true,
        ),
        (
            &[
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 5\r\n\r\n",
            ],
            false,
            200,
            "",
            "ok {\"grpc-status\": \"5\"}",
            true,
        ),
        (&["HTTP/1.0 200 OK\r\nX: y\r\n\r\nall of it"], true, 200, "x: y", "all of it", false),
        (
            &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"],
            false,
            200,
            "content-length: 2",
            "ok",
            false,
        ),
        (&["HTTP/1.1 204 No Content\r\n\r\n"], false, 204, "", "", true),
        (
            &["HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"],
            false,
            304,
            "content-length: 9",
            "",
            true,
        ),
        // What comes behind an answer is nobody's: the connection is of no use any more.
        (
            &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n"],
            false,
            200,
            "content-length: 2",
            "ok",
            false,
        ),
    ];
    for (said, close, status, fields, body, again) in cases {
        local(async {
            let (answer, end) = answered(said, *close).await;
            let expected = Some((*status, (*fields).to_owned(), (*body).to_owned()));
            assert_eq!(answer, expected, "{said:?}");
            assert_eq!(end.expect("whole"), *again, "{said:?}");
        });
    }
}

#[test]
fn answers_with_two_meanings_are_no_answers() {
    let heads = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
    ];
    for head in heads {
        local(async {
            let (answer, end) = answered(&[head], false).await;
            assert_eq!(answer, None, "{head:?}");
            assert!(matches!(end, Err(Failure::Task(_))), "{head:?}: {end:?}");
        });
    }
}

#[test]
fn an_answer_that_breaks_off_is_no_whole_one() {
    for said in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
    ] {
        local(async {
            let mut scene = scene(Setting::of(Body::None)).await;
            let (answer, _) = scene.client.send_request(get("/").body(()).unwrap(), true).unwrap();
            scene.read_until("\r\n\r\n").await;
            scene.say(said).await;
            scene.task.shutdown().await.unwrap();
            let mut body = answer.await.expect("a head").into_body();
            let broken = loop {
                match body.data().await {
                    Some(Ok(_)) => {}
                    end => break end.is_some(),
                }
            };
            assert!(broken, "{said:?}");
            assert!(matches!(scene.end().await, Err(Failure::Task(_))));
        });
    }
}

#[test]
fn interim_answers_pass() {
    local(async {
        let mut scene = scene(Setting::of(Body::None)).await;
        let (mut answer, _) = scene.client.send_request(get("/").body(()).unwrap(), true).unwrap();
        scene.read_until("\r\n\r\n").await;
        scene.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
        let hint = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
        let hint = hint.expect("one").expect("whole");
        assert_eq!(
            (hint.status().as_u16(), &hint.headers()["link"]),
            (103, &"</a>".parse().unwrap())
        );
        scene.say(ANSWER).await;
        assert_eq!(answer.await.expect("answer").status(), 200);
    });
}

#[test]
fn an_early_answer_ends_the_exchange() {
    local(async {
        let mut scene = scene(Setting::of(Body::Chunked)).await;
        let request = Request::post("http://a.test/").body(()).unwrap();
        let (answer, _send) = scene.client.send_request(request, false).unwrap();
        scene.read_until("\r\n\r\n").await;
        scene.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(answer.await.expect("answer").status(), 413);
        assert!(!scene.end().await.expect("whole"), "the connection is in the middle of a request");
    });
}

#[test]
fn a_cancelled_request_frees_its_task() {
    for connection_goes in [false, true] {
        local(async move {
            let mut scene = scene(Setting::of(Body::None)).await;
            let (answer, mut send) =
                scene.client.send_request(get("/").body(()).unwrap(), true).unwrap();
            scene.read_until("\r\n\r\n").await;
            if connection_goes {
                scene.connection.abort();
            } else {
                send.send_reset(h2::Reason::CANCEL);
            }
            drop(answer);
            let mut rest = Vec::new();
            let read = timeout(Duration::from_secs(10), scene.task.read_to_end(&mut rest));
            read.await.expect("closed in time").expect("closed");
            assert!(matches!(scene.end().await, Err(Failure::Cancelled)));
        });
    }
}

#[test]
fn a_client_that_takes_nothing_holds_little_and_not_for_long() {
    local(async {
        let patience = Duration::from_millis(200);
        let mut scene = scene(Setting { patience, room: 1024, ..Setting::of(Body::None) }).await;
        let (answer, _) = scene.client.send_request(get("/").body(()).unwrap(), true).unwrap();
        scene.read_until("\r\n\r\n").await;
        scene.say("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await;
        // The window is never opened: nothing is released.
        let _answer = answer.await.expect("a head");
        let mut sent = 0;
        while let Ok(Ok(())) =
            timeout(Duration::from_millis(50), scene.task.write_all(&[b'x'; 1024])).await
        {
            sent += 1024;
        }
        let window = 65_535;
        assert!(sent <= window + BUFFER_LEN + SEND_BUFFER + 4096, "{sent} bytes were taken");
        assert!(matches!(scene.end().await, Err(Failure::ClientIdle)));
    });
}

#[test]
fn a_task_that_takes_nothing_stops_its_client() {
    local(async {
        let mut scene = scene(Setting { room: 1024, ..Setting::of(Body::Chunked) }).await;
        let request = Request::post("http://a.test/").body(()).unwrap();
        let (_answer, mut send) = scene.client.send_request(request, false).unwrap();
        let mut sent = 0;
        loop {
            send.reserve_capacity(1024);
            let capacity = std::future::poll_fn(|cx| send.poll_capacity(cx));
            match timeout(Duration::from_millis(100), capacity).await {
                Ok(Some(Ok(capacity))) => {
                    sent += capacity;
                    send.send_data(vec![0; capacity].into(), false).unwrap();
                }
                _ => break,
            }
        }
        assert!(sent <= STREAM_WINDOW as usize + 2 * 16 * 1024 + 4096, "{sent} bytes were taken");
    });
}

#[test]
fn who_does_not_answer_in_time_is_told_apart() {
    local(async {
        let patience = Duration::from_millis(60);
        let mut silent = scene(Setting { patience, ..Setting::of(Body::None) }).await;
        let _kept = silent.client.send_request(get("/").body(()).unwrap(), true).unwrap();
        assert!(matches!(silent.end().await, Err(Failure::Late)));

        let mut halting = scene(Setting { patience, ..Setting::of(Body::None) }).await;
        let _kept = halting.client.send_request(get("/").body(()).unwrap(), true).unwrap();
        halting.read_until("\r\n\r\n").await;
        halting.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok").await;
        let task = std::mem::replace(&mut halting.task, duplex(1).0);
        assert!(matches!(halting.end().await, Err(Failure::TaskIdle)));
        drop(task);

        let mut slow = scene(Setting { patience, ..Setting::of(Body::Chunked) }).await;
        let request = Request::post("http://a.test/").body(()).unwrap();
        let _kept = slow.client.send_request(request, false).unwrap();
        let task = std::mem::replace(&mut slow.task, duplex(1).0);
        assert!(matches!(slow.end().await, Err(Failure::ClientIdle)));
        drop(task);
    });
}

#[test]
fn interim_answers_have_an_end() {
    local(async {
        let mut scene = scene(Setting::of(Body::None)).await;
        let (_answer, _) = scene.client.send_request(get("/").body(()).unwrap(), true).unwrap();
        scene.read_until("\r\n\r\n").await;
        scene.say(&"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(MAX_INTERIM + 1)).await;
        assert!(matches!(scene.end().await, Err(Failure::Task(Broken::Answer(_)))));
    });
}

#[test]
fn contents_are_no_upgrade() {
    local(async {
        let mut scene = scene(Setting::of(Body::Upgrade)).await;
        let request = Request::post("http://a.test/").body(()).unwrap();
        let _kept = scene.client.send_request(request, false).unwrap();
        scene.read_until("\r\n\r\n").await;
        scene.say(ANSWER).await;
        assert!(matches!(scene.end().await, Err(Failure::Task(Broken::NoUpgrade))));
    });
}
