//! The servers under test: each a process of its own with one worker, on one processor.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};
use tempfile::TempDir;

use crate::{Outcome, names, wire};

/// How long a server may take until it answers for the last name.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Waymark,
    Nsd,
    Knot,
    /// The real one, by the path of its binary.
    MesosDns(PathBuf),
}

impl Kind {
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Waymark => "Waymark",
            Kind::Nsd => "NSD",
            Kind::Knot => "Knot",
            Kind::MesosDns(_) => "Mesos-DNS",
        }
    }
}

/// A running server; ended when dropped.
pub struct Contestant {
    pub kind: Kind,
    pub address: SocketAddr,
    process: Child,
    _files: TempDir,
}

impl Contestant {
    /// Starts it with `count` tasks' names and waits until it answers for the last of them.
    pub fn start(kind: Kind, count: usize) -> Outcome<Contestant> {
        Contestant::start_changing(kind, count, None)
    }

    /// The same; Waymark's apps get new tasks meanwhile, so many a second.
    pub fn start_changing(kind: Kind, count: usize, changes: Option<u32>) -> Outcome<Contestant> {
        let (files, address) = (TempDir::new()?, free_address()?);
        // Servers that give up root must be able to read it.
        fs::set_permissions(files.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let mut command = Command::new("taskset");
        // With changes, the thread that makes them needs a processor of its own.
        let cpus = match changes {
            None => crate::SERVER_CPU.to_string(),
            Some(_) => format!("{},{}", crate::SERVER_CPU, crate::LOAD_CPU),
        };
        command.args(["-c", &cpus]);
        match &kind {
            Kind::Waymark => {
                command.arg(std::env::current_exe()?).arg("serve");
                command.args([count.to_string(), address.to_string()]);
                command.args(changes.map(|changes| changes.to_string()));
            }
            Kind::Nsd => {
                fs::write(files.path().join("mesos.zone"), names::zone_file(count)?)?;
                let config = files.path().join("nsd.conf");
                fs::write(&config, nsd_config(files.path(), address))?;
                command.args(["nsd", "-d", "-c"]).arg(config);
            }
            Kind::Knot => {
                fs::write(files.path().join("mesos.zone"), names::zone_file(count)?)?;
                let config = files.path().join("knot.conf");
                fs::write(&config, knot_config(files.path(), address))?;
                command.args(["knotd", "-c"]).arg(config);
            }
            Kind::MesosDns(program) => {
                let master = serve_state(names::mesos_state(count)?)?;
                let config = files.path().join("config.json");
                fs::write(&config, mesos_dns_config(master, address))?;
                // One processor for all of Go's threads, as for everybody.
                command.env("GOMAXPROCS", "1").arg(program).arg("-config").arg(config);
            }
        }
        let log = fs::File::create(files.path().join("log"))?;
        let process = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|e| format!("{} does not start: {e}", kind.name()))?;
        let contestant = Contestant { kind, address, process, _files: files };
        contestant.wait_until_it_answers(count)?;
        Ok(contestant)
    }

    fn wait_until_it_answers(&self, count: usize) -> Outcome<()> {
        let since = Instant::now();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let last = [count - 1, count / 2].map(|n| names::query(n, count));
        let mut buffer = [0; 512];
        for (name, qtype) in last {
            let query = wire::query(1, &name, qtype);
            loop {
                let _ = socket.send(&query);
                let length = socket.recv(&mut buffer).unwrap_or_default();
                if wire::is_answer(buffer.get(..length).unwrap_or_default()) {
                    break;
                }
                if since.elapsed() > PATIENCE {
                    let log = fs::read_to_string(self._files.path().join("log"))?;
                    return Err(format!("{} does not answer: {log}", self.kind.name()).into());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Processor time used so far by the process and those it started, its own and the kernel's
    /// for it.
    pub fn cpu(&self) -> Outcome<Duration> {
        let mut all = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
            // It may have ended meanwhile.
            if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
                all.insert(pid, parent_and_ticks(&stat)?);
            }
        }
        let is_ours = |pid: u32| {
            let mut above = Some(pid);
            while let Some(pid) = above.filter(|pid| *pid != self.process.id()) {
                above = all.get(&pid).map(|(parent, _)| *parent);
            }
            above.is_some()
        };
        let ours = all.iter().filter(|(pid, _)| is_ours(**pid));
        let ticks: u64 = ours.map(|(_, (_, ticks))| *ticks).sum();
        let per_second = sysconf(SysconfVar::CLK_TCK)?.ok_or("clock ticks unknown")?;
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        // Servers with several processes end them when told to.
        let pid = nix::unistd::Pid::from_raw(self.process.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let since = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && since.elapsed().as_secs() < 10 {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// proc(5): the parent is field 4, utime and stime are 14 and 15; the name before may hold spaces.
fn parent_and_ticks(stat: &str) -> Outcome<(u32, u64)> {
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat without a name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |n: usize| fields.get(n - 3).copied().ok_or("/proc/PID/stat is short");
    Ok((field(4)?.parse()?, field(14)?.parse::<u64>()? + field(15)?.parse::<u64>()?))
}

/// A port that is free for UDP and TCP.
fn free_address() -> Outcome<SocketAddr> {
    for _ in 0..16 {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        if UdpSocket::bind(tcp.local_addr()?).is_ok() {
            return Ok(tcp.local_addr()?);
        }
    }
    Err("no port is free".into())
}

fn nsd_config(files: &Path, address: SocketAddr) -> String {
    let files = files.display();
    let (ip, port) = (address.ip(), address.port());
    format!(
        "server:\n  server-count: 1\n  ip-address: {ip}@{port}\n  username: root\n  chroot: \"\"\n  \
         zonesdir: {files}\n  pidfile: {files}/nsd.pid\n  database: \"\"\n  \
         xfrdfile: {files}/xfrd\n  zonelistfile: {files}/zones\n  xfrdir: {files}\n  \
         tcp-count: 1000\n  minimal-responses: yes\n  rrl-ratelimit: 0\n\
         remote-control:\n  control-enable: no\n\
         zone:\n  name: mesos\n  zonefile: mesos.zone\n"
    )
}

fn knot_config(files: &Path, address: SocketAddr) -> String {
    let files = files.display();
    let (ip, port) = (address.ip(), address.port());
    format!(
        "server:\n  listen: {ip}@{port}\n  rundir: {files}\n  udp-workers: 1\n  tcp-workers: 1\n  \
         background-workers: 1\n\
         log:\n  - target: stderr\n    any: warning\n\
         database:\n  storage: {files}\n\
         zone:\n  - domain: mesos\n    storage: {files}\n    file: mesos.zone\n    \
         journal-content: none\n    zonefile-sync: -1\n"
    )
}

fn mesos_dns_config(master: SocketAddr, address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        r#"{{"masters":["{master}"],"refreshSeconds":3600,"ttl":5,"domain":"mesos","port":{port},"listener":"{ip}","httpon":false,"externalon":false,"SOARname":"root.ns1.mesos","IPSources":["netinfo","mesos","host"]}}"#
    )
}

/// A Mesos master that only knows its state.
fn serve_state(state: String) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let leader = format!("master@{address}");
    let state = state.replacen("master@127.0.0.1:5050", &leader, 1);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer_with(stream, &state);
        }
    });
    Ok(address)
}

fn answer_with(mut stream: TcpStream, body: &str) -> std::io::Result<()> {
    // One small request a connection: its head comes in one piece over loopback.
    let _ = stream.read(&mut [0; 4096])?;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}
