//! HTTP/2 with tasks that take no connection, or are silent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use socket2::{Domain, Socket, Type};
use support::http::{Recorder, Web, answered_at_once, text};
use support::{PATIENCE, config, eventually, soon};
use tokio::net::TcpListener;
use waymark_proxy::{Limits, ProxyConfig};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a.test{path}")).body(()).unwrap()
}

/// Status, fields and contents.
async fn ask(
    client: &mut SendRequest<Bytes>,
    request: Request<()>,
) -> (StatusCode, HeaderMap, String) {
    let (answer, _) = client.send_request(request, true).unwrap();
    let (parts, mut body) = soon("an answer", answer).await.unwrap().into_parts();
    let mut all = Vec::new();
    while let Some(data) = soon("contents", body.data()).await {
        all.extend_from_slice(&data.unwrap());
    }
    (parts.status, parts.headers, text(&all))
}

/// A task that takes connections as the kernel does, and none any more: its queue is full, so that
/// whoever connects waits.
struct Full {
    address: SocketAddr,
    _socket: Socket,
    _queued: Vec<Socket>,
}

impl Full {
    fn new() -> Full {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        loop {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let taken = client.connect_timeout(&address.into(), Duration::from_millis(200));
            queued.push(client);
            if taken.is_err() {
                return Full { address, _socket: socket, _queued: queued };
            }
        }
    }
}

/// A task that speaks HTTP/2: it sends a head to whoever asks for `/begun`, and nothing more.
async fn silent() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut kept = Vec::new();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let begun = request.uri().path() == "/begun";
                    let send = begun.then(|| respond.send_response(http::Response::new(()), false));
                    kept.push((request, respond, send));
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_task_that_takes_no_connection_costs_its_share_of_the_time_and_no_request() {
    let (full, well) = (Full::new(), Recorder::start(answered_at_once(OK)).await);
    let limit = Duration::from_millis(300);
    let config = ProxyConfig { try_timeout: limit, connect_timeout: PATIENCE, ..config() };
    let first = [("HAPROXY_0_BALANCE", "first")];
    let web = Web::with(config.clone(), &first, &[full.address, well.address]).await;
    let mut client = web.h2().await;
    for _ in 0..3 {
        let (status, _, said) = ask(&mut client, get("/")).await;
        assert_eq!((status.as_u16(), said.as_str()), (200, "ok"));
    }

    // Alone, over either version: a request waits as long as it may, and is told.
    for protocol in ["http1", "http2"] {
        let labels = [("WAYMARK_0_BACKEND_PROTOCOL", protocol), ("WAYMARK_0_RETRIES", "0")];
        let config = ProxyConfig { connect_timeout: limit, ..config.clone() };
        let web = Web::with(config, &labels, &[full.address]).await;
        let (since, mut client) = (Instant::now(), web.h2().await);
        let (status, headers, said) = ask(&mut client, get("/")).await;
        assert_eq!(status, 503, "{protocol}: {said}");
        assert_eq!(headers["retry-after"], "1");
        assert!(since.elapsed() >= limit * 2 / 3, "{protocol} waited");
        eventually("its seat is free", || web.in_use(full.address) == 0).await;
    }
}

#[tokio::test]
async fn a_silent_task_is_given_up_by_both_kinds_of_time_out() {
    let task = silent().await;
    let short = Duration::from_millis(200);
    let limits = Limits { response_timeout: short, body_idle: short, ..Limits::default() };
    let with = async |labels: &[(&str, &str)], limits: &Limits| {
        let http2 = [&[("WAYMARK_0_BACKEND_PROTOCOL", "http2")], labels].concat();
        let config = ProxyConfig { limits: limits.clone(), ..config() };
        Web::with(config, &http2, &[task]).await
    };
    for web in [
        with(&[], &limits).await,
        with(&[("WAYMARK_0_TIMEOUT_RESPONSE", "200ms")], &Limits::default()).await,
    ] {
        let mut client = web.h2().await;
        let (status, _, said) = ask(&mut client, get("/silent")).await;
        assert_eq!(status, 504, "{said}");
        // An answer that stands still is reset: half of it is not a whole one.
        let (answer, _) = client.send_request(get("/begun"), true).unwrap();
        let mut answer = soon("a head", answer).await.unwrap();
        assert_eq!(answer.status(), 200);
        let end = soon("an end", answer.body_mut().data()).await.unwrap();
        assert!(end.is_err_and(|error| error.is_reset()), "a reset");
        assert_eq!(web.proxy.http_totals().slow_answers, 2);
        eventually("no seat is held", || web.in_use(task) == 0).await;
    }

    // A call of gRPC may be silent once it has begun, but has to begin.
    let web = with(&[("WAYMARK_0_TIMEOUT_IDLE", "1h")], &limits).await;
    let mut client = web.h2().await;
    let call = |path: &str| {
        let request = Request::post(format!("http://a.test{path}"));
        request.header("content-type", "application/grpc").body(()).unwrap()
    };
    let (answer, _call) = client.send_request(call("/begun"), false).unwrap();
    let begun = soon("a head", answer).await.unwrap();
    let (status, headers, _) = ask(&mut client, call("/silent")).await;
    assert_eq!((status.as_u16(), headers["grpc-status"].to_str().unwrap()), (200, "14"));
    let (status, headers, _) = ask(&mut client, call("/silent")).await;
    assert_eq!((status.as_u16(), headers["grpc-status"].to_str().unwrap()), (200, "14"));
    assert_eq!(web.in_use(task), 1, "twice its time has passed, and it is still open");
    drop(begun);
}
