//! The binary under test.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Answer, Reply, eventually, get, request, resolve};

/// The binary: `$STORY_BINARY`, else the one beside the test's own folder (`target/release`).
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("STORY_BINARY") {
        return PathBuf::from(path);
    }
    let path = profile_folder().join("waymark");
    assert!(path.exists(), "build the binary first: cargo build --release (no {})", path.display());
    path
}

/// `target/release`: where the test's own program lies, or the folder above it.
pub(crate) fn profile_folder() -> PathBuf {
    let program = std::env::current_exe().expect("the test knows its own path");
    let folder = program.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") { folder.join("..") } else { folder.to_owned() }
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in it").to_owned()
}

/// Two port ranges that only their owner uses, for as long as it lives.
pub struct PortRanges {
    /// First service port.
    pub service_min: u16,
    /// First host port of tasks.
    pub task_min: u16,
    _lock: Flock<File>,
}

impl PortRanges {
    /// Ports in each of the two ranges.
    pub const SIZE: u16 = 300;
    // Below the kernel's ephemeral range (32768 and up), so that no client socket is in the way.
    const FIRST: u16 = 11000;
    const LAST: u16 = 31000;

    pub(crate) fn take() -> PortRanges {
        let folder = std::env::temp_dir().join("waymark-story-ports");
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        eventually("a free range of ports", || {
            (Self::FIRST..Self::LAST - 2 * Self::SIZE).step_by(2 * Self::SIZE as usize).find_map(
                |min| {
                    let file = File::create(folder.join(min.to_string())).ok()?;
                    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()?;
                    Some(PortRanges { service_min: min, task_min: min + Self::SIZE, _lock: lock })
                },
            )
        })
    }

    /// The flags that make Waymark use them.
    pub fn flags(&self) -> Vec<String> {
        let last = |min: u16| min + Self::SIZE - 1;
        vec![
            format!("--local-port-min={}", self.service_min),
            format!("--local-port-max={}", last(self.service_min)),
            format!("--task-ports={}-{}", self.task_min, last(self.task_min)),
        ]
    }
}

/// A running Waymark. Dropping it kills it and, by a short second start, the tasks it left.
pub struct Waymark {
    /// Its data folder.
    pub data: PathBuf,
    /// Its port ranges.
    pub ports: PortRanges,
    /// Flags given at every start, besides ports and data folder.
    pub flags: Vec<String>,
    child: Option<Child>,
    _folder: Option<TempDir>,
}

impl Waymark {
    /// Starts one with a new data folder and these arguments after `run`; waits until it serves.
    pub fn start(args: &[&str]) -> Waymark {
        let folder = TempDir::with_prefix("waymark-story-").expect("a temporary folder");
        let mut waymark = Waymark::prepared(folder.path().to_owned(), &[]);
        waymark._folder = Some(folder);
        waymark.start_again(args);
        waymark
    }

    /// One that does not run yet, on a data folder of the caller's.
    pub fn prepared(data: PathBuf, flags: &[&str]) -> Waymark {
        let flags = flags.iter().map(|f| (*f).to_owned()).collect();
        Waymark { data, ports: PortRanges::take(), flags, child: None, _folder: None }
    }

    /// The command line of `waymark run` for this data folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        let is_given = |flag: &str| {
            let mut given = args.iter().copied().chain(self.flags.iter().map(String::as_str));
            given.any(|arg| arg.split('=').next() == Some(flag))
        };
        let fronts = ["--http-port", "--https-port", "--appid-port", "--stats-port"];
        let fronts = fronts.into_iter().filter(|f| !is_given(f)).map(|f| format!("{f}=0"));
        command
            .arg("run")
            .args(args)
            .args(&self.flags)
            .args(self.ports.flags())
            .args(["--api-port=0", "--dns-port=0", "--log-format=text"])
            .args(fronts)
            .arg(format!("--data-dir={}", self.data.display()))
            .env_remove("WAYMARK_API")
            .stdin(Stdio::null());
        command
    }

    /// Starts it (again) on the same data folder and waits until its API answers.
    pub fn start_again(&mut self, args: &[&str]) {
        self.spawn(args);
        self.wait_until_it_serves();
    }

    /// Starts it without waiting for anything. Its output goes to `out` and `err` in the data
    /// folder's parent-independent file beside it.
    pub fn spawn(&mut self, args: &[&str]) {
        assert!(self.child.is_none(), "already running");
        // What a killed predecessor left would be read as the new one's.
        let _ = fs::remove_file(self.data.join("endpoints.json"));
        self.child = Some(self.launch(args));
    }

    /// Starts another one with `--takeover` beside the one that runs, which is returned.
    pub fn spawn_successor(&mut self, args: &[&str]) -> Child {
        let before = self.child.take().expect("it runs");
        self.child = Some(self.launch(&[&["--takeover"], args].concat()));
        before
    }

    /// Goes on with a process of [`Waymark::spawn_successor`], since this one has ended.
    pub fn adopt_child(&mut self, before: Child) {
        assert!(self.child.is_none(), "one is enough");
        self.child = Some(before);
    }

    /// Waits until this process is the one that `endpoints.json` tells of, and answers.
    pub fn wait_until_it_has_taken_over(&mut self) {
        let pid = self.pid();
        eventually("the new one says where it listens", || {
            if let Some(status) = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten()) {
                panic!("waymark ended with {status}:\n{}", self.errors());
            }
            let text = fs::read_to_string(self.data.join("endpoints.json")).ok()?;
            let value: Value = serde_json::from_str(&text).ok()?;
            (value["pid"] == pid).then_some(())
        });
        self.wait_until_it_serves();
    }

    fn launch(&self, args: &[&str]) -> Child {
        let open = |name: &str| {
            let path = self.output_path(name);
            File::options().create(true).append(true).open(path).expect("the output file opens")
        };
        let mut command = self.command(args);
        command.stdout(open("out")).stderr(open("err"));
        command.spawn().expect("the binary starts")
    }

    /// Waits until the API answers; fails with what it wrote when it ends instead.
    pub fn wait_until_it_serves(&mut self) {
        eventually("the API answers", || {
            if let Some(status) = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten()) {
                panic!("waymark ended with {status}:\n{}", self.errors());
            }
            let api = self.endpoint("api")?;
            get(&format!("{api}/ping")).ok().filter(|r| r.status == 200)
        });
    }

    fn output_path(&self, name: &str) -> PathBuf {
        self.data.with_extension(name)
    }

    /// What it wrote to standard output so far, all starts together.
    pub fn output(&self) -> String {
        read_text(&self.output_path("out"))
    }

    /// What it wrote to standard error so far, all starts together.
    pub fn errors(&self) -> String {
        read_text(&self.output_path("err"))
    }

    /// A value of `endpoints.json`, if the file is there.
    pub fn endpoint(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.data.join("endpoints.json")).ok()?;
        let value: Value = serde_json::from_str(&text).ok()?;
        value.get(name)?.as_str().map(str::to_owned)
    }

    /// The API's URL followed by `path`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.endpoint("api").expect("endpoints.json names the API"))
    }

    /// GETs `path` from the API.
    pub fn api(&self, path: &str) -> Value {
        let reply = get(&self.url(path)).expect("the API answers");
        assert_eq!(reply.status, 200, "GET {path}: {}", reply.body);
        reply.json()
    }

    /// Sends JSON to the API.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Reply {
        request(method, &self.url(path), &[("Content-Type", "application/json")], &body.to_string())
            .expect("the API answers")
    }

    /// The app as the API shows it.
    pub fn app(&self, id: &str) -> Value {
        self.api(&format!("/v2/apps/{}", id.trim_start_matches('/')))["app"].clone()
    }

    /// The app's first service port.
    pub fn service_port(&self, id: &str) -> u16 {
        let app = self.app(id);
        let port = app["portDefinitions"][0]["port"].as_u64().expect("the app has a port");
        u16::try_from(port).expect("a port")
    }

    /// Ids of the app's tasks, sorted.
    pub fn task_ids(&self, id: &str) -> Vec<String> {
        let tasks = self.api(&format!("/v2/apps/{}/tasks", id.trim_start_matches('/')));
        let mut ids: Vec<String> = tasks["tasks"]
            .as_array()
            .expect("a list of tasks")
            .iter()
            .map(|t| t["id"].as_str().expect("an id").to_owned())
            .collect();
        ids.sort();
        ids
    }

    /// Asks the DNS server.
    pub fn dig(&self, name: &str, kind: &str) -> Answer {
        let server = self.endpoint("dns").expect("endpoints.json names the DNS server");
        resolve(server.parse().expect("an address"), name, kind)
    }

    /// Waits until the app has `count` running tasks, healthy if it has health checks, serving,
    /// and no deployment is left.
    pub fn wait_for_app(&self, id: &str, count: u64) {
        eventually(&format!("{id} has {count} tasks\n{}", self.errors()), || {
            let app = get(&self.url(&format!("/v2/apps{id}"))).ok()?;
            let app = (app.status == 200).then(|| app.json())?["app"].clone();
            let checked = app["healthChecks"].as_array().is_some_and(|c| !c.is_empty());
            let good = if checked { &app["tasksHealthy"] } else { &app["tasksRunning"] };
            let deployments = app["deployments"].as_array().map_or(0, Vec::len);
            (good == count && app["tasksRunning"] == count && deployments == 0).then_some(())
        });
    }

    /// Waits until no deployment runs.
    pub fn wait_until_deployed(&self) {
        eventually("no deployment is left", || {
            let list = get(&self.url("/v2/deployments")).ok()?.json();
            list.as_array().is_some_and(Vec::is_empty).then_some(())
        });
    }

    /// Runs a client command (`waymark status`, …) against this one.
    pub fn client(&self, args: &[&str]) -> Output {
        Command::new(binary())
            .args(args)
            .env("WAYMARK_API", self.url(""))
            .stdin(Stdio::null())
            .output()
            .expect("the client runs")
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        let id = self.child.as_ref().expect("it runs").id();
        i32::try_from(id).expect("a process id")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("it can be signalled");
    }

    /// `kill -9`, and waits until it is gone. Its tasks go on.
    pub fn kill_9(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait_for_exit();
    }

    /// Asks it to stop and waits for its exit.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_for_exit()
    }

    /// Waits for its exit.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        eventually("waymark exits", || child.try_wait().expect("it can be waited for"))
    }

    /// Process ids whose environment names a task of this data folder: the tasks and what they
    /// started, whoever their parent is now.
    pub fn task_processes(&self) -> Vec<i32> {
        let sandbox = format!("MESOS_SANDBOX={}", self.data.display());
        let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
        processes
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| {
                let mut environ = Vec::new();
                File::open(format!("/proc/{pid}/environ"))
                    .and_then(|mut f| f.read_to_end(&mut environ))
                    .is_ok()
                    && environ.windows(sandbox.len()).any(|w| w == sandbox.as_bytes())
            })
            .collect()
    }
}

impl Drop for Waymark {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
            for _ in 0..1000 {
                if !matches!(child.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        for pid in self.task_processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if std::thread::panicking() {
            eprintln!("--- standard error of waymark:\n{}", self.errors());
        }
        let _ = fs::remove_file(self.output_path("out"));
        let _ = fs::remove_file(self.output_path("err"));
    }
}

fn read_text(path: &Path) -> String {
    fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
}
