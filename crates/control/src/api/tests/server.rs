//! Routes, information, metrics, logs, and the end of the server.

use serde_json::json;
use tokio::net::TcpStream;

use super::*;
use crate::api::ListenerStatus;

#[tokio::test]
async fn routes_and_methods() {
    let server = Server::start().await;
    server.get("/v2/nonsense").await.is(404, r#"{"message":"URI not found"}"#);
    let reply = server.send("DELETE", "/v2/info", "").await;
    reply.is(405, r#"{"message":"Method Not Allowed"}"#);
    assert_eq!(reply.header("Allow"), "GET, HEAD, OPTIONS");
    let reply = server.request("OPTIONS", "/v2/apps/x", "", "").await;
    reply.is(200, "");
    assert_eq!(reply.header("Allow"), "GET, HEAD, PUT, PATCH, DELETE, OPTIONS");
    let reply = server.request("HEAD", "/v2/apps", "", "").await;
    reply.is(200, "");
    assert_eq!(reply.header("Content-Length"), r#"{"apps":[]}"#.len().to_string());
    server.get("/service/marathon/v2/apps").await.is(200, r#"{"apps":[]}"#);
}

#[tokio::test]
async fn headers_of_every_answer() {
    let server = Server::start().await;
    for path in ["/v2/apps", "/nonsense"] {
        let reply = server.get(path).await;
        assert_eq!(reply.header("Content-Type"), "application/json");
        assert_eq!(reply.header("Cache-Control"), "no-cache, no-store, must-revalidate");
        assert_eq!(reply.header("Pragma"), "no-cache");
        assert_eq!(reply.header("Expires"), "0");
        assert_eq!(reply.header("X-Marathon-Leader"), format!("http://{}", server.address));
        assert!(reply.header("X-Waymark-Catalog-Version").parse::<u64>().is_ok(), "{reply:?}");
        assert!(reply.head.contains("\r\nX-Marathon-Leader: "), "{}", reply.head);
    }
}

#[tokio::test]
async fn ping_in_three_forms() {
    let server = Server::start().await;
    let ping = async |accept: &str| server.request("GET", "/ping", accept, "").await;
    ping("").await.is(200, "pong");
    ping("Accept: */*\r\n").await.is(200, "pong");
    ping("Accept: text/html, text/*\r\n").await.is(200, "pong");
    let reply = ping("Accept: application/json\r\n").await;
    reply.is(200, "\"pong\"");
    assert_eq!(reply.header("Content-Type"), "application/json");
    ping("Accept: image/png\r\n").await.is(204, "");
}

#[tokio::test]
async fn information() {
    let server = Server::start().await;
    let leader = json!({"leader": server.address.to_string()});
    assert_eq!(server.get("/v2/leader").await.json(), leader);
    let info = server.get("/v2/info").await.json();
    assert_eq!(info["name"], "marathon");
    assert_eq!(info["frameworkId"], "f-0000");
    assert_eq!(info["elected"], true);
    assert_eq!(info["leader"], server.address.to_string());
    assert_eq!(info["marathon_config"]["local_port_min"], 10000);
    assert_eq!(info["marathon_config"]["local_port_max"], 20000);
    assert_eq!(info["http_config"]["http_port"], server.address.port());
    server.get("/v2/deployments").await.is(200, "[]");
    server.get("/v2/queue").await.is(200, r#"{"queue":[]}"#);
}

#[tokio::test]
async fn status_tells_what_is_wrong() {
    let server = Server::start_with(|config| {
        config.warnings.push(Box::new(|| vec!["the moon is full".to_owned()]));
        config.listeners = Box::new(|| {
            vec![ListenerStatus {
                port: 9000,
                app: "/a".to_owned(),
                index: 0,
                state: "failed".to_owned(),
                reason: Some("in use".to_owned()),
                active: 0,
                accepted: 7,
            }]
        });
    })
    .await;
    let body = |id: &str| format!(r#"{{"id":"{id}","cmd":"x","ports":[9000]}}"#);
    server.deployed(&body("/a")).await;
    let reply = server.send("POST", "/v2/apps", &body("/b")).await;
    assert_eq!(
        reply.header("Warning"),
        r#"299 waymark "service port 9000 of app /b is also used by app /a""#
    );
    server.settled().await;
    let status = server.get("/v1/status").await.json();
    assert_eq!(
        status["warnings"],
        json!(["service port 9000 is used by app /a and by app /b", "the moon is full"])
    );
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["limitations"], json!(["no limits"]));
    assert_eq!((&status["apps"], &status["tasks"]), (&json!(2), &json!(2)));
    let port = json!({"port": 9000, "app": "/a", "index": 0, "state": "failed",
        "reason": "in use", "active": 0, "accepted": 7});
    assert_eq!(status["servicePorts"], json!([port]));
    assert!(status["catalogVersion"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn metrics_of_all_parts() {
    let server = Server::start_with(|config| {
        config.extra_metrics.push(Box::new(|text| text.push_str("# TYPE extra gauge\nextra 5\n")));
    })
    .await;
    server.deployed(r#"{"id":"/a","cmd":"x","instances":2}"#).await;
    let reply = server.get("/metrics").await;
    assert!(reply.header("Content-Type").starts_with("application/openmetrics-text"));
    for line in [
        "waymark_apps 1",
        "waymark_tasks{state=\"TASK_RUNNING\"} 2",
        "waymark_tasks{state=\"TASK_STAGING\"} 0",
        "waymark_api_requests_total{method=\"POST\",code=\"201\"} 1",
        "waymark_event_subscribers 0",
        "extra 5",
    ] {
        assert!(reply.text().lines().any(|l| l == line), "{line}: {}", reply.text());
    }
    assert!(reply.text().ends_with("extra 5\n# EOF\n"));
}

#[tokio::test]
async fn logs_in_parts() {
    let server = Server::start().await;
    let task = "a.instance-1._app.1";
    let sandbox = server.folder.path().join(task);
    std::fs::create_dir(&sandbox).unwrap();
    std::fs::write(sandbox.join("stdout"), "0123456789").unwrap();
    let logs = async |query: &str| server.get(&format!("/v1/tasks/{task}/logs{query}")).await;
    for (query, body) in [
        ("", "0123456789"),
        ("?limit=3", "789"),
        ("?offset=-1&limit=3", "789"),
        ("?stream=stdout&offset=2&limit=3", "234"),
        ("?offset=10", ""),
    ] {
        let reply = logs(query).await;
        reply.is(200, body);
        assert_eq!(reply.header("X-Waymark-Log-Size"), "10", "{query}");
    }
    let reply = logs("?stream=stderr").await;
    reply.is(200, "");
    assert_eq!(reply.header("X-Waymark-Log-Size"), "0");
    logs("?stream=x").await.is(400, r#"{"message":"stream must be stdout or stderr"}"#);
    logs("?limit=1048577").await.is(400, r#"{"message":"limit must be 0 to 1048576 bytes"}"#);
    logs("?offset=x").await.is(400, r#"{"message":"offset must be a number"}"#);
    let reply = server.get("/v1/tasks/b.1/logs").await;
    reply.is(404, r#"{"message":"Task 'b.1' does not exist"}"#);
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_refuses_new_ones() {
    let server = Server::start().await;
    let mut idle = server.connect("GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut byte = [0];
    idle.read_exact(&mut byte).await.unwrap();
    server.stop.send(()).unwrap();
    let rest = read_to_end(&mut idle).await;
    assert!(rest.ends_with(b"pong"), "{}", String::from_utf8_lossy(&rest));
    timeout(PATIENCE, server.served).await.expect("the end").unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the end").unwrap();
    bytes
}
