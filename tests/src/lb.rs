//! `waymark lb` as a child process on ports of its own.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::{PortRanges, Reply, binary, eventually, get, request};

/// A running `waymark lb`. Dropping it ends it.
pub struct Lb {
    /// Service ports that nobody else uses.
    pub ports: PortRanges,
    folder: TempDir,
    args: Vec<String>,
    child: Option<Child>,
}

impl Lb {
    /// Follows these Marathons and serves every app. Does not wait for anything.
    pub fn start(marathons: &[String], args: &[&str]) -> Lb {
        let folder = TempDir::with_prefix("waymark-lb-").expect("a temporary folder");
        let mut all = vec![format!("--marathon={}", marathons.join(",")), "--group=*".to_owned()];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let mut lb = Lb { ports: PortRanges::take(), folder, args: all, child: None };
        lb.start_again();
        lb
    }

    /// Starts it (again) on the same data folder.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "already running");
        let _ = fs::remove_file(self.data().join("endpoints.json"));
        self.child = Some(self.launch());
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts another one beside the one that runs, which is returned.
    pub fn spawn_successor(&mut self) -> Child {
        let before = self.child.take().expect("it runs");
        self.child = Some(self.launch());
        before
    }

    /// Goes on with a process of [`Lb::spawn_successor`], since this one has ended.
    pub fn adopt_child(&mut self, before: Child) {
        assert!(self.child.is_none(), "one is enough");
        self.child = Some(before);
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    fn launch(&self) -> Child {
        let data = self.data();
        let log = File::options().create(true).append(true).open(self.folder.path().join("log"));
        let log = log.expect("the log opens");
        let child = Command::new(binary())
            .arg("lb")
            .args(&self.args)
            .args(
                ["http-port", "https-port", "appid-port", "stats-port"].map(|p| format!("--{p}=0")),
            )
            .args(["--listen=127.0.0.1", "--workers=1", "--log-format=text"])
            .arg(format!("--data-dir={}", data.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log's handle can be copied"))
            .stderr(log)
            .spawn();
        child.expect("the binary starts")
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
        eventually("lb stops", || child.try_wait().expect("it can be waited for"));
    }

    /// `kill -9`.
    pub fn kill_9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A value of `endpoints.json`, once it is there.
    pub fn endpoint(&self, name: &str) -> String {
        eventually("endpoints.json is there", || {
            let path = self.folder.path().join("data/endpoints.json");
            let value: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
            value.get(name)?.as_str().map(str::to_owned)
        })
    }

    /// The body that comes from a service port; `None` when nothing useful does.
    pub fn ask(&self, port: u16) -> Option<String> {
        let reply = get(&format!("http://127.0.0.1:{port}/")).ok()?;
        (reply.status == 200).then(|| reply.body.trim().to_owned())
    }

    /// The answer to a request for a host name.
    pub fn ask_host(&self, host: &str, path: &str) -> Option<Reply> {
        let http = self.endpoint("http");
        let url = if http.contains("://") { http } else { format!("http://{http}") };
        request("GET", &format!("{url}{path}"), &[("Host", host)], "").ok()
    }

    /// Waits until a service port answers so; `None` is not at all.
    pub fn until(&self, port: u16, wanted: Option<&str>) {
        eventually(&format!("port {port} answers {wanted:?}\n{}", self.log()), || {
            (self.ask(port).as_deref() == wanted).then_some(())
        });
    }

    /// Asks a service port until something else has happened; it must always answer so.
    pub fn stays(&self, port: u16, wanted: &str, what: &str, mut is_so: impl FnMut() -> bool) {
        eventually(what, || {
            assert_eq!(self.ask(port).as_deref(), Some(wanted), "{}", self.log());
            is_so().then_some(())
        });
    }
}

impl Drop for Lb {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of waymark lb:\n{}", self.log());
        }
    }
}
