//! A Mesos cluster as a source: finds the leading master, follows its state, publishes it.
//!
//! ```text
//! list | ZooKeeper ─► leader ─► event stream | /master/state ─► mesos_api::State ─► Writer
//!                                                                     └─► last word on disk
//! ```
//!
//! Whatever happens to the masters, ZooKeeper or the network, what was published stays until a
//! master that leads has said something else. How old that word is stands in `Freshness`.

mod ask;
mod config;
mod detect;
mod error;
mod last_word;
mod masters;
mod poll;
mod run;
mod status;
mod stream;
mod zookeeper;

pub use crate::status::Mode;
pub use config::{MesosConfig, MesosConfigError};
pub use detect::{ZkTarget, ZkTargetError};
pub use status::{MesosReport, MesosStatus};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use waymark_catalog::{Freshness, Writer};
use waymark_mesos_api::{HostPort, State, host_port};
use waymark_model::{Cluster, Version};

use ask::Client;
use last_word::LastWord;
use masters::Detected;

use crate::client::{self, Credentials};
use crate::hosts::HostCache;
use crate::keep::{self, Word};

/// A Mesos cluster that is followed.
pub struct MesosSource {
    config: MesosConfig,
    masters: Vec<HostPort>,
    client: Client,
    freshness: Freshness,
    status: MesosStatus,
    /// Where the last word is kept.
    file: Option<PathBuf>,
    last: Option<LastWord>,
}

impl MesosSource {
    /// Checks the settings, reads the files they name and the last word on disk. A last word that
    /// cannot be read is warned about and is no error.
    pub fn new(config: MesosConfig) -> Result<MesosSource, MesosConfigError> {
        let masters = masters_of(&config)?;
        for (name, value) in [("refresh", config.refresh), ("state_timeout", config.state_timeout)]
        {
            if value.is_zero() {
                return Err(MesosConfigError::Zero(name));
            }
        }
        let tls = match config.https {
            true => Some(client::connector(&config.tls)?),
            false => None,
        };
        let for_login = tls.clone();
        let credentials = Credentials::new(&config.auth, || match for_login {
            Some(tls) => Ok(tls),
            None => client::connector(&config.tls),
        })?;
        let http = client::Client::new(tls, credentials);
        let client = Client { http, secure: config.https };
        let file = config.data_dir.as_deref().map(last_word::file_in);
        let last = file.as_deref().and_then(|file| match last_word::load(file) {
            Ok(last) => last,
            Err(reason) => {
                let file = file.display();
                tracing::warn!(%file, %reason, "the last state on disk cannot be used");
                None
            }
        });
        let (freshness, status) = (Freshness::default(), MesosStatus::default());
        Ok(MesosSource { config, masters, client, freshness, status, file, last })
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
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.last.as_ref().map_or(0, |last| last.version).max(now)
    }

    /// Publishes the last word on disk, marked stale, then follows the cluster for as long as the
    /// future is polled. Never ends by itself. Needs tokio's time and I/O.
    pub async fn run(self, mut writer: Writer) {
        let MesosSource { config, masters, client, freshness, status, file, last } = self;
        let mut published = None;
        let (word, words) = watch::channel(Word::default());
        if let Some(LastWord { cluster, saved, .. }) = last.filter(|last| is_of(last, &config)) {
            let age = SystemTime::now().duration_since(saved).unwrap_or_default();
            tracing::info!(?age, tasks = cluster.tasks(), "serving the last state on disk");
            freshness.restored(Instant::now(), age, "from disk; no master has been heard yet");
            let version = writer.publish_cluster(|present| {
                *present = cluster.clone();
                true
            });
            let version = version.unwrap_or_default();
            word.send_replace(Word { content: cluster.clone(), version, saved });
            published = Some(cluster);
        }
        let mut all = masters;
        if all.is_empty() {
            // ZooKeeper may be down, too.
            all = published.as_ref().map(masters_before).unwrap_or_default();
        }
        let (found, detected) = watch::channel(Detected { leader: None, all });
        let places = places(&config);
        let save = move |file: &Path, word: &Word<Cluster>| {
            let Word { content: cluster, version, saved } = word.clone();
            last_word::save(file, &LastWord { cluster, places: places.clone(), version, saved })
        };
        let keeping = keep::keep(file, words, freshness.clone(), save);
        let warning = zookeeper::watch_for_leader(config.zk_detection_timeout, detected.clone());
        let target = config.zk.clone();
        let detecting = async {
            match target {
                Some(target) => tokio::join!(zookeeper::follow(target, found), warning).0,
                // Kept, since nobody else can say that nothing changes.
                None => std::future::pending::<()>().await,
            }
        };
        let state = published.clone().map(State::restored).unwrap_or_default();
        let client = Arc::new(client);
        let (hosts, at) = (HostCache::default(), run::Standpoint::default());
        let follower = run::Follower {
            config,
            client,
            writer,
            freshness,
            status,
            detected,
            word,
            state,
            hosts,
            published,
            at,
        };
        tokio::join!(keeping, detecting, follower.run());
    }
}

fn masters_of(config: &MesosConfig) -> Result<Vec<HostPort>, MesosConfigError> {
    if config.zk.is_none() && config.masters.is_empty() {
        return Err(MesosConfigError::NoMasters);
    }
    let read = |text: &String| {
        let place = host_port(text).filter(|place| place.port > 0);
        place.ok_or_else(|| MesosConfigError::BadMaster(text.clone()))
    };
    config.masters.iter().map(read).collect()
}

/// Where the cluster is looked for, without credentials.
fn places(config: &MesosConfig) -> Vec<String> {
    let servers = config
        .zk
        .iter()
        .flat_map(|zk| zk.servers.iter().map(|server| format!("zk://{server}{}", zk.path)));
    servers.chain(config.masters.iter().cloned()).collect()
}

/// Whether a word is of the cluster that is looked for now: settings may grow, but a word that has
/// no place in common with them is of another cluster.
fn is_of(last: &LastWord, config: &MesosConfig) -> bool {
    let places = places(config);
    let same = last.places.iter().any(|place| places.contains(place));
    if !same {
        tracing::warn!(of = ?last.places, "the last state on disk is of another cluster; not used");
    }
    same
}

/// The masters that an earlier run knew, the leader first.
fn masters_before(cluster: &Cluster) -> Vec<HostPort> {
    let Some(masters) = &cluster.masters else { return Vec::new() };
    let mut places = Vec::new();
    for master in masters.leader.iter().chain(&masters.all) {
        let Some(address) = master.addresses.first() else { continue };
        let place = HostPort { host: address.to_string().into(), port: master.port };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}
