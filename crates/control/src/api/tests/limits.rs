//! What clients cannot do to the server.

use super::*;

#[tokio::test]
async fn long_bodies() {
    let server = Server::start_with(|config| config.limits.body_bytes = 1000).await;
    let message = r#"{"message":"The request body is larger than 1000 bytes"}"#;
    // Told by its length …
    let head = "POST /v2/apps HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    server.raw(format!("{head}Content-Length: 1001\r\n\r\n")).await.is(413, message);
    // … and found out while it comes.
    let chunk = format!("3e9\r\n{}\r\n", "x".repeat(1001));
    let request = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}");
    server.raw(request).await.is(413, message);
    let body = format!(r#"{{"id":"/a","cmd":"x"{}}}"#, " ".repeat(1000 - 21));
    assert_eq!(body.len(), 1000);
    assert_eq!(server.send("POST", "/v2/apps", &body).await.status, 201);
}

#[tokio::test]
async fn long_heads() {
    let server = Server::start_with(|config| config.limits.header_bytes = 10_000).await;
    let long = format!("X: {}\r\n", "x".repeat(10_000));
    assert_eq!(server.request("GET", "/ping", &long, "").await.status, 431);
    let many: String = (0..101).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert_eq!(server.request("GET", "/ping", &many, "").await.status, 431);
    assert_eq!(server.raw("nonsense\r\n\r\n").await.status, 400);
    server.get("/ping").await.is(200, "pong");
}

#[tokio::test]
async fn many_connections() {
    let server = Server::start_with(|config| config.limits.connections = 2).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect("GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        open.push(stream);
    }
    // Nothing is sent, so that nothing unread can reset the connection before the answer is read.
    let reply = server.raw("").await;
    reply.is(503, r#"{"message":"Too many connections"}"#);
    assert_eq!(reply.header("Content-Length"), reply.body.len().to_string());
    drop(open);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut stream = server.connect("").await;
        let request = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut bytes = Vec::new();
        let sent = stream.write_all(request).await.is_ok();
        if sent && stream.read_to_end(&mut bytes).await.is_ok() && bytes.ends_with(b"pong") {
            return;
        }
        assert!(Instant::now() < deadline, "no place is free again");
    }
}

#[tokio::test]
async fn slow_requests() {
    let server = Server::start_with(|config| {
        config.limits.header_timeout = Duration::from_millis(50);
        config.limits.request_timeout = Duration::from_millis(50);
    })
    .await;
    let mut stream = server.connect("GET /ping HTTP/1.1\r\nHo").await;
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the end").unwrap();
    assert!(!bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes));
    let request = "POST /v2/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
    server.raw(request).await.is(503, r#"{"message":"The request took too long"}"#);
}
