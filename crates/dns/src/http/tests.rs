//! The API over real connections, against a catalog with one task in a cluster and one app.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use waymark_catalog::{Output, Writer};
use waymark_http::BasicAuth;
use waymark_model::{ClusterTask, TaskId};

use super::*;
use crate::fixtures;

/// A served API and the writer of its catalog.
struct Api {
    address: std::net::SocketAddr,
    dns: Arc<Dns>,
    writer: Mutex<Writer>,
}

/// A reply: status, content type, body.
type Reply = (u16, String, String);

fn config() -> HttpConfig {
    HttpConfig {
        version: "1.2.3".to_owned(),
        view: ConfigView {
            ttl: 60,
            refresh_seconds: 60,
            soa_mname: "ns1.mesos.".to_owned(),
            soa_rname: "root.ns1.mesos.".to_owned(),
            domain: "mesos".to_owned(),
            ..ConfigView::default()
        },
        enumeration_on: true,
        auth: None,
        source: None,
        metrics: vec![Box::new(|out| out.push_str("waymark_test 1\n"))],
        limits: HttpLimits::default(),
    }
}

impl Api {
    async fn start(config: HttpConfig) -> Api {
        let (writer, reader) = Writer::new(0);
        // A framework name of its own would be a control plane's.
        let dns_config = crate::DnsConfig { framework: String::new(), ..fixtures::config() };
        let dns = Arc::new(Dns::new(dns_config).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (follower, follow) = (dns.clone(), reader.clone());
        tokio::spawn(async move { follower.follow(follow).await });
        let served = dns.clone();
        tokio::spawn(serve(listener, None, config, served, reader, std::future::pending()));
        Api { address, dns, writer: Mutex::new(writer) }
    }

    /// One with a task `web.1` of `marathon` on agent S4.
    async fn with_web(config: HttpConfig) -> Api {
        let api = Api::start(config).await;
        api.publish(vec![web("web.1")]).await;
        api
    }

    /// Publishes the tasks of the group `web.shop`, and waits until names follow.
    async fn publish(&self, tasks: Vec<ClusterTask>) {
        let version = self.writer.lock().unwrap().publish_cluster(|cluster| {
            *cluster = waymark_model::Cluster::default();
            if !tasks.is_empty() {
                fixtures::add_group(cluster, "marathon", "web.shop", true, tasks);
            }
            true
        });
        let mut versions = self.dns.versions();
        versions.wait_for(|applied| Some(*applied) >= version).await.unwrap();
    }

    async fn ask(&self, method: &str, path: &str, headers: &str) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let kind = head.lines().find_map(|line| line.strip_prefix("Content-Type: "));
        (status, kind.unwrap_or_default().to_owned(), body.to_owned())
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "").await
    }

    async fn json(&self, path: &str) -> Value {
        let (status, kind, body) = self.get(path).await;
        assert_eq!((status, &*kind), (200, "application/json"), "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

/// A task with a container address, a named port, on an agent with a host port.
fn web(id: &str) -> ClusterTask {
    let mut task = fixtures::cluster_task(id, "web.shop", 4);
    task.addresses.netinfo = vec![fixtures::ip("9.0.0.7"), fixtures::ip("fd00::7")];
    task.host_ports = vec![31005];
    task.ports = vec![fixtures::cluster_port(8080, "http", "tcp")];
    task
}

#[tokio::test]
async fn before_the_first_state() {
    let api = Api::start(config()).await;
    for path in ["/v1/hosts/a.mesos", "/v1/services/_a._tcp.mesos", "/v1/axfr", "/v1/enumerate"] {
        assert_eq!(api.get(path).await.0, 503, "{path}");
    }
    assert_eq!(api.get("/v1/ready").await.0, 503);
    assert_eq!(api.json("/v1/version").await["CatalogVersion"], "0");
    api.publish(Vec::new()).await;
    assert_eq!(api.json("/v1/ready").await, json!({"ready": true}));
    assert_eq!(api.json("/v1/enumerate").await, json!({"frameworks": null}));
}

#[tokio::test]
async fn single_names() {
    let api = Api::with_web(config()).await;
    let (status, kind, body) = api.get("/v1/hosts/Web.*.shop.marathon.mesos/?x=1").await;
    assert_eq!((status, &*kind), (200, "application/json"));
    let want = "[\n  {\n   \"host\": \"web.shop.marathon.mesos.\",\n   \"ip\": \"9.0.0.7\"\n  },\n  \
                {\n   \"host\": \"web.shop.marathon.mesos.\",\n   \"ip\": \"fd00::7\"\n  }\n ]";
    assert_eq!(body, want);
    let empty = json!([{"host": "", "ip": ""}]);
    for name in ["nothing.mesos", "example.org", ".*", "marathon.mesos"] {
        assert_eq!(api.json(&format!("/v1/hosts/{name}")).await, empty, "{name}");
    }
    let name = "_web-shop._tcp.marathon.mesos";
    let host = "web-shop-e844k-s4.marathon.mesos.";
    let entry = |ip: &str| json!({"service": name, "host": host, "ip": ip, "port": "8080"});
    let got = api.json(&format!("/v1/services/{name}")).await;
    assert_eq!(got, json!([entry("9.0.0.7"), entry("fd00::7")]));
    let empty = json!([{"service": "", "host": "", "ip": "", "port": ""}]);
    assert_eq!(api.json("/v1/services/web.shop.marathon.mesos").await, empty);
    assert_eq!(api.get("/v1/hosts/a/ports").await.0, 501);
}

#[tokio::test]
async fn lists_of_everything() {
    let api = Api::with_web(config()).await;
    let axfr = api.json("/v1/axfr").await;
    for (member, want) in [
        ("TTL", json!(60)),
        ("Serial", json!(1)),
        ("RefreshSeconds", json!(60)),
        ("Mname", json!("ns1.mesos.")),
        ("Domain", json!("mesos")),
    ] {
        assert_eq!(axfr[member], want, "{member}");
    }
    let records = &axfr["Records"];
    assert_eq!(records["As"]["web-shop.marathon.mesos."], json!(["9.0.0.7"]));
    assert_eq!(records["As"]["web-shop.marathon.slave.mesos."], json!(["10.0.0.4"]));
    assert_eq!(records["AAAAs"]["web.shop.marathon.mesos."], json!(["fd00::7"]));
    let srv = json!(["web-shop-e844k-s4.marathon.mesos.:8080"]);
    assert_eq!(records["SRVs"]["_http._web-shop._tcp.marathon.mesos."], srv);
    let (_, _, text) = api.get("/v1/axfr").await;
    let at = |part| text.find(part).unwrap();
    assert!(at("\"As\"") < at("\"AAAAs\"") && at("\"AAAAs\"") < at("\"SRVs\""));

    let list = api.json("/v1/enumerate").await;
    assert_eq!(list["frameworks"][0]["name"], "marathon");
    let task = &list["frameworks"][0]["tasks"][0];
    assert_eq!((&task["name"], &task["id"]), (&json!("web.shop"), &json!("web.1")));
    let listed = task["records"].as_array().unwrap();
    for (name, host, rtype) in [
        ("web-shop.marathon.mesos.", "9.0.0.7", "A"),
        ("web-shop.marathon.mesos.", "fd00::7", "AAAA"),
        ("_web-shop._tcp.marathon.mesos.", "web-shop-e844k-s4.marathon.mesos.:8080", "SRV"),
    ] {
        let want = json!({"name": name, "host": host, "rtype": rtype});
        assert_eq!(listed.iter().filter(|record| **record == want).count(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_record_is_listed_under_one_task_only() {
    let api = Api::start(config()).await;
    api.publish(vec![web("web.1"), web("web.2")]).await;
    let list = api.json("/v1/enumerate").await;
    let tasks = list["frameworks"][0]["tasks"].as_array().unwrap();
    let shared = |task: &Value| {
        let records = task["records"].as_array().unwrap();
        records.iter().filter(|r| r["name"] == "web-shop.marathon.mesos.").count()
    };
    // Both have the same addresses.
    assert_eq!(tasks.iter().map(shared).collect::<Vec<_>>(), [2, 0]);
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_let_through() {
    let hidden = HttpConfig { enumeration_on: false, ..config() };
    let api = Api::with_web(hidden).await;
    for path in ["/", "/v1/nothing", "/v1/enumerate", "/v1/axfr", "/v1/hosts/a%2Fb"] {
        assert_eq!(
            api.get(path).await,
            (404, "text/plain; charset=utf-8".to_owned(), "404: Page Not Found".to_owned()),
            "{path}"
        );
    }
    for method in ["POST", "OPTIONS", "DELETE"] {
        let (status, _, body) = api.ask(method, "/v1/version", "").await;
        assert_eq!((status, &*body), (405, "405: Method Not Allowed"));
    }
    assert_eq!(api.ask("HEAD", "/v1/version", "").await.0, 405);
    for (accept, status) in [
        ("text/html", 406),
        ("application/*", 406),
        ("text/event-stream", 406),
        ("text/html, */*;q=0.8", 200),
        ("application/json", 200),
        ("", 200),
    ] {
        let reply = api.ask("GET", "/v1/version", &format!("Accept: {accept}\r\n")).await;
        assert_eq!(reply.0, status, "{accept}");
    }
}

#[tokio::test]
async fn a_password_opens_all_but_readiness() {
    let auth = Some(BasicAuth::new("ann", "sesame"));
    let api = Api::with_web(HttpConfig { auth, ..config() }).await;
    assert_eq!(api.get("/v1/version").await.0, 401);
    assert_eq!(api.get("/metrics").await.0, 401);
    assert_eq!(api.get("/v1/ready").await.0, 200);
    let right = "Authorization: Basic YW5uOnNlc2FtZQ==\r\n";
    assert_eq!(api.ask("GET", "/v1/version", right).await.0, 200);
    let wrong = "Authorization: Basic YW5uOnNlc2FtZT8=\r\n";
    assert_eq!(api.ask("GET", "/v1/version", wrong).await.0, 401);
}

#[tokio::test]
async fn metrics_and_version() {
    let api = Api::with_web(config()).await;
    assert_eq!(api.get("/metrics").await.2, "waymark_test 1\n# EOF\n");
    let version = api.json("/v1/version").await;
    assert_eq!((&version["Service"], &version["Version"]), (&json!("Mesos-DNS"), &json!("1.2.3")));
    assert_eq!(version["CatalogVersion"], "1");
    assert_eq!(api.json("/v1/config").await["SOASerial"], 1);
}

#[tokio::test]
async fn a_watch_answers_when_the_name_changes() {
    let api = Arc::new(Api::with_web(config()).await);
    let path = "/v1/watch?name=web.shop.marathon.mesos&type=A";
    let first = api.json(path).await;
    assert_eq!(first["records"], json!([{"type": "A", "value": "9.0.0.7"}]));
    let index = first["index"].as_str().unwrap().to_owned();
    // What is known is not told again, until the wait is over.
    let same = api.json(&format!("{path}&index={index}&wait=10ms")).await;
    assert_eq!(same["index"], first["index"]);

    let waiting = api.clone();
    let next =
        tokio::spawn(async move { waiting.json(&format!("{path}&index={index}&wait=1m")).await });
    let mut other = web("web.2");
    other.addresses.netinfo = vec![fixtures::ip("9.0.0.8")];
    api.publish(vec![web("web.1"), other]).await;
    let next = tokio::time::timeout(Duration::from_secs(20), next).await.unwrap().unwrap();
    assert_eq!(next["records"].as_array().unwrap().len(), 2);

    api.publish(Vec::new()).await;
    let gone = api.json(path).await;
    assert_eq!((&gone["exists"], &gone["records"]), (&json!(false), &json!([])));
}

#[tokio::test]
async fn watches_that_make_no_sense_or_are_too_many() {
    let mut few = config();
    few.limits.watchers = 0;
    let api = Api::with_web(few).await;
    for query in ["", "?name=", "?name=a.mesos&type=MX", "?name=a.mesos&wait=x", "?name=a.org"] {
        assert_eq!(api.get(&format!("/v1/watch{query}")).await.0, 400, "{query}");
    }
    assert_eq!(api.get("/v1/watch?name=a.mesos").await.0, 503);
}

#[tokio::test]
async fn events_tell_every_state() {
    let api = Api::with_web(config()).await;
    let mut stream = TcpStream::connect(api.address).await.unwrap();
    let request = "GET /v1/watch?name=web.shop.marathon.mesos HTTP/1.1\r\nHost: a\r\n\
                   Accept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = String::new();
    for wanted in ["\"exists\":true", "\"exists\":false"] {
        tokio::time::timeout(Duration::from_secs(20), async {
            while !seen.contains(wanted) {
                let mut bytes = [0; 4096];
                let n = stream.read(&mut bytes).await.unwrap();
                assert!(n > 0, "the stream ended: {seen}");
                seen.push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        })
        .await
        .unwrap();
        api.publish(Vec::new()).await;
    }
    assert!(seen.contains("Content-Type: text/event-stream"), "{seen}");
    assert!(seen.contains("event: records\nid: "), "{seen}");
}

#[tokio::test]
async fn a_lease_lasts_as_long_as_an_address_may_be_cached() {
    let api = Api::with_web(config()).await;
    let before = api.json("/v1/lease?task=web.1").await;
    assert_eq!((&before["leased"], &before["version"]), (&json!(false), &json!(1)));
    {
        let zone = api.dns.zone();
        let name = b"\x03web\x04shop\x08marathon";
        let found = zone.find(name).next().unwrap();
        let end = api.dns.moment(std::time::Instant::now()).lease_end(60);
        found.records.leases()[0].note(end);
    }
    assert!(api.dns.in_use(&TaskId::from_text("web.1")).lease_until.is_some());
    for query in
        ["task=web.1", "name=web.shop.marathon.mesos", "name=_web-shop._tcp.marathon.mesos"]
    {
        let lease = api.json(&format!("/v1/lease?{query}")).await;
        let seconds = lease["seconds"].as_f64().unwrap();
        assert!(lease["leased"] == true && (50.0..61.0).contains(&seconds), "{lease}");
        assert_eq!(lease["tasks"][0]["id"], "web.1");
    }
    assert_eq!(api.json("/v1/lease?name=nothing.mesos").await["tasks"], json!([]));
    for query in ["", "task=a&name=b", "task="] {
        assert_eq!(api.get(&format!("/v1/lease?{query}")).await.0, 400, "{query}");
    }
}
