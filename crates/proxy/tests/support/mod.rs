//! A catalog to write, backends to route to, and a proxy between them, on loopback.
#![allow(dead_code)] // Each test program uses its part.

pub mod http;
pub mod tls;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use waymark_catalog::{Output, Writer};
use waymark_model::{
    Agent, AppEntry, AppId, Endpoint, PathId, Protocol, Readiness, Service, TaskEntry, TaskId,
    Version,
};
use waymark_proxy::{ListenerState, PortStats, Proxy, ProxyConfig};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Asks until the answer is yes.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Fails rather than hangs.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("too slow: {what}"))
}

/// A port that is free, below the range from which the kernel takes ports for connections. No other
/// program of these tests gets it while this one runs.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
    // One folder a user: nobody can write into another one's.
    let user = nix::unistd::getuid();
    let locks = std::env::temp_dir().join(format!("waymark-test-ports-{user}"));
    std::fs::create_dir_all(&locks).unwrap();
    let start = (std::process::id() as u16).wrapping_mul(37);
    for _ in 0..2000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + start.wrapping_add(step) % 11_000;
        let lock = File::create(locks.join(port.to_string())).unwrap();
        if lock.try_lock().is_ok() && StdListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            HELD.lock().unwrap().push(lock);
            return port;
        }
    }
    panic!("no free port");
}

/// A proxy with a catalog of its own.
pub struct World {
    pub writer: Writer,
    pub proxy: Proxy,
    pub output: Arc<dyn Output>,
}

pub fn app_id(name: &str) -> AppId {
    PathId::parse(name).unwrap()
}

/// A task for the app's service 0.
pub fn task(id: &str, address: SocketAddr, readiness: Readiness) -> Arc<TaskEntry> {
    Arc::new(TaskEntry {
        id: TaskId::from_text(id),
        agent: Arc::new(Agent {
            id: "m-S0".into(),
            hostname: "localhost".into(),
            address: Ipv4Addr::LOCALHOST.into(),
        }),
        addresses: Vec::new(),
        host_ports: vec![address.port()],
        discovery: Vec::new(),
        endpoints: vec![Endpoint { service: 0, address }],
        readiness,
    })
}

/// An app with one service, these labels and tasks.
pub fn entry(
    app: &str,
    protocol: Protocol,
    port: u16,
    labels: &[(&str, &str)],
    tasks: Vec<Arc<TaskEntry>>,
) -> AppEntry {
    let service = Service { index: 0, port, protocol, name: None, labels: BTreeMap::new() };
    AppEntry {
        services: vec![service],
        tasks,
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..AppEntry::new(app_id(app), "marathon")
    }
}

pub fn config() -> ProxyConfig {
    ProxyConfig { workers: 2, hold: Duration::ZERO, ..ProxyConfig::default() }
}

impl World {
    pub fn start(config: ProxyConfig) -> World {
        let (writer, reader) = Writer::new(0);
        let proxy = Proxy::start(config, reader).unwrap();
        let output = proxy.output();
        World { writer, proxy, output }
    }

    /// Publishes the app with one TCP service and these tasks.
    pub fn publish(&mut self, app: &str, port: u16, tasks: Vec<Arc<TaskEntry>>) -> Version {
        let id = app_id(app);
        self.writer.publish([(id, Some(entry(app, Protocol::Tcp, port, &[], tasks)))])
    }

    /// Publishes and waits until the proxy has applied it.
    pub async fn route(&mut self, app: &str, port: u16, tasks: Vec<Arc<TaskEntry>>) {
        let version = self.publish(app, port, tasks);
        self.applied(version).await;
    }

    /// Publishes an app and waits until the proxy has applied it.
    pub async fn put(&mut self, app: AppEntry) {
        let version = self.writer.publish([(app.id.clone(), Some(app))]);
        self.applied(version).await;
    }

    pub async fn remove(&mut self, app: &str) {
        let version = self.writer.publish([(app_id(app), None)]);
        self.applied(version).await;
    }

    pub async fn applied(&self, version: Version) {
        eventually("version applied", || self.output.applied() >= version).await;
    }

    pub fn port(&self, port: u16) -> PortStats {
        self.proxy.stats().into_iter().find(|s| s.port == port).unwrap()
    }

    pub fn is_listening(&self, port: u16) -> bool {
        self.port(port).listener == ListenerState::Listening
    }

    pub fn connections(&self, task: &str) -> usize {
        self.output.in_use(&TaskId::from_text(task)).connections
    }
}

/// A server that answers each line `x` with `name:x`.
pub struct Backend {
    pub name: String,
    pub address: SocketAddr,
    pub accepted: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Backend {
    pub async fn start(name: &str) -> Backend {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Backend::on(name, listener)
    }

    pub fn on(name: &str, listener: TcpListener) -> Backend {
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (counter, owned) = (accepted.clone(), name.to_owned());
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer_lines(owned.clone(), stream));
            }
        });
        Backend { name: name.to_owned(), address, accepted, server }
    }

    pub fn task(&self, readiness: Readiness) -> Arc<TaskEntry> {
        task(&self.name, self.address, readiness)
    }

    pub fn ready(&self) -> Arc<TaskEntry> {
        self.task(Readiness::Ready)
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    /// Closes the listener; open connections go on.
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer_lines(name: String, stream: TcpStream) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if writer.write_all(format!("{name}:{line}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// An address that refuses connections.
pub fn refusing() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

pub async fn dial(port: u16) -> std::io::Result<TcpStream> {
    soon("connect", TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await
}

/// Sends a line and returns the name of who answered.
pub async fn ask(stream: &mut TcpStream, line: &str) -> std::io::Result<String> {
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\n") {
        if soon("answer", stream.read(&mut byte)).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).unwrap();
    let (name, echoed) = answer.trim_end().split_once(':').unwrap();
    assert_eq!(echoed, line);
    Ok(name.to_owned())
}

/// A connection, one question, its answer.
pub async fn ask_once(port: u16) -> std::io::Result<String> {
    ask(&mut dial(port).await?, "hello").await
}

/// How a new connection that says nothing ends; the reset may come before `dial` returns.
pub async fn how_a_client_ends(port: u16) -> Option<std::io::ErrorKind> {
    match dial(port).await {
        Ok(mut client) => how_it_ends(&mut client).await,
        Err(error) => Some(error.kind()),
    }
}

/// The kind of error that ends the stream, or `None` for an orderly end.
pub async fn how_it_ends(stream: &mut TcpStream) -> Option<std::io::ErrorKind> {
    let mut rest = Vec::new();
    soon("end", stream.read_to_end(&mut rest)).await.err().map(|e| e.kind())
}
