//! How a Marathon source is doing, for metrics and status pages. Written by the source alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use waymark_model::AppId;

use crate::status::{Mode, Status};

/// A handle on how the source is doing.
pub type MarathonStatus = Status<MarathonReport>;

/// How the source is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarathonReport {
    /// The Marathon that is followed, as `scheme://host:port`.
    pub endpoint: Option<String>,
    /// Where it says that the leader is, as `host:port`.
    pub leader: Option<String>,
    /// Its framework's name.
    pub framework: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// How changes come.
    pub mode: Mode,
    /// When the last event came.
    pub last_event: Option<Instant>,
    /// Events taken, those that name no app included.
    pub events: u64,
    /// Full lists taken over.
    pub full_reads: u64,
    /// Apps taken over one by one.
    pub app_reads: u64,
    /// Attempts that failed: refused connections, bad answers, time-outs, silent streams.
    pub failures: u64,
    /// Event streams that had to be made anew.
    pub reconnects: u64,
    /// Why the last attempt failed.
    pub last_failure: Option<String>,
    /// How long the last full list took to come, be read and be published.
    pub last_load: Option<Duration>,
    /// Number of apps.
    pub apps: usize,
    /// Apps that lists leave out, or whose tasks they do, and that are kept until that was
    /// confirmed.
    pub doubted: usize,
    /// Apps whose last word was of no use, and why: their last good entry stays. At most
    /// [`MarathonReport::MAX_PROBLEMS`] are shown.
    pub problems: BTreeMap<AppId, String>,
    /// Number of such apps.
    pub problem_count: usize,
    /// Elements of the last list that do not even say which app they are.
    pub unnamed: usize,
    /// Pods, which are not followed; `None` where that is not known.
    pub pods: Option<usize>,
    /// Host names whose addresses are not known.
    pub unresolved_hosts: usize,
}

impl MarathonReport {
    /// The most problems that are shown.
    pub const MAX_PROBLEMS: usize = 100;
}
