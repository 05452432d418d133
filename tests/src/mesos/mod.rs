//! A real Apache Mesos (masters, agents, tasks, and ZooKeeper where masters elect a leader) for
//! one test, on loopback addresses of its own. `tests/support/mesos` has what it is made of.
//!
//! Every process dies with the test, however that ends.

mod framework;
mod network;
mod process;
mod security;
mod task;

pub use framework::Framework;
pub use network::Network;
pub use security::{Identity, MesosTls};
pub use task::MesosTask;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::waymark::profile_folder;
use crate::{eventually, repository};
use process::{Place, Process, command};

/// The port of every master.
pub const MASTER_PORT: u16 = 5050;
const AGENT_PORT: u16 = 5051;
const ZOOKEEPER_PORT: u16 = 2181;

/// What to start. Without `zookeeper` there is one master, which always leads.
#[derive(Clone, Debug, Default)]
pub struct MesosOptions {
    /// Number of masters; more than one needs `zookeeper`.
    pub masters: usize,
    /// Number of agents.
    pub agents: usize,
    /// Whether masters elect their leader by ZooKeeper.
    pub zookeeper: bool,
    /// More flags for each master.
    pub master_flags: Vec<String>,
    /// More flags for each agent.
    pub agent_flags: Vec<String>,
    /// Name and secret, with which alone the masters' HTTP API is to be used.
    pub user: Option<(String, String)>,
    /// Whether all of it speaks TLS, with client certificates asked for.
    pub tls: bool,
}

/// A running Mesos.
pub struct Mesos {
    options: MesosOptions,
    programs: PathBuf,
    masters: Vec<Option<Process>>,
    agents: Vec<Option<Process>>,
    zookeeper: Option<Process>,
    tls: Option<MesosTls>,
    folder: TempDir,
    /// Its addresses.
    pub network: Network,
}

impl Mesos {
    /// Starts one master and some agents, and waits until they know each other.
    pub fn start(agents: usize) -> Mesos {
        Mesos::with(MesosOptions { masters: 1, agents, ..MesosOptions::default() })
    }

    /// Starts masters that elect their leader by ZooKeeper, and some agents.
    pub fn elected(masters: usize, agents: usize) -> Mesos {
        Mesos::with(MesosOptions { masters, agents, zookeeper: true, ..MesosOptions::default() })
    }

    /// Starts what the options say and waits until the agents are registered.
    pub fn with(options: MesosOptions) -> Mesos {
        assert!(options.masters == 1 || options.zookeeper, "several masters need ZooKeeper");
        let folder = TempDir::with_prefix("waymark-story-mesos-").expect("a temporary folder");
        let tls = options.tls.then(|| MesosTls::new(folder.path()));
        let mut mesos = Mesos {
            programs: programs(),
            masters: Vec::new(),
            agents: Vec::new(),
            zookeeper: None,
            tls,
            folder,
            network: Network::take(),
            options,
        };
        if mesos.options.zookeeper {
            mesos.start_zookeeper();
        }
        mesos.masters.resize_with(mesos.options.masters, || None);
        mesos.agents.resize_with(mesos.options.agents, || None);
        (0..mesos.options.masters).for_each(|n| mesos.start_master(n));
        (0..mesos.options.agents).for_each(|n| mesos.start_agent(n));
        mesos.wait_for_agents(mesos.options.agents);
        mesos
    }

    /// Address of a master.
    pub fn master_address(&self, n: usize) -> Ipv4Addr {
        self.network.address(1 + u8::try_from(n).expect("few masters"))
    }

    /// `ADDRESS:PORT` of every master, as Mesos-DNS's `masters` has them.
    pub fn masters(&self) -> Vec<String> {
        let masters = 0..self.options.masters;
        masters.map(|n| format!("{}:{MASTER_PORT}", self.master_address(n))).collect()
    }

    /// Address of an agent.
    pub fn agent_address(&self, n: usize) -> Ipv4Addr {
        agent_address(&self.network, n)
    }

    /// Where ZooKeeper has the masters: `zk://…/mesos`.
    pub fn zookeeper_url(&self) -> String {
        format!("zk://{}:{ZOOKEEPER_PORT}/mesos", self.zookeeper_address())
    }

    /// What clients need for TLS.
    pub fn tls(&self) -> &MesosTls {
        self.tls.as_ref().expect("the options ask for TLS")
    }

    /// Registers a framework of this name.
    pub fn framework(&self, name: &str) -> Framework {
        // As schedulers for services do: their tasks survive an agent's restart.
        self.framework_with(&json!({"name": name, "checkpoint": true}))
    }

    /// Registers a framework; `info` is added to its `FrameworkInfo`.
    pub fn framework_with(&self, info: &Value) -> Framework {
        let mut command = Command::new("python3");
        command
            .arg(repository().join("tests/support/mesos/framework.py"))
            .args(["--masters", &self.masters().join(","), "--info", &info.to_string()])
            .arg("--executor")
            .arg(self.programs.join("mesos-executor"));
        if let Some((name, secret)) = &self.options.user {
            command.args(["--user", &format!("{name}:{secret}")]);
        }
        if let Some(tls) = &self.tls {
            command.args(["--tls", "--certificate"]).arg(&tls.client.both);
        }
        let network = self.network.address(0).octets();
        let host = move |n| agent_address_in(network, n).to_string();
        Framework::start(command, &self.log("framework"), host)
    }

    /// The leading master, as long as there is one.
    pub fn leader(&mut self) -> Option<usize> {
        let up = |m: &mut Option<Process>| m.as_mut().is_some_and(Process::runs);
        let up: Vec<usize> =
            (0..self.masters.len()).filter(|n| up(&mut self.masters[*n])).collect();
        up.into_iter().find(|n| {
            let metrics = self.ask(*n, "/metrics/snapshot");
            metrics.is_some_and(|m| m["master/elected"].as_f64() == Some(1.0))
        })
    }

    /// The leading master's `/master/state`.
    pub fn state_json(&mut self) -> Value {
        eventually("a master leads and answers", || {
            let leader = self.leader()?;
            self.ask(leader, "/master/state").filter(|s| s["slaves"].is_array())
        })
    }

    /// Asks a master for a JSON document.
    pub fn ask(&self, master: usize, path: &str) -> Option<Value> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut curl = Command::new("curl");
        curl.args(["-s", "--noproxy", "*", "--max-time", "5"]);
        if let Some((name, secret)) = &self.options.user {
            curl.args(["-u", &format!("{name}:{secret}")]);
        }
        if let Some(tls) = &self.tls {
            curl.arg("--cacert").arg(&tls.authority).arg("--cert").arg(&tls.client.both);
        }
        curl.arg(format!("{scheme}://{}:{MASTER_PORT}{path}", self.master_address(master)));
        serde_json::from_slice(&curl.output().expect("curl is installed").stdout).ok()
    }

    /// Waits until the leader has this many active agents.
    pub fn wait_for_agents(&mut self, count: usize) {
        eventually(
            &format!("{count} agents are registered; {}", self.folder.path().display()),
            || {
                self.fail_if_dead();
                let leader = self.leader()?;
                let state = self.ask(leader, "/master/state")?;
                let agents = state["slaves"].as_array()?;
                (agents.iter().filter(|a| a["active"] == true).count() == count).then_some(())
            },
        );
    }

    /// Waits until the leader counts this many agents as unreachable.
    pub fn wait_for_agents_gone(&mut self, count: usize) {
        eventually(&format!("{count} agents are unreachable"), || {
            let metrics = self.leader().and_then(|n| self.ask(n, "/metrics/snapshot"))?;
            let gone = metrics["master/slaves_unreachable"].as_f64()?;
            (gone as usize == count).then_some(())
        });
    }

    /// Starts a master (again), with the state it had.
    pub fn start_master(&mut self, n: usize) {
        let folder = self.folder.path().join(format!("master{n}"));
        let mut flags = vec![
            format!("--ip={}", self.master_address(n)),
            format!("--hostname={}", self.master_address(n)),
            format!("--port={MASTER_PORT}"),
            format!("--work_dir={}", folder.display()),
            // Agents that die are noticed after two seconds, offers come at once.
            "--agent_ping_timeout=1secs".to_owned(),
            "--max_agent_ping_timeouts=2".to_owned(),
            "--allocation_interval=50ms".to_owned(),
        ];
        if self.options.zookeeper {
            flags.push(format!("--zk={}", self.zookeeper_url()));
            flags.push(format!("--quorum={}", self.options.masters / 2 + 1));
            flags.push("--zk_session_timeout=2secs".to_owned());
        } else {
            flags.push("--registry=in_memory".to_owned());
        }
        flags.extend(self.authentication());
        flags.extend(self.options.master_flags.iter().cloned());
        let master = command(self.programs.join("mesos-master"), &flags);
        let process = self.start_process(master, Place::Here, &format!("master{n}"));
        self.masters[n] = Some(process);
    }

    /// Starts an agent (again) on an empty machine.
    pub fn start_agent(&mut self, n: usize) {
        let folder = self.folder.path().join(format!("agent{n}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let master = match self.options.zookeeper {
            true => self.zookeeper_url(),
            false => format!("{}:{MASTER_PORT}", self.master_address(0)),
        };
        let address = self.agent_address(n);
        let mut flags = vec![
            format!("--ip={address}"),
            format!("--hostname={address}"),
            format!("--port={AGENT_PORT}"),
            format!("--master={master}"),
            format!("--launcher_dir={}", self.programs.display()),
            "--resources=cpus:8;mem:65536;disk:65536;ports:[31000-32000]".to_owned(),
            "--launcher=posix".to_owned(),
            "--isolation=posix/cpu,posix/mem".to_owned(),
            "--no-systemd_enable_support".to_owned(),
            "--network_cni_root_dir_persist=false".to_owned(),
            "--registration_backoff_factor=10ms".to_owned(),
        ];
        for (flag, name) in [
            ("work_dir", "work"),
            ("runtime_dir", "run"),
            ("fetcher_cache_dir", "fetch"),
            ("docker_store_dir", "docker"),
            ("appc_store_dir", "appc"),
        ] {
            flags.push(format!("--{flag}={}", folder.join(name).display()));
        }
        flags.extend(self.options.agent_flags.iter().cloned());
        let agent = command(self.programs.join("mesos-agent"), &flags);
        let process = self.start_process(agent, Place::OwnMachine, &format!("agent{n}"));
        self.agents[n] = Some(process);
    }

    /// Starts ZooKeeper (again), with the data it had, and waits until it answers.
    pub fn start_zookeeper(&mut self) {
        let folder = self.folder.path().join("zookeeper");
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let address = self.zookeeper_address();
        let settings = format!(
            "tickTime=500\ndataDir={}\nclientPort={ZOOKEEPER_PORT}\nclientPortAddress={address}\n\
             admin.enableServer=false\n",
            folder.display()
        );
        let file = folder.join("zoo.cfg");
        std::fs::write(&file, settings).expect("the temporary folder can be written");
        let arguments = [
            // A small and quick virtual machine.
            "-Xmx64m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            "/usr/share/java/*",
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        ];
        let mut java = command("java", &arguments.map(str::to_owned));
        java.arg(&file);
        self.zookeeper = Some(self.start_process(java, Place::Here, "zookeeper"));
        let server = SocketAddr::from((address, ZOOKEEPER_PORT));
        eventually("ZooKeeper serves", || serves(server).then_some(()));
    }

    /// Kills a master.
    pub fn kill_master(&mut self, n: usize) {
        self.masters[n] = None;
    }

    /// Kills the leading master and gives its number.
    pub fn kill_leader(&mut self) -> usize {
        let leader = eventually("a master leads", || self.leader());
        self.kill_master(leader);
        leader
    }

    /// Whether a master runs; masters end themselves when they lose their leadership.
    pub fn master_runs(&mut self, n: usize) -> bool {
        self.masters[n].as_mut().is_some_and(Process::runs)
    }

    /// Kills an agent and all that runs on it, as when its machine dies.
    pub fn kill_agent(&mut self, n: usize) {
        self.agents[n] = None;
    }

    /// Kills ZooKeeper; what it knows stays on disk.
    pub fn kill_zookeeper(&mut self) {
        self.zookeeper = None;
    }

    /// A log file's text (`master0`, `agent1`, `zookeeper`, `framework`).
    pub fn log_text(&self, name: &str) -> String {
        let bytes = std::fs::read(self.log(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A folder of the test's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn zookeeper_address(&self) -> Ipv4Addr {
        self.network.address(9)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    fn start_process(&self, mut command: Command, place: Place, name: &str) -> Process {
        if let Some(tls) = &self.tls {
            // Only masters ask for certificates: executors have none for their agent.
            command.envs(tls.settings(name.starts_with("master")));
        }
        Process::start(&command, place, &self.log(name), Stdio::null())
    }

    /// Flags by which masters ask for a name and a secret, and take this one.
    fn authentication(&self) -> Vec<String> {
        let Some((name, secret)) = &self.options.user else { return Vec::new() };
        let file = self.folder.path().join("credentials");
        let known = json!({"credentials": [{"principal": name, "secret": secret}]});
        std::fs::write(&file, known.to_string()).expect("the folder can be written");
        let flags = [
            "--authenticate_http_readonly",
            "--authenticate_http_readwrite",
            "--authenticate_http_frameworks",
            "--http_framework_authenticators=basic",
        ];
        let mut flags = flags.map(str::to_owned).to_vec();
        flags.push(format!("--credentials={}", file.display()));
        flags
    }

    /// Fails when a process ended that nobody killed.
    fn fail_if_dead(&mut self) {
        let masters = self.masters.iter_mut().enumerate().map(|(n, p)| (format!("master{n}"), p));
        let agents = self.agents.iter_mut().enumerate().map(|(n, p)| (format!("agent{n}"), p));
        let dead = masters.chain(agents).find_map(|(name, process)| {
            process.as_mut().is_some_and(|p| !p.runs()).then_some(name)
        });
        if let Some(name) = dead {
            panic!("{name} ended: {}", tail(&self.log_text(&name)));
        }
    }
}

impl Drop for Mesos {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for n in 0..self.masters.len() {
                eprintln!(
                    "--- end of master {n}'s log:\n{}",
                    tail(&self.log_text(&format!("master{n}")))
                );
            }
        }
    }
}

/// Whether ZooKeeper serves; one that just starts accepts connections and says nothing.
fn serves(server: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_millis(300)))?;
        stream.write_all(b"srvr")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains("Mode:"))
}

fn agent_address(network: &Network, n: usize) -> Ipv4Addr {
    agent_address_in(network.address(0).octets(), n)
}

fn agent_address_in([a, b, c, _]: [u8; 4], n: usize) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, 11 + u8::try_from(n).expect("few agents"))
}

/// The folder of Mesos's programs, made when they are not there yet.
fn programs() -> PathBuf {
    let built = Command::new(repository().join("tests/support/mesos/build.sh"))
        .arg(profile_folder().join("../mesos"))
        .stderr(Stdio::inherit())
        .output()
        .expect("bash is installed");
    assert!(built.status.success(), "tests/support/mesos/build.sh failed");
    PathBuf::from(String::from_utf8_lossy(&built.stdout).trim())
}

fn tail(text: &str) -> &str {
    let start = text.char_indices().rev().filter(|(_, c)| *c == '\n').nth(15);
    start.map_or(text, |(at, _)| &text[at..])
}
