//! The balancers under test: each a process of its own, with one relaying thread, on one processor.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::read_to_string;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};
use tempfile::TempDir;
use tokio::net::TcpStream;
use waymark_catalog::Writer;
use waymark_model::{
    Agent, AppEntry, Endpoint, PathId, Protocol, Readiness, Service, TaskEntry, TaskId,
};
use waymark_proxy::{Proxy, ProxyConfig};

use crate::Outcome;

/// The processor of the balancer.
pub const BALANCER_CPU: usize = 0;
/// The processor of the clients and the backend.
pub const LOAD_CPU: usize = 1;

/// How long a balancer may take to listen on all ports.
const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps the calling thread and the processes it starts on a processor.
pub fn pin(cpu: usize) -> Outcome<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Which balancer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Waymark,
    HaProxy,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Waymark, Kind::HaProxy];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Waymark => "Waymark",
            Kind::HaProxy => "HAProxy",
        }
    }
}

/// A running balancer; ended when dropped.
pub struct Contestant {
    pub kind: Kind,
    process: Child,
    first_port: u16,
    _files: TempDir,
}

impl Contestant {
    /// Starts it with `listeners` ports in a row, all of them leading to the backend.
    pub async fn start(kind: Kind, listeners: u16, backend: SocketAddr) -> Outcome<Contestant> {
        let (files, first_port) = (TempDir::new()?, free_ports(listeners)?);
        let last_port = first_port + (listeners - 1);
        let mut command = match kind {
            Kind::Waymark => {
                let mut command = Command::new(std::env::current_exe()?);
                let numbers = [first_port.to_string(), listeners.to_string()];
                command.arg("proxy").args(numbers).arg(backend.to_string());
                command
            }
            Kind::HaProxy => {
                let file = files.path().join("haproxy.cfg");
                std::fs::write(&file, haproxy_config(first_port, last_port, backend)?)?;
                let mut command = Command::new("haproxy");
                command.arg("-db").arg("-f").arg(file);
                command
            }
        };
        pin(BALANCER_CPU)?;
        let process = command.stdin(Stdio::null()).spawn();
        pin(LOAD_CPU)?;
        let process = process.map_err(|e| format!("{} does not start: {e}", kind.name()))?;
        let contestant = Contestant { kind, process, first_port, _files: files };
        wait_until_listening(last_port).await?;
        Ok(contestant)
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.first_port))
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Processor time used so far, by the program and by the kernel for it.
    pub fn cpu(&self) -> Outcome<Duration> {
        let stat = read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // proc(5): utime and stime are fields 14 and 15; the name before field 3 may hold spaces.
        let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat without a name")?;
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(str::parse::<u64>)
            .sum::<Result<u64, _>>()?;
        let per_second = sysconf(SysconfVar::CLK_TCK)?.ok_or("clock ticks unknown")?;
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }

    /// Memory in use, in bytes.
    pub fn resident(&self) -> Outcome<u64> {
        let status = read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn haproxy_config(first: u16, last: u16, backend: SocketAddr) -> Outcome<String> {
    let mut config = String::from("global\n  nbthread 1\n  maxconn 4500\n  log /dev/null local0\n");
    config +=
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n";
    write!(config, "listen bench\n  bind 127.0.0.1:{first}-{last}\n  server s {backend}\n")?;
    Ok(config)
}

/// The first of `count` ports in a row below those the kernel gives to clients.
fn free_ports(count: u16) -> Outcome<u16> {
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    (18_000..=32_700 - count)
        .step_by(100)
        .find(|first| (*first..first + count).all(is_free))
        .ok_or_else(|| format!("no {count} free ports in a row").into())
}

async fn wait_until_listening(port: u16) -> Outcome<()> {
    let since = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        if since.elapsed() > PATIENCE {
            return Err(format!("nothing listens on port {port}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Let what was started last settle: HAProxy's and Waymark's first connection to the backend.
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok(())
}

/// The process under test: Waymark's balancer with a catalog that never changes.
pub async fn serve(first: u16, count: u16, backend: SocketAddr) -> Outcome<()> {
    let (mut writer, reader) = Writer::new(0);
    let ports = first..first + count;
    writer.publish(ports.map(|port| app(port, backend)).collect::<Outcome<Vec<_>>>()?);
    let _proxy = Proxy::start(ProxyConfig { workers: 1, ..ProxyConfig::default() }, reader)?;
    std::future::pending().await
}

/// An app with one service port and one ready task.
fn app(port: u16, backend: SocketAddr) -> Outcome<(waymark_model::AppId, Option<AppEntry>)> {
    let id = PathId::parse(&format!("/bench-{port}"))?;
    let task = TaskEntry {
        id: TaskId::from_text(&format!("bench-{port}.1")),
        agent: Arc::new(Agent {
            id: "bench-S0".into(),
            hostname: "localhost".into(),
            address: Ipv4Addr::LOCALHOST.into(),
        }),
        addresses: Vec::new(),
        host_ports: vec![backend.port()],
        discovery: Vec::new(),
        endpoints: vec![Endpoint { service: 0, address: backend }],
        readiness: Readiness::Ready,
    };
    let service =
        Service { index: 0, port, protocol: Protocol::Tcp, name: None, labels: BTreeMap::new() };
    let entry = AppEntry {
        services: vec![service],
        tasks: vec![Arc::new(task)],
        ..AppEntry::new(id.clone(), "marathon")
    };
    Ok((id, Some(entry)))
}
