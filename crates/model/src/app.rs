//! The definition of an app, in Marathon's canonical (1.5 and later) form.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::{
    AppId, Backoff, HealthCheck, KillSelection, PathId, PortDefinition, PortMapping, PortView,
    ReadinessCheck, Timestamp, UnreachableStrategy, UpgradeStrategy,
};

/// CPUs of an app that does not say.
pub const DEFAULT_CPUS: f64 = 1.0;
/// Memory of an app that does not say, in MiB.
pub const DEFAULT_MEM_MIB: f64 = 128.0;

/// Fields that Waymark keeps and gives back but does not act on: name → JSON text.
pub type Opaque = BTreeMap<String, String>;

/// What to run, how many times, and how to reach it.
///
/// Defaults have been filled in and old notations normalised by `marathon-api`. Service ports may
/// be 0 ("choose one") only before [`crate::service_ports`] has been over it.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// The id.
    pub id: AppId,
    /// A shell command (`/bin/sh -c`). At most one of `cmd` and `args`.
    pub cmd: Option<String>,
    /// A program and its arguments, without a shell.
    pub args: Option<Vec<String>>,
    /// The Unix user of the tasks.
    pub user: Option<String>,
    /// Environment of the tasks.
    pub env: BTreeMap<String, String>,
    /// How many tasks are wanted; 0 = suspended.
    pub instances: u32,
    /// What each task may use.
    pub resources: Resources,
    /// `executor`: empty, `//cmd` or a path.
    pub executor: String,
    /// Placement constraints.
    pub constraints: Vec<Constraint>,
    /// The container, if any.
    pub container: Option<Container>,
    /// The networks; never empty (`[host]` by default).
    pub networks: Vec<Network>,
    /// The ports in host mode; empty in other modes.
    pub port_definitions: Vec<PortDefinition>,
    /// Host mode: the definition's ports are demanded as host ports.
    pub require_ports: bool,
    /// Labels of the app, copied to its tasks.
    pub labels: BTreeMap<String, String>,
    /// Apps or groups that must be up first, within one deployment.
    pub dependencies: Vec<PathId>,
    /// Health checks.
    pub health_checks: Vec<HealthCheck>,
    /// Readiness checks (at most one).
    pub readiness_checks: Vec<ReadinessCheck>,
    /// Launch delay after crashes.
    pub backoff: Backoff,
    /// Time from TERM to KILL; `None` = the executor's default (3 s).
    pub kill_grace_period: Option<Duration>,
    /// How tasks are replaced.
    pub upgrade_strategy: UpgradeStrategy,
    /// Which tasks go first on scale-down.
    pub kill_selection: KillSelection,
    /// What happens to unreachable tasks.
    pub unreachable_strategy: UnreachableStrategy,
    /// Artifacts downloaded into the sandbox before the start.
    pub fetch: Vec<Fetch>,
    /// Everything else that was given and is known to Marathon.
    pub opaque: Opaque,
    /// When this definition was accepted; the app's version.
    pub version: Timestamp,
    /// When the instance count last changed.
    pub last_scaling_at: Timestamp,
    /// When anything but the instance count last changed.
    pub last_config_change_at: Timestamp,
}

/// What one task may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resources {
    /// CPUs (1.0 = one core).
    pub cpus: f64,
    /// Memory in MiB.
    pub mem: f64,
    /// Disk in MiB.
    pub disk: f64,
    /// GPUs.
    pub gpus: u32,
}

impl Default for Resources {
    fn default() -> Self {
        Resources { cpus: DEFAULT_CPUS, mem: DEFAULT_MEM_MIB, disk: 0.0, gpus: 0 }
    }
}

/// One placement constraint, `[field, operator, value?]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// `hostname` or an attribute.
    pub field: String,
    /// The operator, upper case (`UNIQUE`, `CLUSTER`, …).
    pub operator: String,
    /// The operator's value.
    pub value: Option<String>,
}

/// An artifact to download (`fetch[i]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Where from.
    pub uri: String,
    /// Whether archives are unpacked.
    pub extract: bool,
    /// Whether the file is made executable.
    pub executable: bool,
    /// Whether it may come from a cache.
    pub cache: bool,
    /// Name in the sandbox.
    pub dest_path: Option<String>,
}

/// A network an app is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its mode.
    pub mode: NetworkMode,
    /// Its name, for named container networks.
    pub name: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// How a task meets the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkMode {
    /// `host`: the host's own network.
    Host,
    /// `container/bridge`: a bridge with mapped ports.
    Bridge,
    /// `container`: a named network with an address a task.
    Container,
}

impl NetworkMode {
    /// Marathon's text for it.
    pub fn as_str(self) -> &'static str {
        match self {
            NetworkMode::Host => "host",
            NetworkMode::Bridge => "container/bridge",
            NetworkMode::Container => "container",
        }
    }
}

/// The container of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// `type`
    pub kind: ContainerKind,
    /// Image and its options; `None` for a plain Mesos container.
    pub docker: Option<Docker>,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// The ports in modes other than host; empty in host mode.
    pub port_mappings: Vec<PortMapping>,
    /// Fields kept as they are (`linuxInfo`, …).
    pub opaque: Opaque,
}

/// Which engine runs a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerKind {
    /// `DOCKER`
    Docker,
    /// `MESOS`
    Mesos,
}

/// The image of a container and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    /// Image reference.
    pub image: String,
    /// Pull even when the image is there.
    pub force_pull_image: bool,
    /// Run privileged.
    pub privileged: bool,
    /// `docker run --key=value`, in order.
    pub parameters: Vec<Parameter>,
    /// Fields kept as they are (`pullConfig`, …).
    pub opaque: Opaque,
}

/// One `docker run` parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Option name.
    pub key: String,
    /// Option value.
    pub value: String,
}

/// A volume of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Path inside.
    pub container_path: String,
    /// Path on the host, for host volumes.
    pub host_path: Option<String>,
    /// `RW` rather than `RO`.
    pub read_write: bool,
    /// Fields of other kinds of volume, kept as they are (`persistent`, `external`, …).
    pub opaque: Opaque,
}

/// A machine that runs tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Agent id (`<uuid>-S0`); its text after the last dash is part of DNS names.
    pub id: String,
    /// Host name, as tasks and clients see it (`HOST`).
    pub hostname: String,
    /// The address at which host ports are reached.
    pub address: IpAddr,
}

impl App {
    /// An app with every default filled in: one instance, no command, host network, no ports.
    pub fn new(id: AppId) -> App {
        App {
            id,
            cmd: None,
            args: None,
            user: None,
            env: BTreeMap::new(),
            instances: 1,
            resources: Resources::default(),
            executor: String::new(),
            constraints: Vec::new(),
            container: None,
            networks: vec![Network {
                mode: NetworkMode::Host,
                name: None,
                labels: BTreeMap::new(),
            }],
            port_definitions: Vec::new(),
            require_ports: false,
            labels: BTreeMap::new(),
            dependencies: Vec::new(),
            health_checks: Vec::new(),
            readiness_checks: Vec::new(),
            backoff: Backoff::default(),
            kill_grace_period: None,
            upgrade_strategy: UpgradeStrategy::default(),
            kill_selection: KillSelection::default(),
            unreachable_strategy: UnreachableStrategy::default(),
            fetch: Vec::new(),
            opaque: Opaque::new(),
            version: Timestamp::ZERO,
            last_scaling_at: Timestamp::ZERO,
            last_config_change_at: Timestamp::ZERO,
        }
    }

    /// Whether the app is in host mode (its ports are `portDefinitions`).
    pub fn is_host_mode(&self) -> bool {
        self.networks.iter().all(|n| n.mode == NetworkMode::Host)
    }

    /// The app's ports in order: the container's mappings if it has any, else the definitions.
    pub fn ports(&self) -> Vec<PortView<'_>> {
        if self.mappings().is_empty() {
            let host_port = |d: &PortDefinition| if self.require_ports { d.port } else { 0 };
            self.port_definitions
                .iter()
                .enumerate()
                .map(|(index, d)| PortView {
                    index,
                    service_port: d.port,
                    host_port: Some(host_port(d)),
                    declared: d.port,
                    container_port: None,
                    protocol: d.protocol,
                    name: d.name.as_deref(),
                    labels: &d.labels,
                })
                .collect()
        } else {
            self.mappings()
                .iter()
                .enumerate()
                .map(|(index, m)| PortView {
                    index,
                    service_port: m.service_port,
                    host_port: m.host_port,
                    declared: m.container_port,
                    container_port: Some(m.container_port),
                    protocol: m.protocol,
                    name: m.name.as_deref(),
                    labels: &m.labels,
                })
                .collect()
        }
    }

    /// The app's service ports by position.
    pub fn service_ports(&self) -> Vec<u16> {
        self.ports().iter().map(|p| p.service_port).collect()
    }

    /// Writes service ports back by position; extra numbers are ignored.
    pub fn set_service_ports(&mut self, numbers: &[u16]) {
        match &mut self.container {
            Some(c) if !c.port_mappings.is_empty() => {
                for (m, n) in c.port_mappings.iter_mut().zip(numbers) {
                    m.service_port = *n;
                }
            }
            _ => {
                for (d, n) in self.port_definitions.iter_mut().zip(numbers) {
                    d.port = *n;
                }
            }
        }
    }

    /// Whether `self` and `old` say the same, apart from version stamps.
    pub fn same_definition(&self, old: &App) -> bool {
        self.instances == old.instances && self.same_config(old)
    }

    /// Whether `self` and `old` differ in nothing but instance count and version stamps. Tasks of
    /// one are then tasks of the other (Marathon's rule for "scale" against "upgrade").
    pub fn same_config(&self, old: &App) -> bool {
        let unstamped = |a: &App| App {
            instances: 0,
            version: Timestamp::ZERO,
            last_scaling_at: Timestamp::ZERO,
            last_config_change_at: Timestamp::ZERO,
            ..a.clone()
        };
        unstamped(self) == unstamped(old)
    }

    fn mappings(&self) -> &[PortMapping] {
        self.container.as_ref().map_or(&[], |c| &c.port_mappings)
    }
}
