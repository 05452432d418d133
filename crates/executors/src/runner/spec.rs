//! What a runner is told to run: JSON on its stdin, written by the executor. It never lies on disk
//! or on a command line, because a task's environment may hold secrets.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::credentials::Credentials;
use crate::environment::Environment;

/// One task to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The task's id.
    pub task: String,
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: Environment,
    /// The working folder, where the output files go.
    pub sandbox: PathBuf,
    /// The record's file.
    pub record: PathBuf,
    /// The user, when it is another one than the runner's.
    pub credentials: Option<Credentials>,
    /// The task's control group, when limits are enforced.
    pub group: Option<PathBuf>,
    /// Size at which an output file is rotated, in bytes.
    pub log_max_bytes: u64,
    /// How many files each of stdout and stderr may have, the current one included.
    pub log_files: u32,
    /// Time from TERM to KILL when the one who asks does not say.
    pub grace: Duration,
    /// Soft limit of open files; `None` leaves it as it is.
    pub open_files: Option<u64>,
}
