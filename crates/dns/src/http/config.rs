//! What the API is told, and its limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use waymark_catalog::Standing;
use waymark_http::{BasicAuth, Limits};

/// Writes metrics in OpenMetrics text, whole families, without the closing `# EOF`.
pub type MetricsSource = Box<dyn Fn(&mut String) + Send + Sync>;

/// What the API is told.
pub struct HttpConfig {
    /// Waymark's version.
    pub version: String,
    /// The effective settings, as `/v1/config` shows them.
    pub view: ConfigView,
    /// Whether the lists of everything are offered (`EnumerationOn`).
    pub enumeration_on: bool,
    /// Who may ask; everybody when absent.
    pub auth: Option<BasicAuth>,
    /// How what the names are made from is doing; absent where that is this same program.
    pub source: Option<Box<dyn Fn() -> SourceView + Send + Sync>>,
    /// Metrics of all parts, for `/metrics`.
    pub metrics: Vec<MetricsSource>,
    /// The limits.
    pub limits: HttpLimits,
}

/// How the source of names is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceView {
    /// What its word is worth.
    pub standing: Standing,
    /// How it comes (`stream`, `poll`, `lost`).
    pub mode: &'static str,
    /// The leading master, when known.
    pub leader: Option<String>,
}

/// Everything that bounds what clients can make the API hold or do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// What bounds connections.
    pub connections: Limits,
    /// Watches at once, waiting or streaming; one above is answered 503.
    pub watchers: usize,
    /// The longest that a watch waits; longer waits are cut to it.
    pub longest_wait: Duration,
    /// How long a watch waits when it does not say.
    pub usual_wait: Duration,
    /// Time between signs of life on a stream of events.
    pub heartbeat: Duration,
    /// Lists of everything that are made at once; further requests for them wait.
    pub lists: usize,
}

impl Default for HttpLimits {
    fn default() -> HttpLimits {
        HttpLimits {
            connections: Limits {
                connections: 4096,
                header_bytes: 64 * 1024,
                headers: 100,
                header_timeout: Duration::from_secs(30),
                write_timeout: Duration::from_secs(30),
                stop_timeout: Duration::from_secs(2),
            },
            watchers: 2048,
            longest_wait: Duration::from_secs(600),
            usual_wait: Duration::from_secs(60),
            heartbeat: Duration::from_secs(15),
            lists: 2,
        }
    }
}

/// The effective settings with the names and in the order of Mesos-DNS. Secrets are not in it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the settings of Mesos-DNS, as its documentation describes them")]
pub struct ConfigView {
    pub refresh_seconds: u32,
    pub port: u16,
    pub timeout: u32,
    pub state_timeout_seconds: u32,
    pub zk_detection_timeout: u32,
    pub http_port: u16,
    #[serde(rename = "TTL")]
    pub ttl: u32,
    #[serde(rename = "SRVRecordDefaultWeight")]
    pub srv_record_default_weight: u16,
    /// Set to the current one with each answer.
    #[serde(rename = "SOASerial")]
    pub soa_serial: u32,
    #[serde(rename = "SOARefresh")]
    pub soa_refresh: u32,
    #[serde(rename = "SOARetry")]
    pub soa_retry: u32,
    #[serde(rename = "SOAExpire")]
    pub soa_expire: u32,
    #[serde(rename = "SOAMinttl")]
    pub soa_minttl: u32,
    #[serde(rename = "SOAMname")]
    pub soa_mname: String,
    #[serde(rename = "SOARname")]
    pub soa_rname: String,
    /// `None` where the file names none.
    pub masters: Option<Vec<String>>,
    pub zone_resolvers: BTreeMap<String, Vec<String>>,
    pub resolvers: Vec<String>,
    #[serde(rename = "IPSources")]
    pub ip_sources: Vec<&'static str>,
    pub zk: String,
    pub domain: String,
    pub file: String,
    pub listener: String,
    #[serde(rename = "HTTPListener")]
    pub http_listener: String,
    pub recurse_on: bool,
    pub dns_on: bool,
    pub http_on: bool,
    pub external_on: bool,
    #[serde(rename = "EnforceRFC952")]
    pub enforce_rfc952: bool,
    pub set_truncate_bit: bool,
    pub enumeration_on: bool,
    #[serde(rename = "MesosHTTPSOn")]
    pub mesos_https_on: bool,
    #[serde(rename = "CACertFile")]
    pub ca_cert_file: String,
    pub cert_file: String,
    pub key_file: String,
    pub mesos_credentials: CredentialsView,
    #[serde(rename = "IAMConfigFile")]
    pub iam_config_file: String,
    pub mesos_authentication: &'static str,
}

/// Credentials as they may be shown.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CredentialsView {
    /// The name.
    pub principal: String,
    /// Stars where there is a secret; Mesos-DNS shows it.
    pub secret: &'static str,
}

/// What is shared by all requests.
pub(super) struct Shared {
    pub(super) config: HttpConfig,
    pub(super) dns: Arc<crate::Dns>,
    /// What the names are made from, for the names of tasks and frameworks.
    pub(super) catalog: waymark_catalog::Reader,
    pub(super) watchers: Arc<tokio::sync::Semaphore>,
    pub(super) lists: Arc<tokio::sync::Semaphore>,
    pub(super) stopped: tokio::sync::watch::Receiver<bool>,
}
