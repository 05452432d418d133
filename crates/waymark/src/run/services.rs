//! Making and starting everything that serves, and stopping it.
//!
//! ```text
//! control plane (read) ─► executor ─► load balancer, DNS, made ─┬► control plane at work ─► API
//! listeners (bound) ────────────────────────────────────────────┘
//! ```
//!
//! Outputs are made before the control plane starts, so that the first catalog is served when it
//! appears. Until [`Parts::start`] nothing answers anybody and nothing acts. Stopping goes the other
//! way: the API first, so that nothing new is asked; then the tasks, while names and traffic still
//! follow them; then the outputs.

use std::net::{IpAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tracing::error;
use waymark_catalog::{Output, Outputs, Reader};
use waymark_control::api::{ApiConfig, ListenerStatus, View};
use waymark_control::core::Settings as CoreSettings;
use waymark_control::store::Store;
use waymark_control::{ControlConfig, ControlPlane, Handle, Paused, Running};
use waymark_executors::{Executor, LocalConfig, LocalExecutor, StatusUpdate};
use waymark_model::Agent;
use waymark_proxy::admin::{Admin, AdminConfig};
use waymark_proxy::handover::{Inherited, Presence};
use waymark_proxy::{ListenerState, Proxy, Sockets};

use super::api_server::ApiServer;
use super::data_dir::DataDir;
use super::listeners::{Listeners, host_ip};
use super::names::{Names, Places};
use super::upgrade::Before;
use super::{StartError, identity};
use crate::balancer::StatsServer;
use crate::settings::{Loaded, Settings};
use crate::{balancer, metrics};

/// Statuses that may wait for the control plane; each task's own wait in its order beyond that.
const MAX_WAITING_STATUSES: usize = 1024;
/// How long connections may go on after their listeners have closed, when Waymark stops. Those to
/// tasks that are stopped end with them.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Reads the store of the data folder.
pub fn read_store(loaded: &Loaded, data: &DataDir) -> Result<ControlPlane, StartError> {
    let agent = agent(&loaded.settings, data, host_ip(loaded))?;
    let store = Store::open(data.path()).map_err(|e| StartError(e.to_string()))?;
    keep_to_ourselves(&store)?;
    let config = control_config(&loaded.settings, agent);
    ControlPlane::open(config, store, &identity::new_framework_id())
        .map_err(|e| StartError(e.to_string()))
}

/// Everything made and nothing at work.
pub struct Parts {
    control: ControlPlane,
    executor: Arc<dyn Executor>,
    statuses: mpsc::Receiver<StatusUpdate>,
    outputs: Vec<Arc<dyn Output>>,
    names: Option<(Names, Places)>,
    proxy: Option<Arc<Proxy>>,
    sockets: Arc<Sockets>,
    offered: Vec<Arc<OwnedFd>>,
    stats: Option<(Arc<Admin>, TcpListener)>,
    api: ApiServer,
    reader: Reader,
}

/// Everything at work.
pub struct Services {
    /// A way to the control plane.
    pub handle: Handle,
    /// What serves the catalog.
    pub outputs: Outputs,
    /// Where sandboxes are asked for.
    pub executor: Arc<dyn Executor>,
    /// The load balancer, unless switched off.
    pub proxy: Option<Arc<Proxy>>,
    /// What another process may have.
    pub sockets: Arc<Sockets>,
    control: Running,
    names: Option<Names>,
    stats: Option<StatsServer>,
    api: ApiServer,
    /// Keeps those sockets in reach of a later process that are served elsewhere.
    offered: Vec<Arc<OwnedFd>>,
}

impl Parts {
    /// Makes everything, with the sockets of the process before. `open_files` is the limit that
    /// tasks get.
    pub fn make(
        loaded: &Loaded,
        data: &DataDir,
        control: ControlPlane,
        listeners: Listeners,
        inherited: Inherited,
        open_files: Option<u64>,
    ) -> Result<Parts, StartError> {
        let s = &loaded.settings;
        let host_ip = host_ip(loaded);
        let reader = control.reader();
        let (updates, statuses) = mpsc::channel(MAX_WAITING_STATUSES);
        let executor: Arc<dyn Executor> =
            Arc::new(LocalExecutor::new(local_config(s, data, open_files), updates)?);
        let proxy = match s.no_proxy {
            true => None,
            false => {
                let config = balancer::proxy_config(loaded, &listeners.fronts, listeners.taken());
                Some(Arc::new(Proxy::start_with(config, reader.clone(), inherited)?))
            }
        };
        let sockets = proxy.as_ref().map_or_else(Arc::default, |proxy| proxy.sockets());
        let offered = listeners.offer(&sockets);
        let offered = offered.map_err(|e| StartError(format!("no more file descriptors: {e}")))?;
        let Listeners { api, api_address, dns, mesos_dns, fronts } = listeners;
        let names = dns.map(|dns| {
            let names = Names::follow(s, host_ip, dns.addresses(), reader.clone())?;
            Ok::<_, StartError>((names, Places { dns, http: mesos_dns }))
        });
        let names = names.transpose()?;
        let dns = names.iter().map(|(names, _)| names.dns.clone() as Arc<dyn Output>);
        let outputs: Vec<_> = dns.chain(proxy.as_ref().map(|proxy| proxy.output())).collect();

        let mut advertised = api_address;
        if advertised.ip().is_unspecified() {
            advertised.set_ip(host_ip);
        }
        let mut config = ApiConfig::new(advertised.to_string(), executor.clone());
        config.version = env!("CARGO_PKG_VERSION").to_owned();
        config.outputs = Outputs::new(outputs.clone());
        add_sources(&mut config, &control, names.as_ref().map(|(names, _)| names), proxy.clone());
        let admin = proxy.clone().map(|proxy| admin(loaded, proxy));
        if let Some(admin) = admin.clone() {
            config.views = Some(Box::new(move |path, query| view(&admin, path, query)));
        }
        let stats = admin.zip(fronts.stats);
        let api = ApiServer::new(config, control.handle(), api);
        Ok(Parts {
            control,
            executor,
            statuses,
            outputs,
            names,
            proxy,
            sockets,
            offered,
            stats,
            api,
            reader,
        })
    }

    /// Starts everything on the current runtime. With a process before, DNS is answered as soon as
    /// there are names: until then its queries wait.
    pub async fn start(
        self,
        loaded: &Loaded,
        before: Option<Presence>,
    ) -> Result<Services, StartError> {
        let Parts { control, executor, statuses, outputs, names, proxy, sockets, offered, .. } =
            self;
        let taken_over = before.is_some();
        let drains = match before {
            Some(presence) => Before::beside(presence, &outputs),
            None => Outputs::new(outputs.clone()),
        };
        let (names, mut places) = names.unzip();
        let serve = |names: &Option<Names>, places: &mut Option<Places>| {
            let both = names.as_ref().zip(places.take());
            both.map_or(Ok(()), |(names, places)| {
                names.serve(&loaded.settings, places, self.reader.clone())
            })
        };
        if !taken_over {
            serve(&names, &mut places)?;
        }
        let control = control.start(executor.clone(), statuses, drains);
        let handle = control.handle();
        self.api.start().map_err(|e| StartError(format!("api-port: {e}")))?;
        if let (true, Some(names)) = (taken_over, &names) {
            tokio::select! {
                () = names.ready() => {}
                // What becomes of that is noticed elsewhere.
                () = handle.ended() => {}
            }
        }
        serve(&names, &mut places)?;
        let stats = self.stats.map(|(admin, listener)| StatsServer::start(admin, listener));
        let stats = stats.transpose()?;
        let (outputs, api) = (Outputs::new(outputs), self.api);
        Ok(Services {
            handle,
            outputs,
            executor,
            proxy,
            sockets,
            control,
            names,
            stats,
            api,
            offered,
        })
    }
}

impl Services {
    /// Stops acting, so that another process can; what is asked of the API waits in its socket. The
    /// error says why everything goes on.
    pub async fn pause(&self) -> Result<Paused, String> {
        self.api.stop().await;
        match self.control.pause().await {
            Ok(paused) => Ok(paused),
            Err(error) => {
                self.serve_api();
                Err(error.to_string())
            }
        }
    }

    /// Acts again.
    pub fn resume(&self, paused: Paused) {
        paused.resume();
        self.serve_api();
    }

    fn serve_api(&self) {
        if let Err(error) = self.api.start() {
            error!(%error, "the API is not served any more");
        }
    }

    /// Leaves to another process what only one may do, for good: DNS is not answered any more.
    pub fn let_go(&self) {
        if let Some(names) = &self.names {
            names.stop_receiving();
        }
    }

    /// Ends after another process has taken over: connections may end by themselves until `grace`
    /// has passed. `closed` is called once nothing is listened on.
    pub async fn leave(self, grace: Duration, closed: impl FnOnce()) {
        let Services { proxy, names, stats, offered, .. } = self;
        drop(offered);
        let traffic = async {
            match &proxy {
                Some(proxy) => proxy.stop_then(grace, closed).await,
                None => closed(),
            }
        };
        let stats = async {
            if let Some(stats) = stats {
                stats.stop().await;
            }
        };
        tokio::join!(traffic, stats);
        if let Some(names) = names {
            names.stop().await;
        }
    }

    /// Stops everything in order.
    pub async fn stop(self, keep_tasks: bool) -> Result<(), StartError> {
        let Services { control, names, stats, api, proxy, .. } = self;
        api.stop().await;
        let stored = control.stop(keep_tasks).await;
        if let Some(stats) = stats {
            stats.stop().await;
        }
        if let Some(proxy) = proxy {
            proxy.stop(STOP_GRACE).await;
        }
        if let Some(names) = names {
            names.stop().await;
        }
        stored.map_err(|e| StartError(format!("not everything could be stored: {e}")))
    }
}

/// Apps' environments hold secrets, and tasks of other users can pass through the data folder.
fn keep_to_ourselves(store: &Store) -> Result<(), StartError> {
    let path = store.path();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|e| StartError(format!("{}: {e}", path.display())))
}

/// What other parts tell the API: metrics, and how the listeners are.
fn add_sources(
    config: &mut ApiConfig,
    control: &ControlPlane,
    names: Option<&Names>,
    proxy: Option<Arc<Proxy>>,
) {
    let control_metrics = control.metrics();
    config.extra_metrics.push(Box::new(move |out| control_metrics.write(out)));
    if let Some(names) = names {
        let (dns, forwarder) = (names.dns.clone(), names.forwarder.clone());
        config.extra_metrics.push(Box::new(move |out| {
            metrics::dns(out, &dns);
            if let Some(forwarder) = &forwarder {
                metrics::forward(out, &forwarder.stats());
            }
        }));
    }
    if let Some(proxy) = proxy {
        let (listing, balancer, handle) = (proxy.clone(), proxy.clone(), control.handle());
        config.listeners = Box::new(move || listener_list(&listing, &handle));
        config.extra_metrics.push(Box::new(move |out| {
            metrics::proxy(out, &balancer);
            metrics::own_word(out);
        }));
        config.warnings.push(Box::new(move || balancer::warnings(&proxy.table())));
    }
}

/// What is told at the stats port, and of routes at the API.
fn admin(loaded: &Loaded, proxy: Arc<Proxy>) -> Arc<Admin> {
    let mut config = AdminConfig::new(env!("CARGO_PKG_VERSION"));
    config.configuration = balancer::describe(loaded);
    config.source = Box::new(|| json!({ "kind": "waymark", "state": "fresh", "ageSeconds": 0 }));
    let balancer = proxy.clone();
    config.metrics.push(Box::new(move |out| {
        metrics::proxy(out, &balancer);
        metrics::own_word(out);
    }));
    Arc::new(Admin::new(config, proxy))
}

fn view(admin: &Arc<Admin>, path: &str, query: Option<&str>) -> View {
    let (admin, path, query) = (admin.clone(), path.to_owned(), query.map(str::to_owned));
    Box::pin(async move { admin.view(&path, query.as_deref()).await })
}

/// How each service port's listener is, for the API.
fn listener_list(proxy: &Proxy, handle: &Handle) -> Vec<ListenerStatus> {
    let state = handle.state();
    let describe = |port: waymark_proxy::PortStats| {
        let app = port.apps.first();
        let declared = app.and_then(|id| state.app(id)).map(|app| app.service_ports());
        let index = declared.and_then(|ports| ports.iter().position(|p| *p == port.port));
        let (word, reason) = match port.listener {
            ListenerState::Pending => ("pending", None),
            ListenerState::Listening => ("listening", None),
            ListenerState::Failed(reason) => ("failed", Some(reason)),
            ListenerState::Reserved => {
                ("reserved", Some("Waymark itself listens there".to_owned()))
            }
        };
        ListenerStatus {
            port: port.port,
            app: app.map(ToString::to_string).unwrap_or_default(),
            index: index.unwrap_or(0),
            state: word.to_owned(),
            reason,
            active: port.active as u64,
            accepted: port.accepted,
        }
    };
    proxy.stats().into_iter().map(describe).collect()
}

fn agent(s: &Settings, data: &DataDir, address: IpAddr) -> Result<Agent, StartError> {
    let id = identity::agent_id(data.path())
        .map_err(|e| StartError(format!("{}: {e}", data.path().display())))?;
    let hostname = s.hostname.as_ref().map_or_else(|| address.to_string(), |name| name.0.clone());
    Ok(Agent { id, hostname, address })
}

fn control_config(s: &Settings, agent: Agent) -> ControlConfig {
    ControlConfig {
        settings: CoreSettings {
            framework_name: Arc::from(s.framework_name.0.as_str()),
            service_ports: s.local_port_min.0..=s.local_port_max.0,
            host_ports: vec![s.task_ports.min..=s.task_ports.max],
            strict_service_ports: s.strict_service_ports,
            drain_timeout: s.drain_timeout,
            ..CoreSettings::new(agent)
        },
        probes: waymark_health::Config { seed: rand::random(), ..Default::default() },
    }
}

fn local_config(s: &Settings, data: &DataDir, open_files: Option<u64>) -> LocalConfig {
    LocalConfig {
        log_max_bytes: s.task_log_size.0,
        // The setting's limits keep it small.
        log_files: u32::try_from(s.task_log_files.0).unwrap_or(u32::MAX),
        default_user: s.task_user.as_ref().map(|user| user.0.clone()),
        cpu_hard_limit: s.cpu_hard_limit,
        keep_per_app: s.keep_sandboxes.0,
        open_files,
        ..LocalConfig::new(data.path().join("sandboxes"))
    }
}
