//! The settings of the DNS server, checked once and brought into the form that answers need.

use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;
use waymark_catalog::Freshness;

use crate::naming::{self, LabelRule};
use crate::respond::Policy;
use crate::transfer::TransferConfig;
use crate::wire;

/// What the DNS server is told.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// The domain that is served (`mesos`); one or more labels of letters, digits and dashes.
    pub domain: String,
    /// The time to live of every record, in seconds, at most [`MAX_TTL`].
    pub ttl: u32,
    /// The framework under whose name this control plane's apps appear; gets this host's
    /// addresses. Empty: there is no control plane of its own, and its names do not exist.
    pub framework: String,
    /// The addresses of this host, for the names that are fixed: the name server, and those of the
    /// control plane (`leader`, `master`, the framework). Without any, these names do not exist.
    pub host_addresses: Vec<IpAddr>,
    /// The addresses of the load balancer that serves apps' service ports; the names
    /// `_<app>._svc.<framework>` lead there. Without any, these names do not exist.
    pub balancer_addresses: Vec<IpAddr>,
    /// How old the catalog's word is, where a source fills it; `TXT version.<domain>` tells.
    pub freshness: Option<Freshness>,
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
    /// SOA field: for how long a missing name is remembered, in seconds. Mesos-DNS gives the TTL
    /// whatever its setting says; so do we when absent.
    pub soa_minimum: Option<u32>,
    /// The weight of every SRV record. HAProxy takes 0 for "in maintenance", so 1 is the default.
    pub srv_weight: u16,
    /// How texts become labels.
    pub label_rule: LabelRule,
    /// Where a task's addresses are taken from: the first source that has any gives all of its
    /// own. No source, or none that has any: the task has no address.
    pub ip_sources: Vec<IpSource>,
    /// Whether tasks of a Mesos cluster are named only while they are known to be healthy.
    /// Mesos-DNS names them whatever their health. Tasks of the own control plane are named only
    /// while they are ready, and tasks that are being killed never, whatever this says.
    pub health_aware: bool,
    /// Whether addresses of tasks, agents and masters have names (PTR). Those of other addresses
    /// are left to the forwarder.
    pub reverse: bool,
    /// Addresses in the client's own network come first in answers; `None`: any order.
    pub near_first: Option<NearFirst>,
    /// Whether tasks in the first catalog count as handed out when the server starts: a server that
    /// ran before may have told somebody of them.
    pub leased_at_start: bool,
    /// TCP connections at once, over all workers; more are closed as soon as they are accepted.
    pub tcp_connections: usize,
    /// TCP connections at once of one client (of one /64 with IPv6).
    pub tcp_connections_per_client: usize,
    /// For how long a TCP connection may be silent, or not take what is sent to it.
    pub tcp_idle: Duration,
    /// Who may transfer the zone, and who is told of its changes.
    pub transfer: TransferConfig,
    /// Who may ask for what, and how replies are made.
    pub policy: Policy,
    /// Seeds the zone's hash table and the order of answers; any number, best a random one.
    pub seed: u64,
}

/// The longest TTL, in seconds (RFC 2181 §8).
pub const MAX_TTL: u32 = 0x7fff_ffff;
/// The longest domain in wire form, in bytes: leaves room for names below it, and lets a negative
/// answer fit into the 512 bytes that every client takes.
pub const MAX_DOMAIN: usize = 64;

/// A place where addresses of tasks are told (Mesos-DNS's `IPSources`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpSource {
    /// The agent's addresses.
    Host,
    /// The networks that the task joined (`container_status.network_infos` of its status). Own
    /// addresses of the control plane's tasks are of this kind.
    Netinfo,
    /// The label by which Mesos's Docker containerizer told the address.
    Docker,
    /// The label by which Mesos's own containerizer told it.
    Mesos,
}

/// Which addresses are in one network: the length of the common prefix, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearFirst {
    /// Of IPv4 addresses, at most 32.
    pub v4: u8,
    /// Of IPv6 addresses, at most 128.
    pub v6: u8,
}

impl Default for NearFirst {
    fn default() -> NearFirst {
        NearFirst { v4: 24, v6: 64 }
    }
}

impl NearFirst {
    /// Whether two addresses are in one network.
    pub fn is_near(&self, a: IpAddr, b: IpAddr) -> bool {
        match (a, b) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let differ = (a.to_bits() ^ b.to_bits()).leading_zeros();
                differ >= u32::from(self.v4).min(u32::BITS)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let differ = (a.to_bits() ^ b.to_bits()).leading_zeros();
                differ >= u32::from(self.v6).min(u128::BITS)
            }
            _ => false,
        }
    }
}

impl Default for DnsConfig {
    fn default() -> DnsConfig {
        DnsConfig {
            domain: "mesos".to_owned(),
            ttl: 5,
            framework: "marathon".to_owned(),
            host_addresses: Vec::new(),
            balancer_addresses: Vec::new(),
            freshness: None,
            soa_mname: None,
            soa_rname: None,
            soa_refresh: 60,
            soa_retry: 600,
            soa_expire: 86_400,
            soa_minimum: None,
            srv_weight: 1,
            label_rule: LabelRule::default(),
            ip_sources: vec![IpSource::Netinfo, IpSource::Mesos, IpSource::Host],
            health_aware: false,
            reverse: true,
            near_first: None,
            leased_at_start: false,
            tcp_connections: 512,
            tcp_connections_per_client: 128,
            policy: Policy::default(),
            tcp_idle: Duration::from_secs(8),
            transfer: TransferConfig::default(),
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
    #[error("{setting}: {seconds} is more than {MAX_TTL} seconds")]
    Ttl {
        /// The setting.
        setting: &'static str,
        /// What it says.
        seconds: u32,
    },
}

/// Checked settings of the zone, names in wire form with root label.
#[derive(Debug)]
pub(crate) struct Apex {
    pub(crate) domain: Box<[u8]>,
    pub(crate) srv_weight: u16,
    pub(crate) rules: Rules,
    pub(crate) mname: Box<[u8]>,
    pub(crate) rname: Box<[u8]>,
    /// Refresh, retry, expire, minimum.
    pub(crate) soa_times: [u32; 4],
    /// Names relative to the domain that are this host.
    pub(crate) host_names: Vec<String>,
    /// Those that are this host while the catalog has no masters.
    pub(crate) leader_names: Vec<String>,
    pub(crate) host_addresses: Vec<IpAddr>,
    pub(crate) balancer_addresses: Vec<IpAddr>,
    pub(crate) near_first: Option<NearFirst>,
    pub(crate) freshness: Option<Freshness>,
    pub(crate) seed: u64,
}

/// Which tasks are named, and how.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) label_rule: LabelRule,
    pub(crate) ip_sources: Vec<IpSource>,
    pub(crate) health_aware: bool,
    pub(crate) reverse: bool,
    /// The TTL of what has no other, in seconds.
    pub(crate) ttl: u32,
    /// The longest relative name that is one together with the domain, in bytes.
    pub(crate) max_name: usize,
}

impl Apex {
    pub(crate) fn new(config: &DnsConfig) -> Result<Apex, ConfigError> {
        let text = config.domain.trim_end_matches('.').to_ascii_lowercase();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        let domain = wire::absolute(&text)
            .filter(|domain| domain.len() <= MAX_DOMAIN && text.bytes().all(allowed))
            .ok_or_else(|| ConfigError::Domain(config.domain.clone()))?;
        let minimum = config.soa_minimum.unwrap_or(config.ttl);
        for (setting, seconds) in [("ttl", config.ttl), ("soa-minimum", minimum)] {
            if seconds > MAX_TTL {
                return Err(ConfigError::Ttl { setting, seconds });
            }
        }
        let mname = config.soa_mname.clone().unwrap_or_else(|| format!("ns1.{text}"));
        let rname = config.soa_rname.clone().unwrap_or_else(|| format!("root.ns1.{text}"));
        let name = |setting, text: &str| {
            let error = || ConfigError::Name { setting, text: text.to_owned() };
            wire::absolute(&text.replace('@', ".")).ok_or_else(error)
        };
        let rules = Rules {
            label_rule: config.label_rule,
            ip_sources: config.ip_sources.clone(),
            health_aware: config.health_aware,
            reverse: config.reverse,
            ttl: config.ttl,
            max_name: wire::MAX_NAME - domain.len(),
        };
        let own = !config.framework.is_empty();
        let leader_names: &[&str] = if own { &["leader", "master", "master0"] } else { &[] };
        Ok(Apex {
            srv_weight: config.srv_weight,
            rules,
            mname: name("soa-mname", &mname)?,
            rname: name("soa-rname", &rname)?,
            soa_times: [config.soa_refresh, config.soa_retry, config.soa_expire, minimum],
            host_names: host_names(config, &mname, &text),
            leader_names: leader_names.iter().map(|name| (*name).to_owned()).collect(),
            host_addresses: config.host_addresses.clone(),
            balancer_addresses: config.balancer_addresses.clone(),
            near_first: config.near_first,
            freshness: config.freshness.clone(),
            domain,
            seed: config.seed,
        })
    }
}

/// The name server, if it is inside the domain, and the own framework.
fn host_names(config: &DnsConfig, mname: &str, domain: &str) -> Vec<String> {
    let server = mname.trim_end_matches('.').to_ascii_lowercase();
    let server = server.strip_suffix(domain).and_then(|name| name.strip_suffix('.'));
    let framework = naming::dotted(&config.framework, config.label_rule);
    let names = server.into_iter().chain(Some(framework.as_str()).filter(|name| !name.is_empty()));
    names.map(str::to_owned).collect()
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
        let error = with(|c| c.soa_minimum = Some(MAX_TTL + 1)).unwrap_err();
        assert!(error.starts_with("soa-minimum: "), "{error}");
    }

    #[test]
    fn networks() {
        let near = NearFirst::default();
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        for (a, b, want) in [
            ("10.0.0.1", "10.0.0.254", true),
            ("10.0.0.1", "10.0.1.1", false),
            ("fd00::1", "fd00::ffff:0:0:2", true),
            ("fd00::1", "fd00:0:0:1::1", false),
            ("10.0.0.1", "::ffff:10.0.0.1", false),
        ] {
            assert_eq!(near.is_near(ip(a), ip(b)), want, "{a} {b}");
        }
        assert!(NearFirst { v4: 0, v6: 0 }.is_near(ip("10.0.0.1"), ip("192.0.2.1")));
        assert!(!NearFirst { v4: 200, v6: 0 }.is_near(ip("10.0.0.1"), ip("10.0.0.2")));
    }

    #[test]
    fn names_of_this_host() {
        let names = |config: DnsConfig| -> Vec<String> { Apex::new(&config).unwrap().host_names };
        assert_eq!(names(DnsConfig::default()), ["ns1", "marathon"]);
        let outside =
            DnsConfig { soa_mname: Some("ns.example.org".to_owned()), ..DnsConfig::default() };
        assert_eq!(names(outside), ["marathon"]);
        let no_control_plane = DnsConfig { framework: String::new(), ..DnsConfig::default() };
        assert_eq!(names(no_control_plane.clone()), ["ns1"]);
        assert!(Apex::new(&no_control_plane).unwrap().leader_names.is_empty());
    }
}
