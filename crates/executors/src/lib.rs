//! What runs tasks. The control plane decides; an executor does, and tells what happened.
//!
//! ```text
//! control ──► Executor::launch / kill / adopt ──► processes (local), later Docker and Mesos
//! control ◄── StatusUpdate (channel) ◄────────────┘
//! ```
//!
//! An executor never decides to launch, replace or forget a task, and never stores anything that
//! the control plane needs: what it must find again after a crash it finds by looking (`adopt`).

mod credentials;
mod environment;
mod local;
mod procfs;
mod runner;
mod sys;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use waymark_model::{Task, TaskId, TaskState};

pub use environment::{Environment, Surroundings, environment};
pub use local::{LocalConfig, LocalExecutor};
pub use runner::{TASK_RUNNER, task_runner_main};

/// Something that runs tasks. No call blocks; what comes of it arrives as [`StatusUpdate`]s.
pub trait Executor: Send + Sync {
    /// Starts a task whose launch has been stored. Ends in `Running`, or in a terminal state.
    fn launch(&self, task: Arc<Task>);

    /// Ends a task: TERM to all its processes, KILL after `grace`. Ends in a terminal state, also
    /// when the task is not known here (then `Lost`). Repeating it changes nothing.
    fn kill(&self, task: &TaskId, grace: Duration);

    /// Takes back tasks that were launched before this process started. Each gets a status:
    /// `Running` when it still runs, else a terminal one. Processes of tasks that are not in the
    /// list are ended.
    fn adopt(&self, tasks: Vec<Arc<Task>>);

    /// Completes when every launch that was asked for so far has started its task or failed: what
    /// runs can then be found by another process's [`Executor::adopt`].
    fn settled(&self) -> Settled {
        Box::pin(std::future::ready(()))
    }

    /// Whether a host port could be bound at this moment.
    fn port_is_free(&self, port: u16) -> bool;

    /// Runs a shell command in the task's environment, sandbox and user; `Err` says what failed.
    fn run_command(&self, task: &TaskId, command: &str, timeout: Duration) -> CommandFuture;

    /// The task's sandbox folder (`stdout` and `stderr` lie in it).
    fn sandbox(&self, task: &TaskId) -> Option<PathBuf>;

    /// What this executor cannot enforce here, one sentence each (`no memory limits: …`).
    fn limitations(&self) -> Vec<String>;
}

/// The outcome of [`Executor::run_command`].
pub type CommandFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The outcome of [`Executor::settled`].
pub type Settled = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What became of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusUpdate {
    /// The task.
    pub task: TaskId,
    /// Its state now.
    pub state: TaskState,
    /// One line for people (`Command exited with status 1`); may be empty.
    pub message: String,
}

/// Why an executor cannot work here.
#[derive(Debug, Error)]
pub enum ExecutorError {
    /// A folder cannot be made, written or read.
    #[error("the folder {} for tasks cannot be used: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel is older than Linux 5.3, or a filter forbids pidfds.
    #[error("this kernel has no pidfd_open (Linux 5.3 or later is needed): {0}")]
    Kernel(std::io::Error),
    /// It was not made within a tokio runtime.
    #[error("the local executor needs a tokio runtime")]
    Runtime,
}
