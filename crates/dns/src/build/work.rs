//! Makes contributors' records and what they change in the zone's tables; on several threads where
//! there is much to do.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use waymark_model::{AppEntry, TaskGroup};

use super::chunks;
use crate::compile::Plan;
use crate::config::Rules;
use crate::index::Place;
use crate::lease::{Lease, Leases};
use crate::records::Records;
use crate::tasks::{Names, Task};
use crate::zone::Zone;

/// More tasks than this are worth threads.
const MANY_TASKS: usize = 4096;
/// More threads would wait for each other's memory.
const MAX_THREADS: usize = 8;
/// Contributors that a thread takes at once.
const PORTION: usize = 64;

/// One contributor to be made anew. Each place at most once in one change.
pub(super) struct Work {
    pub(super) slot: u32,
    pub(super) make: Make,
}

/// What its records are made of.
pub(super) enum Make {
    Done(Option<Box<Records>>),
    /// All tasks of an app or a group.
    Whole(Group),
    /// A part of them, that are named.
    Chunk(Arc<Names>, Vec<Task>),
}

/// Tasks that share their names.
#[derive(Clone)]
pub(super) enum Group {
    App(Arc<AppEntry>),
    Mesos(Arc<TaskGroup>),
}

/// What some contributors change in the zone.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) records: Vec<(u32, Option<Arc<Records>>)>,
    pub(super) removed: Vec<(u32, Place)>,
    pub(super) added: Vec<(u32, Place)>,
    /// By how much the numbers of contributors below a name change.
    pub(super) above: Changes<Box<[u8]>>,
    /// The same for those with own tasks on a machine.
    pub(super) agents: Changes<Machine>,
    /// The leases of the contributors that were.
    pub(super) gone: Vec<Arc<Lease>>,
}

/// A machine of the own control plane: its address and host name.
pub(super) type Machine = (IpAddr, String);

pub(super) type Changes<K> = HashMap<K, i64, RandomState>;

/// Does all work against the zone as it is.
pub(super) fn run(work: Vec<Work>, zone: &Zone, leases: &Leases) -> Vec<Batch> {
    let tasks: usize = work.iter().map(Work::tasks).sum();
    let threads = if tasks > MANY_TASKS {
        std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS)
    } else {
        1
    };
    let queue = Mutex::new(work.into_iter());
    let worker = || {
        let mut batch = Batch::default();
        let mut plan = Plan::new(&zone.apex.rules);
        loop {
            let portion: Vec<Work> = queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .by_ref()
                .take(PORTION)
                .collect();
            if portion.is_empty() {
                break;
            }
            portion.into_iter().for_each(|work| batch.add(work, zone, leases, &mut plan));
        }
        batch.removed.sort_unstable();
        batch.added.sort_unstable();
        batch
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(worker)).collect();
        let mut batches = vec![worker()];
        // A thread that panicked has lost its portion; the panic goes on here.
        batches.extend(others.into_iter().map(|thread| match thread.join() {
            Ok(batch) => batch,
            Err(panic) => std::panic::resume_unwind(panic),
        }));
        batches
    })
}

impl Work {
    fn tasks(&self) -> usize {
        match &self.make {
            Make::Done(_) => 0,
            Make::Whole(Group::App(app)) => app.tasks.len(),
            Make::Whole(Group::Mesos(group)) => group.tasks.len(),
            Make::Chunk(_, tasks) => tasks.len(),
        }
    }
}

impl Group {
    pub(super) fn names(&self, rules: &Rules) -> Names {
        match self {
            Group::App(app) => Names::of_app(app, rules),
            Group::Mesos(group) => Names::of_group(group, rules),
        }
    }
}

impl Make {
    fn records(self, plan: &mut Plan<'_>, leases: &Leases) -> Option<Records> {
        match self {
            Make::Done(records) => records.map(|records| *records),
            Make::Whole(group) => {
                let named = |task: &Task| task.is_named(plan.rules());
                let tasks = match &group {
                    Group::App(app) => chunks::named(&app.tasks, named),
                    Group::Mesos(group) => chunks::named(&group.tasks, named),
                };
                plan.tasks(&group.names(plan.rules()), tasks, leases)
            }
            Make::Chunk(names, tasks) => plan.tasks(&names, tasks, leases),
        }
    }
}

impl Batch {
    fn add(&mut self, work: Work, zone: &Zone, leases: &Leases, plan: &mut Plan<'_>) {
        let slot = work.slot;
        let before = zone.slots.shared(slot);
        let after = work.make.records(plan, leases).map(Arc::new);
        self.names(zone, slot, before.map(|b| &**b), after.as_deref());
        for (records, change) in [(before, -1), (after.as_ref(), 1)] {
            for name in records.iter().flat_map(|records| records.above()) {
                match self.above.get_mut(name) {
                    Some(count) => *count += change,
                    None => drop(self.above.insert(Box::from(name), change)),
                }
            }
            for agent in records.iter().flat_map(|records| own_agents(records)) {
                *self.agents.entry(agent).or_insert(0) += change;
            }
        }
        self.gone.extend(before.iter().flat_map(|records| records.leases()).cloned());
        self.records.push((slot, after));
    }

    /// Entries that move; most changes leave most names at their places.
    fn names(&mut self, zone: &Zone, slot: u32, before: Option<&Records>, after: Option<&Records>) {
        let length = |records: Option<&Records>| records.map_or(0, Records::len);
        for entry in 0..length(before).max(length(after)) {
            let had = before.and_then(|records| records.name_at(entry));
            let has = after.and_then(|records| records.name_at(entry));
            if had == has {
                continue;
            }
            let place = Place { slot, entry };
            self.removed.extend(had.map(|name| (zone.index.hash(name), place)));
            self.added.extend(has.map(|name| (zone.index.hash(name), place)));
        }
    }
}

/// The machines of the own control plane's tasks, once each.
fn own_agents(records: &Records) -> impl Iterator<Item = Machine> {
    fn own(task: &Task) -> Option<(IpAddr, &str)> {
        match task {
            Task::Own(task) => Some((task.agent.address, &task.agent.hostname)),
            Task::Mesos(_) => None,
        }
    }
    let agents: HashSet<_> = records.tasks().iter().filter_map(own).collect();
    agents.into_iter().map(|(address, hostname)| (address, hostname.to_owned()))
}
