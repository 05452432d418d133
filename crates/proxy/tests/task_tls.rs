//! TLS with tasks: which name their certificates must have, and authorities that cannot be read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http_body_util::BodyExt;
use support::config;
use support::http::{Web, status, text};
use support::tls::{Identity, listener};
use support::{PATIENCE, soon, task};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use waymark_model::{Agent, Readiness, TaskEntry};
use waymark_proxy::ProxyConfig;
use waymark_proxy::admin::{Admin, AdminConfig};
use waymark_proxy::tls::CertificateState;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A task that answers with the server name it was asked for.
struct Task {
    address: SocketAddr,
    identity: Identity,
}

impl Task {
    /// Its certificate is for this name or address.
    async fn start(name: &str) -> Task {
        let identity = Identity::of(name);
        let (acceptor, (listener, address)) = (identity.acceptor(), listener().await);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let name = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", name.len());
                let answer = format!("{head}Connection: close\r\n\r\n{name}");
                if stream.read(&mut [0; 4096]).await.is_ok() {
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        Task { address, identity }
    }

    fn ca(&self) -> PathBuf {
        self.identity.path("ca.pem")
    }

    /// As the catalog has it: on a host with this name and address.
    fn on(&self, hostname: &str, address: IpAddr) -> Arc<TaskEntry> {
        let agent = Agent { id: "m-S0".into(), hostname: hostname.into(), address };
        let entry = task("t", self.address, Readiness::Ready);
        Arc::new(TaskEntry { agent: Arc::new(agent), ..TaskEntry::clone(&entry) })
    }
}

fn labels(ca: &Path) -> [(&str, &str); 2] {
    [("WAYMARK_0_BACKEND_TLS", "on"), ("WAYMARK_0_BACKEND_CA", ca.to_str().unwrap())]
}

/// Status and body through the load balancer.
async fn ask(web: &Web) -> (u16, String) {
    let answer = web.ask(GET).await;
    let text = text(&answer);
    (status(&answer), text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
}

#[tokio::test]
async fn a_task_is_verified_by_the_host_that_marathon_names() {
    let here: IpAddr = Ipv4Addr::LOCALHOST.into();
    let elsewhere: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
    let mut web = Web::start(&[]).await;
    // The certificate's name, the host's, the host's address; and the server name that is sent.
    for (certificate, hostname, address, asked) in [
        ("agent-1.example", "agent-1.example", here, Some("agent-1.example")),
        ("agent-1.example", "agent-2.example", here, None),
        ("127.0.0.1", "agent-1.example", here, None),
        ("127.0.0.1", "127.0.0.1", here, Some("none")),
        ("127.0.0.1", "agent-1.example", elsewhere, Some("none")),
        ("agent-1.example", "agent-1.example", elsewhere, None),
    ] {
        let task = Task::start(certificate).await;
        fs::write(task.ca(), &task.identity.pem).unwrap();
        web.publish_tasks(&labels(&task.ca()), vec![task.on(hostname, address)]).await;
        let (status, body) = ask(&web).await;
        let expected = asked.map_or((503, None), |name| (200, Some(name)));
        assert_eq!(
            (status, asked.map(|_| body.as_str())),
            expected,
            "{certificate} on {hostname} ({address}): {body}"
        );
    }
}

#[tokio::test]
async fn a_missing_file_of_authorities_is_told_and_waited_for() {
    let task = Task::start("localhost").await;
    let ca = task.ca();
    let config = ProxyConfig { hold: PATIENCE, ..config() };
    let web = Web::with(config, &labels(&ca), &[task.address]).await;
    let (status, body) = ask(&web).await;
    assert_eq!(status, 503);
    assert!(body.contains("authorities") && !body.contains("ca.pem"), "{body}");
    let files = web.proxy.authorities();
    assert_eq!((files.len(), &files[0].file), (1, &ca));
    assert_eq!(files[0].state, CertificateState::Refused);
    assert!(files[0].reason.as_deref().unwrap().contains("ca.pem"), "{files:?}");
    let errors = web.proxy.table().app("/web").unwrap().candidates[0]
        .endpoint
        .counters
        .connect_errors
        .load(Relaxed);
    assert_eq!(errors, 0, "the task is not to blame");

    fs::write(&ca, &task.identity.pem).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match ask(&web).await {
            (200, name) => break assert_eq!(name, "localhost"),
            (status, body) => assert!(std::time::Instant::now() < deadline, "{status} {body}"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(web.proxy.authorities()[0].state, CertificateState::Served);
}

#[tokio::test]
async fn the_service_says_what_is_wrong_with_its_authorities() {
    let task = Task::start("localhost").await;
    let web = Web::with(config(), &labels(&task.ca()), &[task.address]).await;
    assert_eq!(ask(&web).await.0, 503);
    let admin = Arc::new(Admin::new(AdminConfig::new("test"), Arc::new(web.proxy)));
    for (path, found) in
        [("/v1/services/web", "/problem"), ("/v1/certificates", "/authorities/0/reason")]
    {
        let answer = admin.view(path, None).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let shown: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let reason = shown.pointer(found).and_then(|reason| reason.as_str());
        assert!(reason.is_some_and(|reason| reason.contains("ca.pem")), "{path}: {shown}");
    }
}

/// A file that does not come to its end: a pipe that nobody writes to.
#[tokio::test]
async fn authorities_that_hang_are_no_fault_of_the_tasks_and_hold_up_no_stop() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("ca.pem");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (one, two) = (Task::start("localhost").await, Task::start("localhost").await);
    for protocol in ["http1", "http2"] {
        let limit = Duration::from_millis(100);
        let config = ProxyConfig { connect_timeout: limit, try_timeout: limit, ..config() };
        let [tls, ca] = labels(&pipe);
        let labels = [tls, ca, ("WAYMARK_0_BACKEND_PROTOCOL", protocol)];
        let web = Web::with(config, &labels, &[one.address, two.address]).await;
        let (first, second) = tokio::join!(ask(&web), ask(&web));
        for (status, body) in [first, second] {
            assert!(status == 503 && body.contains("authorities"), "{protocol}: {status} {body}");
        }
        let table = web.proxy.table();
        for candidate in &table.app("/web").unwrap().candidates {
            let counters = &candidate.endpoint.counters;
            assert_eq!(counters.connect_errors.load(Relaxed), 0, "{protocol}");
        }
        soon("the stop", web.proxy.stop(Duration::ZERO)).await;
    }
    // The threads that read it come to their end.
    drop(fs::OpenOptions::new().write(true).open(&pipe).unwrap());
}

#[tokio::test]
async fn a_file_that_no_label_names_any_more_is_no_longer_told_of() {
    let task = Task::start("localhost").await;
    let mut web = Web::with(config(), &labels(&task.ca()), &[task.address]).await;
    assert_eq!(ask(&web).await.0, 503);
    assert_eq!(web.proxy.authorities().len(), 1);
    let other = task.identity.path("other.pem");
    fs::write(&other, &task.identity.pem).unwrap();
    web.publish(&labels(&other), &[task.address]).await;
    assert_eq!(ask(&web).await.0, 200);
    let files = web.proxy.authorities();
    assert_eq!(
        (files.len(), &files[0].file, files[0].state),
        (1, &other, CertificateState::Served)
    );
}
