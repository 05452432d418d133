//! Waiting until nothing uses a draining task any more.
//!
//! A task has drained when every output serves a catalog in which it is draining, no connection to
//! it is open, and every address that was handed out has outlived its time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use waymark_catalog::Outputs;
use waymark_model::{TaskId, Version};

/// How long a draining task waits at least while somebody follows the events: load balancers and
/// the like need a moment to learn that it goes before its sockets close.
const FOLLOWERS: Duration = Duration::from_millis(500);

/// How often outputs are asked.
pub const POLL: Duration = Duration::from_millis(5);

/// The draining tasks.
pub struct Drains {
    outputs: Outputs,
    waiting: HashMap<TaskId, Drain>,
}

struct Drain {
    /// The first catalog version in which the task is draining.
    version: Version,
    /// Asking before would be in vain.
    not_before: Instant,
}

impl Drains {
    pub fn new(outputs: Outputs) -> Drains {
        Drains { outputs, waiting: HashMap::new() }
    }

    /// Waits for a task that is draining since `version`, from `now` on; `followed` says whether
    /// anybody is told of it by events.
    pub fn add(&mut self, task: TaskId, version: Version, now: Instant, followed: bool) {
        let not_before = if followed { now + FOLLOWERS } else { now };
        self.waiting.insert(task, Drain { version, not_before });
    }

    pub fn remove(&mut self, task: &TaskId) {
        self.waiting.remove(task);
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes out the tasks that have drained.
    pub fn take_drained(&mut self, now: Instant) -> Vec<TaskId> {
        let applied = self.outputs.applied();
        let mut drained = Vec::new();
        for (task, drain) in &mut self.waiting {
            if drain.not_before > now || applied.is_some_and(|applied| applied < drain.version) {
                continue;
            }
            let used = self.outputs.in_use(task);
            match used.lease_until.filter(|until| *until > now) {
                Some(until) => drain.not_before = until,
                None if used.connections == 0 => drained.push(task.clone()),
                None => {}
            }
        }
        for task in &drained {
            self.waiting.remove(task);
        }
        drained
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use waymark_catalog::{InUse, Output};

    use super::*;

    struct Fake(Mutex<(Version, InUse)>);

    impl Output for Fake {
        fn name(&self) -> &'static str {
            "fake"
        }
        fn applied(&self) -> Version {
            self.0.lock().unwrap().0
        }
        fn in_use(&self, _: &TaskId) -> InUse {
            self.0.lock().unwrap().1
        }
    }

    #[test]
    fn waits_for_version_connections_and_leases() {
        let now = Instant::now();
        let lease = now + Duration::from_secs(2);
        let output = Arc::new(Fake(Mutex::new((6, InUse::default()))));
        let mut drains = Drains::new(Outputs::new(vec![output.clone()]));
        let task = TaskId::from_text("t");
        drains.add(task.clone(), 7, now, false);
        assert!(drains.take_drained(now).is_empty(), "not applied yet");
        *output.0.lock().unwrap() = (7, InUse { connections: 1, lease_until: Some(lease) });
        assert!(drains.take_drained(now).is_empty());
        assert!(drains.take_drained(lease).is_empty(), "a connection is open");
        *output.0.lock().unwrap() = (9, InUse { connections: 0, lease_until: Some(lease) });
        assert!(drains.take_drained(lease - Duration::from_millis(1)).is_empty());
        assert_eq!(drains.take_drained(lease), std::slice::from_ref(&task));
        assert_eq!(drains.len(), 0);
        // Who follows the events gets a moment.
        *output.0.lock().unwrap() = (9, InUse::default());
        drains.add(task.clone(), 7, now, true);
        assert!(drains.take_drained(now).is_empty());
        assert_eq!(drains.take_drained(now + FOLLOWERS), [task]);
    }
}
