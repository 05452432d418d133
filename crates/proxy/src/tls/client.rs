//! TLS with tasks: whose signatures count, and the name that is verified.
//!
//! The default is the ordinary one: the system's authorities, and the name under which the task is
//! known. A label names other authorities, another name, or that anybody will do.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{DnsName, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tracing::warn;
use waymark_routing::BackendTls;
use waymark_tls::{AnyCertificate, AuthorityError, authorities, system_authorities};

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
}

/// The configurations towards tasks, each made once. Shared by the workers.
#[derive(Debug, Default)]
pub struct Connectors {
    configs: Mutex<HashMap<Key, Kept>>,
    system: OnceLock<Arc<RootCertStore>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    insecure: bool,
    ca: Option<PathBuf>,
    alpn: &'static [&'static [u8]],
}

#[derive(Debug)]
struct Kept {
    config: Result<Arc<ClientConfig>, ConnectorError>,
    modified: Option<(SystemTime, u64)>,
    checked: Instant,
}

impl Connectors {
    /// The configuration for tasks with these rules, which offers these protocols (`h2`,
    /// `http/1.1`; none: TLS alone). A changed file of authorities counts within a second; one
    /// that cannot be used leaves things as they were.
    pub fn connector(
        &self,
        tls: &BackendTls,
        alpn: &'static [&'static [u8]],
        now: Instant,
    ) -> Result<Arc<ClientConfig>, ConnectorError> {
        let ca = tls.ca.clone().filter(|_| !tls.insecure);
        let key = Key { insecure: tls.insecure, ca, alpn };
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = configs.get_mut(&key) {
            self.refresh(&key, kept, now);
            return kept.config.clone();
        }
        if configs.len() >= MAX_CONFIGS {
            configs.clear();
        }
        let modified = key.ca.as_deref().and_then(modified);
        let kept = Kept { config: self.make(&key), modified, checked: now };
        configs.entry(key).or_insert(kept).config.clone()
    }

    fn refresh(&self, key: &Key, kept: &mut Kept, now: Instant) {
        let Some(file) = &key.ca else { return };
        if now.saturating_duration_since(kept.checked) < RECHECK {
            return;
        }
        kept.checked = now;
        let modified = modified(file);
        if modified.is_some() && modified == kept.modified {
            return;
        }
        match self.make(key) {
            Ok(config) => kept.config = Ok(config),
            Err(error) if kept.config.is_ok() && kept.modified != modified => {
                warn!(%error, "authorities of tasks stay as they were");
            }
            Err(_) => {}
        }
        kept.modified = modified;
    }

    fn make(&self, key: &Key) -> Result<Arc<ClientConfig>, ConnectorError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let builder = match &key.ca {
            _ if key.insecure => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider))),
            Some(file) => {
                let roots = authorities(file)
                    .map_err(|error| ConnectorError::Authorities(Arc::new(error)))?;
                builder.with_root_certificates(roots)
            }
            None => {
                let system = self.system.get_or_init(|| Arc::new(system_authorities()));
                builder.with_root_certificates(system.clone())
            }
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = key.alpn.iter().map(|name| name.to_vec()).collect();
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
