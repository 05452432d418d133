//! DNS leases: until when an address that was handed out may still be in somebody's cache.
//!
//! Answers note them, one relaxed load and seldom a store a task; whoever drains a task asks for
//! them. A task's lease outlives its names: it is forgotten only when it has expired and nobody
//! names the task any more.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
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

/// The time of an answer, in both forms that answers need.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The instant.
    pub instant: Instant,
    /// The same on the clock of leases.
    pub tick: Tick,
}

impl Moment {
    /// When a lease given now for `ttl` seconds ends.
    pub fn lease_end(&self, ttl: u32) -> Tick {
        lease_end(self.tick, u64::from(ttl) * 1000)
    }
}

fn lease_end(now: Tick, ttl_ms: u64) -> Tick {
    let end = now.saturating_add(ttl_ms).saturating_add(MARGIN.as_millis() as u64);
    (end / STEP_MS + 1).saturating_mul(STEP_MS)
}

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

    /// An instant as the time of an answer.
    pub fn moment(&self, instant: Instant) -> Moment {
        let tick = instant.saturating_duration_since(self.epoch).as_millis();
        Moment { instant, tick: u64::try_from(tick).unwrap_or(u64::MAX) }
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
    by_task: HashMap<TaskId, Named, RandomState>,
    /// Tasks that lost their names, in that order.
    retired: VecDeque<Arc<Lease>>,
    /// The latest end among those that were forgotten before it.
    forgotten_until: Tick,
}

#[derive(Debug)]
struct Named {
    lease: Arc<Lease>,
    /// How many contributors name the task.
    by: usize,
}

impl Named {
    fn new(task: &TaskId) -> Named {
        Named { lease: Arc::new(Lease { task: task.clone(), until: AtomicU64::new(0) }), by: 0 }
    }
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

    /// The leases of tasks that are about to be named, made where there are none. A task that
    /// comes back finds its old one. Each is to be given back to [`Leases::release`].
    pub fn of_each<'t>(&self, tasks: impl Iterator<Item = &'t TaskId>) -> Box<[Arc<Lease>]> {
        let mut table = self.lock();
        tasks
            .map(|task| {
                let named = table.by_task.entry(task.clone()).or_insert_with(|| Named::new(task));
                named.by += 1;
                named.lease.clone()
            })
            .collect()
    }

    /// Takes tasks for leased, whether or not anybody names them.
    pub fn assume<'t>(&self, tasks: impl Iterator<Item = &'t TaskId>, until: Tick) {
        let mut table = self.lock();
        let table = &mut *table;
        for task in tasks {
            let named = table.by_task.entry(task.clone()).or_insert_with(|| Named::new(task));
            named.lease.note(until);
            if named.by == 0 {
                table.retired.push_back(named.lease.clone());
            }
        }
    }

    /// Until when an address of the task may be cached; `None` = never handed out, or long over.
    pub fn until(&self, task: &TaskId) -> Option<Instant> {
        let table = self.lock();
        let tick =
            table.by_task.get(task).map_or(table.forgotten_until, |named| named.lease.until());
        self.clock.instant(tick)
    }

    /// Takes back the leases of contributors that are gone, and forgets the expired ones of tasks
    /// that nobody names any more. To be called when no answer is made of these contributors.
    pub fn release(&self, now: Instant, gone: &[Arc<Lease>]) {
        let mut table = self.lock();
        let table = &mut *table;
        for lease in gone {
            let Some(named) = table.by_task.get_mut(&lease.task) else { continue };
            named.by = named.by.saturating_sub(1);
            if named.by == 0 {
                table.retired.push_back(lease.clone());
            }
        }
        while let Some(lease) = table.retired.front() {
            let over = self.clock.instant(lease.until()).is_none_or(|until| until < now);
            let named = table.by_task.get(&lease.task);
            // Named again, or forgotten already by an earlier entry of this list.
            let other = named.is_none_or(|named| named.by > 0 || !Arc::ptr_eq(&named.lease, lease));
            if !other && !over && table.retired.len() <= MAX_RETIRED {
                break;
            }
            if let Some(lease) = table.retired.pop_front().filter(|_| !other) {
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

    const TTL: u32 = 5;
    const SECONDS: Duration = Duration::from_secs(5);

    fn leases(at: Instant) -> Leases {
        Leases::new(Clock::new(at))
    }

    fn take(leases: &Leases, task: &TaskId) -> Arc<Lease> {
        leases.of_each([task].into_iter())[0].clone()
    }

    #[test]
    fn ends_no_earlier_than_the_ttl() {
        let epoch = Instant::now();
        let clock = Clock::new(epoch);
        for millis in [0, 1, 63, 64, 65, 12_345] {
            let now = epoch + Duration::from_millis(millis);
            let until = clock.instant(clock.moment(now).lease_end(TTL)).unwrap();
            assert!(until > now + SECONDS + MARGIN);
            assert!(until <= now + SECONDS + MARGIN + Duration::from_millis(STEP_MS));
        }
    }

    #[test]
    fn outlives_the_names_until_it_is_over() {
        let start = Instant::now();
        let leases = leases(start);
        let (task, other) = (TaskId::from_text("t"), TaskId::from_text("o"));
        assert_eq!(leases.until(&task), None);
        let lease = take(&leases, &task);
        assert_eq!(leases.until(&task), None);
        lease.note(leases.clock().moment(start).lease_end(TTL));
        let until = leases.until(&task).unwrap();
        lease.note(1);
        assert_eq!(leases.until(&task), Some(until), "never shortened");

        // Named by two, and one of them goes.
        let second = take(&leases, &task);
        leases.release(until + SECONDS, &[second]);
        assert_eq!(leases.until(&task), Some(until));

        leases.release(start, &[lease]);
        assert_eq!(leases.until(&task), Some(until));
        // It comes back and goes again.
        let again = take(&leases, &task);
        assert_eq!(leases.until(&task), Some(until));
        leases.release(start, std::slice::from_ref(&again));
        leases.release(until + SECONDS, &[]);
        assert_eq!(leases.until(&task), None);
        assert!(leases.is_empty());

        // Named again while still in the list of the retired: stays known.
        let lease = take(&leases, &other);
        lease.note(7);
        leases.release(start, &[lease]);
        let lease = take(&leases, &other);
        leases.release(until + SECONDS, &[]);
        assert!(leases.until(&other).is_some());
        leases.release(until + SECONDS, &[lease]);
        assert!(leases.is_empty());
    }

    #[test]
    fn too_many_are_folded_into_one() {
        let start = Instant::now();
        let leases = leases(start);
        let end = leases.clock().moment(start).lease_end(TTL);
        let tasks: Vec<TaskId> =
            (0..=MAX_RETIRED).map(|n| TaskId::from_text(&n.to_string())).collect();
        let all = leases.of_each(tasks.iter());
        all.iter().for_each(|lease| lease.note(end));
        leases.release(start, &all);
        assert_eq!(leases.len(), MAX_RETIRED);
        assert!(leases.until(&TaskId::from_text("0")).unwrap() > start + SECONDS);
    }
}
