//! What an applier is told, what it is given to apply, and what it says of itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answers::Info;
use super::install::{Archive, InstallError};
use super::plan::Why;
use super::reload::{Lingering, Method, Patience, ReloadError};
use super::socket::Socket;
use super::validate::{ValidateError, Validator};
use crate::{Refused, Rendered};

/// How configurations are applied.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration's file (`--haproxy-config`); maps stand beside it.
    pub config: PathBuf,
    /// Copies of what was installed and refused (`--archive-versions`).
    pub archive: Archive,
    /// Who says whether HAProxy would take a configuration; nobody with `--skip-validation`.
    pub validator: Option<Validator>,
    /// Whether the apps are looked for that make HAProxy refuse it (not with `--skip-config-cleanup`).
    pub clean_up: bool,
    /// Who is asked about servers and told of changes: a statistics socket of level `admin`, or a master's
    /// [`Socket::worker`]. Without one every change is a reload, and nobody can see when it is done.
    pub worker: Option<Socket>,
    /// The master, to look at old workers.
    pub master: Option<Socket>,
    /// How HAProxy is reloaded; without it nothing but the files changes.
    pub method: Option<Method>,
    /// How long a reload is waited for.
    pub patience: Patience,
    /// Least time between two reloads. What comes meanwhile is applied in one.
    pub spacing: Duration,
}

impl Options {
    /// marathon-lb's defaults for a configuration in this file: validated by `haproxy`, five versions kept in the folder
    /// `waymark-archive` beside it, ten reloads of ten seconds; and a second between two reloads, which marathon-lb lacks.
    pub fn new(config: PathBuf) -> Self {
        let archive = Archive { folder: config.with_file_name("waymark-archive"), versions: 5 };
        let validator = Validator { program: "haproxy".into(), limit: Duration::from_secs(60) };
        Self {
            config,
            archive,
            validator: Some(validator),
            clean_up: true,
            worker: None,
            master: None,
            method: None,
            patience: Patience::new(10, Duration::from_secs(10)),
            spacing: Duration::from_secs(1),
        }
    }
}

/// Renders with the changes of these apps (by their names) left out: each as it was last good, or not at all.
pub type Without = Arc<dyn Fn(&[String]) -> Rendered + Send + Sync>;

/// What HAProxy shall run.
#[derive(Clone)]
pub struct Wanted {
    /// The catalog's version that it was rendered from.
    pub version: u64,
    /// All of it.
    pub rendered: Arc<Rendered>,
    /// Apps that changed since HAProxy last took a configuration, in marathon-lb's order: one of them it must be if it takes
    /// none now.
    pub suspects: Vec<String>,
    /// Renders without some of them. None: nobody is looked for.
    pub without: Option<Without>,
}

/// How it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// HAProxy had it.
    Nothing,
    /// By this many commands, without a reload.
    Runtime(usize),
    /// By a reload.
    Reloaded(Why),
    /// The files are in place, and there is no way to reload HAProxy: that is up to whoever starts it.
    Installed,
    /// It takes a reload, and the last one is too recent. Nothing was done.
    Postponed(Instant),
}

/// Why it could not be applied. HAProxy runs on with what it had.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Files.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// HAProxy would not take it, or its program could not be asked.
    #[error(transparent)]
    Validate(#[from] ValidateError),
    /// It could not be reloaded.
    #[error(transparent)]
    Reload(#[from] ReloadError),
}

/// Where an applier stands: for metrics, the API and the log.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The catalog's version that HAProxy runs; 0 before the first.
    pub version: u64,
    /// The version that it shall run.
    pub wanted: u64,
    /// When the two were last the same.
    pub current_at: Option<Instant>,
    /// Why they are not.
    pub error: Option<String>,
    /// Apps that HAProxy refuses, with its reason.
    pub refused: Vec<Refused>,
    /// Reloads that were done.
    pub reloads: u64,
    /// Changes that took commands where marathon-lb reloads.
    pub reloads_avoided: u64,
    /// Commands that were done.
    pub commands: u64,
    /// Commands that HAProxy refused or did not answer; each led to a reload.
    pub commands_refused: u64,
    /// Failed attempts to apply.
    pub failures: u64,
    /// Servers in maintenance that still have connections and are deleted later.
    pub leaving: usize,
    /// Old workers. Known only where there is a master to ask.
    pub lingering: Lingering,
    /// The worker that answered last.
    pub worker: Option<Info>,
}

impl Status {
    /// For how long HAProxy has not run what it shall run; zero when it does.
    pub fn age(&self, now: Instant) -> Duration {
        match self.current_at {
            Some(at) if self.version != self.wanted => now.saturating_duration_since(at),
            _ => Duration::ZERO,
        }
    }
}
