//! How a Mesos source is doing, for metrics and status pages. Written by the source alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A handle on how the source is doing. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MesosStatus(Arc<Mutex<MesosReport>>);

/// How the source is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MesosReport {
    /// The leading master as `host:port`, when known.
    pub leader: Option<String>,
    /// How the state comes.
    pub mode: Mode,
    /// Full states taken over.
    pub full_states: u64,
    /// Events applied.
    pub events: u64,
    /// Attempts that failed: refused connections, bad answers, time-outs.
    pub failures: u64,
    /// Streams that ended and had to be made anew.
    pub reconnects: u64,
    /// Elements of the last full state that were left out, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// How long the last full state took to come and be read.
    pub last_load: Option<Duration>,
    /// Host names whose addresses are not known.
    pub unresolved_hosts: usize,
}

/// How the state comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Not at all.
    #[default]
    Lost,
    /// By the event stream.
    Stream,
    /// By asking again and again.
    Poll,
}

impl Mode {
    /// Its name in metrics and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Lost => "lost",
            Mode::Stream => "stream",
            Mode::Poll => "poll",
        }
    }
}

impl MesosStatus {
    /// What is known now.
    pub fn report(&self) -> MesosReport {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is known; for the source, and for tests of those who show it.
    pub fn update(&self, change: impl FnOnce(&mut MesosReport)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
