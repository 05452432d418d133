//! What a Mesos source is told: where the masters are, how to reach them, what to prove to them.
//!
//! Filled in by whoever reads the settings. Secrets never show in `Debug`.

use std::path::PathBuf;
use std::time::Duration;

use super::detect::ZkTarget;
use crate::client::{Auth, ClientError, TlsConfig};

/// Settings of a [`super::MesosSource`].
#[derive(Clone, Debug)]
pub struct MesosConfig {
    /// Where to look for the leading master; without it the list is used.
    pub zk: Option<ZkTarget>,
    /// Masters as `host:port`, asked in this order. With `zk` they are used until ZooKeeper has
    /// answered.
    pub masters: Vec<String>,
    /// After this time without a leader in ZooKeeper a warning is logged; zero never warns.
    /// Mesos-DNS ends then; Waymark goes on with what it has.
    pub zk_detection_timeout: Duration,
    /// How often the state is asked for when the master does not stream its events.
    pub refresh: Duration,
    /// The longest that one request for the state may take, from connecting to the last byte.
    pub state_timeout: Duration,
    /// Whether to use the event stream where the master offers it.
    pub subscribe: bool,
    /// Whether to reach the masters by HTTPS.
    pub https: bool,
    /// How HTTPS is done.
    pub tls: TlsConfig,
    /// What is proved to the masters.
    pub auth: Auth,
    /// The directory for the last known state; without it nothing is kept over a restart.
    pub data_dir: Option<PathBuf>,
}

impl Default for MesosConfig {
    fn default() -> MesosConfig {
        MesosConfig {
            zk: None,
            masters: Vec::new(),
            zk_detection_timeout: Duration::from_secs(30),
            refresh: Duration::from_secs(60),
            state_timeout: Duration::from_secs(300),
            subscribe: true,
            https: false,
            tls: TlsConfig::default(),
            auth: Auth::None,
            data_dir: None,
        }
    }
}

/// Why a source cannot be made of its settings.
#[derive(Debug, thiserror::Error)]
pub enum MesosConfigError {
    /// Neither `zk` nor `masters`.
    #[error("no masters: neither zk nor masters is given")]
    NoMasters,
    /// A master is not `host:port`.
    #[error("master {0:?} is not host:port")]
    BadMaster(String),
    /// A duration that must be positive is zero.
    #[error("{0} must be greater than zero")]
    Zero(&'static str),
    /// TLS or credentials are not usable.
    #[error("{0}")]
    Client(#[from] ClientError),
}
