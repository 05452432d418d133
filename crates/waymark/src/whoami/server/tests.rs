//! Real requests over real sockets.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// A server on a free port, stopped by dropping the sender.
async fn start() -> (SocketAddr, Arc<Server>, watch::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let environment = BTreeMap::from([
        ("MESOS_TASK_ID".to_owned(), "shop_web.1".to_owned()),
        ("PORTS".to_owned(), "31000,31001".to_owned()),
        ("SECRET".to_owned(), "s3cret".to_owned()),
    ]);
    let identity = Identity::new("web", environment);
    let server = Arc::new(Server { identity, stopping: AtomicBool::new(false) });
    let (close, closed) = watch::channel(());
    let accepting = server.clone();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            tokio::spawn(accepting.clone().connection(stream, peer, closed.clone()));
        }
    });
    (address, server, close)
}

/// Sends bytes and reads until the server closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(address: SocketAddr, target: &str) -> String {
    exchange(address, &format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        .await
}

#[tokio::test]
async fn says_who_it_is_and_what_it_was_asked() {
    let (address, _, _close) = start().await;
    let text = get(address, "/some/path?a=b").await;
    for part in
        ["name: web\n", "taskId: shop_web.1\n", "ports: 31000 31001\n", "path: /some/path\n"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("s3cret"));
    assert!(get(address, "/?env=all").await.contains("SECRET: s3cret\n"));

    let json = get(address, "/x?json").await;
    let body = json.split_once("\r\n\r\n").unwrap().1;
    let document: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(document["request"]["headers"]["host"], "x");
    assert_eq!(document["ports"][1], "31001");
    assert_eq!(document["request"]["number"], 3);
}

#[tokio::test]
async fn health_can_be_switched() {
    let (address, _, _close) = start().await;
    assert!(get(address, "/health").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/health/down").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/health").await.starts_with("HTTP/1.1 503"));
    let put = "PUT /health/up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(exchange(address, put).await.starts_with("HTTP/1.1 405"));
    get(address, "/health/up").await;
    assert!(get(address, "/health").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn bodies_go_both_ways_within_limits() {
    let (address, _, _close) = start().await;
    let bytes = get(address, "/bytes?n=100000").await;
    assert!(bytes.contains("content-length: 100000"), "{}", &bytes[..200]);
    assert_eq!(bytes.split_once("\r\n\r\n").unwrap().1.len(), 100_000);
    let post =
        "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
    assert!(exchange(address, post).await.ends_with("\r\n\r\nhello"));

    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    // The announced length is enough; nothing has to be sent.
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");

    let header = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(3 * MAX_HEADER_BYTES));
    assert!(exchange(address, &header).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn a_stop_finishes_what_was_begun() {
    let (address, server, close) = start().await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /slow?ms=300 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");

    server.stopping.store(true, Ordering::Relaxed);
    close.send_replace(());
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"up\n"));
}
