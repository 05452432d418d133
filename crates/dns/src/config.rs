//! The settings of the DNS server, checked once and brought into the form that answers need.

use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

use crate::naming::{self, LabelRule};
use crate::wire;

/// What the DNS server is told.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// The domain that is served (`mesos`); one or more labels of letters, digits and dashes.
    pub domain: String,
    /// The time to live of every record, in seconds, at most [`MAX_TTL`]. Also the time for which
    /// a missing name is remembered (the last field of the SOA).
    pub ttl: u32,
    /// The framework under whose name this control plane's apps appear; gets an address too.
    pub framework: String,
    /// The addresses of this host, for the fixed names (`leader`, `master`, the name server).
    /// Without any, these names do not exist.
    pub host_addresses: Vec<IpAddr>,
    /// The primary name server of SOA and NS; `ns1.<domain>` when absent.
    pub soa_mname: Option<String>,
    /// The mail address of the SOA, an `@` counts as a dot; `root.ns1.<domain>` when absent.
    pub soa_rname: Option<String>,
    /// SOA field: how often secondaries ask, in seconds.
    pub soa_refresh: u32,
    /// SOA field: how soon they ask again after a failure, in seconds.
    pub soa_retry: u32,
    /// SOA field: after how long without an answer they give up, in seconds.
    pub soa_expire: u32,
    /// The weight of every SRV record. HAProxy takes 0 for "in maintenance", so 1 is the default.
    pub srv_weight: u16,
    /// How texts become labels.
    pub label_rule: LabelRule,
    /// TCP connections at once, over all workers; more are closed as soon as they are accepted.
    pub tcp_connections: usize,
    /// For how long a TCP connection may be silent, or not take what is sent to it.
    pub tcp_idle: Duration,
    /// Seeds the zone's hash table and the order of answers; any number, best a random one.
    pub seed: u64,
}

/// The longest TTL, in seconds (RFC 2181 §8).
pub const MAX_TTL: u32 = 0x7fff_ffff;
/// The longest domain in wire form, in bytes: leaves room for names below it, and lets a negative
/// answer fit into the 512 bytes that every client takes.
pub const MAX_DOMAIN: usize = 64;

impl Default for DnsConfig {
    fn default() -> DnsConfig {
        DnsConfig {
            domain: "mesos".to_owned(),
            ttl: 5,
            framework: "marathon".to_owned(),
            host_addresses: Vec::new(),
            soa_mname: None,
            soa_rname: None,
            soa_refresh: 60,
            soa_retry: 600,
            soa_expire: 86_400,
            srv_weight: 1,
            label_rule: LabelRule::default(),
            tcp_connections: 512,
            tcp_idle: Duration::from_secs(8),
            seed: 0,
        }
    }
}

/// Why settings cannot be used. Each message begins with the setting's name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Not a domain name of letters, digits and dashes, or too long.
    #[error(
        "domain: `{0}` is not a domain name of letters, digits and dashes of up to 62 characters"
    )]
    Domain(String),
    /// Not a domain name.
    #[error("{setting}: `{text}` is not a domain name")]
    Name {
        /// The setting.
        setting: &'static str,
        /// What it says.
        text: String,
    },
    /// More than [`MAX_TTL`].
    #[error("ttl: {0} is more than {MAX_TTL} seconds")]
    Ttl(u32),
}

/// Checked settings of the zone, names in wire form with root label.
#[derive(Debug)]
pub(crate) struct Apex {
    pub(crate) domain: Box<[u8]>,
    pub(crate) ttl: u32,
    pub(crate) srv_weight: u16,
    pub(crate) label_rule: LabelRule,
    pub(crate) mname: Box<[u8]>,
    pub(crate) rname: Box<[u8]>,
    /// Refresh, retry, expire.
    pub(crate) soa_times: [u32; 3],
    /// Names relative to the domain that exist without an app, with their addresses.
    pub(crate) fixed: Vec<(String, Vec<IpAddr>)>,
    pub(crate) seed: u64,
}

impl Apex {
    pub(crate) fn new(config: &DnsConfig) -> Result<Apex, ConfigError> {
        let text = config.domain.trim_end_matches('.').to_ascii_lowercase();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        let domain = wire::absolute(&text)
            .filter(|domain| domain.len() <= MAX_DOMAIN && text.bytes().all(allowed))
            .ok_or_else(|| ConfigError::Domain(config.domain.clone()))?;
        if config.ttl > MAX_TTL {
            return Err(ConfigError::Ttl(config.ttl));
        }
        let mname = config.soa_mname.clone().unwrap_or_else(|| format!("ns1.{text}"));
        let rname = config.soa_rname.clone().unwrap_or_else(|| format!("root.ns1.{text}"));
        let name = |setting, text: &str| {
            let error = || ConfigError::Name { setting, text: text.to_owned() };
            wire::absolute(&text.replace('@', ".")).ok_or_else(error)
        };
        Ok(Apex {
            ttl: config.ttl,
            srv_weight: config.srv_weight,
            label_rule: config.label_rule,
            mname: name("soa-mname", &mname)?,
            rname: name("soa-rname", &rname)?,
            soa_times: [config.soa_refresh, config.soa_retry, config.soa_expire],
            fixed: fixed_names(config, &mname, &text),
            domain,
            seed: config.seed,
        })
    }
}

/// The names that Mesos-DNS makes for masters, framework and itself; all of them are this host.
fn fixed_names(config: &DnsConfig, mname: &str, domain: &str) -> Vec<(String, Vec<IpAddr>)> {
    if config.host_addresses.is_empty() {
        return Vec::new();
    }
    let server = mname.trim_end_matches('.').to_ascii_lowercase();
    let server = server.strip_suffix(domain).and_then(|name| name.strip_suffix('.'));
    let framework = naming::dotted(&config.framework, config.label_rule);
    ["leader", "master", "master0"]
        .into_iter()
        .chain(server)
        .chain(Some(framework.as_str()).filter(|name| !name.is_empty()))
        .map(|name| (name.to_owned(), config.host_addresses.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_setting_that_is_wrong() {
        let with = |change: fn(&mut DnsConfig)| {
            let mut config = DnsConfig::default();
            change(&mut config);
            Apex::new(&config).map(|_| ()).map_err(|e| e.to_string())
        };
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with(|c| c.domain = "Cluster.Local.".to_owned()), Ok(()));
        for domain in ["", "a..b", "a_b", "a b", &"a.".repeat(40)] {
            let config = DnsConfig { domain: domain.to_owned(), ..DnsConfig::default() };
            assert!(Apex::new(&config).unwrap_err().to_string().starts_with("domain: "));
        }
        let error = with(|c| c.soa_mname = Some("a..b".to_owned())).unwrap_err();
        assert!(error.starts_with("soa-mname: "), "{error}");
        assert_eq!(with(|c| c.soa_rname = Some("me@example.org".to_owned())), Ok(()));
        assert!(with(|c| c.ttl = MAX_TTL + 1).unwrap_err().starts_with("ttl: "));
    }

    #[test]
    fn fixed_names_are_this_host() {
        let host_addresses = vec![IpAddr::from([127, 0, 0, 1])];
        let names = |config: DnsConfig| -> Vec<String> {
            Apex::new(&config).unwrap().fixed.into_iter().map(|(name, _)| name).collect()
        };
        let config = DnsConfig { host_addresses, ..DnsConfig::default() };
        assert_eq!(names(config.clone()), ["leader", "master", "master0", "ns1", "marathon"]);
        let outside = DnsConfig { soa_mname: Some("ns.example.org".to_owned()), ..config };
        assert_eq!(names(outside), ["leader", "master", "master0", "marathon"]);
        assert!(names(DnsConfig::default()).is_empty());
    }
}
