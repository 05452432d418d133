//! What a Marathon source is told: where the Marathons are, how to reach them, what to prove to
//! them.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::{Auth, ClientError, TlsConfig};

/// Settings of a [`super::MarathonSource`].
#[derive(Clone, Debug)]
pub struct MarathonConfig {
    /// The Marathons of one cluster as `http[s]://host[:port][/path]`, asked in this order; the one
    /// that answered last first.
    pub urls: Vec<String>,
    /// How HTTPS is done. Certificates are verified, unlike by marathon-lb.
    pub tls: TlsConfig,
    /// What is proved to the Marathons.
    pub auth: Auth,
    /// How often everything is asked for while the event stream tells of changes (300 s, as
    /// marathon-lb).
    pub refresh: Duration,
    /// How often everything is asked for where there is no event stream (10 s).
    pub poll: Duration,
    /// The longest that one question may take, from connecting to the last byte (46 s, as
    /// marathon-lb).
    pub timeout: Duration,
    /// How long the event stream may be silent before the Marathon is asked whether it is still
    /// there (5 s). At three times as much without an answer it is given up.
    pub probe: Duration,
    /// How long the event stream may be silent at all, while it is not known how often it shows a
    /// sign of life (30 s: Marathon does every 10 s). Then it is given up.
    pub silence: Duration,
    /// The longest pause between attempts (5 s).
    pub max_backoff: Duration,
    /// How long lists must leave an app, or all tasks of an app, out before that is believed (2 s).
    pub believe_gone: Duration,
    /// How long lists must be empty before that is believed (15 s).
    pub believe_empty: Duration,
    /// The range for service ports of apps with an address a task that have none (10050 to 10100,
    /// as marathon-lb); without it such apps get none.
    pub invented_ports: Option<RangeInclusive<u16>>,
    /// The directory for the last known state; without it nothing is kept over a restart.
    pub data_dir: Option<PathBuf>,
}

impl Default for MarathonConfig {
    fn default() -> MarathonConfig {
        MarathonConfig {
            urls: Vec::new(),
            tls: TlsConfig::default(),
            auth: Auth::None,
            refresh: Duration::from_secs(300),
            poll: Duration::from_secs(10),
            timeout: Duration::from_secs(46),
            probe: Duration::from_secs(5),
            silence: Duration::from_secs(30),
            max_backoff: Duration::from_secs(5),
            believe_gone: Duration::from_secs(2),
            believe_empty: Duration::from_secs(15),
            invented_ports: Some(10050..=10100),
            data_dir: None,
        }
    }
}

/// Why a source cannot be made of its settings.
#[derive(Debug, thiserror::Error)]
pub enum MarathonConfigError {
    /// No URL.
    #[error("no Marathon is given")]
    NoUrls,
    /// A URL is not one of HTTP.
    #[error("{0:?} is not http[s]://host[:port][/path]")]
    BadUrl(String),
    /// A duration that must be positive is zero.
    #[error("{0} must be greater than zero")]
    Zero(&'static str),
    /// The range for invented service ports is none.
    #[error("{0} to {1} is no range of ports")]
    BadRange(u16, u16),
    /// TLS or credentials are not usable.
    #[error("{0}")]
    Client(#[from] ClientError),
}
