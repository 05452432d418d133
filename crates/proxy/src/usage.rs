//! Who is in use: the live counters behind a route's endpoints.
//!
//! A [`Seat`] is taken when an endpoint is picked and given back when the connection to it has been
//! closed; while it exists the task counts as used. This is what a drain waits for.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use waymark_model::TaskId;

/// How many client connections one task has, over all its ports and all workers.
#[derive(Debug, Default)]
pub(crate) struct TaskUse(AtomicUsize);

/// One task's address for one service port, with its load.
#[derive(Debug)]
pub struct Endpoint {
    /// The task.
    pub task: TaskId,
    /// Where it answers.
    pub address: SocketAddr,
    active: AtomicU32,
    /// Milliseconds on the workers' clock until which it is tried last; 0 = it last accepted.
    down_until: AtomicU64,
    task_use: Arc<TaskUse>,
}

impl Endpoint {
    /// Connections through this service port that are open or being opened.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Whether it refused a connection so shortly before `now` (read only when needed) that others
    /// are better.
    pub(crate) fn is_down(&self, now: impl FnOnce() -> u64) -> bool {
        match self.down_until.load(Relaxed) {
            0 => false,
            until => now() < until,
        }
    }

    /// Has it tried last until `until`.
    pub(crate) fn mark_down(&self, until: u64) {
        self.down_until.store(until, Relaxed);
    }

    /// It has accepted a connection.
    pub(crate) fn mark_up(&self) {
        if self.down_until.load(Relaxed) != 0 {
            self.down_until.store(0, Relaxed);
        }
    }

    /// Counts a connection to it from now until the seat is dropped.
    pub(crate) fn take_seat(self: &Arc<Endpoint>) -> Seat {
        self.active.fetch_add(1, Relaxed);
        self.task_use.0.fetch_add(1, Relaxed);
        Seat(self.clone())
    }
}

/// One connection counted at an endpoint and its task. Drop it after the socket, never before.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Endpoint>);

impl Seat {
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
        self.0.task_use.0.fetch_sub(1, Relaxed);
    }
}

/// The use of every task that is in the catalog or still has connections.
#[derive(Debug, Default)]
pub struct Usage {
    tasks: Mutex<HashMap<TaskId, Arc<TaskUse>, foldhash::fast::RandomState>>,
}

impl Usage {
    /// Connections to the task that are open or being opened; 0 for one that is not known.
    pub fn connections(&self, task: &TaskId) -> usize {
        self.locked().get(task).map_or(0, |counted| counted.0.load(Relaxed))
    }

    /// An endpoint of the task; all endpoints of one task share its count.
    pub(crate) fn endpoint(&self, task: &TaskId, address: SocketAddr) -> Arc<Endpoint> {
        let task_use = self.locked().entry(task.clone()).or_default().clone();
        Arc::new(Endpoint {
            task: task.clone(),
            address,
            active: AtomicU32::new(0),
            down_until: AtomicU64::new(0),
            task_use,
        })
    }

    /// Forgets those of `departed` that no endpoint refers to any more, neither in a table some
    /// worker still has nor through a connection, and leaves the others in the set.
    pub(crate) fn forget(&self, departed: &mut HashSet<TaskId>) {
        if departed.is_empty() {
            return;
        }
        let mut tasks = self.locked();
        departed.retain(|task| match tasks.get(task) {
            // Only this map has it, and only under this lock can anybody get it from the map.
            Some(counted) if Arc::strong_count(counted) == 1 => {
                tasks.remove(task);
                false
            }
            Some(_) => true,
            None => false,
        });
    }

    /// How many tasks are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.locked().len()
    }

    fn locked(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<TaskId, Arc<TaskUse>, foldhash::fast::RandomState>> {
        // Nothing in here can panic halfway, so a poisoned map is whole.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_used_while_a_seat_exists() {
        let usage = Usage::default();
        let task = TaskId::from_text("t");
        let first = usage.endpoint(&task, "127.0.0.1:1".parse().unwrap());
        let second = usage.endpoint(&task, "127.0.0.1:2".parse().unwrap());
        let (a, b) = (first.take_seat(), second.take_seat());
        assert_eq!((usage.connections(&task), first.active(), second.active()), (2, 1, 1));
        drop(a);
        assert_eq!((usage.connections(&task), first.active()), (1, 0));

        let mut departed = HashSet::from([task.clone()]);
        drop((first, second));
        usage.forget(&mut departed);
        assert_eq!((departed.len(), usage.connections(&task)), (1, 1), "a seat keeps it");
        drop(b);
        usage.forget(&mut departed);
        assert_eq!((departed.len(), usage.len()), (0, 0));
    }

    #[test]
    fn down_is_forgotten_with_time_or_success() {
        let endpoint =
            Usage::default().endpoint(&TaskId::from_text("t"), "127.0.0.1:1".parse().unwrap());
        assert!(!endpoint.is_down(|| 0));
        endpoint.mark_down(100);
        assert!(endpoint.is_down(|| 99) && !endpoint.is_down(|| 100));
        endpoint.mark_up();
        assert!(!endpoint.is_down(|| 0));
    }
}
