//! HTTP/2 through the load balancer, on either side and on both.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use support::http::{Recorder, Web, answered_at_once, text};
use support::{config, eventually, soon};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use waymark_proxy::{AccessLog, AccessLogFormat, ProxyConfig};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const H2_TASK: &[(&str, &str)] = &[("WAYMARK_0_BACKEND_PROTOCOL", "http2")];

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a.test{path}")).body(()).unwrap()
}

async fn read(body: &mut RecvStream) -> String {
    let mut all = Vec::new();
    while let Some(data) = soon("contents", body.data()).await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        all.extend_from_slice(&data);
    }
    text(&all)
}

async fn ask(client: &mut SendRequest<Bytes>, request: Request<()>) -> (StatusCode, String) {
    let (answer, _) = client.send_request(request, true).unwrap();
    let (parts, mut body) = soon("an answer", answer).await.unwrap().into_parts();
    (parts.status, read(&mut body).await)
}

/// A task that speaks HTTP/2: it answers with method, path and contents, `checksum` as trailer; and
/// echoes WebSockets.
struct Task {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Task {
    /// It ends each connection in order after so many requests.
    async fn start(goes_after: usize) -> Task {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, SeqCst);
                tokio::spawn(async move {
                    let mut builder = h2::server::Builder::new();
                    let handshake = builder.enable_connect_protocol().handshake(stream);
                    let mut connection = handshake.await.unwrap();
                    let mut served = 0;
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(request, respond));
                        served += 1;
                        if served == goes_after {
                            connection.graceful_shutdown();
                        }
                    }
                });
            }
        });
        Task { address, connections }
    }
}

async fn answer(request: Request<RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let (parts, mut body) = request.into_parts();
    let mut head = Response::new(());
    if parts.method == Method::CONNECT {
        assert_eq!(parts.extensions.get::<Protocol>().unwrap().as_str(), "websocket");
        let mut send = respond.send_response(head, false).unwrap();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            send.send_data(data, false).unwrap();
        }
        return send.send_data(Bytes::new(), true).unwrap();
    }
    let mut contents = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        contents.extend_from_slice(&data);
    }
    let came = body.trailers().await.unwrap().unwrap_or_default();
    let checksum = came.get("checksum").map_or("none", |value| value.to_str().unwrap());
    let proto = parts.headers.get("x-forwarded-proto").map_or("", |v| v.to_str().unwrap());
    head.headers_mut().insert("x-proto", HeaderValue::from_str(proto).unwrap());
    let line = format!("{} {} {}", parts.method, parts.uri.path(), text(&contents));
    let mut send = respond.send_response(head, parts.method == Method::HEAD).unwrap();
    if parts.method != Method::HEAD {
        send.send_data(line.into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", HeaderValue::from_str(checksum).unwrap());
        send.send_trailers(trailers).unwrap();
    }
}

#[tokio::test]
async fn many_streams_share_the_connections_to_a_task() {
    let task = Task::start(usize::MAX).await;
    let web = Web::with(config(), H2_TASK, &[task.address]).await;
    let mut client = web.h2().await;
    for n in 0..20 {
        let (status, said) = ask(&mut client, get(&format!("/{n}"))).await;
        assert_eq!((status.as_u16(), said), (200, format!("GET /{n} ")));
    }
    eventually("streams that ended hold no seat", || web.in_use(task.address) == 0).await;
    assert_eq!(task.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn contents_and_trailers_go_both_ways() {
    let task = Task::start(usize::MAX).await;
    let web = Web::with(config(), H2_TASK, &[task.address]).await;
    let mut client = web.h2().await;
    let request = Request::post("http://a.test/up").body(()).unwrap();
    let (answer, mut send) = client.send_request(request, false).unwrap();
    send.send_data("hello".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", HeaderValue::from_static("5"));
    send.send_trailers(trailers).unwrap();
    let mut answer = soon("an answer", answer).await.unwrap();
    assert_eq!(answer.headers()["x-proto"], "http");
    assert_eq!(read(answer.body_mut()).await, "POST /up hello");
    assert_eq!(answer.body_mut().trailers().await.unwrap().unwrap()["checksum"], "5");
}

#[tokio::test]
async fn a_task_that_goes_in_order_loses_no_request() {
    let task = Task::start(3).await;
    let web = Web::with(config(), H2_TASK, &[task.address]).await;
    let mut client = web.h2().await;
    for n in 0..40 {
        let (status, said) = ask(&mut client, get(&format!("/{n}"))).await;
        assert_eq!((status.as_u16(), said), (200, format!("GET /{n} ")));
    }
    assert!(task.connections.load(SeqCst) > 5);
}

#[tokio::test]
async fn clients_of_http_1_reach_tasks_of_http_2() {
    let task = Task::start(usize::MAX).await;
    let web = Web::with(config(), H2_TASK, &[task.address]).await;
    let mut client = web.dial().await;
    let chunked = b"POST /up HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
        2\r\nhe\r\n3\r\nllo\r\n0\r\nchecksum: 5\r\n\r\n";
    let known = b"POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello";
    for (request, checksum) in [(&chunked[..], "5"), (&known[..], "none")] {
        client.write_all(request).await.unwrap();
        let expected = format!("\r\n\r\ne\r\nPOST /up hello\r\n0\r\nchecksum: {checksum}\r\n\r\n");
        let answer = read_until(&mut client, &expected).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("x-proto: http\r\n"), "{answer}");
    }
    client.write_all(b"HEAD /x HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    let answer = read_until(&mut client, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(task.connections.load(SeqCst), 1, "one connection for all of them");
    eventually("no seat is held", || web.in_use(task.address) == 0).await;
}

async fn read_until(stream: &mut tokio::net::TcpStream, end: &str) -> String {
    use tokio::io::AsyncReadExt;
    let mut all = Vec::new();
    soon("the answer's end", async {
        while !all.ends_with(end.as_bytes()) {
            match stream.read_u8().await {
                Ok(byte) => all.push(byte),
                Err(_) => panic!("it ended after {:?}", text(&all)),
            }
        }
    })
    .await;
    text(&all)
}

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn a_websocket_of_http_1_reaches_a_task_of_http_2() {
    let task = Task::start(usize::MAX).await;
    let web = Web::with(config(), H2_TASK, &[task.address]).await;
    let mut client = web.dial().await;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n{KEY}\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.to_lowercase().contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    client.write_all(b"some bytes").await.unwrap();
    read_until(&mut client, "some bytes").await;
    assert_eq!(web.in_use(task.address), 1, "it holds a seat");
    drop(client);
    eventually("its seat is free", || web.in_use(task.address) == 0).await;
}

/// The answer to a WebSocket's key, which a task computes from the head it got.
fn agree(request: &[u8]) -> Option<Vec<u8>> {
    let request = text(request);
    if request == "there" {
        return Some(b"and back".to_vec());
    }
    let Some((head, _)) = request.split_once("\r\n\r\n") else { return Some(Vec::new()) };
    assert!(head.starts_with("GET /ws HTTP/1.1\r\n"), "{head}");
    let lower = head.to_lowercase();
    assert!(
        lower.contains("connection: upgrade") && lower.contains("upgrade: websocket"),
        "{head}"
    );
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    Some(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\nhello"
        )
        .into_bytes(),
    )
}

/// An extended CONNECT for a WebSocket at `/ws`.
async fn websocket(web: &Web) -> (Response<RecvStream>, h2::SendStream<Bytes>) {
    let mut client = web.h2().await;
    eventually("the settings have come", || client.is_extended_connect_protocol_enabled()).await;
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = "http://a.test/ws".parse().unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let (answer, send) = client.send_request(request, false).unwrap();
    (soon("an answer", answer).await.unwrap(), send)
}

#[tokio::test]
async fn a_websocket_of_http_2_reaches_tasks_of_both_kinds() {
    let task = Recorder::start(agree).await;
    let web = Web::start(&[task.address]).await;
    let (answer, mut send) = websocket(&web).await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    let mut body = answer.into_body();
    assert_eq!(soon("bytes", body.data()).await.unwrap().unwrap(), "hello");
    send.send_data("there".into(), false).unwrap();
    assert_eq!(soon("bytes", body.data()).await.unwrap().unwrap(), "and back");
    send.send_reset(Reason::CANCEL);
    eventually("its seat is free", || web.in_use(task.address) == 0).await;

    let task = Task::start(usize::MAX).await;
    let web = Web::with(config(), H2_TASK, &[task.address]).await;
    let (answer, mut send) = websocket(&web).await;
    assert_eq!(answer.status(), 200);
    send.send_data("there and back".into(), true).unwrap();
    assert_eq!(read(&mut answer.into_body()).await, "there and back");
    eventually("its seat is free", || web.in_use(task.address) == 0).await;
}

#[tokio::test]
async fn a_long_stream_has_its_line_in_the_log_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let log = AccessLog { file: Some(file.clone()), format: AccessLogFormat::Json };
    let task = Task::start(usize::MAX).await;
    let config = ProxyConfig { access_log: Some(log), ..config() };
    let web = Web::with(config, H2_TASK, &[task.address]).await;
    let (answer, mut send) = websocket(&web).await;
    ask(&mut web.h2().await, get("/other")).await;
    let lines = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("the other's line", || lines().contains("/other")).await;
    assert!(!lines().contains("/ws"), "{}", lines());
    send.send_data("there and back".into(), true).unwrap();
    assert_eq!(read(&mut answer.into_body()).await, "there and back");
    eventually("its line", || lines().contains("/ws")).await;
    let text = lines();
    let line = text.lines().find(|line| line.contains("/ws")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let moved = (&line["bytesIn"], &line["bytesOut"]);
    assert_eq!((&line["status"], moved), (&200.into(), (&14.into(), &14.into())), "{line}");
}

#[tokio::test]
async fn a_cancelled_stream_frees_its_seat_and_the_others_go_on() {
    let task = Recorder::start(|_| Some(Vec::new())).await;
    let web = Web::start(&[task.address]).await;
    let mut client = web.h2().await;
    let (answer, mut send) = client.send_request(get("/slow"), true).unwrap();
    let (_other, _) = client.send_request(get("/other"), true).unwrap();
    eventually("both hold a seat", || web.in_use(task.address) == 2).await;
    send.send_reset(Reason::CANCEL);
    drop(answer);
    eventually("one seat is free", || web.in_use(task.address) == 1).await;
}

#[tokio::test]
async fn grpc_clients_hear_in_their_own_words_that_nobody_is_there() {
    let web = Web::with(config(), H2_TASK, &[]).await;
    let mut client = web.h2().await;
    let request =
        Request::post("http://a.test/s/m").header("content-type", "application/grpc+proto");
    let (answer, _send) = client.send_request(request.body(()).unwrap(), false).unwrap();
    let answer = soon("an answer", answer).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["grpc-status"], "14");
    assert!(answer.body().is_end_stream());
}

#[tokio::test]
async fn what_a_service_rules_holds_here_too() {
    let task = Recorder::start(answered_at_once(OK)).await;
    let labels = [
        ("HAPROXY_0_STICKY", "true"),
        ("HAPROXY_0_AUTH", "realm:user:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA"),
    ];
    let web = Web::with(config(), &labels[..1], &[task.address]).await;
    let mut client = web.h2().await;
    let (answer, _) = client.send_request(get("/"), true).unwrap();
    let answer = soon("an answer", answer).await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("mesosphere_server_id="), "{cookie}");
    let mine = cookie.split(';').next().unwrap();
    let mut again = get("/");
    again.headers_mut().insert("cookie", HeaderValue::from_str(mine).unwrap());
    let (answer, _) = client.send_request(again, true).unwrap();
    let answer = soon("an answer", answer).await.unwrap();
    assert!(!answer.headers().contains_key("set-cookie"), "it is known");
    assert!(!task.seen().contains("mesosphere_server_id"), "the task does not see it");

    let web = Web::with(config(), &labels[1..], &[task.address]).await;
    let mut client = web.h2().await;
    let (status, said) = ask(&mut client, get("/")).await;
    assert_eq!(status, 401, "{said}");
    let mut request = get("/");
    // user:secret
    request.headers_mut().insert("authorization", "Basic dXNlcjpzZWNyZXQ=".parse().unwrap());
    assert_eq!(ask(&mut client, request).await.0, 200);
}
