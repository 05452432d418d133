//! `waymark mesos-dns` beside a real Mesos, on addresses of that Mesos's network.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::{Answer, Mesos, Reply, binary, eventually, get, resolve};

const DNS_PORT: u16 = 53;
const HTTP_PORT: u16 = 8123;

/// One running `waymark mesos-dns`.
pub struct MesosDns {
    address: Ipv4Addr,
    folder: PathBuf,
    child: Option<Child>,
}

impl MesosDns {
    /// Starts one for this Mesos and waits until it has names. `settings` are members of its
    /// configuration file besides addresses, folder and, unless given, `masters`.
    pub fn start(mesos: &Mesos, settings: Value) -> MesosDns {
        let mut dns = MesosDns::prepared(mesos, settings);
        dns.start_again();
        eventually("it has the leader's name", || {
            dns.fail_if_ended();
            (dns.dig("leader.mesos", "A").addresses.len() == 1).then_some(())
        });
        dns
    }

    /// One that does not run yet.
    pub fn prepared(mesos: &Mesos, settings: Value) -> MesosDns {
        let address = mesos.network.spare_address();
        let folder = mesos.folder().join(format!("mesos-dns-{address}"));
        std::fs::create_dir_all(&folder).expect("the folder can be written");
        let mut config = json!({
            "listener": address, "port": DNS_PORT, "httplistener": address, "httpport": HTTP_PORT,
            "dataDir": folder.join("data"), "externalon": false,
        });
        if settings.get("zk").is_none() {
            config["masters"] = json!(mesos.masters());
        }
        let members = settings.as_object().expect("members of the configuration file");
        members.iter().for_each(|(name, value)| config[name] = value.clone());
        std::fs::write(folder.join("config.json"), config.to_string()).expect("it can be written");
        MesosDns { address, folder, child: None }
    }

    /// Starts it (again) with the same settings and folder, and waits until it answers queries.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "already running");
        let log = File::options().create(true).append(true).open(self.folder.join("log"));
        let log = log.expect("the log opens");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(binary())
            .args(["mesos-dns", "-config"])
            .arg(self.folder.join("config.json"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log's handle can be copied"))
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("the binary starts"));
        eventually("it listens", || {
            self.fail_if_ended();
            std::net::TcpStream::connect(self.dns()).ok()
        });
    }

    /// Changes its settings; the next start has them.
    pub fn configure(&self, settings: &Value) {
        let file = self.folder.join("config.json");
        let text = std::fs::read_to_string(&file).expect("it was written");
        let mut config: Value = serde_json::from_str(&text).expect("it is JSON");
        let members = settings.as_object().expect("members of the configuration file");
        members.iter().for_each(|(name, value)| config[name] = value.clone());
        std::fs::write(&file, config.to_string()).expect("it can be written");
    }

    /// Where it answers queries.
    pub fn dns(&self) -> SocketAddr {
        SocketAddr::from((self.address, DNS_PORT))
    }

    /// Asks it by UDP.
    pub fn dig(&self, name: &str, kind: &str) -> Answer {
        resolve(self.dns(), name, kind)
    }

    /// GETs `path` from its HTTP API.
    pub fn get(&self, path: &str) -> Reply {
        get(&format!("http://{}:{HTTP_PORT}{path}", self.address)).expect("the HTTP API answers")
    }

    /// Waits until a name has exactly these addresses (none: does not exist).
    pub fn wait_for(&self, name: &str, addresses: &[IpAddr]) {
        let wanted: BTreeSet<_> = addresses.iter().collect();
        let kind = if addresses.iter().any(IpAddr::is_ipv6) { "AAAA" } else { "A" };
        eventually(&format!("{name} is {addresses:?}; {}", self.log()), || {
            let answer = self.dig(name, kind);
            let rcode = if wanted.is_empty() { "NXDOMAIN" } else { "NOERROR" };
            (answer.rcode == rcode && answer.addresses.iter().collect::<BTreeSet<_>>() == wanted)
                .then_some(())
        });
    }

    /// A sample of its metrics, the labels included in the name; 0 when it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").body;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |v| v.trim().parse().expect("a number"))
    }

    /// What it logged so far, all starts together.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the state that it keeps on disk has this text.
    pub fn wait_until_kept(&self, text: &str) {
        eventually(&format!("{text} is kept on disk"), || {
            let kept = std::fs::read_to_string(self.folder.join("data/mesos-state.json")).ok()?;
            kept.contains(text).then_some(())
        });
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill_9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
    }

    /// Asks it to stop, and waits until it is gone.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
        eventually("it stops", || child.try_wait().expect("it can be waited for"));
    }

    /// Asks for a name again and again until the result is taken.
    pub fn watch(&self, name: &str, addresses: &[IpAddr]) -> NameWatch {
        NameWatch::start(self.dns(), name, addresses)
    }

    fn fail_if_ended(&mut self) {
        let ended = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten());
        assert!(ended.is_none(), "it ended with {ended:?}:\n{}", self.log());
    }
}

impl Drop for MesosDns {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of waymark mesos-dns:\n{}", self.log());
        }
    }
}

/// Asks for one name all the time; every answer must be the right one.
pub struct NameWatch {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    thread: JoinHandle<Vec<Answer>>,
}

impl NameWatch {
    fn start(server: SocketAddr, name: &str, addresses: &[IpAddr]) -> NameWatch {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (name, wanted) = (name.to_owned(), addresses.iter().copied().collect::<BTreeSet<_>>());
        let kind = if addresses.iter().any(IpAddr::is_ipv6) { "AAAA" } else { "A" };
        let (stopped, counter) = (stop.clone(), answers.clone());
        let thread = std::thread::spawn(move || {
            let mut wrong = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let answer = resolve(server, &name, kind);
                if answer.addresses.iter().copied().collect::<BTreeSet<_>>() != wanted {
                    wrong.push(answer);
                }
                counter.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
            wrong
        });
        NameWatch { stop, answers, thread }
    }

    /// Ends it; fails the story unless every answer had exactly the addresses wanted.
    pub fn assert_flawless(self) {
        self.stop.store(true, Ordering::Relaxed);
        let wrong = self.thread.join().expect("the server answers");
        let asked = self.answers.load(Ordering::Relaxed);
        assert!(wrong.is_empty(), "{} of {asked} answers were wrong: {:#?}", wrong.len(), wrong[0]);
        assert!(asked > 10, "asked only {asked} times");
    }
}
