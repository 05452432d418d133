//! The balancers under test: each a process of its own, with one thread that carries traffic, on
//! one processor.

use std::fs::read_to_string;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};
use tokio::net::TcpStream;

use crate::client::Load;
use crate::setup::Setup;
use crate::{Outcome, peers, xds};

/// The processor of the balancer.
pub const BALANCER_CPU: usize = 0;
/// The processor of the clients and the backend.
pub const LOAD_CPU: usize = 1;

/// How long a balancer may take to listen on all ports.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where `pip install --target` puts Envoy and Traefik.
const PEERS: &str = "target/bench-peers";

/// Keeps the calling thread and the processes it starts on a processor.
pub fn pin(cpu: usize) -> Outcome<()> {
    pin_to(&[cpu])
}

/// The same for several processors.
pub fn pin_to(cpus: &[usize]) -> Outcome<()> {
    let mut set = CpuSet::new();
    cpus.iter().try_for_each(|cpu| set.set(*cpu))?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Which balancer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Waymark,
    HaProxy,
    Nginx,
    Envoy,
    Traefik,
}

impl Kind {
    pub const ALL: [Kind; 5] =
        [Kind::Waymark, Kind::HaProxy, Kind::Nginx, Kind::Envoy, Kind::Traefik];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Waymark => "Waymark",
            Kind::HaProxy => "HAProxy",
            Kind::Nginx => "nginx",
            Kind::Envoy => "Envoy",
            Kind::Traefik => "Traefik",
        }
    }

    fn program(self) -> Outcome<PathBuf> {
        Ok(match self {
            Kind::Waymark => std::env::current_exe()?,
            Kind::HaProxy => "haproxy".into(),
            Kind::Nginx => "nginx".into(),
            Kind::Envoy => Path::new(PEERS).join("envoy/_bin/envoy"),
            Kind::Traefik => Path::new(PEERS).join("bin/traefik"),
        })
    }

    /// Whether it can be started; says so when it cannot.
    pub fn is_there(self) -> bool {
        let version = match self {
            Kind::Waymark => return true,
            Kind::HaProxy | Kind::Nginx => "-v",
            Kind::Envoy => "--version",
            Kind::Traefik => "version",
        };
        let Ok(program) = self.program() else { return false };
        let run = Command::new(program).arg(version).stdin(Stdio::null()).output();
        match run {
            Ok(output) => {
                let text = [output.stdout, output.stderr].concat();
                let text = String::from_utf8_lossy(&text).into_owned();
                let line = text.lines().find(|line| line.chars().any(|c| c.is_ascii_digit()));
                eprintln!("{}: {}", self.name(), line.unwrap_or("").trim());
                true
            }
            Err(error) => {
                eprintln!("{}: left out, it cannot be started ({error})", self.name());
                false
            }
        }
    }
}

/// A running balancer; ended when dropped.
pub struct Contestant {
    pub kind: Kind,
    pub setup: Setup,
    process: Child,
}

impl Contestant {
    pub async fn start(kind: Kind, setup: Setup) -> Outcome<Contestant> {
        let mut command = Command::new(kind.program()?);
        match kind {
            Kind::Waymark => command.args(crate::waymark::arguments(&setup)),
            Kind::HaProxy => command.arg("-db").arg("-f").arg(peers::haproxy(&setup)?),
            Kind::Nginx => command.arg("-c").arg(peers::nginx(&setup)?),
            Kind::Envoy => command
                .args(["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"])
                .arg(xds::envoy(&setup)?),
            Kind::Traefik => command
                .env("GOMAXPROCS", "1")
                .arg(format!("--configFile={}", xds::traefik(&setup)?.display())),
        };
        let log = std::fs::File::create(setup.file("log", "")?)?;
        pin(BALANCER_CPU)?;
        let process = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        pin(LOAD_CPU)?;
        let process = process.map_err(|e| format!("{} does not start: {e}", kind.name()))?;
        let mut contestant = Contestant { kind, setup, process };
        let ports = [contestant.setup.http, contestant.setup.https, contestant.h2c()];
        for port in ports {
            contestant.wait_until_listening(port).await?;
        }
        if contestant.can(Load::Relay) {
            contestant.wait_until_listening(contestant.setup.tcp).await?;
        }
        contestant.wait_until_answering().await?;
        Ok(contestant)
    }

    /// Where it speaks HTTP/2 in clear; Waymark does where it speaks HTTP/1.1.
    pub fn h2c(&self) -> u16 {
        if self.kind == Kind::Waymark { self.setup.http } else { self.setup.h2c }
    }

    /// Whether it has what the load needs.
    pub fn can(&self, load: Load) -> bool {
        self.kind != Kind::Nginx || load != Load::Relay || peers::nginx_streams()
    }

    async fn wait_until_listening(&mut self, port: u16) -> Outcome<()> {
        let since = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            self.check_patience(since, &format!("nothing listens on port {port}"))?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Until the last of its hosts leads to the backend.
    async fn wait_until_answering(&mut self) -> Outcome<()> {
        let since = Instant::now();
        while crate::idle::ask_once(self).await.is_err() {
            self.check_patience(since, "its hosts do not answer")?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn check_patience(&mut self, since: Instant, what: &str) -> Outcome<()> {
        let ended = self.process.try_wait()?.is_some();
        if !ended && since.elapsed() < PATIENCE {
            return Ok(());
        }
        let log = read_to_string(self.setup.log())?;
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        Err(format!("{}: {what}: {tail:?}", self.kind.name()).into())
    }

    /// Processor time used so far, by the program and by the kernel for it.
    pub fn cpu(&self) -> Outcome<Duration> {
        let stat = read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // proc(5): utime and stime are fields 14 and 15; the name before field 3 may hold spaces.
        let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat without a name")?;
        let fields = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        let per_second = sysconf(SysconfVar::CLK_TCK)?.ok_or("clock ticks unknown")?;
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }

    /// Memory in use, in bytes.
    pub fn resident(&self) -> Outcome<u64> {
        let status = read_to_string(format!("/proc/{}/status", self.process.id()))?;
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
