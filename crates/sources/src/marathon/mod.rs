//! A Marathon (0.11 to 1.11) as a source: follows its apps and publishes them.
//!
//! ```text
//! URLs ─► GET /v2/info ─► leader ─► /v2/events ─► Notice: who may have changed
//!                           │                        │
//!                           └─► GET /v2/apps[/{id}] ◄┘ ─► State ─► Writer
//!                                                          └─► last word on disk
//! ```
//!
//! Events carry no data: they name apps, and those are asked for again. Whatever happens to the
//! Marathons or the network, what was published stays until a Marathon has said something else.
//! How old its word is stands in `Freshness`.

mod api;
mod config;
mod entry;
mod error;
mod invent;
mod last_word;
mod run;
mod session;
mod sse;
mod state;
mod status;

pub use crate::status::Mode;
pub use config::{MarathonConfig, MarathonConfigError};
pub use status::{MarathonReport, MarathonStatus};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};
use waymark_catalog::{Freshness, Writer};
use waymark_model::{Catalog, Version};

use api::{Api, Place};
use last_word::LastWord;
use run::Follower;
use state::State;

use crate::client::{self, Client, Credentials};
use crate::hosts::HostCache;
use crate::keep::{self, Word};

/// The framework's name until a Marathon says it; Marathon's default.
const FRAMEWORK: &str = "marathon";

/// A Marathon that is followed.
pub struct MarathonSource {
    config: MarathonConfig,
    places: Vec<Place>,
    api: Api,
    freshness: Freshness,
    status: MarathonStatus,
    /// Where the last word is kept.
    file: Option<PathBuf>,
    last: Option<LastWord>,
    refresh: Arc<Notify>,
}

impl MarathonSource {
    /// Checks the settings, reads the files they name and the last word on disk. A last word that
    /// cannot be read is warned about and is no error.
    pub fn new(config: MarathonConfig) -> Result<MarathonSource, MarathonConfigError> {
        let places = places_of(&config)?;
        let tls = match places.iter().any(|place| place.origin.secure) {
            true => Some(client::connector(&config.tls)?),
            false => None,
        };
        let for_login = tls.clone();
        let credentials = Credentials::new(&config.auth, || match for_login {
            Some(tls) => Ok(tls),
            None => client::connector(&config.tls),
        })?;
        let api = Api {
            client: Client::new(tls, credentials),
            known: places.iter().map(|place| place.origin.clone()).collect(),
            timeout: config.timeout,
        };
        let file = config.data_dir.as_deref().map(last_word::file_in);
        let last = file.as_deref().and_then(|file| match last_word::load(file) {
            Ok(last) => last,
            Err(reason) => {
                let file = file.display();
                tracing::warn!(%file, %reason, "the last state on disk cannot be used");
                None
            }
        });
        let (freshness, status) = (Freshness::default(), MarathonStatus::default());
        let refresh = Arc::default();
        Ok(MarathonSource { config, places, api, freshness, status, file, last, refresh })
    }

    /// How old the source's word is.
    pub fn freshness(&self) -> Freshness {
        self.freshness.clone()
    }

    /// How the source is doing.
    pub fn status(&self) -> MarathonStatus {
        self.status.clone()
    }

    /// Notified, it has everything asked for again, at once or as soon as a Marathon answers.
    pub fn refresher(&self) -> Arc<Notify> {
        self.refresh.clone()
    }

    /// What to make the catalog's `Writer` with: no version above it was ever published. The greater
    /// of the version on disk and the time now in Unix seconds.
    pub fn last_version(&self) -> Version {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.last.as_ref().map_or(0, |last| last.version).max(now)
    }

    /// Publishes the last word on disk, marked stale, then follows the Marathons for as long as the
    /// future is polled. Never ends by itself. Needs tokio's time and I/O.
    pub async fn run(self, mut writer: Writer) {
        let MarathonSource { config, places, api, freshness, status, file, last, refresh } = self;
        let (word, words) = watch::channel(Word::<Arc<Catalog>>::default());
        let mut state = State::new(FRAMEWORK, config.invented_ports.clone());
        let mut hosts = HostCache::default();
        let restored = last.filter(|last| is_of(last, &config));
        let published = restored.is_some();
        if let Some(LastWord { apps, saved, .. }) = restored {
            let now = Instant::now();
            for entry in &apps {
                state.restore(entry);
                let agents = entry.tasks.iter().map(|task| &task.agent);
                agents.for_each(|agent| hosts.remember(&agent.hostname, agent.address, now));
            }
            let age = SystemTime::now().duration_since(saved).unwrap_or_default();
            tracing::info!(?age, apps = apps.len(), "serving the last state on disk");
            freshness.restored(now, age, "from disk; no Marathon has been heard yet");
            status.update(|report| report.apps = apps.len());
            let version =
                writer.publish(apps.into_iter().map(|entry| (entry.id.clone(), Some(entry))));
            word.send_replace(Word { content: writer.reader().latest(), version, saved });
        }
        let urls = config.urls.clone();
        let save = move |file: &Path, word: &Word<Arc<Catalog>>| {
            let apps = word.content.apps.values().map(|entry| &**entry);
            last_word::save(file, apps, &urls, word.version, word.saved)
        };
        let keeping = keep::keep(file, words, freshness.clone(), save);
        let api = Arc::new(api);
        let reader = writer.reader();
        let follower = Follower {
            config,
            places,
            api,
            reader,
            writer,
            freshness,
            status,
            word,
            state,
            hosts,
            published,
            told: false,
            refresh,
        };
        tokio::join!(keeping, follower.run());
    }
}

fn places_of(config: &MarathonConfig) -> Result<Vec<Place>, MarathonConfigError> {
    let durations = [
        ("refresh", config.refresh),
        ("poll", config.poll),
        ("timeout", config.timeout),
        ("probe", config.probe),
        ("silence", config.silence),
        ("max_backoff", config.max_backoff),
    ];
    if let Some((name, _)) = durations.iter().find(|(_, duration)| duration.is_zero()) {
        return Err(MarathonConfigError::Zero(name));
    }
    if let Some(range) = config.invented_ports.as_ref().filter(|r| r.is_empty() || *r.start() == 0)
    {
        return Err(MarathonConfigError::BadRange(*range.start(), *range.end()));
    }
    if config.urls.is_empty() {
        return Err(MarathonConfigError::NoUrls);
    }
    let read = |url: &String| {
        Place::read(url).ok_or_else(|| MarathonConfigError::BadUrl(without_password(url)))
    };
    config.urls.iter().map(read).collect()
}

/// A URL may have been given with credentials, which are of no use there and must not be shown.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}***{}", url.get(..scheme + 3).unwrap_or(""), url.get(at..).unwrap_or(""))
        }
        _ => url.to_owned(),
    }
}

/// Whether a word is of the Marathons that are followed now: settings may grow, but a word that has
/// no URL in common with them is of others.
fn is_of(last: &LastWord, config: &MarathonConfig) -> bool {
    let same = last.urls.iter().any(|url| config.urls.contains(url));
    if !same {
        tracing::warn!(of = ?last.urls, "the last state on disk is of another Marathon; not used");
    }
    same
}
