//! Health and readiness checks as an app declares them, and what they found.

use std::time::Duration;

use crate::Timestamp;

/// How a check is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CheckProtocol {
    /// `HTTP`
    #[default]
    Http,
    /// `HTTPS`, without certificate check
    Https,
    /// `TCP`: a connection is enough
    Tcp,
    /// `COMMAND`: exit status 0 of a shell command in the task's environment
    Command,
    /// `MESOS_HTTP`
    MesosHttp,
    /// `MESOS_HTTPS`
    MesosHttps,
    /// `MESOS_TCP`
    MesosTcp,
}

/// Which port a check goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortReference {
    /// Index into the app's port list (`portIndex`).
    Index(usize),
    /// A literal port number (`port`).
    Number(u16),
}

/// One entry of `healthChecks`. Defaults are Marathon's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// How the check is made.
    pub protocol: CheckProtocol,
    /// Path of HTTP kinds; `None` means `/`.
    pub path: Option<String>,
    /// Which port; `None` means index 0 if the app has ports.
    pub port: Option<PortReference>,
    /// The shell command of `COMMAND`.
    pub command: Option<String>,
    /// Failures this long after the start do not count before the first success (300 s).
    pub grace_period: Duration,
    /// Time between probes (60 s).
    pub interval: Duration,
    /// Time after which a probe has failed (20 s).
    pub timeout: Duration,
    /// Failures in a row after which the task is killed; 0 = never (3).
    pub max_consecutive_failures: u32,
    /// Time before the first probe of Mesos kinds (15 s).
    pub delay: Duration,
    /// `ipProtocol` IPv6 of Mesos kinds.
    pub ipv6: bool,
    /// Answers 100–199 are neither success nor failure.
    pub ignore_http_1xx: bool,
}

impl Default for HealthCheck {
    fn default() -> Self {
        HealthCheck {
            protocol: CheckProtocol::Http,
            path: None,
            port: None,
            command: None,
            grace_period: Duration::from_secs(300),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(20),
            max_consecutive_failures: 3,
            delay: Duration::from_secs(15),
            ipv6: false,
            ignore_http_1xx: false,
        }
    }
}

/// One entry of `readinessChecks`: gates a deployment, is no state of a running task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadinessCheck {
    /// Its name (`readinessCheck`).
    pub name: String,
    /// HTTPS instead of HTTP.
    pub https: bool,
    /// Path (`/`).
    pub path: String,
    /// Name of the port it goes to (`http-api`).
    pub port_name: String,
    /// Time between probes (30 s).
    pub interval: Duration,
    /// Time after which a probe has failed (10 s); below `interval`.
    pub timeout: Duration,
    /// Status codes that mean ready (`[200]`).
    pub ready_codes: Vec<u16>,
    /// Whether the last response is kept for the API.
    pub preserve_last_response: bool,
}

/// What one health check has found about one task so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthResult {
    /// Whether the last success is later than the last failure.
    pub alive: bool,
    /// Failures since the last success that counted.
    pub consecutive_failures: u32,
    /// The first success.
    pub first_success: Option<Timestamp>,
    /// The latest success.
    pub last_success: Option<Timestamp>,
    /// The latest failure.
    pub last_failure: Option<Timestamp>,
    /// What the latest failure was.
    pub last_failure_cause: Option<String>,
}
