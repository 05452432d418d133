//! Starting and stopping everything that serves.
//!
//! ```text
//! listeners (bound) ─► store ─► executor ─► load balancer, DNS ─► control plane ─► API
//! ```
//!
//! Outputs start before the control plane, so that the first catalog is served when it appears.
//! Stopping goes the other way: the API first, so that nothing new is asked; then the tasks, while
//! names and traffic still follow them; then the outputs.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use waymark_catalog::{Output, Outputs};
use waymark_control::api::{self, ApiConfig, ListenerStatus, View};
use waymark_control::core::Settings as CoreSettings;
use waymark_control::store::Store;
use waymark_control::{ControlConfig, ControlPlane, Handle, Running};
use waymark_executors::{Executor, LocalConfig, LocalExecutor};
use waymark_model::Agent;
use waymark_proxy::admin::{Admin, AdminConfig};
use waymark_proxy::{ListenerState, Proxy};

use super::data_dir::DataDir;
use super::listeners::{Listeners, host_ip};
use super::names::Names;
use super::{StartError, identity};
use crate::balancer::StatsServer;
use crate::settings::{Loaded, Settings};
use crate::{balancer, metrics};

/// Statuses that may wait for the control plane; each task's own wait in its order beyond that.
const MAX_WAITING_STATUSES: usize = 1024;
/// How long connections may go on after their listeners have closed, when Waymark stops. Those to
/// tasks that are stopped end with them.
const STOP_GRACE: Duration = Duration::from_secs(1);

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
    control: Running,
    names: Option<Names>,
    stats: Option<StatsServer>,
    api: JoinHandle<()>,
    stop_api: oneshot::Sender<()>,
}

impl Services {
    /// Starts everything on the current runtime. `open_files` is the limit that tasks get.
    pub fn start(
        loaded: &Loaded,
        data: &DataDir,
        listeners: Listeners,
        open_files: Option<u64>,
    ) -> Result<Services, StartError> {
        let s = &loaded.settings;
        let host_ip = host_ip(loaded);
        let agent = agent(s, data, host_ip)?;
        let store = Store::open(data.path()).map_err(|e| StartError(e.to_string()))?;
        keep_to_ourselves(&store)?;
        let control =
            ControlPlane::open(control_config(s, agent), store, &identity::new_framework_id())
                .map_err(|e| StartError(e.to_string()))?;
        let (updates, statuses) = mpsc::channel(MAX_WAITING_STATUSES);
        let executor: Arc<dyn Executor> =
            Arc::new(LocalExecutor::new(local_config(s, data, open_files), updates)?);

        let mut advertised = listeners.api_address;
        if advertised.ip().is_unspecified() {
            advertised.set_ip(host_ip);
        }
        let taken = listeners.taken();
        let names = match listeners.dns {
            Some(sockets) => {
                Some(Names::start(s, host_ip, sockets, listeners.mesos_dns, control.reader())?)
            }
            None => None,
        };
        let proxy = match s.no_proxy {
            true => None,
            false => Some(Arc::new(Proxy::start(
                balancer::proxy_config(loaded, &listeners.fronts, taken),
                control.reader(),
            )?)),
        };
        let mut outputs: Vec<Arc<dyn Output>> = Vec::new();
        outputs.extend(names.iter().map(|names| names.dns.clone() as Arc<dyn Output>));
        outputs.extend(proxy.as_ref().map(|proxy| proxy.output()));
        let outputs = Outputs::new(outputs);

        let mut config = ApiConfig::new(advertised.to_string(), executor.clone());
        config.version = env!("CARGO_PKG_VERSION").to_owned();
        config.outputs = outputs.clone();
        add_sources(&mut config, &control, names.as_ref(), proxy.clone());
        let admin = proxy.clone().map(|proxy| admin(loaded, proxy));
        if let Some(admin) = admin.clone() {
            config.views = Some(Box::new(move |path, query| view(&admin, path, query)));
        }
        let stats = match (admin, listeners.fronts.stats) {
            (Some(admin), Some(listener)) => Some(StatsServer::start(admin, listener)?),
            _ => None,
        };
        let listener = tokio::net::TcpListener::from_std(listeners.api)
            .map_err(|e| StartError(format!("api-port: {e}")))?;
        let control = control.start(executor.clone(), statuses, outputs.clone());
        let handle = control.handle();
        let (stop_api, stopping) = oneshot::channel();
        let api = tokio::spawn(api::serve(listener, config, handle.clone(), async {
            // A dropped sender means the same.
            let _ = stopping.await;
        }));
        Ok(Services { handle, outputs, executor, proxy, control, names, stats, api, stop_api })
    }

    /// Stops everything in order.
    pub async fn stop(self, keep_tasks: bool) -> Result<(), StartError> {
        let Services { control, names, stats, api, stop_api, proxy, .. } = self;
        // The API may have ended by itself.
        let _ = stop_api.send(());
        let _ = api.await;
        let stored = control.stop(keep_tasks).await;
        if let Some(stats) = stats {
            stats.stop().await;
        }
        if let Some(proxy) = proxy.and_then(Arc::into_inner) {
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
