//! The API over real sockets, with the real control plane behind it and tasks that are simulated.

mod apps;
mod events;
mod limits;
mod server;
mod tasks;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use waymark_catalog::Outputs;
use waymark_executors::{CommandFuture, Executor};
use waymark_model::{Agent, Task, TaskId};

use super::{ApiConfig, serve};
use crate::core::Settings;
use crate::simulated::SimulatedExecutor;
use crate::store::Store;
use crate::{ControlConfig, ControlPlane, Handle, Running};

/// Time that nothing here should ever need.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server on a port of its own.
struct Server {
    address: std::net::SocketAddr,
    handle: Handle,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    _control: Running,
    folder: tempfile::TempDir,
}

/// An answer as it came over the wire.
#[derive(Debug)]
struct Reply {
    head: String,
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// What the API asks an executor: sandboxes are folders below one.
struct Sandboxes(PathBuf);

impl Executor for Sandboxes {
    fn launch(&self, _: Arc<Task>) {}
    fn kill(&self, _: &TaskId, _: Duration) {}
    fn adopt(&self, _: Vec<Arc<Task>>) {}
    fn port_is_free(&self, _: u16) -> bool {
        true
    }
    fn run_command(&self, _: &TaskId, _: &str, _: Duration) -> CommandFuture {
        Box::pin(async { Ok(()) })
    }
    fn sandbox(&self, task: &TaskId) -> Option<PathBuf> {
        Some(self.0.join(task.as_str())).filter(|path| path.is_dir())
    }
    fn limitations(&self) -> Vec<String> {
        vec!["no limits".to_owned()]
    }
}

impl Server {
    async fn start() -> Server {
        Server::start_with(|_| {}).await
    }

    async fn start_with(adjust: impl FnOnce(&mut ApiConfig)) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let agent = Agent {
            id: "uuid-S0".to_owned(),
            hostname: "node1".to_owned(),
            address: [127, 0, 0, 1].into(),
        };
        let config = ControlConfig { settings: Settings::new(agent), probes: Default::default() };
        let store = Store::open(folder.path()).unwrap();
        let plane = ControlPlane::open(config, store, "f-0000").unwrap();
        let (sender, statuses) = mpsc::channel(64);
        let executor = SimulatedExecutor::new(sender, true);
        let control = plane.start(executor, statuses, Outputs::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sandboxes = Arc::new(Sandboxes(folder.path().to_owned()));
        let mut config = ApiConfig::new(address.to_string(), sandboxes);
        adjust(&mut config);
        let handle = control.handle();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(serve(listener, config, handle.clone(), async {
            let _ = stopped.await;
        }));
        Server { address, handle, stop, served, _control: control, folder }
    }

    /// Sends bytes on a new connection.
    async fn connect(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        stream
    }

    async fn raw(&self, request: impl AsRef<[u8]>) -> Reply {
        read_reply(&mut self.connect(request).await).await
    }

    /// A request with header lines (each with its line end) and a body.
    async fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let length = body.len();
        self.raw(format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    async fn get(&self, path: &str) -> Reply {
        self.request("GET", path, "", "").await
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Reply {
        self.request(method, path, "Content-Type: application/json\r\n", body).await
    }

    /// Creates an app and waits until its deployment is done.
    async fn deployed(&self, body: &str) -> Value {
        let reply = self.send("POST", "/v2/apps", body).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        self.settled().await;
        reply.json()
    }

    /// Waits until no deployment runs.
    async fn settled(&self) {
        until("the end of all deployments", || self.handle.state().deployments.is_empty()).await;
    }
}

impl Reply {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(&name.to_lowercase()).map_or("", |value| value)
    }

    #[track_caller]
    fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.text()), (status, body));
    }
}

async fn read_reply(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an answer").unwrap();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = fields.map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
    Reply { head, status, headers, body: bytes[end + 4..].to_vec() }
}

/// Waits until it holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} has not come");
        sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 40000));
    let own = |headers: &[(&str, &str)]| {
        let mut request = http::Request::post("/v2/apps");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        crate::api::is_own(&request.body(()).unwrap().into_parts().0, peer)
    };
    assert!(own(&[("host", "127.0.0.1:8080")]));
    assert!(own(&[("host", "marathon.example")]), "programs may use any name");
    let page = "http://127.0.0.1:8080";
    assert!(own(&[("host", "127.0.0.1:8080"), ("origin", page)]));
    assert!(!own(&[("host", "127.0.0.1:8080"), ("origin", "http://evil.example")]));
    let rebound = [("host", "evil.example:8080"), ("origin", "http://evil.example:8080")];
    assert!(!own(&rebound), "a name that leads here by the attacker's DNS");
}
