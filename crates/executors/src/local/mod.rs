//! The local executor: tasks as processes on this machine.
//!
//! ```text
//! control ─launch─► prepare (sandbox, user, limits) ─► runner process ─► task
//! control ◄─status── follow (pidfd, record) ◄─────────────────┘
//! control ─adopt──► records in `<sandbox root>/.runners` ─► follow
//! ```
//!
//! Each task has one future here that lives from launch or adoption to the terminal status, and
//! one runner process (`crate::runner`) that lives on without it. Everything about a task that
//! must outlive this process lies in its sandbox, `<sandbox root>/<task>`, or its record,
//! `<sandbox root>/.runners/<task>`, which the task's user can neither read nor write.
//!
//! What it must never do: block its caller, keep a task from ending because somebody is slow to
//! read statuses, or signal a process by a number alone.

mod adopt;
mod cgroup;
mod command;
mod follow;
mod launch;
mod ports;
mod retention;
mod runner_process;
mod workplace;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::env;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use waymark_model::{Task, TaskId, TaskState};

use crate::environment::Environment;
use crate::{CommandFuture, Executor, ExecutorError, Settled, StatusUpdate};
use cgroup::Cgroups;
use retention::Retention;

/// Marathon's and Mesos' default time from TERM to KILL.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(3);
/// How many tasks are prepared (folders, users, processes) at the same time; the others wait.
const LAUNCHES_AT_ONCE: usize = 8;
/// Below the sandbox root; no task's folder begins with a dot.
const RECORDS: &str = ".runners";
/// Where programs are looked for when Waymark itself has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Settings of the local executor.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// Tasks' folders are made here. When tasks have users of their own, those users must be able
    /// to pass through the folders above it.
    pub sandbox_root: PathBuf,
    /// The program that becomes a runner when called with [`crate::TASK_RUNNER`]; by default this
    /// very program, also after its file has been replaced.
    pub runner_program: PathBuf,
    /// Size at which a task's output file is rotated, in bytes.
    pub log_max_bytes: u64,
    /// How many files each of stdout and stderr may have, the current one included.
    pub log_files: u32,
    /// The user of tasks whose app names none; `None` is the user Waymark runs as.
    pub default_user: Option<String>,
    /// Put in front of `HOST` and of every port variable (Marathon's `--env_vars_prefix`).
    pub env_prefix: String,
    /// The lowest layer of tasks' environment, beside `HOME` and `USER`. Nothing else of Waymark's
    /// own environment reaches a task.
    pub environment: Environment,
    /// The cgroup2 mount; `None` looks for it.
    pub cgroup_root: Option<PathBuf>,
    /// Whether a task is held to its CPUs even when the machine is idle.
    pub cpu_hard_limit: bool,
    /// Soft limit of open files of a task; `None` leaves what Waymark has.
    pub open_files: Option<u64>,
    /// How many sandboxes of ended tasks are kept of each app.
    pub keep_per_app: usize,
    /// How many sandboxes of ended tasks are kept in all.
    pub keep_in_all: usize,
}

impl LocalConfig {
    /// The defaults. `PATH`, `LANG`, `LC_ALL` and `TZ` are taken over from this process, and the
    /// folder of this program is added to the end of `PATH`.
    pub fn new(sandbox_root: PathBuf) -> LocalConfig {
        let mut environment: Environment = ["LANG", "LC_ALL", "TZ"]
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)))
            .collect();
        let mut path = env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
        if let Ok(program) = env::current_exe()
            && let Some(folder) = program.parent()
        {
            path = format!("{path}:{}", folder.display());
        }
        environment.insert("PATH".to_owned(), path);
        LocalConfig {
            sandbox_root,
            runner_program: PathBuf::from("/proc/self/exe"),
            log_max_bytes: 10 * 1024 * 1024,
            log_files: 5,
            default_user: None,
            env_prefix: String::new(),
            environment,
            cgroup_root: None,
            cpu_hard_limit: false,
            open_files: None,
            keep_per_app: 5,
            keep_in_all: 1000,
        }
    }
}

/// Runs tasks as processes on this machine. When it is dropped, its tasks run on.
#[derive(Debug)]
pub struct LocalExecutor {
    inner: Arc<Inner>,
}

/// What every task's future shares.
#[derive(Debug)]
struct Inner {
    config: LocalConfig,
    runtime: Handle,
    updates: mpsc::Sender<StatusUpdate>,
    tasks: Mutex<HashMap<TaskId, Known>>,
    futures: Mutex<JoinSet<()>>,
    launches: Semaphore,
    /// Tasks that were asked for and have neither started nor failed yet.
    launching: watch::Sender<usize>,
    cgroups: Result<Cgroups, String>,
    retention: Mutex<Retention>,
}

/// A task that has not ended.
#[derive(Debug)]
struct Known {
    task: Arc<Task>,
    /// The grace period, once the task is to be ended.
    kill: watch::Sender<Option<Duration>>,
}

/// A launch that is under way, until this is dropped.
#[derive(Debug)]
struct Launching(Arc<Inner>);

impl Launching {
    fn begin(inner: &Arc<Inner>) -> Launching {
        inner.launching.send_modify(|launching| *launching += 1);
        Launching(Arc::clone(inner))
    }
}

impl Drop for Launching {
    fn drop(&mut self) {
        self.0.launching.send_modify(|launching| *launching = launching.saturating_sub(1));
    }
}

/// How a task's future hears that the task is to be ended.
type Orders = watch::Receiver<Option<Duration>>;

impl LocalExecutor {
    /// Makes the folders and looks at what this machine offers. Statuses go to `updates`; while it
    /// is full they wait, each task's in order.
    ///
    /// # Errors
    /// Folders that cannot be used, a kernel that is too old, no tokio runtime.
    pub fn new(
        mut config: LocalConfig,
        updates: mpsc::Sender<StatusUpdate>,
    ) -> Result<LocalExecutor, ExecutorError> {
        let runtime = Handle::try_current().map_err(|_| ExecutorError::Runtime)?;
        make_folder(&config.sandbox_root, 0o755)?;
        config.sandbox_root = config
            .sandbox_root
            .canonicalize()
            .map_err(|source| folder_error(&config.sandbox_root, source))?;
        make_folder(&config.sandbox_root.join(RECORDS), 0o700)?;
        crate::sys::pidfd_open(nix::unistd::getpid()).map_err(ExecutorError::Kernel)?;
        let cgroups = Cgroups::find(config.cgroup_root.as_deref(), config.cpu_hard_limit);
        let retention = Mutex::new(Retention::new(config.keep_per_app, config.keep_in_all));
        let inner = Inner {
            config,
            runtime,
            updates,
            tasks: Mutex::default(),
            futures: Mutex::default(),
            launches: Semaphore::new(LAUNCHES_AT_ONCE),
            launching: watch::Sender::new(0),
            cgroups,
            retention,
        };
        Ok(LocalExecutor { inner: Arc::new(inner) })
    }
}

impl Executor for LocalExecutor {
    fn launch(&self, task: Arc<Task>) {
        let id = task.id.clone();
        match self.inner.know(&task) {
            Some(orders) => {
                let launching = Launching::begin(&self.inner);
                self.inner.spawn(Arc::clone(&self.inner).launch(task, orders, launching));
            }
            None => tracing::warn!(task = %id, "a task was launched twice; the second is ignored"),
        }
    }

    fn kill(&self, task: &TaskId, grace: Duration) {
        if let Some(known) = lock(&self.inner.tasks).get(task) {
            known.kill.send_if_modified(|order| {
                let first = order.is_none();
                order.get_or_insert(grace);
                first
            });
            return;
        }
        let (inner, task) = (Arc::clone(&self.inner), task.clone());
        self.inner.spawn(async move {
            inner.send(&task, TaskState::Lost, "not known on this machine".to_owned()).await;
        });
    }

    fn adopt(&self, tasks: Vec<Arc<Task>>) {
        let tasks = tasks
            .into_iter()
            .filter_map(|task| {
                let orders = self.inner.know(&task)?;
                Some((task, orders))
            })
            .collect();
        self.inner.spawn(Arc::clone(&self.inner).adopt(tasks));
    }

    fn settled(&self) -> Settled {
        let mut launching = self.inner.launching.subscribe();
        Box::pin(async move {
            // The sender is gone only with the executor.
            let _ = launching.wait_for(|launching| *launching == 0).await;
        })
    }

    fn port_is_free(&self, port: u16) -> bool {
        ports::is_free(port)
    }

    fn run_command(&self, task: &TaskId, command: &str, timeout: Duration) -> CommandFuture {
        let task = lock(&self.inner.tasks).get(task).map(|known| Arc::clone(&known.task));
        let (inner, command) = (Arc::clone(&self.inner), command.to_owned());
        Box::pin(async move {
            let task = task.ok_or("the task does not run on this machine")?;
            command::run(&inner, task, &command, timeout).await
        })
    }

    fn sandbox(&self, task: &TaskId) -> Option<PathBuf> {
        let path = self.inner.config.sandbox_root.join(workplace::folder(task)?);
        path.is_dir().then_some(path)
    }

    fn limitations(&self) -> Vec<String> {
        self.inner.cgroups.as_ref().err().cloned().into_iter().collect()
    }
}

impl Drop for LocalExecutor {
    fn drop(&mut self) {
        lock(&self.inner.futures).abort_all();
    }
}

impl Inner {
    /// Enters a task into the table; `None` when it is there already.
    fn know(&self, task: &Arc<Task>) -> Option<Orders> {
        match lock(&self.tasks).entry(task.id.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                let (kill, orders) = watch::channel(None);
                place.insert(Known { task: Arc::clone(task), kill });
                Some(orders)
            }
        }
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut futures = lock(&self.futures);
        while futures.try_join_next().is_some() {}
        futures.spawn_on(future, &self.runtime);
    }

    async fn send(&self, task: &TaskId, state: TaskState, message: String) {
        let update = StatusUpdate { task: task.clone(), state, message };
        // Nobody listens any more only when everything ends.
        let _ = self.updates.send(update).await;
    }

    fn records(&self) -> PathBuf {
        self.config.sandbox_root.join(RECORDS)
    }
}

/// A poisoned lock is as good as any: nothing here leaves a table half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_folder(path: &Path, mode: u32) -> Result<(), ExecutorError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|source| folder_error(path, source))
}

fn folder_error(path: &Path, source: std::io::Error) -> ExecutorError {
    ExecutorError::Folder { path: path.to_owned(), source }
}
