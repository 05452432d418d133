//! What the command asks of this machine: files, addresses, folders.

use std::net::IpAddr;
use std::path::PathBuf;

use tracing::warn;

use super::config::{Config, MAX_BYTES, Outside};
use crate::run::data_dir::DataDir;
use crate::settings::Surroundings;

/// Where the last known state is kept by root.
const DEFAULT_DATA_DIR: &str = "/var/lib/waymark-mesos-dns";
/// The variable in which systemd names the folder of `StateDirectory=`.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// This machine's files.
pub struct Machine;

impl Outside for Machine {
    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        let length = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
        if length > MAX_BYTES as u64 {
            return Err(format!("it has {length} bytes, more than {MAX_BYTES}"));
        }
        std::fs::read(path).map_err(|e| e.to_string())
    }
}

/// The addresses at which a server that listens on `listener` is reached: that one, or all of this
/// machine but loopback, as Mesos-DNS publishes them for its own name.
pub fn addresses_of(listener: IpAddr) -> Vec<IpAddr> {
    if !listener.is_unspecified() {
        return vec![listener];
    }
    let interfaces = match nix::ifaddrs::getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            warn!(%error, "this machine's addresses are unknown: the name in SOAMname has none");
            return Vec::new();
        }
    };
    let mut addresses: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .filter(|address| !address.is_loopback())
        // A socket on 0.0.0.0 is not reached by IPv6, whatever Mesos-DNS publishes.
        .filter(|address| listener.is_ipv6() || address.is_ipv4())
        // An address that is one only together with an interface is none in DNS.
        .filter(|address| !matches!(address, IpAddr::V6(a) if a.is_unicast_link_local()))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// The folder for the last known state. One that is named in the configuration must be usable;
/// without one that nobody named, nothing is kept.
pub fn data_dir(config: &Config, around: &Surroundings) -> Result<Option<DataDir>, String> {
    let named = !config.data_dir.is_empty();
    let given = around.variable(STATE_DIRECTORY).and_then(|list| list.split(':').next());
    let path = match given {
        _ if named => PathBuf::from(&config.data_dir),
        Some(path) => PathBuf::from(path),
        None if around.root => PathBuf::from(DEFAULT_DATA_DIR),
        None => {
            warn!("nothing is kept over a restart: name a folder in dataDir");
            return Ok(None);
        }
    };
    match DataDir::take(&path, "dataDir", "name another folder in dataDir") {
        Ok(data) => Ok(Some(data)),
        Err(error) if named => Err(error.to_string()),
        Err(error) => {
            warn!(%error, "nothing is kept over a restart");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let one: IpAddr = "192.0.2.7".parse().unwrap();
        assert_eq!(addresses_of(one), [one]);
        let all = addresses_of("0.0.0.0".parse().unwrap());
        assert!(all.iter().all(|a| a.is_ipv4() && !a.is_loopback()), "{all:?}");
    }

    #[test]
    fn files_that_cannot_be_a_configuration() {
        assert!(Machine.file("/nowhere").unwrap_err().contains("No such file"));
        assert!(Machine.file("/").is_err());
    }
}
