//! What a Mesos source is told: where the masters are, how to reach them, what to prove to them.
//!
//! Filled in by whoever reads the settings. Secrets never show in `Debug`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::detect::ZkTarget;

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
    pub tls: MesosTls,
    /// What is proved to the masters.
    pub auth: MesosAuth,
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
            tls: MesosTls::default(),
            auth: MesosAuth::None,
            data_dir: None,
        }
    }
}

/// How HTTPS to the masters, and to the IAM, is done.
#[derive(Clone, Debug, Default)]
pub struct MesosTls {
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client certificate and its chain.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the client certificate's key.
    pub key_file: Option<PathBuf>,
    /// Accept any certificate when there is no `ca_file`, as Mesos-DNS does; logged as a warning.
    pub insecure_without_ca: bool,
}

/// What is proved to the masters.
#[derive(Clone, Default)]
pub enum MesosAuth {
    /// Nothing.
    #[default]
    None,
    /// HTTP Basic with every request.
    Basic {
        /// The user.
        principal: String,
        /// The password.
        secret: String,
    },
    /// A token from DC/OS's identity service.
    Iam(IamConfig),
}

/// A service account of DC/OS.
#[derive(Clone)]
pub struct IamConfig {
    /// The account.
    pub uid: String,
    /// Its RSA key, PEM (PKCS#8 or PKCS#1).
    pub private_key: String,
    /// Where to log in (`https://leader.mesos/acs/api/v1/auth/login`).
    pub login_endpoint: String,
}

impl fmt::Debug for MesosAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MesosAuth::None => f.write_str("None"),
            MesosAuth::Basic { principal, .. } => {
                f.debug_struct("Basic").field("principal", principal).finish_non_exhaustive()
            }
            MesosAuth::Iam(iam) => f.debug_tuple("Iam").field(iam).finish(),
        }
    }
}

impl fmt::Debug for IamConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IamConfig")
            .field("uid", &self.uid)
            .field("login_endpoint", &self.login_endpoint)
            .finish_non_exhaustive()
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
    /// One of certificate and key is missing.
    #[error("client certificate and key must be given together")]
    HalfCertificate,
    /// A file cannot be read or holds nothing usable.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
    /// Something of the IAM account is missing or unusable.
    #[error("IAM: {0}")]
    Iam(String),
}
