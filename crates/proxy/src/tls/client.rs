//! TLS with tasks: whose signatures count, and the name that is verified.
//!
//! The default is the ordinary one: the system's authorities, and the name under which the task is
//! known. A label names other authorities, another name, or that anybody will do.
//!
//! Files are read on threads for what blocks, never on a worker: a connection waits for the first
//! look at its authorities' file, and later ones go on with what is known while it is looked at.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{DnsName, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;
use tracing::{info, warn};
use waymark_routing::BackendTls;
use waymark_tls::{AnyCertificate, AuthorityError, authorities, system_authorities};

use super::ledger::CertificateState;

/// How often a file of authorities is looked at, when it is used.
const RECHECK: Duration = Duration::from_secs(1);

/// The most configurations that are kept; one more, and all are made anew.
const MAX_CONFIGS: usize = 4096;

/// Sessions that each configuration remembers, of all its tasks together.
const MAX_SESSIONS: usize = 1024;

/// TLS with a task cannot be begun.
#[derive(Clone, Debug, Error)]
pub enum ConnectorError {
    /// The file of authorities cannot be used, and never could.
    #[error("authorities of tasks: {0}")]
    Authorities(Arc<AuthorityError>),
    /// The provider of cryptography refuses.
    #[error("TLS cannot be configured: {0}")]
    Tls(#[from] rustls::Error),
    /// Nothing that a certificate could be for.
    #[error("no server name: {0}")]
    ServerName(String),
    /// The thread that looked at the file has ended.
    #[error("the authorities of tasks were not read to their end")]
    Interrupted,
    /// The file of authorities does not come to its end.
    #[error("the authorities of tasks cannot be read in time")]
    Late,
}

/// A file of authorities, as status and metrics show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthoritiesStatus {
    /// Where it is.
    pub file: PathBuf,
    /// Served: it counts; kept: what it was before does; refused: tasks cannot be reached.
    pub state: CertificateState,
    /// What is wrong with it.
    pub reason: Option<String>,
}

type System = Arc<OnceLock<Arc<RootCertStore>>>;
type Made = Result<Arc<ClientConfig>, ConnectorError>;

/// The configurations towards tasks, each made once. Shared by the workers.
#[derive(Debug, Default)]
pub struct Connectors {
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    system: System,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    insecure: bool,
    ca: Option<PathBuf>,
    alpn: &'static [&'static [u8]],
}

/// The place of one configuration.
#[derive(Debug)]
struct Slot {
    key: Key,
    /// Held by who looks at the file: one at a time.
    turn: Arc<AsyncMutex<()>>,
    /// What was found last. Never locked while a file is read.
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    config: Made,
    /// Why the file cannot be used as it is.
    problem: Option<String>,
    modified: Option<(SystemTime, u64)>,
    checked: Instant,
}

/// What is known of a configuration.
enum Known {
    /// It counts.
    Fresh(Made),
    /// It counts until its file has been looked at again.
    Due(Arc<ClientConfig>),
    /// Its file has to be looked at.
    Nothing,
}

impl Connectors {
    /// The configuration for tasks with these rules, which offers these protocols (`h2`,
    /// `http/1.1`; none: TLS alone). A changed file of authorities counts within a second of being
    /// used; one that cannot be used leaves things as they were. To be called on an event loop.
    pub async fn connector(
        &self,
        tls: &BackendTls,
        alpn: &'static [&'static [u8]],
        now: Instant,
    ) -> Result<Arc<ClientConfig>, ConnectorError> {
        let slot = self.slot(tls, alpn);
        match slot.known(now) {
            Known::Fresh(config) => config,
            Known::Due(config) => {
                // Who has the turn looks at it for all.
                if let Ok(turn) = slot.turn.clone().try_lock_owned() {
                    let system = self.system.clone();
                    spawn_blocking(move || {
                        slot.look(&system, now);
                        drop(turn);
                    });
                }
                Ok(config)
            }
            Known::Nothing => {
                let turn = slot.turn.clone().lock_owned().await;
                if let Known::Fresh(config) = slot.known(now) {
                    return config;
                }
                let (looking, system) = (slot.clone(), self.system.clone());
                let look = spawn_blocking(move || {
                    looking.look(&system, now);
                    // Not before: this goes on when nobody waits for it any more.
                    drop(turn);
                });
                look.await.map_err(|_| ConnectorError::Interrupted)?;
                slot.found()
            }
        }
    }

    /// Every file of authorities that was used, in order.
    pub fn status(&self) -> Vec<AuthoritiesStatus> {
        let slots: Vec<Arc<Slot>> = self.slots().values().cloned().collect();
        let mut files: Vec<_> = slots.iter().filter_map(|slot| slot.status()).collect();
        files.sort_by(|a, b| (&a.file, &b.reason).cmp(&(&b.file, &a.reason)));
        // Of the protocols that are offered with one file each has a slot.
        files.dedup_by(|a, b| a.file == b.file);
        files
    }

    /// Why no task with these rules can be reached: its authorities' file cannot be read.
    pub(crate) fn problem(&self, tls: &BackendTls) -> Option<String> {
        let file = tls.ca.as_deref().filter(|_| !tls.insecure)?;
        let slots: Vec<Arc<Slot>> = self.slots().values().cloned().collect();
        let of_file = slots.iter().filter(|slot| slot.key.ca.as_deref() == Some(file));
        let mut found = of_file.filter_map(|slot| slot.status());
        found.find(|status| status.state == CertificateState::Refused)?.reason
    }

    fn slot(&self, tls: &BackendTls, alpn: &'static [&'static [u8]]) -> Arc<Slot> {
        let ca = tls.ca.clone().filter(|_| !tls.insecure);
        let key = Key { insecure: tls.insecure, ca, alpn };
        let mut slots = self.slots();
        if slots.len() >= MAX_CONFIGS && !slots.contains_key(&key) {
            slots.clear();
        }
        let new =
            || Arc::new(Slot { key: key.clone(), turn: Arc::default(), kept: Mutex::default() });
        slots.entry(key.clone()).or_insert_with(new).clone()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Key, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, now: Instant) -> Known {
        let kept = self.kept();
        let Some(kept) = &*kept else { return Known::Nothing };
        let age = now.saturating_duration_since(kept.checked);
        match &kept.config {
            config if self.key.ca.is_none() || age < RECHECK => Known::Fresh(config.clone()),
            Ok(config) => Known::Due(config.clone()),
            Err(_) => Known::Nothing,
        }
    }

    fn found(&self) -> Made {
        self.kept().as_ref().map_or(Err(ConnectorError::Interrupted), |kept| kept.config.clone())
    }

    /// Looks at the file, and reads it if it has changed. Blocks while it is read.
    fn look(&self, system: &OnceLock<Arc<RootCertStore>>, now: Instant) {
        let modified = self.key.ca.as_deref().and_then(modified);
        if let Some(kept) = &mut *self.kept() {
            kept.checked = now;
            if modified.is_some() && modified == kept.modified {
                return;
            }
        }
        let made = self.key.make(system);
        let mut kept = self.kept();
        let before = kept.take();
        let problem = made.as_ref().err().map(ToString::to_string);
        if problem != before.as_ref().and_then(|kept| kept.problem.clone()) {
            tell(self.key.ca.as_deref(), problem.as_deref());
        }
        let config = match (made, before) {
            (Err(_), Some(Kept { config: Ok(config), .. })) => Ok(config),
            (made, _) => made,
        };
        *kept = Some(Kept { config, problem, modified, checked: now });
    }

    fn status(&self) -> Option<AuthoritiesStatus> {
        let file = self.key.ca.clone()?;
        let kept = self.kept();
        let kept = kept.as_ref()?;
        let state = match (&kept.config, &kept.problem) {
            (Err(_), _) => CertificateState::Refused,
            (Ok(_), Some(_)) => CertificateState::Kept,
            (Ok(_), None) => CertificateState::Served,
        };
        Some(AuthoritiesStatus { file, state, reason: kept.problem.clone() })
    }
}

/// Says once what is wrong with a file of authorities, and when it is right again.
fn tell(file: Option<&Path>, problem: Option<&str>) {
    match problem {
        Some(error) => warn!(error, "what tasks are verified by cannot be used as it is"),
        None => info!(?file, "what tasks are verified by can be used again"),
    }
}

impl Key {
    fn make(&self, system: &OnceLock<Arc<RootCertStore>>) -> Made {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let builder = match &self.ca {
            _ if self.insecure => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider))),
            Some(file) => {
                let roots = authorities(file)
                    .map_err(|error| ConnectorError::Authorities(Arc::new(error)))?;
                builder.with_root_certificates(roots)
            }
            None => {
                let system = system.get_or_init(|| Arc::new(system_authorities()));
                builder.with_root_certificates(system.clone())
            }
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(MAX_SESSIONS);
        Ok(Arc::new(config))
    }
}

/// The name that a task's certificate must be for: what the label says, else the host under which
/// the task is known. An address (IPv6 with or without brackets) is verified as such, and is not
/// sent (RFC 6066 §3).
pub fn server_name(tls: &BackendTls, host: &str) -> Result<ServerName<'static>, ConnectorError> {
    let name = tls.server_name.as_deref().unwrap_or(host);
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(ServerName::from(address));
    }
    let dns = DnsName::try_from(name.strip_suffix('.').unwrap_or(name).to_owned());
    dns.map(ServerName::DnsName).map_err(|_| ConnectorError::ServerName(name.to_owned()))
}

fn modified(file: &Path) -> Option<(SystemTime, u64)> {
    let data = fs::metadata(file).ok()?;
    Some((data.modified().ok()?, data.len()))
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
