//! A machine for a test: a folder, an executor, what it has told, and what its processes do.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;
use waymark_executors::{Executor, LocalConfig, LocalExecutor, StatusUpdate};
use waymark_model::{App, Task, TaskState};

use crate::sample;
pub use crate::sample::shell;

/// How long anything may take before a test fails; never how long a test takes.
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Machine {
    config: LocalConfig,
    executor: Option<LocalExecutor>,
    updates: mpsc::Receiver<StatusUpdate>,
    /// Told of other tasks than the one asked about.
    waiting: VecDeque<StatusUpdate>,
    _root: TempDir,
}

impl Machine {
    pub fn new() -> Machine {
        Machine::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut LocalConfig)) -> Machine {
        let root = tempfile::tempdir().unwrap();
        let mut config = LocalConfig::new(root.path().join("sandboxes"));
        config.runner_program = PathBuf::from(env!("CARGO_BIN_EXE_waymark-test-runner"));
        change(&mut config);
        let (executor, updates) = started(&config);
        let waiting = VecDeque::new();
        Machine { config, executor: Some(executor), updates, waiting, _root: root }
    }

    pub fn executor(&self) -> &LocalExecutor {
        self.executor.as_ref().unwrap()
    }

    /// The executor goes without a word, as when its process is killed.
    pub fn crash(&mut self) {
        self.executor = None;
        self.waiting.clear();
    }

    /// A new executor on the same folder.
    pub fn restart(&mut self) {
        self.crash();
        let (executor, updates) = started(&self.config);
        (self.executor, self.updates) = (Some(executor), updates);
    }

    pub fn launch(&self, app: App) -> Arc<Task> {
        let task = task(app);
        self.executor().launch(Arc::clone(&task));
        task
    }

    /// Launches a shell command and waits until it runs.
    pub async fn run(&mut self, cmd: &str) -> Arc<Task> {
        let task = self.launch(shell(cmd));
        assert_eq!(self.next(&task).await.0, TaskState::Running);
        task
    }

    /// What is told next of a task.
    pub async fn next(&mut self, task: &Task) -> (TaskState, String) {
        loop {
            if let Some(at) = self.waiting.iter().position(|u| u.task == task.id) {
                let update = self.waiting.remove(at).unwrap();
                return (update.state, update.message);
            }
            let update = tokio::time::timeout(DEADLINE, self.updates.recv()).await;
            self.waiting.push_back(update.expect("a status is due").unwrap());
        }
    }

    /// How a task ends.
    pub async fn end(&mut self, task: &Task) -> (TaskState, String) {
        loop {
            let (state, message) = self.next(task).await;
            if state.is_terminal() {
                return (state, message);
            }
        }
    }

    /// Ends a task with a long grace period; returns how it ended.
    pub async fn kill(&mut self, task: &Task) -> (TaskState, String) {
        self.executor().kill(&task.id, DEADLINE);
        self.end(task).await
    }

    /// Whether anything has been told that no test has asked about.
    pub fn is_silent(&mut self) -> bool {
        self.waiting.is_empty() && self.updates.try_recv().is_err()
    }

    /// The program that runs tasks here, and the folder of their sandboxes.
    pub fn place(&self) -> [&Path; 2] {
        [&self.config.runner_program, &self.config.sandbox_root]
    }

    pub fn sandbox(&self, task: &Task) -> PathBuf {
        self.config.sandbox_root.join(task.id.as_str())
    }

    pub fn file(&self, task: &Task, name: &str) -> String {
        fs::read_to_string(self.sandbox(task).join(name)).unwrap_or_default()
    }

    /// The process number that a task has written into a file of its sandbox, with a line end.
    pub async fn pid_in(&self, task: &Task, name: &str) -> i32 {
        until(|| self.file(task, name).strip_suffix('\n').and_then(|n| n.parse().ok())).await
    }

    pub fn record_path(&self, task: &Task) -> PathBuf {
        self.config.sandbox_root.join(".runners").join(task.id.as_str())
    }

    pub fn record(&self, task: &Task) -> Value {
        serde_json::from_slice(&fs::read(self.record_path(task)).unwrap()).unwrap_or_default()
    }

    /// The number of a task's runner.
    pub fn runner(&self, task: &Task) -> i32 {
        self.record(task)["runner"].as_i64().unwrap() as i32
    }
}

impl Drop for Machine {
    /// Lets no task of a failed test live on.
    fn drop(&mut self) {
        self.crash();
        let records = fs::read_dir(self.config.sandbox_root.join(".runners"));
        for entry in records.into_iter().flatten().flatten() {
            let record: Value = fs::read(entry.path())
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok())
                .unwrap_or_default();
            let Some(pid) = record["runner"].as_i64() else { continue };
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if record["end"].is_null() && name.trim() == "waymark-runner" {
                signal(pid as i32, Signal::SIGQUIT);
            }
        }
    }
}

fn started(config: &LocalConfig) -> (LocalExecutor, mpsc::Receiver<StatusUpdate>) {
    let (sender, updates) = mpsc::channel(16);
    (LocalExecutor::new(config.clone(), sender).unwrap(), updates)
}

pub fn program(args: &[&str]) -> App {
    let args = args.iter().map(|a| (*a).to_owned()).collect();
    App { cmd: None, args: Some(args), ..shell("") }
}

/// A task with an id that no other test, nor another run of it, has.
pub fn task(app: App) -> Arc<Task> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static TASKS: AtomicU32 = AtomicU32::new(0);
    let number = TASKS.fetch_add(1, Ordering::Relaxed);
    Arc::new(sample::task(app, &format!("{}-{number}", std::process::id())))
}

/// Waits for a condition.
pub async fn until<T>(condition: impl Fn() -> Option<T>) -> T {
    let late = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < late, "waited in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process is there, dead but not reaped ones included.
pub fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits until a process has gone, reaped and all.
pub async fn gone(pid: i32) {
    until(|| (!exists(pid)).then_some(())).await;
}

pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Waits until `/proc` shows a process in this state (`T` stopped, `Z` dead and not reaped).
pub async fn in_state(pid: i32, state: char) {
    let shown = format!(") {state} ");
    until(|| fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.find(&shown)).await;
}
