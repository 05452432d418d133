//! An operator lets NSD serve the names, so that they outlive Waymark's host.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;
use waymark_stories::{Waymark, eventually, repository, resolve};

/// A running NSD; ends when dropped.
struct Nsd {
    address: SocketAddr,
    process: Child,
    _directory: TempDir,
}

impl Drop for Nsd {
    fn drop(&mut self) {
        // Its children end with it only when it is asked to end.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

/// A port that nobody uses for UDP or TCP.
fn free_address() -> SocketAddr {
    loop {
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn nsd(address: SocketAddr, primary: SocketAddr) -> Nsd {
    let directory = TempDir::with_prefix("waymark-nsd-").unwrap();
    let at = directory.path().display();
    let configuration = format!(
        "server:\n  ip-address: {ip}@{port}\n  username: \"\"\n  database: \"\"\n  \
         xfrd-reload-timeout: 0\n  zonesdir: {at}\n  xfrdir: {at}\n  pidfile: {at}/pid\n  \
         xfrdfile: {at}/xfrd\n  zonelistfile: {at}/list\n  logfile: {at}/log\n\
         remote-control:\n  control-enable: no\n\
         zone:\n  name: mesos\n  zonefile: mesos.zone\n  \
         request-xfr: {primary_ip}@{primary_port} NOKEY\n  allow-notify: {primary_ip} NOKEY\n",
        ip = address.ip(),
        port = address.port(),
        primary_ip = primary.ip(),
        primary_port = primary.port(),
    );
    let file = directory.path().join("nsd.conf");
    std::fs::write(&file, configuration).unwrap();
    let process = Command::new("nsd")
        .args(["-d", "-c"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nsd (Debian package nsd)");
    Nsd { address, process, _directory: directory }
}

#[test]
fn nsd_serves_the_names_and_goes_on_without_waymark() {
    let place = free_address();
    let hello = repository().join("examples/hello.json").display().to_string();
    let notify = format!("--dns-notify={place}");
    let mut waymark = Waymark::start(&[&hello, "--dns-allow-transfer=127.0.0.1", &notify]);
    waymark.wait_for_app("/hello", 1);
    let primary = waymark.endpoint("dns").unwrap().parse().unwrap();
    let nsd = nsd(place, primary);

    let service = "_hello._tcp.marathon.mesos";
    let agree_on = |tasks: usize| {
        eventually(&format!("NSD has the names of {tasks} tasks"), || {
            let (ours, theirs) =
                (waymark.dig(service, "SRV"), resolve(nsd.address, service, "SRV"));
            (ours.services.len() == tasks && ours.services == theirs.services).then_some(())
        });
    };
    agree_on(1);
    // A change comes by itself.
    let reply = waymark.send("PUT", "/v2/apps/hello", &json!({ "instances": 3 }));
    assert_eq!(reply.status, 200);
    agree_on(3);

    waymark.kill_9();
    let answer = resolve(nsd.address, service, "SRV");
    assert_eq!((answer.rcode.as_str(), answer.services.len()), ("NOERROR", 3));
}
