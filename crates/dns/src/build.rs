//! Keeps the zone up to date: turns what changed in the catalog into contributors of the zone.
//!
//! Input: pairs of catalog snapshots. Output: zones, each a copy that shares what did not change.
//! The cost of a change is that of the contributors it touches: an app's or a group's tasks (large
//! groups are split by a hash of the task's id), one framework, the agents, the masters. Starts
//! threads for the first load and others of its size, and does no I/O.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::quality::RandomState;
use waymark_model::{AppEntry, AppId, Catalog, Cluster, TaskGroup, TaskGroupId};

use crate::config::{Apex, ConfigError, DnsConfig};
use crate::lease::{Lease, Leases};
use crate::tasks::{Task, own_ttl};
use crate::zone::Zone;

mod chunks;
mod fixed;
mod work;

use chunks::Identified;
use work::{Batch, Group, Machine, Make, Work};

/// Follows the catalog.
pub struct Builder {
    zone: Zone,
    /// The places of each contributor's records; several for a large group of tasks.
    slots: HashMap<Subject, Vec<u32>, RandomState>,
    free_slots: Vec<u32>,
    /// Places that become free with the change under way: none is emptied and filled in one.
    freed_slots: Vec<u32>,
    next_slot: u32,
    /// Agents of the own control plane's named tasks, with the number of contributors that have
    /// one there.
    own_agents: BTreeMap<Machine, i64>,
}

/// What contributes records.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    /// This host.
    Host,
    Masters,
    /// The cluster's agents.
    Agents,
    /// The agents of the own control plane.
    OwnAgents,
    Framework(Arc<str>),
    App(AppId),
    /// An app's service ports.
    Services(AppId),
    Group(TaskGroupId),
}

impl Builder {
    /// One whose zone answers nothing yet.
    pub fn new(config: &DnsConfig) -> Result<Builder, ConfigError> {
        Ok(Builder {
            zone: Zone::at(Apex::new(config)?),
            slots: HashMap::default(),
            free_slots: Vec::new(),
            freed_slots: Vec::new(),
            next_slot: 0,
            own_agents: BTreeMap::new(),
        })
    }

    /// The zone as it is now.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Follows the catalog from `before`, of which the zone was made, to `after`. Gives the leases
    /// of the contributors that are gone or were replaced, for [`Leases::release`].
    pub fn advance(
        &mut self,
        before: &Catalog,
        after: &Catalog,
        leases: &Leases,
    ) -> Vec<Arc<Lease>> {
        let mut work = Vec::new();
        self.plan_fixed(before, after, &mut work);
        for change in after.changes_since(before) {
            self.plan_app(change.app, change.before, change.after, &mut work);
        }
        self.plan_cluster(&before.cluster, &after.cluster, &mut work);
        let mut gone = Vec::new();
        let agents_changed = self.apply(work, leases, &mut gone);
        if agents_changed {
            let mut work = Vec::new();
            let records = fixed::own_agents(self.own_agents.keys(), &self.zone.apex().rules);
            self.put(Subject::OwnAgents, records, &mut work);
            self.apply(work, leases, &mut gone);
        }
        self.free_slots.append(&mut self.freed_slots);
        self.zone.version = after.version;
        gone
    }

    /// Does the work; says whether other machines than before run own tasks.
    fn apply(&mut self, work: Vec<Work>, leases: &Leases, gone: &mut Vec<Arc<Lease>>) -> bool {
        let mut agents_changed = false;
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for batch in work::run(work, &self.zone, leases) {
            let Batch { records, removed: r, added: a, above, agents, gone: g } = batch;
            records.into_iter().for_each(|(slot, records)| self.zone.slots.set(slot, records));
            removed.extend(r);
            added.extend(a);
            self.zone.count_above(above);
            for (machine, change) in agents {
                let count = self.own_agents.entry(machine).or_insert(0);
                agents_changed |= *count == 0 || *count + change == 0;
                *count += change;
            }
            gone.extend(g);
        }
        self.own_agents.retain(|_, count| *count != 0);
        self.zone.index.change(removed, added);
        agents_changed
    }

    /// The names of masters and of this host.
    fn plan_fixed(&mut self, before: &Catalog, after: &Catalog, work: &mut Vec<Work>) {
        let (had, has) = (&before.cluster.masters, &after.cluster.masters);
        let apex = self.zone.apex.clone();
        if before.version == 0 || had.is_some() != has.is_some() {
            self.put(Subject::Host, fixed::host(&apex, has.is_none()), work);
        }
        if had != has {
            let records = has.as_ref().and_then(|masters| fixed::masters(masters, &apex.rules));
            self.put(Subject::Masters, records, work);
        }
    }

    fn plan_cluster(&mut self, before: &Cluster, after: &Cluster, work: &mut Vec<Work>) {
        let apex = self.zone.apex.clone();
        for (id, framework) in fixed::changed_frameworks(before, after) {
            match framework {
                Some(framework) => {
                    let records = fixed::framework(framework, &apex.rules);
                    self.put(Subject::Framework(id.clone()), records, work);
                }
                None => self.remove(&Subject::Framework(id.clone()), work),
            }
        }
        if !before.agents.ptr_eq(&after.agents) && before.agents != after.agents {
            self.put(Subject::Agents, fixed::agents(after, &apex.rules), work);
        }
        for change in after.group_changes_since(before) {
            self.plan_group(change.id, change.before, change.after, work);
        }
    }

    fn plan_app(
        &mut self,
        id: &AppId,
        before: Option<&Arc<AppEntry>>,
        after: Option<&Arc<AppEntry>>,
        work: &mut Vec<Work>,
    ) {
        let subject = Subject::App(id.clone());
        let Some(after) = after else {
            self.remove(&Subject::Services(id.clone()), work);
            return self.remove(&subject, work);
        };
        let services = |app: &AppEntry| (app.framework.clone(), app.services.clone());
        if before.is_none_or(|before| services(before) != services(after)) {
            let records = fixed::services(after, &self.zone.apex);
            self.put_or_remove(Subject::Services(id.clone()), records, work);
        }
        let same = before.filter(|before| {
            before.framework == after.framework && own_ttl(&before.labels) == own_ttl(&after.labels)
        });
        let tasks = (same.map(|before| &before.tasks[..]), &after.tasks[..]);
        self.plan_tasks(subject, Group::App(after.clone()), tasks, work);
    }

    fn plan_group(
        &mut self,
        id: &TaskGroupId,
        before: Option<&Arc<TaskGroup>>,
        after: Option<&Arc<TaskGroup>>,
        work: &mut Vec<Work>,
    ) {
        let subject = Subject::Group(id.clone());
        let Some(after) = after else { return self.remove(&subject, work) };
        let same = before.filter(|before| before.framework == after.framework);
        let tasks = (same.map(|before| &before.tasks[..]), &after.tasks[..]);
        self.plan_tasks(subject, Group::Mesos(after.clone()), tasks, work);
    }

    /// The records of tasks that share their names: those they were made of under the same names,
    /// and those that there are.
    fn plan_tasks<T: Identified>(
        &mut self,
        subject: Subject,
        group: Group,
        (before, after): (Option<&[Arc<T>]>, &[Arc<T>]),
        work: &mut Vec<Work>,
    ) {
        let want = chunks::number(after.len());
        let have = self.slots.get(&subject).map_or(0, Vec::len);
        let apex = self.zone.apex.clone();
        let named = |task: &Task| task.is_named(&apex.rules);
        if let Some(before) = before.filter(|_| have > 1 && chunks::suits(have, after.len())) {
            let names = Arc::new(group.names(&apex.rules));
            let slots = self.slots.get(&subject).map_or(&[][..], |slots| slots);
            for (chunk, changes) in chunks::changes(before, after, have) {
                let Some(slot) = slots.get(chunk).copied() else { continue };
                let present = self.zone.slots.get(slot).map_or(&[][..], |records| records.tasks());
                let tasks = chunks::changed(present, &changes, named);
                work.push(Work { slot, make: Make::Chunk(names.clone(), tasks) });
            }
            return;
        }
        match self.resize(subject, want, work)[..] {
            [slot] => work.push(Work { slot, make: Make::Whole(group) }),
            ref slots => {
                let names = Arc::new(group.names(&apex.rules));
                let split = chunks::split(after, want, named);
                work.extend(slots.iter().zip(split).map(|(slot, tasks)| Work {
                    slot: *slot,
                    make: Make::Chunk(names.clone(), tasks),
                }));
            }
        }
    }

    /// The only records of a subject.
    fn put(
        &mut self,
        subject: Subject,
        records: Option<crate::records::Records>,
        work: &mut Vec<Work>,
    ) {
        if let [slot] = self.resize(subject, 1, work)[..] {
            work.push(Work { slot, make: Make::Done(records.map(Box::new)) });
        }
    }

    /// The same where most have none.
    fn put_or_remove(
        &mut self,
        subject: Subject,
        records: Option<crate::records::Records>,
        work: &mut Vec<Work>,
    ) {
        match records {
            None => self.remove(&subject, work),
            records => self.put(subject, records, work),
        }
    }

    fn remove(&mut self, subject: &Subject, work: &mut Vec<Work>) {
        for slot in self.slots.remove(subject).into_iter().flatten() {
            self.free(slot, work);
        }
    }

    /// Gives the subject so many places.
    fn resize(&mut self, subject: Subject, places: usize, work: &mut Vec<Work>) -> Vec<u32> {
        let mut slots = self.slots.remove(&subject).unwrap_or_default();
        while slots.len() > places {
            slots.pop().into_iter().for_each(|slot| self.free(slot, work));
        }
        while slots.len() < places {
            let slot = self.free_slots.pop().unwrap_or_else(|| {
                self.next_slot += 1;
                self.next_slot - 1
            });
            slots.push(slot);
        }
        self.slots.insert(subject, slots.clone());
        slots
    }

    fn free(&mut self, slot: u32, work: &mut Vec<Work>) {
        self.freed_slots.push(slot);
        work.push(Work { slot, make: Make::Done(None) });
    }
}

#[cfg(test)]
mod tests;
