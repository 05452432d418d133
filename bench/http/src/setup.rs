//! What every balancer is set up with: ports, host names, a certificate, the backend.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use tempfile::TempDir;

use crate::Outcome;

/// One balancer's set-up. Its files go with it.
pub struct Setup {
    /// HTTP/1.1 in clear, by host name.
    pub http: u16,
    /// HTTP/2 in clear.
    pub h2c: u16,
    /// Both in TLS.
    pub https: u16,
    /// A relay.
    pub tcp: u16,
    /// How many host names there are.
    pub hosts: usize,
    /// Where all of them lead.
    pub backend: SocketAddr,
    files: TempDir,
}

impl Setup {
    /// With free ports and a new certificate.
    pub fn new(hosts: usize, backend: SocketAddr) -> Outcome<Setup> {
        let files = TempDir::new()?;
        let key = rcgen::KeyPair::generate()?;
        let names = vec!["bench.test".to_owned(), "*.bench.test".to_owned()];
        let certificate = rcgen::CertificateParams::new(names)?.self_signed(&key)?;
        std::fs::write(files.path().join("cert.pem"), certificate.pem() + &key.serialize_pem())?;
        let first = free_ports(4)?;
        let [http, h2c, https, tcp] = [first, first + 1, first + 2, first + 3];
        Ok(Setup { http, h2c, https, tcp, hosts, backend, files })
    }

    /// Chain and key (ECDSA, P-256).
    pub fn certificate(&self) -> PathBuf {
        self.files.path().join("cert.pem")
    }

    /// Where its files are.
    pub fn folder(&self) -> PathBuf {
        self.files.path().to_owned()
    }

    /// What the balancer says.
    pub fn log(&self) -> PathBuf {
        self.files.path().join("log")
    }

    /// The path of a new file of this content.
    pub fn file(&self, name: &str, content: &str) -> Outcome<PathBuf> {
        let path = self.files.path().join(name);
        std::fs::write(&path, content)?;
        Ok(path)
    }

    /// All host names.
    pub fn names(&self) -> impl Iterator<Item = String> {
        (0..self.hosts).map(host)
    }

    /// Ten of them, from all over.
    pub fn asked(&self) -> Vec<String> {
        (0..10).map(|i| host(i * self.hosts / 10)).collect()
    }
}

fn host(number: usize) -> String {
    format!("app{number}.bench.test")
}

/// The first of `count` ports in a row below those the kernel gives to clients.
fn free_ports(count: u16) -> Outcome<u16> {
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    // Another balancer of this run may not have bound its ports yet: each looks elsewhere.
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let offset = NEXT.fetch_add(10, std::sync::atomic::Ordering::Relaxed);
    (12_000 + offset..=17_000)
        .step_by(10)
        .find(|first| (*first..first + count).all(is_free))
        .ok_or_else(|| format!("no {count} free ports in a row").into())
}
