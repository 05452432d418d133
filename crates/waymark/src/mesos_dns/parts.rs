//! From the configuration to the settings of each part.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use waymark_catalog::Freshness;
use waymark_dns::forward::{ForwardConfig, Forwarder};
use waymark_dns::http::{
    ConfigView, CredentialsView, HttpConfig, HttpLimits, MetricsSource, SourceView,
};
use waymark_dns::naming::LabelRule;
use waymark_dns::rate_limit::RateLimit;
use waymark_dns::{DnsConfig, IpSource, NearFirst, Policy, TransferConfig};
use waymark_http::{BasicAuth, Tls, TlsError};
use waymark_sources::client::{Auth, IamConfig, TlsConfig};
use waymark_sources::mesos::MesosConfig;

use super::config::kind::{self, Authentication, Texts};
use super::config::{Checked, Config, Loaded};
use super::machine;

/// The file in `IAMConfigFile`, as DC/OS makes it.
#[derive(Deserialize)]
struct IamFile {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    private_key: String,
    #[serde(default)]
    login_endpoint: String,
}

/// What the source is told. The error names the setting.
pub fn mesos(loaded: &Loaded, data_dir: Option<PathBuf>) -> Result<MesosConfig, String> {
    let Loaded { config, checked, .. } = loaded;
    let file = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Ok(MesosConfig {
        zk: checked.zk.clone(),
        masters: checked.masters.iter().map(|(host, port)| host_port(host, *port)).collect(),
        zk_detection_timeout: seconds(config.zk_detection_timeout.0),
        refresh: seconds(config.refresh_seconds.0),
        state_timeout: seconds(config.state_timeout_seconds.0),
        subscribe: config.subscribe,
        https: config.mesos_https_on,
        tls: TlsConfig {
            ca_file: file(&config.ca_cert_file),
            cert_file: file(&config.cert_file),
            key_file: file(&config.key_file),
            insecure_without_ca: true,
        },
        auth: authentication(config, checked)?,
        data_dir,
    })
}

fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn authentication(config: &Config, checked: &Checked) -> Result<Auth, String> {
    match config.mesos_authentication {
        Authentication::None => Ok(Auth::None),
        Authentication::Basic => Ok(Auth::Basic {
            principal: config.mesos_credentials.principal.clone(),
            secret: config.mesos_credentials.secret.clone(),
        }),
        Authentication::Iam => {
            let content = checked.files.get("IAMConfigFile").map_or(&[][..], Vec::as_slice);
            // The parser's message could quote the key.
            let file: IamFile = serde_json::from_slice(content)
                .map_err(|_| "IAMConfigFile: the file is not a JSON object of texts".to_owned())?;
            for (name, text) in [
                ("uid", &file.uid),
                ("private_key", &file.private_key),
                ("login_endpoint", &file.login_endpoint),
            ] {
                if text.is_empty() {
                    return Err(format!("IAMConfigFile: the file has no \"{name}\""));
                }
            }
            Ok(Auth::Iam(IamConfig {
                uid: file.uid,
                private_key: file.private_key,
                login_endpoint: file.login_endpoint,
            }))
        }
    }
}

/// What DNS is told.
pub fn dns(loaded: &Loaded, freshness: Freshness, forwarder: &Forwarder) -> DnsConfig {
    let Loaded { config, checked, .. } = loaded;
    DnsConfig {
        domain: config.domain.0.clone(),
        ttl: config.ttl.0,
        // There is no control plane here whose apps would be below it.
        framework: String::new(),
        host_addresses: machine::addresses_of(config.listener.0),
        soa_mname: Some(config.soa_mname.0.clone()),
        soa_rname: Some(config.soa_rname.0.clone()),
        soa_refresh: config.soa_refresh.0,
        soa_retry: config.soa_retry.0,
        soa_expire: config.soa_expire.0,
        soa_minimum: Some(config.soa_minttl.0.min(config.ttl.0)),
        srv_weight: u16::try_from(config.srv_record_default_weight.0).unwrap_or(u16::MAX),
        label_rule: if config.enforce_rfc952 { LabelRule::Rfc952 } else { LabelRule::default() },
        ip_sources: config.ip_sources.0.iter().map(|source| ip_source(*source)).collect(),
        health_aware: config.health_aware,
        reverse: config.reverse,
        near_first: config.near_first.then(NearFirst::default),
        freshness: Some(freshness),
        // The process before this one may have told clients of them.
        leased_at_start: true,
        transfer: TransferConfig {
            allow: config.allow_transfer.0.iter().copied().collect(),
            notify: checked.notify.clone(),
            notify_from: Some(config.listener.0).filter(|ip| !ip.is_unspecified()),
            ..TransferConfig::default()
        },
        policy: Policy {
            queries: config.allow_query.0.iter().copied().collect(),
            recursion: config.allow_recursion.0.iter().copied().collect(),
            recursion_available: config.recurse_on,
            set_truncate_bit: config.set_truncate_bit,
            rate_limit: RateLimit { per_second: config.rate_limit.0, ..RateLimit::default() },
            forwarder: config.external_on.then(|| forwarder.clone()),
        },
        seed: rand::random(),
        ..DnsConfig::default()
    }
}

fn ip_source(source: kind::IpSource) -> IpSource {
    match source {
        kind::IpSource::Host => IpSource::Host,
        kind::IpSource::Docker => IpSource::Docker,
        kind::IpSource::Mesos => IpSource::Mesos,
        kind::IpSource::Netinfo => IpSource::Netinfo,
    }
}

/// What the forwarder is told. `own` is where DNS listens.
pub fn forward(loaded: &Loaded, own: &[SocketAddr]) -> ForwardConfig {
    let Loaded { config, checked, .. } = loaded;
    let usual = ForwardConfig::default();
    let timeout = match config.timeout.0 {
        // As Mesos-DNS reads it.
        0 => usual.timeout,
        seconds => Duration::from_secs(seconds.into()),
    };
    ForwardConfig {
        domain: config.domain.0.clone(),
        external_on: config.external_on,
        resolvers: checked.resolvers.clone(),
        zone_resolvers: checked.zone_resolvers.clone(),
        own_addresses: own.to_vec(),
        deadline: usual.deadline.max(timeout),
        timeout,
        set_truncate_bit: config.set_truncate_bit,
        race: config.race,
        cache_entries: config.cache_entries.0 as usize,
        serve_stale: Duration::from_secs(config.serve_stale.0.into()),
        ..usual
    }
}

/// What the HTTP API is told.
pub fn http(
    loaded: &Loaded,
    file: &Path,
    source: impl Fn() -> SourceView + Send + Sync + 'static,
    metrics: Vec<MetricsSource>,
) -> HttpConfig {
    let auth = loaded.checked.http_password.as_ref();
    HttpConfig {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        view: view(&loaded.config, file),
        enumeration_on: loaded.config.enumeration_on,
        auth: auth.map(|password| BasicAuth::new(&loaded.config.http_user, &password.0)),
        source: Some(Box::new(source)),
        metrics,
        limits: HttpLimits::default(),
    }
}

/// TLS of the HTTP API, if it is wanted. The error names the setting.
pub fn http_tls(checked: &Checked) -> Result<Option<Tls>, String> {
    let (Some(certificate), Some(key)) =
        (checked.files.get("httpCertFile"), checked.files.get("httpKeyFile"))
    else {
        return Ok(None);
    };
    match Tls::new(certificate, key) {
        Ok(tls) => Ok(Some(tls)),
        Err(error @ TlsError::NoKey) => Err(format!("httpKeyFile: {error}")),
        Err(error) => Err(format!("httpCertFile: {error}")),
    }
}

/// The settings as `/v1/config` shows them: without secrets.
fn view(config: &Config, file: &Path) -> ConfigView {
    let port = |port: u32| u16::try_from(port).unwrap_or_default();
    let credentials = &config.mesos_credentials;
    ConfigView {
        refresh_seconds: config.refresh_seconds.0,
        port: port(config.port.0),
        timeout: config.timeout.0,
        state_timeout_seconds: config.state_timeout_seconds.0,
        zk_detection_timeout: config.zk_detection_timeout.0,
        http_port: port(config.http_port.0),
        ttl: config.ttl.0,
        srv_record_default_weight: port(config.srv_record_default_weight.0),
        // The API shows the current one instead.
        soa_serial: config.soa_serial.0,
        soa_refresh: config.soa_refresh.0,
        soa_retry: config.soa_retry.0,
        soa_expire: config.soa_expire.0,
        soa_minttl: config.soa_minttl.0,
        soa_mname: config.soa_mname.0.clone(),
        soa_rname: config.soa_rname.0.clone(),
        masters: Some(config.masters.0.clone()).filter(|masters| !masters.is_empty()),
        zone_resolvers: (config.zone_resolvers.0.iter())
            .map(|(zone, Texts(list))| (zone.clone(), list.clone()))
            .collect(),
        resolvers: config.resolvers.0.clone(),
        ip_sources: config.ip_sources.0.iter().map(|source| source.word()).collect(),
        zk: without_password(&config.zk),
        domain: config.domain.0.clone(),
        file: file.display().to_string(),
        listener: config.listener.0.to_string(),
        http_listener: config.http_listener.0.to_string(),
        recurse_on: config.recurse_on,
        dns_on: config.dns_on,
        http_on: config.http_on,
        external_on: config.external_on,
        enforce_rfc952: config.enforce_rfc952,
        set_truncate_bit: config.set_truncate_bit,
        enumeration_on: config.enumeration_on,
        mesos_https_on: config.mesos_https_on,
        ca_cert_file: config.ca_cert_file.clone(),
        cert_file: config.cert_file.clone(),
        key_file: config.key_file.clone(),
        mesos_credentials: CredentialsView {
            principal: credentials.principal.clone(),
            secret: if credentials.secret.is_empty() { "" } else { STARS },
        },
        iam_config_file: config.iam_config_file.clone(),
        mesos_authentication: config.mesos_authentication.word(),
    }
}

/// What stands for a secret.
const STARS: &str = "******";

/// `zk://user:password@…` with stars for the password.
fn without_password(zk: &str) -> String {
    let hidden = || {
        let rest = zk.strip_prefix("zk://")?;
        // A password may hold an `@` or a slash.
        let (credentials, place) = rest.rsplit_once('@')?;
        let (user, _) = credentials.split_once(':').unwrap_or((credentials, ""));
        Some(format!("zk://{user}:{STARS}@{place}"))
    };
    hidden().unwrap_or_else(|| zk.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_zookeeper_are_hidden() {
        for (zk, want) in [
            ("", ""),
            ("zk://a:1,b:2/mesos", "zk://a:1,b:2/mesos"),
            ("zk://u:p@w@a:1/mesos", "zk://u:******@a:1/mesos"),
            ("zk://u:p/w@a:1/mesos", "zk://u:******@a:1/mesos"),
        ] {
            assert_eq!(without_password(zk), want);
        }
    }
}
