//! A real name server on a free port.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Unbound with a zone of its own; killed when dropped.
pub struct Unbound {
    pub address: SocketAddr,
    process: Child,
    _directory: TempDir,
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.process.kill();
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

impl Unbound {
    /// With these records, that are in zone `example.org`.
    pub fn with_records(address: SocketAddr, records: &[String]) -> Unbound {
        let mut more = "  local-zone: \"example.org.\" static\n".to_owned();
        for record in records {
            more += &format!("  local-data: '{record}'\n");
        }
        Unbound::start(address, &more)
    }

    /// That asks another server for everything.
    pub fn forwarding_to(address: SocketAddr, server: SocketAddr) -> Unbound {
        let zone = "forward-zone:\n  name: \".\"\n  forward-addr:";
        Unbound::start(address, &format!("{zone} {}@{}\n", server.ip(), server.port()))
    }

    fn start(address: SocketAddr, more: &str) -> Unbound {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().to_str().unwrap();
        let file = directory.path().join("conf");
        let text = format!(
            "remote-control:\n  control-enable: no\nserver:\n  directory: \"{place}\"\n  \
             chroot: \"\"\n  username: \"\"\n  pidfile: \"{place}/pid\"\n  logfile: \"{place}/log\"\n  \
             use-syslog: no\n  do-daemonize: no\n  interface: {}@{}\n  num-threads: 1\n  \
             module-config: \"iterator\"\n  do-not-query-localhost: no\n{more}",
            address.ip(),
            address.port(),
        );
        std::fs::write(&file, text).unwrap();
        let process = Command::new("unbound")
            .args(["-d", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("unbound (Debian package unbound): {e}"));
        Unbound { address, process, _directory: directory }
    }

    /// Sends it a signal: STOP makes it silent, CONT lets it go on.
    pub fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }
}
