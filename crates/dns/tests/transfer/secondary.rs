//! Real secondaries on free ports, each in a directory of its own, with the configurations that
//! `docs/dns-secondaries.md` shows.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A secondary for `mesos`; stops when dropped.
pub struct Secondary {
    pub address: SocketAddr,
    process: Child,
    directory: TempDir,
}

impl Drop for Secondary {
    fn drop(&mut self) {
        // NSD's children end with their parent only when it is asked, not when it is killed.
        let id = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.process.wait();
    }
}

/// A port of this machine that nobody uses for UDP or TCP.
pub fn free_address() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

impl Secondary {
    /// NSD at an address, with us at another as its primary.
    pub fn nsd(address: SocketAddr, primary: SocketAddr) -> Secondary {
        let example = snippet("nsd.conf", primary);
        let own = |directory: &str| {
            format!(
                "server:\n  ip-address: {}@{}\n  username: \"\"\n  database: \"\"\n  \
                 xfrd-reload-timeout: 0\n  verbosity: 2\n  \
                 zonesdir: {directory}\n  xfrdir: {directory}\n  pidfile: {directory}/pid\n  \
                 xfrdfile: {directory}/xfrd\n  zonelistfile: {directory}/list\n  \
                 logfile: {directory}/log\nremote-control:\n  control-enable: no\n",
                address.ip(),
                address.port(),
            )
        };
        Secondary::start(address, "nsd", &["-d", "-c"], |directory| own(directory) + &example)
    }

    /// Knot at an address, with us at another as its primary.
    pub fn knot(address: SocketAddr, primary: SocketAddr) -> Secondary {
        let example = snippet("knot.conf", primary);
        let own = |directory: &str| {
            format!(
                "server:\n    listen: {}@{}\n    rundir: {directory}\n\
                 database:\n    storage: {directory}\n\
                 log:\n  - target: {directory}/log\n    any: debug\n\
                 template:\n  - id: default\n    storage: {directory}\n",
                address.ip(),
                address.port(),
            )
        };
        Secondary::start(address, "knotd", &["-c"], |directory| own(directory) + &example)
    }

    fn start(
        address: SocketAddr,
        program: &str,
        arguments: &[&str],
        configuration: impl FnOnce(&str) -> String,
    ) -> Secondary {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("conf");
        std::fs::write(&file, configuration(directory.path().to_str().unwrap())).unwrap();
        let process = Command::new(program)
            .args(arguments)
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{program} (Debian packages nsd and knot): {e}"));
        Secondary { address, process, directory }
    }

    /// What it has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

/// The configuration that the documentation shows under this file name, with our address in place
/// of the one there.
fn snippet(name: &str, primary: SocketAddr) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/dns-secondaries.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, from) = page.split_once(&format!("```yaml\n# {name}\n")).expect("the snippet");
    let (text, _) = from.split_once("```").expect("its end");
    assert!(text.contains("192.0.2.1@8053"), "the primary's address");
    text.replace("192.0.2.1@8053", &format!("{}@{}", primary.ip(), primary.port()))
        .replace("192.0.2.1", &primary.ip().to_string())
}
