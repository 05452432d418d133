//! DNS leases: until when an address that was handed out may still be in somebody's cache.
//!
//! Answers note them, one relaxed load and seldom a store a task; whoever drains a task asks for
//! them. A task's lease outlives its names: it is forgotten only when it has expired and nobody
//! names the task any more.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use waymark_model::TaskId;

/// What is added to every lease for the way of the answer to the client.
pub const MARGIN: Duration = Duration::from_millis(100);
/// Leases end on multiples of this, rounded up, so that a busy name's lease is written a few
/// times a second and not with each answer.
const STEP_MS: u64 = 64;
/// How many tasks without names may have a lease. The oldest beyond are folded into one end that
/// holds for every unknown task: a drain may wait too long, never too short.
pub const MAX_RETIRED: usize = 65_536;

/// A point on this process's clock, in milliseconds; 0 stands for "never".
pub type Tick = u64;

/// Turns instants into ticks and back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock that starts at `epoch`.
    pub fn new(epoch: Instant) -> Clock {
        Clock { epoch }
    }

    /// When a lease given at `now` for `ttl` ends.
    pub fn lease_end(&self, now: Instant, ttl: Duration) -> Tick {
        let end = now.saturating_duration_since(self.epoch) + ttl + MARGIN;
        let millis = u64::try_from(end.as_millis()).unwrap_or(u64::MAX - STEP_MS);
        (millis / STEP_MS + 1) * STEP_MS
    }

    fn instant(&self, tick: Tick) -> Option<Instant> {
        (tick > 0).then(|| self.epoch + Duration::from_millis(tick))
    }
}

/// One task's lease, shared by all its records.
#[derive(Debug)]
pub struct Lease {
    task: TaskId,
    until: AtomicU64,
}

impl Lease {
    /// Notes that an answer leads to the task.
    ///
    /// Relaxed is enough: a reader may rely on what it reads only after every worker has let go of
    /// the zones that name the task (see [`crate::Dns`]), and that hand-over orders the two.
    pub fn note(&self, until: Tick) {
        if self.until.load(Ordering::Relaxed) < until {
            self.until.fetch_max(until, Ordering::Relaxed);
        }
    }

    /// The task.
    pub fn task(&self) -> &TaskId {
        &self.task
    }

    fn until(&self) -> Tick {
        self.until.load(Ordering::Relaxed)
    }
}

/// All leases by task. Locked when a zone changes and when a drain asks, never by an answer.
#[derive(Debug)]
pub struct Leases {
    clock: Clock,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_task: HashMap<TaskId, Arc<Lease>>,
    /// Tasks that lost their names, in that order.
    retired: VecDeque<Arc<Lease>>,
    /// The latest end among those that were forgotten before it.
    forgotten_until: Tick,
}

impl Leases {
    /// No leases yet.
    pub fn new(clock: Clock) -> Leases {
        Leases { clock, table: Mutex::default() }
    }

    /// The clock that ticks are read from.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The task's lease, made when there is none. A task that comes back finds its old one.
    pub fn of(&self, task: &TaskId) -> Arc<Lease> {
        let mut table = self.lock();
        if let Some(lease) = table.by_task.get(task) {
            return lease.clone();
        }
        let lease = Arc::new(Lease { task: task.clone(), until: AtomicU64::new(0) });
        table.by_task.insert(task.clone(), lease.clone());
        lease
    }

    /// Until when an address of the task may be cached; `None` = never handed out, or long over.
    pub fn until(&self, task: &TaskId) -> Option<Instant> {
        let table = self.lock();
        let tick = table.by_task.get(task).map_or(table.forgotten_until, |lease| lease.until());
        self.clock.instant(tick)
    }

    /// Takes the tasks that are not named any more, and forgets the expired ones. To be called
    /// when no zone that names them exists any more.
    pub fn retire(&self, now: Instant, tasks: impl IntoIterator<Item = Arc<Lease>>) {
        let mut table = self.lock();
        table.retired.extend(tasks);
        while let Some(lease) = table.retired.front() {
            // Held by the two tables here only: nobody names it.
            let named = Arc::strong_count(lease) > 2;
            let over = self.clock.instant(lease.until()).is_none_or(|until| until < now);
            let crowded = table.retired.len() > MAX_RETIRED;
            if !named && !over && !crowded {
                break;
            }
            if let Some(lease) = table.retired.pop_front().filter(|_| !named) {
                if !over {
                    table.forgotten_until = table.forgotten_until.max(lease.until());
                }
                table.by_task.remove(&lease.task);
            }
        }
    }

    /// How many tasks are known.
    pub fn len(&self) -> usize {
        self.lock().by_task.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it is held; a table left by a panic elsewhere is whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(5);

    fn leases(at: Instant) -> Leases {
        Leases::new(Clock::new(at))
    }

    #[test]
    fn ends_no_earlier_than_the_ttl() {
        let epoch = Instant::now();
        let clock = Clock::new(epoch);
        for millis in [0, 1, 63, 64, 65, 12_345] {
            let now = epoch + Duration::from_millis(millis);
            let until = clock.instant(clock.lease_end(now, TTL)).unwrap();
            assert!(until > now + TTL + MARGIN);
            assert!(until <= now + TTL + MARGIN + Duration::from_millis(STEP_MS));
        }
    }

    #[test]
    fn outlives_the_names_until_it_is_over() {
        let start = Instant::now();
        let leases = leases(start);
        let (task, other) = (TaskId::from_text("t"), TaskId::from_text("o"));
        assert_eq!(leases.until(&task), None);
        let lease = leases.of(&task);
        assert_eq!(leases.until(&task), None);
        lease.note(leases.clock().lease_end(start, TTL));
        let until = leases.until(&task).unwrap();
        lease.note(1);
        assert_eq!(leases.until(&task), Some(until), "never shortened");

        leases.retire(start, [lease]);
        assert_eq!(leases.until(&task), Some(until));
        // It comes back and goes again.
        let again = leases.of(&task);
        assert_eq!(leases.until(&task), Some(until));
        leases.retire(until + TTL, [again]);
        assert_eq!(leases.until(&task), None);
        assert!(leases.is_empty());

        // Named again while still in the list of the retired: stays known.
        let lease = leases.of(&other);
        leases.retire(start, [lease.clone()]);
        lease.note(7);
        assert!(leases.until(&other).is_some());
    }

    #[test]
    fn too_many_are_folded_into_one() {
        let start = Instant::now();
        let leases = leases(start);
        let end = leases.clock().lease_end(start, TTL);
        let all: Vec<_> = (0..=MAX_RETIRED)
            .map(|n| {
                let lease = leases.of(&TaskId::from_text(&n.to_string()));
                lease.note(end);
                lease
            })
            .collect();
        leases.retire(start, all);
        assert_eq!(leases.len(), MAX_RETIRED);
        assert!(leases.until(&TaskId::from_text("0")).unwrap() > start + TTL);
    }
}
