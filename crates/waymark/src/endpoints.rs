//! `endpoints.json` in the data folder: where a running Waymark listens, for client commands,
//! scripts and tests. It is there while Waymark serves.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's name.
const NAME: &str = "endpoints.json";

/// Where a running Waymark listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The API's URL, without a slash at its end.
    pub api: String,
    /// The DNS server's `address:port`; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<String>,
    /// The URL of Mesos-DNS's HTTP API; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesos_dns: Option<String>,
    /// Where requests go by host name; absent where none is listened on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// The same over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// Where requests go by the header `X-Marathon-App-Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appid: Option<String>,
    /// The URL of the stats port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<String>,
    /// The process.
    pub pid: u32,
    /// Its version.
    pub version: String,
}

impl Endpoints {
    /// Those of this process, with an API at this URL.
    pub fn of_this_process(api: String) -> Endpoints {
        Endpoints {
            api,
            dns: None,
            mesos_dns: None,
            http: None,
            https: None,
            appid: None,
            stats: None,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        let new = data_dir.join("endpoints.json.new");
        fs::write(&new, text + "\n")?;
        fs::rename(&new, path(data_dir))
    }

    /// Reads the file.
    pub fn read(data_dir: &Path) -> io::Result<Endpoints> {
        serde_json::from_str(&fs::read_to_string(path(data_dir))?).map_err(io::Error::other)
    }

    /// Removes the file unless it is another process's by now.
    pub fn remove_own(data_dir: &Path) -> io::Result<()> {
        match Endpoints::read(data_dir) {
            Ok(endpoints) if endpoints.pid != std::process::id() => Ok(()),
            _ => Endpoints::remove(data_dir),
        }
    }

    /// Removes the file; one that is not there is as good.
    pub fn remove(data_dir: &Path) -> io::Result<()> {
        match fs::remove_file(path(data_dir)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// An address as it is reached from this machine. What listens on every address is reached here by
/// the loopback address, whatever becomes of the others.
pub fn here(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

/// Where the file is.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_read_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let endpoints = Endpoints::of_this_process("http://127.0.0.1:8080".into());
        endpoints.write(folder.path()).unwrap();
        assert_eq!(Endpoints::read(folder.path()).unwrap(), endpoints);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        Endpoints::remove(folder.path()).unwrap();
        Endpoints::remove(folder.path()).unwrap();
        assert!(Endpoints::read(folder.path()).is_err());
    }
}
