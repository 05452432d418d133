//! How a Mesos source is doing, for metrics and status pages. Written by the source alone.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::status::{Mode, Status};

/// A handle on how the source is doing.
pub type MesosStatus = Status<MesosReport>;

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
