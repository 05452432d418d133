//! The event stream, byte by byte.

use serde_json::json;

use super::*;
use crate::MAX_WAITING_EVENTS;

const ACCEPT: &str = "Accept: text/event-stream\r\n";

/// An open stream.
struct Stream {
    socket: TcpStream,
    /// What has come and was not looked at.
    rest: String,
}

impl Stream {
    /// Opens a stream and reads its head.
    async fn open(server: &Server, query: &str) -> (Stream, String) {
        let request = format!("GET /v2/events{query} HTTP/1.1\r\nHost: x\r\n{ACCEPT}\r\n");
        let mut stream = Stream { socket: server.connect(request).await, rest: String::new() };
        let head = stream.take("\r\n\r\n").await.expect("a head");
        (stream, head)
    }

    /// The text up to a mark, without it; `None` when the stream ends before.
    async fn take(&mut self, mark: &str) -> Option<String> {
        let mut buffer = [0; 4096];
        loop {
            if let Some((found, rest)) = self.rest.split_once(mark) {
                let found = found.to_owned();
                self.rest = rest.to_owned();
                return Some(found);
            }
            let read = timeout(PATIENCE, self.socket.read(&mut buffer)).await.expect("more");
            match read.unwrap_or(0) {
                0 => return None,
                n => self.rest.push_str(std::str::from_utf8(&buffer[..n]).unwrap()),
            }
        }
    }

    /// The next event's type and data. Heartbeats before it are skipped.
    async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            match self.take("\r\n").await?.as_str() {
                "" => {}
                line => {
                    let event_type = line.strip_prefix("event: ").expect(line).to_owned();
                    let data = self.take("\r\n\r\n").await?;
                    let data = serde_json::from_str(data.strip_prefix("data: ").expect("data"));
                    return Some((event_type, data.unwrap()));
                }
            }
        }
    }

    async fn until_type(&mut self, wanted: &str) -> (Vec<String>, Value) {
        let mut seen = Vec::new();
        loop {
            let (event_type, data) = self.event().await.expect(wanted);
            assert_eq!(data["eventType"], *event_type);
            seen.push(event_type.clone());
            if event_type == wanted {
                return (seen, data);
            }
        }
    }
}

#[tokio::test]
async fn the_head_and_the_first_event() {
    let server = Server::start().await;
    let (mut stream, head) = Stream::open(&server, "").await;
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/event-stream;charset=utf-8\r\n"), "{head}");
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    assert!(!head.contains("Content-Length") && !head.contains("Transfer-Encoding"), "{head}");
    assert_eq!(stream.take("\r\n").await.as_deref(), Some("event: event_stream_attached"));
    let data = stream.take("\r\n\r\n").await.unwrap();
    let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(data["eventType"], "event_stream_attached");
    assert_eq!(data["remoteAddress"], "127.0.0.1");
    assert_eq!(data["timestamp"].as_str().unwrap().len(), "2026-11-23T00:32:10.795Z".len());
}

#[tokio::test]
async fn only_by_name() {
    let server = Server::start().await;
    for accept in ["", "Accept: */*\r\n", "Accept: application/json\r\n"] {
        let reply = server.request("GET", "/v2/events", accept, "").await;
        assert_eq!((reply.status, reply.header("Allow")), (405, "GET, HEAD, OPTIONS"), "{accept}");
    }
    let reply = server.request("HEAD", "/v2/events", ACCEPT, "").await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
}

#[tokio::test]
async fn the_life_of_an_app() {
    let server = Server::start().await;
    let (mut stream, _) = Stream::open(&server, "").await;
    server.deployed(r#"{"id":"/a","cmd":"x"}"#).await;
    let (seen, _) = stream.until_type("deployment_success").await;
    for wanted in [
        "event_stream_attached",
        "group_change_success",
        "deployment_info",
        "instance_changed_event",
        "status_update_event",
        "deployment_step_success",
    ] {
        assert!(seen.iter().any(|t| t == wanted), "{wanted}: {seen:?}");
    }
    server.send("PUT", "/v2/apps/a?force=true", r#"{"cmd":"y"}"#).await;
    let (_, post) = stream.until_type("api_post_event").await;
    assert_eq!(post["clientIp"], "127.0.0.1");
    assert!(matches!(post["uri"].as_str(), Some("/v2/apps" | "/v2/apps/a?force=true")));
    assert_eq!(post["appDefinition"]["portDefinitions"][0]["port"], 10000);
    let (mut other, _) = Stream::open(&server, "").await;
    let (_, attached) = stream.until_type("event_stream_attached").await;
    assert_eq!(attached["remoteAddress"], "127.0.0.1");
    assert_eq!(other.event().await.unwrap().0, "event_stream_attached");
    drop(other);
    stream.until_type("event_stream_detached").await;
}

#[tokio::test]
async fn only_types_asked_for() {
    let server = Server::start().await;
    let query = "?event_type=deployment_success&event_type=api_post_event&plan-format=light";
    let (mut stream, _) = Stream::open(&server, query).await;
    server.deployed(r#"{"id":"/a","cmd":"x"}"#).await;
    let mut types = vec![stream.event().await.unwrap().0, stream.event().await.unwrap().0];
    types.sort();
    assert_eq!(types, ["api_post_event", "deployment_success"]);
}

#[tokio::test]
async fn a_sign_of_life() {
    let server = Server::start_with(|c| c.limits.heartbeat = Duration::from_millis(20)).await;
    let (mut stream, _) = Stream::open(&server, "?event_type=none").await;
    for _ in 0..3 {
        assert_eq!(stream.take("\r\n").await.as_deref(), Some(""));
    }
}

#[tokio::test]
async fn a_slow_one_is_cut_off_and_others_are_not() {
    let server = Server::start_with(|config| {
        config.limits.write_timeout = Duration::from_millis(300);
    })
    .await;
    let (mut quick, _) = Stream::open(&server, "?event_type=api_post_event").await;
    let (slow, _) = Stream::open(&server, "").await;
    // Far more than the sockets' buffers hold, in a row that none but the quick one takes.
    let label = "x".repeat(64 * 1024);
    let body = json!({"id": "/a", "cmd": "x", "instances": 0, "labels": {"l": label}}).to_string();
    server.deployed(&body).await;
    let app = server.handle.state().root.apps.values().next().unwrap().clone();
    quick.event().await.unwrap();
    for n in 0..400 {
        server.handle.announce(waymark_marathon_api::Event::ApiPost {
            client_ip: [127, 0, 0, 1].into(),
            uri: n.to_string(),
            app: app.clone(),
        });
        let (_, event) = quick.event().await.expect("the quick one goes on");
        assert_eq!(event["uri"], n.to_string());
    }
    // It never read, so what ends it is the server.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = server.get("/metrics").await;
        if metrics.text().lines().any(|line| line == "waymark_event_subscribers 1") {
            break;
        }
        assert!(Instant::now() < deadline, "{}", metrics.text());
        sleep(Duration::from_millis(20)).await;
    }
    drop(slow);
}

#[tokio::test]
async fn one_that_lags_is_cut_off() {
    let server = Server::start().await;
    let (mut slow, _) = Stream::open(&server, "?event_type=none").await;
    // In one go, so that the stream has no chance to take any of them.
    let app = Arc::new(waymark_model::App::new(waymark_model::AppId::parse("/a").unwrap()));
    for _ in 0..2 * MAX_WAITING_EVENTS {
        server.handle.announce(waymark_marathon_api::Event::ApiPost {
            client_ip: [127, 0, 0, 1].into(),
            uri: String::new(),
            app: app.clone(),
        });
    }
    assert_eq!(slow.take("\r\n").await, None, "the stream ends");
    let metrics = server.get("/metrics").await;
    assert!(metrics.text().contains("waymark_event_subscribers_cut_total 1"), "{}", metrics.text());
}

#[tokio::test]
async fn no_more_than_allowed() {
    let server = Server::start_with(|config| config.limits.subscribers = 1).await;
    let (first, _) = Stream::open(&server, "").await;
    let reply = server.request("GET", "/v2/events", ACCEPT, "").await;
    reply.is(503, r#"{"message":"Too many event streams. Allowed: 1."}"#);
    drop(first);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (mut next, head) = Stream::open(&server, "").await;
        if head.starts_with("HTTP/1.0 200") {
            assert_eq!(next.event().await.unwrap().0, "event_stream_attached");
            return;
        }
        assert!(Instant::now() < deadline, "the place is not free again");
    }
}

#[tokio::test]
async fn stopping_ends_streams() {
    let server = Server::start().await;
    let (mut stream, _) = Stream::open(&server, "?event_type=none").await;
    server.stop.send(()).unwrap();
    assert_eq!(stream.take("\r\n").await, None);
    timeout(PATIENCE, server.served).await.expect("the end").unwrap();
}
