//! Probes of real servers on this machine.

use std::collections::HashSet;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::target::{Expectation, Probe, ProbeKind};

/// Nothing here takes as long on a working machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// Answers `exit 0` and `exit 1` without a shell.
struct Runner;

impl CommandRunner for Runner {
    fn run(
        &self,
        task: &TaskId,
        command: &str,
        _: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let known = task.as_str() == "t";
        let result = match command {
            "exit 0" if known => Ok(()),
            _ => Err("exited with status 1".to_owned()),
        };
        Box::pin(async { result })
    }
}

fn prober(max_concurrent: usize) -> (Prober, mpsc::Receiver<ProbeReport>) {
    let (sender, receiver) = mpsc::channel(16);
    let config = Config { max_concurrent, seed: 1 };
    (Prober::new(config, Arc::new(Runner), sender), receiver)
}

fn probe(kind: ProbeKind) -> Probe {
    Probe {
        check: CheckId::Health(0),
        kind,
        expect: Expectation::Usual { ignore_1xx: false },
        interval: Duration::from_secs(3600),
        timeout: DEADLINE,
        succeeded: true,
    }
}

fn target(task: &str, probes: Vec<Probe>) -> Target {
    Target { task: TaskId::from_text(task), probes }
}

fn http(addr: SocketAddr) -> ProbeKind {
    ProbeKind::Http { addr, path: "/up?x=1".to_owned(), host: format!("box:{}", addr.port()) }
}

fn https(addr: SocketAddr) -> ProbeKind {
    ProbeKind::Https { addr, path: "/".to_owned(), host: format!("box:{}", addr.port()) }
}

async fn next(reports: &mut mpsc::Receiver<ProbeReport>) -> ProbeReport {
    timeout(DEADLINE, reports.recv()).await.expect("a report in time").expect("a report")
}

/// The first report of one probe.
async fn report(probe: Probe) -> ProbeReport {
    let (prober, mut reports) = prober(4);
    prober.watch(target("t", vec![probe]));
    next(&mut reports).await
}

async fn outcome(kind: ProbeKind) -> Outcome {
    report(probe(kind)).await.outcome
}

fn failure(cause: &str) -> Outcome {
    Outcome::Failure(cause.to_owned())
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Reads a request's head.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Answers one request, then waits for the other side to close.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> String {
    let request = head(&mut stream).await;
    stream.write_all(text.as_bytes()).await.unwrap();
    let _ = stream.read_u8().await;
    request
}

/// A server that gives every connection this answer.
async fn server(text: &'static str) -> SocketAddr {
    let (listener, addr) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, text));
        }
    });
    addr
}

/// An address where nothing listens, and the socket that keeps others away from it.
fn nowhere() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

#[tokio::test]
async fn statuses() {
    let usual = |ignore_1xx| Expectation::Usual { ignore_1xx };
    for (text, expect, want) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", usual(false), Outcome::Success),
        ("HTTP/1.0 204 No Content\r\n\r\n", usual(false), Outcome::Success),
        ("HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", usual(false), Outcome::Success),
        ("HTTP/1.1 399 Odd\r\n\r\n", usual(false), Outcome::Success),
        ("HTTP/1.1 400 Bad\r\n\r\n", usual(false), failure("status 400")),
        ("HTTP/1.1 503 Busy\r\n\r\n", usual(true), failure("status 503")),
        ("HTTP/1.1 101 Up\r\n\r\n", usual(false), failure("status 101")),
        ("HTTP/1.1 101 Up\r\n\r\n", usual(true), Outcome::Neutral),
        ("HTTP/1.1 103 H\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", usual(true), Outcome::Success),
        ("HTTP/1.1 200 OK\r\n\r\n", Expectation::Codes(vec![204]), failure("status 200")),
        ("HTTP/1.1 503 Busy\r\n\r\n", Expectation::Codes(vec![503]), Outcome::Success),
        ("SSH-2.0-OpenSSH\r\n\r\n", usual(false), failure("the answer is not HTTP")),
    ] {
        let addr = server(text).await;
        let probe = Probe { expect, ..probe(http(addr)) };
        assert_eq!(report(probe).await.outcome, want, "{text}");
    }
}

#[tokio::test]
async fn the_request() {
    let (listener, addr) = listener().await;
    let request = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, "HTTP/1.1 200 OK\r\n\r\n").await
    });
    assert_eq!(outcome(http(addr)).await, Outcome::Success);
    // The probe closed the connection, or the server would still be reading.
    let request = timeout(DEADLINE, request).await.unwrap().unwrap().to_lowercase();
    let lines: Vec<&str> = request.lines().collect();
    assert_eq!(lines[0], "get /up?x=1 http/1.1");
    for line in [&format!("host: box:{}", addr.port()), "user-agent: waymark", "connection: close"]
    {
        assert!(lines.contains(&line), "{line} in {lines:?}");
    }
}

#[tokio::test]
async fn an_endless_body_is_not_waited_for() {
    let (listener, addr) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    assert_eq!(outcome(http(addr)).await, Outcome::Success);
    let addr = server("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await;
    assert_eq!(outcome(http(addr)).await, Outcome::Success);
}

#[tokio::test]
async fn causes_of_failure() {
    let (_socket, nowhere) = nowhere();
    let refused = failure("connection refused");
    assert_eq!(outcome(http(nowhere)).await, refused);
    assert_eq!(outcome(https(nowhere)).await, refused);
    assert_eq!(outcome(ProbeKind::Tcp { addr: nowhere }).await, refused);

    let addr = server("").await;
    let probe = Probe { timeout: Duration::from_millis(500), ..probe(http(addr)) };
    assert_eq!(report(probe).await.outcome, failure("timed out after 0.5 s"));

    let (listener, addr) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            head(&mut stream).await;
        }
    });
    assert_eq!(outcome(http(addr)).await, failure("the connection was closed before an answer"));

    let (listener, addr) = self::listener().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"220 smtp.example ESMTP\r\n").await;
            let _ = stream.read_u8().await;
        }
    });
    let Outcome::Failure(cause) = outcome(https(addr)).await else { panic!("not TLS") };
    assert!(cause.starts_with("TLS handshake failed: "), "{cause}");

    let space = ProbeKind::Http { addr, path: "/a b".to_owned(), host: "box".to_owned() };
    assert_eq!(outcome(space).await, failure("/a b on box cannot be put into a request"));
    let unresolved = ProbeKind::Unresolved { cause: "the app has no port 3".to_owned() };
    assert_eq!(outcome(unresolved).await, failure("the app has no port 3"));
}

#[tokio::test]
async fn a_head_without_end_is_a_failure() {
    let (listener, addr) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    assert!(matches!(outcome(http(addr)).await, Outcome::Failure(_)));
}

#[tokio::test]
async fn tcp_and_commands() {
    let (_listener, addr) = listener().await;
    assert_eq!(outcome(ProbeKind::Tcp { addr }).await, Outcome::Success);
    let command = |c: &str| ProbeKind::Command { command: c.to_owned() };
    assert_eq!(outcome(command("exit 0")).await, Outcome::Success);
    assert_eq!(outcome(command("exit 1")).await, failure("exited with status 1"));
}

fn acceptor(versions: &[&'static rustls::SupportedProtocolVersion]) -> tokio_rustls::TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["elsewhere.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn https_takes_any_certificate() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (listener, addr) = listener().await;
        let acceptor = acceptor(&[version]);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, "HTTP/1.1 200 OK\r\n\r\n").await;
                }
            }
        });
        assert_eq!(outcome(https(addr)).await, Outcome::Success);
        // Without a usable name the address is the server name.
        let bare = ProbeKind::Https { addr, path: "/".to_owned(), host: addr.to_string() };
        assert_eq!(outcome(bare).await, Outcome::Success);
    }
}

#[tokio::test]
async fn readiness_reports_the_answer_and_stops() {
    let (listener, addr) = listener().await;
    let served = Arc::new(AtomicUsize::new(0));
    let counter = served.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let text = match counter.fetch_add(1, Ordering::SeqCst) {
                0 => "HTTP/1.1 503 Busy\r\ncontent-type: text/x\r\ncontent-length: 4\r\n\r\nwait",
                _ => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\ngo",
            };
            answer(stream, text).await;
        }
    });
    let readiness = Probe {
        check: CheckId::Readiness(0),
        expect: Expectation::Codes(vec![200]),
        succeeded: false,
        ..probe(http(addr))
    };
    let (prober, mut reports) = prober(4);
    prober.watch(target("t", vec![readiness]));
    let first = next(&mut reports).await;
    let response =
        Response { status: 503, content_type: "text/x".to_owned(), body: "wait".to_owned() };
    assert_eq!((first.outcome, first.response), (failure("status 503"), Some(response)));
    let second = next(&mut reports).await;
    assert_eq!((second.check, second.outcome), (CheckId::Readiness(0), Outcome::Success));
    assert_eq!(second.response.map(|r| r.body).as_deref(), Some("go"));
    until(|| prober.watched() == 0).await;
}

/// Polls until it is so.
async fn until(mut so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !so() {
        assert!(Instant::now() < end, "not so in time");
        tokio::task::yield_now().await;
    }
}

/// Fails at first, then accepts: a task that takes a while to come up.
#[tokio::test]
async fn a_fresh_task_is_seen_soon_after_it_is_up() {
    let (socket, addr) = nowhere();
    let (prober, mut reports) = prober(4);
    let kind = ProbeKind::Tcp { addr };
    prober.watch(target("t", vec![Probe { succeeded: false, ..probe(kind) }]));
    assert_eq!(next(&mut reports).await.outcome, failure("connection refused"));
    let _listener = socket.listen(8).unwrap();
    let since = Instant::now();
    while next(&mut reports).await.outcome != Outcome::Success {}
    // The interval is an hour; the pauses so far were 25, 50, 100… ms.
    assert!(since.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_forgotten_task_is_not_reported() {
    let (listener, addr) = listener().await;
    let (prober, mut reports) = prober(1);
    prober.watch(target("old", vec![probe(http(addr))]));
    let (mut stream, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
    head(&mut stream).await;
    // It is being probed at this moment, and gets its answer after it was forgotten.
    prober.forget(&TaskId::from_text("old"));
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    prober.watch(target("t", vec![probe(ProbeKind::Tcp { addr })]));
    assert_eq!(next(&mut reports).await.task.as_str(), "t");
    assert_eq!(prober.watched(), 1);
}

#[tokio::test]
async fn no_more_than_the_limit_at_once() {
    let (listener, addr) = listener().await;
    let (prober, mut reports) = prober(3);
    for n in 0..20 {
        prober.watch(target(&n.to_string(), vec![probe(http(addr))]));
    }
    let mut open: Vec<TcpStream> = Vec::new();
    let mut seen = HashSet::new();
    while seen.len() < 20 {
        // Wait until the limit is used up, then let one through.
        while open.len() < 3.min(20 - seen.len()) {
            open.push(timeout(DEADLINE, listener.accept()).await.unwrap().unwrap().0);
        }
        let beyond = timeout(Duration::from_millis(5), listener.accept()).await;
        assert!(beyond.is_err(), "more than 3 probes at once");
        let mut stream = open.remove(0);
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        drop(stream);
        assert!(seen.insert(next(&mut reports).await.task));
    }
}

#[tokio::test]
async fn dropping_the_prober_ends_it() {
    let (listener, addr) = listener().await;
    let (prober, mut reports) = prober(3);
    prober.watch(target("t", vec![probe(http(addr))]));
    let (mut stream, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
    head(&mut stream).await;
    drop(prober);
    // The connection of the probe being made is closed, and nobody can report any more.
    assert!(timeout(DEADLINE, stream.read_u8()).await.unwrap().is_err());
    assert_eq!(timeout(DEADLINE, reports.recv()).await, Ok(None));
}
