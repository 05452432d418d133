//! What a `whoami` knows about itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Who it is, and its switches.
pub struct Identity {
    /// What it calls itself.
    pub name: String,
    environment: BTreeMap<String, String>,
    up: AtomicBool,
    requests: AtomicU64,
}

impl Identity {
    /// Healthy, with no requests yet.
    pub fn new(name: &str, environment: BTreeMap<String, String>) -> Identity {
        Identity {
            name: name.to_owned(),
            environment,
            up: AtomicBool::new(true),
            requests: AtomicU64::new(0),
        }
    }

    /// A variable of the environment; empty when unset.
    pub fn variable(&self, name: &str) -> &str {
        self.environment.get(name).map_or("", String::as_str)
    }

    /// The environment: what Marathon gives a task, or all of it. All of it may hold secrets, so
    /// it must be asked for.
    pub fn environment(&self, all: bool) -> impl Iterator<Item = (&str, &str)> {
        let shown = move |name: &str| {
            all || name == "HOST"
                || ["MARATHON_", "MESOS_", "PORT"].iter().any(|prefix| name.starts_with(prefix))
        };
        self.environment
            .iter()
            .filter(move |(name, _)| shown(name))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether `/health` says yes.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Makes `/health` say yes or no.
    pub fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }

    /// Counts a request; returns its number, from 1.
    pub fn count_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }
}
