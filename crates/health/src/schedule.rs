//! Which probe is due when. Pure: time is an argument, randomness comes from a seed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::time::Instant;
use waymark_model::TaskId;

use crate::state::pause_before_next;
use crate::target::{CheckId, Probe, Target};

/// A probe of one watch; a new watch of the same task gives its probes new numbers.
pub(crate) type ProbeId = u64;

/// All watched probes. Every operation costs O(log n) a probe.
pub(crate) struct Schedule {
    probes: HashMap<ProbeId, Entry>,
    by_task: HashMap<TaskId, Vec<ProbeId>>,
    /// Those that wait; the others are being made.
    waiting: BTreeSet<(Instant, ProbeId)>,
    last_id: ProbeId,
    random: u64,
}

struct Entry {
    task: TaskId,
    probe: Arc<Probe>,
    /// When it is due next; `None` while it is being made.
    due: Option<Instant>,
    attempts: u32,
    succeeded: bool,
}

/// A probe to make now.
pub(crate) struct Due {
    pub id: ProbeId,
    pub task: TaskId,
    pub probe: Arc<Probe>,
    /// When it was handed out.
    pub begun: Instant,
}

impl Schedule {
    pub(crate) fn new(seed: u64) -> Schedule {
        Schedule {
            probes: HashMap::new(),
            by_task: HashMap::new(),
            waiting: BTreeSet::new(),
            last_id: 0,
            random: seed,
        }
    }

    /// Watches a task; its probes are due at once. Replaces an earlier watch of the same task.
    pub(crate) fn watch(&mut self, target: Target, now: Instant) {
        self.forget(&target.task);
        let ids = (self.last_id + 1..).take(target.probes.len()).collect();
        for probe in target.probes {
            self.last_id += 1;
            self.waiting.insert((now, self.last_id));
            let entry = Entry {
                task: target.task.clone(),
                succeeded: probe.succeeded,
                probe: Arc::new(probe),
                due: Some(now),
                attempts: 0,
            };
            self.probes.insert(self.last_id, entry);
        }
        self.by_task.insert(target.task, ids);
    }

    /// Forgets a task; what is being made of it will not be [`watched`](Self::is_watched) any more.
    pub(crate) fn forget(&mut self, task: &TaskId) {
        for id in self.by_task.remove(task).unwrap_or_default() {
            if let Some(due) = self.probes.remove(&id).and_then(|entry| entry.due) {
                self.waiting.remove(&(due, id));
            }
        }
    }

    /// Hands out the probe that has been due longest, if any is.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Due> {
        let first = self.next_due().filter(|at| *at <= now)?;
        let (_, id) = self.waiting.pop_first().filter(|(at, _)| *at == first)?;
        let entry = self.probes.get_mut(&id)?;
        entry.due = None;
        entry.attempts = entry.attempts.saturating_add(1);
        Some(Due { id, task: entry.task.clone(), probe: entry.probe.clone(), begun: now })
    }

    /// When the next probe is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// Whether the probe's task is still watched, by the same watch.
    pub(crate) fn is_watched(&self, id: ProbeId) -> bool {
        self.probes.contains_key(&id)
    }

    /// Notes that a probe has been made, and when to make it again. A readiness check that
    /// succeeded is not made again.
    pub(crate) fn finish(&mut self, due: &Due, success: bool, now: Instant) {
        let random = self.next_random();
        let Some(entry) = self.probes.get_mut(&due.id) else { return };
        entry.succeeded |= success;
        if success && matches!(entry.probe.check, CheckId::Readiness(_)) {
            self.probes.remove(&due.id);
            return;
        }
        let pause =
            pause_before_next(entry.probe.interval, entry.succeeded, entry.attempts, random);
        let at = (due.begun + pause).max(now);
        entry.due = Some(at);
        self.waiting.insert((at, due.id));
    }

    /// How many probes are watched.
    pub(crate) fn len(&self) -> usize {
        self.probes.len()
    }

    /// splitmix64: enough to spread probes, and the same from the same seed.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::target::{Expectation, ProbeKind};

    fn probe(check: CheckId) -> Probe {
        Probe {
            check,
            kind: ProbeKind::Unresolved { cause: String::new() },
            expect: Expectation::Usual { ignore_1xx: false },
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            succeeded: false,
        }
    }

    fn target(task: &str, checks: &[CheckId]) -> Target {
        let probes = checks.iter().map(|check| probe(*check)).collect();
        Target { task: TaskId::from_text(task), probes }
    }

    #[test]
    fn eager_until_the_first_success_then_every_interval() {
        let mut schedule = Schedule::new(1);
        let mut now = Instant::now();
        schedule.watch(target("a", &[CheckId::Health(0)]), now);
        for (success, most) in [
            (false, 25),
            (false, 50),
            (false, 100),
            (true, 10_000),
            (false, 10_000),
            (true, 10_000),
        ] {
            let due = schedule.take_due(now).unwrap();
            assert!(schedule.take_due(now).is_none() && schedule.next_due().is_none());
            schedule.finish(&due, success, now);
            let next = schedule.next_due().unwrap();
            let most = Duration::from_millis(most);
            assert!(next > now + most * 9 / 10 - Duration::from_millis(1) && next <= now + most);
            assert!(schedule.take_due(next - Duration::from_micros(1)).is_none());
            now = next;
        }
    }

    #[test]
    fn a_slow_probe_is_due_again_at_once() {
        let mut schedule = Schedule::new(1);
        let now = Instant::now();
        schedule.watch(target("a", &[CheckId::Health(0)]), now);
        let due = schedule.take_due(now).unwrap();
        let later = now + Duration::from_secs(60);
        schedule.finish(&due, false, later);
        assert_eq!(schedule.next_due(), Some(later));
    }

    #[test]
    fn readiness_ends_with_the_first_success() {
        let mut schedule = Schedule::new(1);
        let now = Instant::now();
        schedule.watch(target("a", &[CheckId::Readiness(0)]), now);
        let due = schedule.take_due(now).unwrap();
        schedule.finish(&due, false, now);
        let later = now + Duration::from_secs(1);
        let due = schedule.take_due(later).unwrap();
        schedule.finish(&due, true, later);
        assert_eq!((schedule.len(), schedule.next_due()), (0, None));
        schedule.forget(&due.task);
        assert!(schedule.by_task.is_empty());
    }

    #[test]
    fn what_was_forgotten_is_not_made_again() {
        let mut schedule = Schedule::new(1);
        let now = Instant::now();
        let checks = [CheckId::Health(0), CheckId::Health(1)];
        schedule.watch(target("a", &checks), now);
        let due = schedule.take_due(now).unwrap();
        schedule.forget(&due.task);
        assert!(!schedule.is_watched(due.id));
        schedule.finish(&due, true, now);
        assert_eq!((schedule.len(), schedule.next_due()), (0, None));
        // A second watch does not take the first one's probe for its own.
        schedule.watch(target("a", &checks), now);
        schedule.watch(target("a", &checks), now);
        assert!(!schedule.is_watched(due.id));
        assert_eq!((schedule.len(), schedule.waiting.len()), (2, 2));
    }

    #[test]
    fn probes_that_began_together_drift_apart() {
        let mut schedule = Schedule::new(7);
        let now = Instant::now();
        for n in 0..1000 {
            schedule.watch(target(&n.to_string(), &[CheckId::Health(0)]), now);
        }
        while let Some(due) = schedule.take_due(now) {
            schedule.finish(&due, true, now);
        }
        let halves = [0, 500].map(|ms| now + Duration::from_millis(9000 + ms));
        let in_first = schedule.waiting.range((halves[0], 0)..(halves[1], 0)).count();
        assert!((400..600).contains(&in_first), "{in_first} of 1000 in the first half");
    }
}
