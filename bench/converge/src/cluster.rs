//! Everything that `waymark run` wires together, with the simulated executor, and the apps.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;
use waymark_catalog::{Output, Outputs, Reader};
use waymark_control::core::Settings;
use waymark_control::simulated::SimulatedExecutor;
use waymark_control::store::Store;
use waymark_control::{Change, ControlConfig, ControlPlane, Handle, Request, Running};
use waymark_dns::{Dns, DnsConfig, Server, Sockets};
use waymark_model::{
    Agent, App, AppId, Backoff, CheckProtocol, HealthCheck, PathId, PortDefinition, Readiness,
    Task, TaskId, TaskState,
};
use waymark_proxy::{ListenerState, Proxy, ProxyConfig};

use crate::Outcome;
use crate::executor::HoldingBack;

/// Where service ports and DNS are.
pub const LISTEN: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where tasks are: an address of its own, so that host ports meet no port in use.
const AGENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The app that changes.
const MEASURED: &str = "/measured";
/// The DNS name of its service.
pub const SRV_NAME: &str = "_measured._tcp.marathon.mesos";
/// Tasks of each app.
const INSTANCES: u32 = 2;
/// Apps of one request while the cluster is filled.
const CHUNK: usize = 1_000;
/// Nothing takes longer.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Statuses that may wait for the control plane, as in `waymark run`.
const MAX_WAITING_STATUSES: usize = 1024;

/// A running cluster, and the handles that make it change.
pub struct Cluster {
    runtime: Runtime,
    backends: Backends,
    handle: Handle,
    reader: Reader,
    outputs: Outputs,
    proxy: Proxy,
    simulated: Arc<SimulatedExecutor>,
    launches: Receiver<Arc<Task>>,
    /// The measured app's tasks, the oldest first.
    tasks: Vec<Arc<Task>>,
    /// Where the DNS server answers.
    pub dns: SocketAddr,
    /// Ends with the process; until then the control plane runs.
    _running: Running,
    _folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts everything, with `apps` apps of which one is measured, and waits until all is served.
    pub fn start(apps: usize) -> Outcome<Cluster> {
        let cores = available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread().worker_threads(cores).enable_all().build()?;
        let _entered = runtime.enter();
        let folder = tempfile::tempdir()?;
        let measured = id(MEASURED)?;
        let control = ControlPlane::open(config(), Store::open(folder.path())?, "bench-0000")?;
        let (statuses, inbox) = tokio::sync::mpsc::channel(MAX_WAITING_STATUSES);
        let simulated = SimulatedExecutor::new(statuses, true);
        let (sender, launches) = mpsc::channel();
        let executor = HoldingBack::new(simulated.clone(), measured.clone(), sender);
        let reader = control.reader();
        let (dns, address) = start_dns(cores, &reader)?;
        let proxy = Proxy::start(ProxyConfig::default(), reader.clone())?;
        let outputs = Outputs::new(vec![dns as Arc<dyn Output>, proxy.output()]);
        let running = control.start(Arc::new(executor), inbox, outputs.clone());
        let handle = running.handle();
        let backends = Backends::start()?;
        let mut cluster = Cluster {
            runtime,
            backends,
            handle,
            reader,
            outputs,
            proxy,
            simulated,
            launches,
            tasks: Vec::new(),
            dns: address,
            _running: running,
            _folder: folder,
        };
        cluster.fill(measured, apps)?;
        Ok(cluster)
    }

    fn fill(&mut self, measured: AppId, apps: usize) -> Outcome<()> {
        // First, so that it gets the first service port.
        self.put(vec![app(measured)])?;
        for _ in 0..INSTANCES {
            let task = self.next_launch()?;
            self.become_healthy(&task);
        }
        let names: Vec<_> = (1..apps).map(|n| format!("/group-{}/app-{n}", n % 100)).collect();
        for chunk in names.chunks(CHUNK) {
            self.put(chunk.iter().map(|name| Ok(app(id(name)?))).collect::<Outcome<_>>()?)?;
            self.wait("the deployment's end", |c| c.handle.state().deployments.is_empty())?;
        }
        self.settle()?;
        self.wait("all listeners", |c| {
            let ports = c.proxy.stats();
            ports.len() == apps && ports.iter().all(|p| p.listener == ListenerState::Listening)
        })
    }

    fn put(&self, apps: Vec<App>) -> Outcome<()> {
        let apps = apps.into_iter().map(|app| (app.id.clone(), Some(app))).collect();
        let change = Change { apps, ..Change::default() };
        let request = Request::Change { change: Box::new(|_| Ok(change)), force: true };
        self.runtime.block_on(self.handle.submit(request))?;
        Ok(())
    }

    /// The service port of the measured app.
    pub fn service(&self) -> Outcome<SocketAddr> {
        let task = self.tasks.first().ok_or("the measured app has no task")?;
        let port = task.app.service_ports().first().copied().ok_or("it has no service port")?;
        Ok((LISTEN, port).into())
    }

    /// Ends the oldest task of the measured app and waits for its replacement, which runs, accepts
    /// connections, and is not healthy yet.
    pub fn replace_oldest(&mut self) -> Outcome<Arc<Task>> {
        if self.tasks.is_empty() {
            return Err("the measured app has no task".into());
        }
        let old = self.tasks.remove(0);
        self.simulated.crash(&old.id, TaskState::Failed);
        self.backends.end(&old.id);
        let task = self.next_launch()?;
        self.wait("the task to run", |c| {
            let state = c.handle.state();
            state.task(&task.id).is_some_and(|t| t.state == TaskState::Running)
        })?;
        self.settle()?;
        Ok(task)
    }

    /// The moment that counts: the task's health check succeeds from now on.
    pub fn become_healthy(&self, task: &Task) {
        self.simulated.set_healthy(&task.id, true);
    }

    /// Waits until the task is ready and every output serves the latest catalog.
    pub fn wait_until_served(&self, task: &Task) -> Outcome<()> {
        self.wait("the task to be served", |c| {
            let catalog = c.reader.latest();
            let entry = catalog.apps.get(task.app_id());
            let tasks = entry.iter().flat_map(|e| &e.tasks);
            let mut ready = tasks.filter(|t| t.readiness == Readiness::Ready);
            ready.any(|t| t.id == task.id) && c.outputs.have_applied(catalog.version)
        })
    }

    /// Waits until every output serves the latest catalog.
    fn settle(&self) -> Outcome<()> {
        self.wait("the outputs", |c| c.outputs.have_applied(c.reader.latest().version))
    }

    fn next_launch(&mut self) -> Outcome<Arc<Task>> {
        let task = self.launches.recv_timeout(PATIENCE)?;
        self.backends.begin(&task)?;
        self.tasks.push(task.clone());
        Ok(task)
    }

    fn wait(&self, what: &str, holds: impl Fn(&Cluster) -> bool) -> Outcome<()> {
        let since = Instant::now();
        while !holds(self) {
            if since.elapsed() > PATIENCE {
                return Err(format!("waited in vain for {what}").into());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }
}

/// The measured app's processes: a listener for each, that says its port and closes.
struct Backends {
    runtime: Runtime,
    listeners: HashMap<TaskId, AbortHandle>,
}

impl Backends {
    fn start() -> Outcome<Backends> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Backends { runtime, listeners: HashMap::new() })
    }

    fn begin(&mut self, task: &Task) -> Outcome<()> {
        let port = host_port(task)?;
        let listener = self.runtime.block_on(TcpListener::bind((AGENT, port)))?;
        let serving = self.runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A new connection has room for two bytes; a client that is gone needs none.
                let _ = stream.try_write(&port.to_be_bytes());
            }
        });
        self.listeners.insert(task.id.clone(), serving.abort_handle());
        Ok(())
    }

    fn end(&mut self, task: &TaskId) {
        if let Some(listener) = self.listeners.remove(task) {
            listener.abort();
        }
    }
}

/// The task's only port.
pub fn host_port(task: &Task) -> Outcome<u16> {
    Ok(task.host_ports.first().copied().flatten().ok_or("the task has no port")?)
}

fn config() -> ControlConfig {
    let agent = Agent {
        id: "bench-S0".to_owned(),
        hostname: AGENT.to_string(),
        address: IpAddr::V4(AGENT),
    };
    ControlConfig {
        settings: Settings {
            service_ports: 10_000..=30_000,
            host_ports: vec![31_000..=60_999],
            ..Settings::new(agent)
        },
        probes: waymark_health::Config::default(),
    }
}

/// Two tasks, one port, one check. After the first success the check comes no more while we
/// measure: what is measured is a change, not steady probing. A crash is made good at once.
fn app(id: AppId) -> App {
    let mut app = App::new(id);
    app.instances = INSTANCES;
    app.cmd = Some("serve".to_owned());
    app.port_definitions = vec![PortDefinition::default()];
    app.health_checks = vec![HealthCheck {
        protocol: CheckProtocol::Command,
        command: Some("true".to_owned()),
        interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(60),
        ..HealthCheck::default()
    }];
    app.backoff = Backoff { initial: Duration::ZERO, factor: 1.0, max: Duration::ZERO };
    app
}

fn id(text: &str) -> Outcome<AppId> {
    PathId::parse(text).map_err(|e| format!("{text}: {e:?}").into())
}

/// The DNS server on threads of its own, which end with the process.
fn start_dns(workers: usize, reader: &Reader) -> Outcome<(Arc<Dns>, SocketAddr)> {
    let dns = Arc::new(Dns::new(DnsConfig::default())?);
    let sockets = Sockets::bind(&[(LISTEN, 0).into()], workers)?;
    let address = *sockets.addresses().first().ok_or("no address")?;
    let (follower, reader) = (dns.clone(), reader.clone());
    let runtime = Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || runtime.block_on(follower.follow(reader)));
    // Runs until the process ends.
    std::mem::forget(Server::start(&dns, sockets)?);
    Ok((dns, address))
}
