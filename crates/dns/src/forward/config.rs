//! The settings of forwarding, checked once: which server is asked for which names, and never this
//! server itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::guard::Own;
use super::route::Zones;
use crate::wire;

/// The port of DNS servers that are named without one.
pub const DNS_PORT: u16 = 53;

/// What the forwarder is told.
#[derive(Clone, Debug)]
pub struct ForwardConfig {
    /// The domain that this server answers itself; no zone of `zone_resolvers` may lie in it.
    pub domain: String,
    /// Whether names outside the domain are answered at all. If not, they are REFUSED, and nothing
    /// else here is looked at (`externalon`).
    pub external_on: bool,
    /// The servers for all names without a zone of their own, the most wanted first. Empty: those
    /// of `resolv_conf` that are not addresses of this machine.
    pub resolvers: Vec<SocketAddr>,
    /// Servers for a zone and everything below it; the longest zone counts.
    pub zone_resolvers: BTreeMap<String, Vec<SocketAddr>>,
    /// Where resolvers are read from when none are given.
    pub resolv_conf: PathBuf,
    /// Where this server itself listens, as bound (no port 0): never asked.
    pub own_addresses: Vec<SocketAddr>,
    /// For how long one server may be silent until that try has failed; over TCP once more.
    pub timeout: Duration,
    /// For how long a client waits at most, over all tries.
    pub deadline: Duration,
    /// Asks the two best servers at once; the first answer counts.
    pub race: bool,
    /// Writes the names in questions with random capitals, which a forger has to guess too. Some
    /// servers do not give them back; those are asked over TCP then.
    pub randomise_case: bool,
    /// Whether TC is set in answers that were cut (`SetTruncateBit`).
    pub set_truncate_bit: bool,
    /// Questions that are open at other servers at the same time; more are SERVFAIL at once.
    pub in_flight: usize,
    /// Clients that wait for an answer at the same time; more are SERVFAIL at once.
    pub waiting: usize,
    /// Answers that are kept at most; 0 keeps none.
    pub cache_entries: usize,
    /// Room for them, in bytes.
    pub cache_bytes: usize,
    /// The longest time that an answer is kept, in seconds.
    pub max_ttl: u32,
    /// The longest time that a negative answer is kept, in seconds (RFC 2308 §5).
    pub max_negative_ttl: u32,
    /// For how long after its time an answer is still given when no server can be reached
    /// (RFC 8767); zero: never.
    pub serve_stale: Duration,
}

impl Default for ForwardConfig {
    fn default() -> ForwardConfig {
        ForwardConfig {
            domain: "mesos".to_owned(),
            external_on: true,
            resolvers: Vec::new(),
            zone_resolvers: BTreeMap::new(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            own_addresses: Vec::new(),
            timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(10),
            race: false,
            randomise_case: false,
            set_truncate_bit: true,
            in_flight: 1024,
            waiting: 8192,
            cache_entries: 10_000,
            cache_bytes: 32 << 20,
            max_ttl: 86_400,
            max_negative_ttl: 900,
            serve_stale: Duration::from_secs(86_400),
        }
    }
}

/// Why settings cannot be used. Each message begins with the setting's name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ForwardConfigError {
    /// Not the name of a zone.
    #[error("zone-resolvers: `{0}` is not a domain name")]
    Zone(String),
    /// A zone that is written twice, with other capitals or a final dot.
    #[error("zone-resolvers: `{0}` stands there twice")]
    ZoneTwice(String),
    /// A zone that is, or lies in, what this server answers itself.
    #[error("zone-resolvers: `{0}` lies in the domain that is answered here")]
    ZoneInDomain(String),
    /// A zone without servers.
    #[error("zone-resolvers: `{0}` has no servers")]
    ZoneEmpty(String),
    /// No text of the forms `ip`, `ip:port`, `[ipv6]:port`.
    #[error("{setting}: `{text}` is not an IP address with or without a port")]
    Address {
        /// The setting.
        setting: &'static str,
        /// What it says.
        text: String,
    },
    /// An address that nobody can be asked at: unspecified, multicast, broadcast, port 0.
    #[error("{setting}: nobody can be asked at {address}")]
    Unusable {
        /// The setting.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// A server that stands twice in one list.
    #[error("{setting}: {address} stands there twice")]
    Twice {
        /// The setting.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// This server itself.
    #[error("{setting}: {address} is this server itself")]
    Loop {
        /// The setting.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// A time or a number that must not be zero.
    #[error("{0}: must be more than 0")]
    Zero(&'static str),
}

/// The setting of the default servers, as errors name it.
pub const RESOLVERS: &str = "resolvers";
/// The setting of zones' servers, as errors name it.
pub const ZONE_RESOLVERS: &str = "zone-resolvers";

/// Reads a server's address: `ip`, `ip:port`, IPv6 bare or as `[ip]:port`. Port 53 unless given.
/// `setting` is named in the error.
pub fn resolver_address(
    setting: &'static str,
    text: &str,
) -> Result<SocketAddr, ForwardConfigError> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match (text.parse::<SocketAddr>(), text.parse::<IpAddr>(), bare) {
        (Ok(address), _, _) => Some(address),
        (_, Ok(ip), _) => Some(SocketAddr::new(ip, DNS_PORT)),
        (_, _, Some(ip)) => ip.parse::<Ipv6Addr>().ok().map(|ip| (ip, DNS_PORT).into()),
        _ => None,
    };
    address.ok_or_else(|| ForwardConfigError::Address { setting, text: text.to_owned() })
}

/// Checked settings: who is asked for what.
pub(super) fn zones(config: &ForwardConfig, own: &Own) -> Result<Zones, ForwardConfigError> {
    for (setting, is_zero) in [
        ("timeout", config.timeout.is_zero()),
        ("deadline", config.deadline.is_zero()),
        ("in-flight", config.in_flight == 0),
        ("waiting", config.waiting == 0),
    ] {
        if is_zero {
            return Err(ForwardConfigError::Zero(setting));
        }
    }
    let domain = wire::absolute(&config.domain);
    let mut zones = Zones::default();
    for (zone, servers) in &config.zone_resolvers {
        let name = wire::absolute(zone).ok_or_else(|| ForwardConfigError::Zone(zone.to_owned()))?;
        if domain.as_ref().is_some_and(|domain| wire::relative_to(&name, domain).is_some()) {
            return Err(ForwardConfigError::ZoneInDomain(zone.to_owned()));
        }
        if servers.is_empty() {
            return Err(ForwardConfigError::ZoneEmpty(zone.to_owned()));
        }
        check(ZONE_RESOLVERS, servers, own)?;
        if !zones.add(name, servers) {
            return Err(ForwardConfigError::ZoneTwice(zone.to_owned()));
        }
    }
    if config.resolvers.is_empty() {
        zones.set_default(&from_resolv_conf(&config.resolv_conf, own));
    } else {
        check(RESOLVERS, &config.resolvers, own)?;
        zones.set_default(&config.resolvers);
    }
    Ok(zones)
}

fn check(
    setting: &'static str,
    servers: &[SocketAddr],
    own: &Own,
) -> Result<(), ForwardConfigError> {
    for (n, address) in servers.iter().enumerate() {
        let address = *address;
        if !is_usable(address) {
            return Err(ForwardConfigError::Unusable { setting, address });
        }
        if own.is_here(address) {
            return Err(ForwardConfigError::Loop { setting, address });
        }
        if servers.iter().take(n).any(|other| *other == address) {
            return Err(ForwardConfigError::Twice { setting, address });
        }
    }
    Ok(())
}

/// Whether an address can be asked at all.
fn is_usable(address: SocketAddr) -> bool {
    let ip = address.ip();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}

/// The servers of the system, as far as they are others than this machine. None is a warning, not
/// an error: the own domain can be answered.
fn from_resolv_conf(path: &Path, own: &Own) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "cannot read the system's name servers");
        String::new()
    });
    let servers: Vec<SocketAddr> = name_servers(&text)
        .into_iter()
        .map(|ip| SocketAddr::new(ip, DNS_PORT))
        .filter(|address| is_usable(*address) && !own.is_machine(address.ip()))
        .filter(|address| !own.is_here(*address))
        .collect();
    if servers.is_empty() {
        tracing::warn!(
            path = %path.display(),
            "no name servers other than this machine: names outside the domain are refused"
        );
    }
    servers
}

/// The addresses behind `nameserver` (resolv.conf(5)), each once. Link-local ones with an interface
/// are passed over.
fn name_servers(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some("nameserver")
            && let Some(ip) = words.next().and_then(|word| word.parse().ok())
            && !found.contains(&ip)
        {
            found.push(ip);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::guard;
    use super::*;

    fn with(change: impl FnOnce(&mut ForwardConfig)) -> Result<Vec<SocketAddr>, String> {
        let resolvers = vec![SocketAddr::from(([192, 0, 2, 1], 53))];
        let mut config = ForwardConfig { resolvers, ..ForwardConfig::default() };
        change(&mut config);
        let own = Own::new(&config.own_addresses, guard::machine_addresses());
        zones(&config, &own).map(|zones| zones.servers().to_vec()).map_err(|e| e.to_string())
    }

    fn zone(name: &str, servers: &[&str]) -> (String, Vec<SocketAddr>) {
        (name.to_owned(), servers.iter().map(|s| s.parse().unwrap()).collect())
    }

    #[test]
    fn addresses() {
        for (text, want) in [
            ("192.0.2.1", "192.0.2.1:53"),
            ("192.0.2.1:5353", "192.0.2.1:5353"),
            ("2001:db8::1", "[2001:db8::1]:53"),
            ("[2001:db8::1]", "[2001:db8::1]:53"),
            ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ] {
            assert_eq!(resolver_address(RESOLVERS, text).unwrap().to_string(), want);
        }
        for text in ["", "dns.example.org", "192.0.2.1:", "192.0.2.1:99999", "[192.0.2.1]", "1.2.3"]
        {
            let error = resolver_address(ZONE_RESOLVERS, text).unwrap_err().to_string();
            assert!(error.starts_with("zone-resolvers: "), "{error}");
        }
    }

    #[test]
    fn names_the_setting_that_is_wrong() {
        let server = "192.0.2.9:53";
        assert_eq!(with(|_| ()).unwrap().len(), 1);
        assert_eq!(with(|c| c.zone_resolvers = [zone("a.b.", &[server])].into()).unwrap().len(), 2);
        let nested = [zone("b", &[server]), zone("a.b", &[server])];
        assert_eq!(with(|c| c.zone_resolvers = nested.into()).unwrap().len(), 2);
        for zones in [
            vec![zone("a..b", &[server])],
            vec![zone(".", &[server])],
            vec![zone("mesos", &[server])],
            vec![zone("Sub.Mesos.", &[server])],
            vec![zone("a.b", &[])],
            vec![zone("a.b", &[server]), zone("A.B", &[server])],
            vec![zone("a.b", &[server, server])],
        ] {
            let error = with(|c| c.zone_resolvers = zones.clone().into_iter().collect());
            assert!(error.clone().unwrap_err().starts_with("zone-resolvers: "), "{error:?}");
        }
        for bad in
            ["0.0.0.0:53", "224.0.0.1:53", "192.0.2.1:0", "255.255.255.255:53", "[ff02::1]:53"]
        {
            let error = with(|c| c.resolvers = vec![bad.parse().unwrap()]).unwrap_err();
            assert!(error.starts_with("resolvers: "), "{error}");
        }
        let twice: SocketAddr = server.parse().unwrap();
        assert!(with(|c| c.resolvers = vec![twice, twice]).is_err());
        assert!(with(|c| c.own_addresses = c.resolvers.clone()).unwrap_err().contains("itself"));
        assert!(with(|c| c.timeout = Duration::ZERO).unwrap_err().starts_with("timeout: "));
    }

    #[test]
    fn servers_of_the_system() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        let text = "# nameserver 192.0.2.66\nsearch example.org\nnameserver 127.0.0.1\n\
            nameserver 192.0.2.1\nnameserver  2001:db8::1 # comment\nnameserver 192.0.2.1\n\
            nameserver fe80::1%eth0\nnameserver\nnameserver 127.0.0.53\nnameserver x\n";
        std::fs::write(&path, text).unwrap();
        let servers = |own: &[&str]| {
            let found = with(|config| {
                config.resolvers.clear();
                config.resolv_conf = path.clone();
                config.own_addresses = own.iter().map(|a| a.parse().unwrap()).collect();
            });
            found.unwrap().iter().map(SocketAddr::to_string).collect::<Vec<_>>()
        };
        let all = ["192.0.2.1:53", "[2001:db8::1]:53", "127.0.0.53:53"];
        assert_eq!(servers(&[]), all, "127.0.0.1 is this machine");
        assert_eq!(servers(&["0.0.0.0:53"]), all[..2], "everything on loopback would be us");
        let missing = with(|config| {
            config.resolvers.clear();
            config.resolv_conf = directory.path().join("missing");
        });
        assert_eq!(missing.unwrap(), []);
    }
}
