//! The state of a cluster as it is followed: full states replace it, events change it, and what the
//! catalog gets is kept up to date group by group.
//!
//! What is equal to before keeps its `Arc`, in whatever way it is told again, so that readers of
//! the catalog find what changed by comparing pointers.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use waymark_model::{
    Cluster, ClusterAgent, Framework as KnownFramework, Masters, TaskGroup, TaskGroupId, TaskId,
};

use crate::document::{Agent, Document, Framework};
use crate::event::{Event, TaskUpdate};
use crate::pid::HostPort;
use crate::task::{Phase, Task};

type Map<K, V> = HashMap<K, V, RandomState>;
type Set<K> = HashSet<K, RandomState>;

/// A task's id is its framework's affair, so two frameworks may use the same.
type TaskKey = (Arc<str>, TaskId);

/// Looks host names up. What it does not know yet it finds out meanwhile.
pub trait Hosts {
    /// The addresses of a host that is given by name or by address; `None` when they are not known,
    /// which leaves in place what was known before.
    fn addresses(&self, host: &str) -> Option<Vec<IpAddr>>;
}

/// What an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Nothing.
    Unchanged,
    /// Something changed; [`State::refresh`] brings the cluster up to date.
    Changed,
    /// The event does not fit the state, so one before it is missing: a full state is needed.
    Gap,
}

/// The state of a cluster.
#[derive(Clone, Debug, Default)]
pub struct State {
    agents: Map<Arc<str>, Agent>,
    frameworks: Map<Arc<str>, Framework>,
    tasks: Map<TaskKey, Task>,
    members: Map<TaskGroupId, BTreeSet<TaskId>>,
    /// Agents that the present master knows from its registry and has not heard yet.
    away: Set<Arc<str>>,
    /// Tasks from before the master changed, on agents that were away then.
    carried: Set<TaskKey>,
    /// What the catalog gets.
    cluster: Cluster,
    /// Groups that are not up to date in `cluster`.
    stale: Set<TaskGroupId>,
    /// Whether agents or frameworks may not be up to date in `cluster`.
    stale_hosts: bool,
}

impl State {
    /// A state of which only the catalog's view is known, from an earlier run.
    pub fn restored(cluster: Cluster) -> State {
        let mut state = State::default();
        for agent in cluster.agents.values() {
            // The host from which the addresses came is not known; without it they stay.
            let (id, hostname) = (agent.id.clone(), agent.hostname.clone());
            let host = Arc::from("");
            state.agents.insert(id.clone(), Agent { id, hostname, host, port: agent.port });
        }
        for known in cluster.frameworks.values() {
            let (id, name) = (known.id.clone(), known.name.clone());
            // As with agents: the port stays with the addresses.
            let pid = known.port.map(|port| HostPort { host: Arc::from(""), port });
            let framework = Framework { id: id.clone(), name, hostname: Arc::from(""), pid };
            state.frameworks.insert(id, framework);
        }
        for group in cluster.groups.values() {
            for facts in &group.tasks {
                state.insert(Task::restored(group.id.clone(), facts.clone()));
            }
        }
        state.stale.clear();
        state.cluster = cluster;
        state
    }

    /// Takes over a full state.
    ///
    /// A master that has just been elected lists the agents that it knows from its registry as
    /// recovered until they have come back. Their tasks run on, so what the master before it said
    /// of them stays.
    pub fn replace(&mut self, document: Document) {
        let Document { agents, frameworks, tasks, recovered, tells_pids, .. } = document;
        let agents: Map<_, _> = agents.into_iter().map(|a| (a.id.clone(), a)).collect();
        let away: Set<Arc<str>> =
            recovered.into_iter().filter(|id| !agents.contains_key(id)).collect();
        let agents_before = std::mem::replace(&mut self.agents, agents);
        let frameworks = frameworks.into_iter().map(|f| (f.id.clone(), f)).collect();
        let frameworks_before = std::mem::replace(&mut self.frameworks, frameworks);
        if !tells_pids {
            for framework in self.frameworks.values_mut() {
                let before = frameworks_before.get(&framework.id);
                framework.pid = before.and_then(|before| before.pid.clone());
            }
        }
        self.carry_agents(&away, agents_before);
        self.carried.clear();
        let mut before = std::mem::take(&mut self.tasks);
        self.tasks.reserve(tasks.len());
        for task in tasks {
            let key = key_of(&task);
            match before.remove(&key) {
                Some(old) => self.put(key, old, task),
                None => self.insert(task),
            }
        }
        for (key, old) in before {
            if away.contains(&old.facts.agent.id) {
                self.carry(key, old, &frameworks_before);
            } else {
                self.forget_member(&old);
            }
        }
        self.away = away;
        self.stale_hosts = true;
    }

    /// Whether there are tasks that [`State::settle`] would end: their agents have come back and
    /// have not told of them. Masters tell of an agent and of its tasks one after the other.
    pub fn is_unsettled(&self) -> bool {
        self.carried.iter().any(|key| self.has_come_back(key))
    }

    /// Ends the tasks that agents which have come back had before and have not any more; to be
    /// called a moment after they came.
    pub fn settle(&mut self) -> Applied {
        let ended = self.carried.iter().filter(|key| self.has_come_back(key)).cloned();
        let ended: Vec<TaskKey> = ended.collect();
        for key in &ended {
            self.carried.remove(key);
            if let Some(task) = self.tasks.remove(key) {
                self.forget_member(&task);
            }
        }
        if ended.is_empty() { Applied::Unchanged } else { Applied::Changed }
    }

    fn has_come_back(&self, key: &TaskKey) -> bool {
        let task = self.tasks.get(key);
        task.is_none_or(|task| !self.away.contains(&task.facts.agent.id))
    }

    /// Applies one event. `Subscribed` counts as a full state.
    pub fn apply(&mut self, event: Event) -> Applied {
        match event {
            Event::Subscribed { document, .. } => self.replace(*document),
            Event::TaskAdded(task) => return self.task_added(*task),
            Event::TaskUpdated(update) => return self.task_updated(*update),
            Event::AgentAdded(agent) => return self.agent_added(agent),
            Event::AgentRemoved(id) => return self.agent_removed(&id),
            Event::Framework(framework) => return self.framework(framework),
            Event::FrameworkRemoved(id) => {
                if self.frameworks.remove(&id).is_none() {
                    return Applied::Unchanged;
                }
                self.remove_tasks(|task| task.group.framework == id);
                self.stale_hosts = true;
            }
            Event::Heartbeat | Event::Other => return Applied::Unchanged,
        }
        Applied::Changed
    }

    /// Takes over from a document what the v1 API does not tell of frameworks: where the schedulers
    /// are that use the old driver, and those that tasks belong to and no event has told of.
    pub fn take_frameworks(&mut self, document: &Document) -> Applied {
        let mut applied = Applied::Unchanged;
        for told in &document.frameworks {
            match self.frameworks.get_mut(&told.id) {
                Some(known) if known.pid == told.pid => continue,
                Some(known) => known.pid = told.pid.clone(),
                None if self.members.keys().any(|group| group.framework == told.id) => {
                    self.frameworks.insert(told.id.clone(), told.clone());
                }
                None => continue,
            }
            self.stale_hosts = true;
            applied = Applied::Changed;
        }
        applied
    }

    /// Whether the framework that a task belongs to is known.
    pub fn knows_framework_of(&self, task: &Task) -> bool {
        self.frameworks.contains_key(&task.group.framework)
    }

    /// Says who the masters are.
    pub fn set_masters(&mut self, masters: Masters) -> Applied {
        if self.cluster.masters.as_deref() == Some(&masters) {
            return Applied::Unchanged;
        }
        self.cluster.masters = Some(Arc::new(masters));
        Applied::Changed
    }

    /// The hosts that [`Hosts`] is asked for, by name or address; some may be there twice.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<str>> {
        let agents = self.agents.values().map(|agent| &agent.host);
        let frameworks = self.frameworks.values().map(framework_host);
        agents.chain(frameworks).filter(|host| !host.is_empty())
    }

    /// Number of tasks that are followed, those that do not run yet among them.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// What was last made of it for the catalog.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Says that [`Hosts`] knows more than before.
    pub fn hosts_changed(&mut self) {
        self.stale_hosts = true;
    }

    /// Brings the cluster up to date; the cost is that of what changed.
    pub fn refresh(&mut self, hosts: &dyn Hosts) -> &Cluster {
        if std::mem::take(&mut self.stale_hosts) {
            let agents = self.refresh_agents(hosts);
            if !agents.is_empty() {
                let moved = self.tasks.values().filter(|t| agents.contains(&t.facts.agent.id));
                self.stale.extend(moved.map(|task| task.group.clone()));
            }
            let frameworks = self.refresh_frameworks(hosts);
            if !frameworks.is_empty() {
                let renamed = self.members.keys().filter(|g| frameworks.contains(&g.framework));
                self.stale.extend(renamed.cloned());
            }
        }
        let mut stale: Vec<_> = self.stale.drain().collect();
        stale.sort_unstable();
        for id in stale {
            self.refresh_group(id);
        }
        &self.cluster
    }

    /// Updates the agents in the cluster; those that changed, came or went.
    fn refresh_agents(&mut self, hosts: &dyn Hosts) -> Set<Arc<str>> {
        let mut changed = Set::default();
        let known = &mut self.cluster.agents;
        let gone = known.keys().filter(|id| !self.agents.contains_key(*id)).cloned();
        for id in gone.collect::<Vec<_>>() {
            known.remove(&id);
            changed.insert(id);
        }
        for agent in self.agents.values() {
            let before = known.get(&agent.id);
            let addresses = hosts.addresses(&agent.host);
            let kept = || before.map(|b| b.addresses.clone()).unwrap_or_default();
            let after = ClusterAgent {
                id: agent.id.clone(),
                hostname: agent.hostname.clone(),
                addresses: addresses.unwrap_or_else(kept),
                port: agent.port,
            };
            if before.is_none_or(|before| **before != after) {
                known.insert(agent.id.clone(), Arc::new(after));
                changed.insert(agent.id.clone());
            }
        }
        changed
    }

    /// Updates the frameworks in the cluster; those that came, went or have a new name.
    fn refresh_frameworks(&mut self, hosts: &dyn Hosts) -> Set<Arc<str>> {
        let mut changed = Set::default();
        let known = &mut self.cluster.frameworks;
        let gone = known.keys().filter(|id| !self.frameworks.contains_key(*id)).cloned();
        for id in gone.collect::<Vec<_>>() {
            known.remove(&id);
            changed.insert(id);
        }
        for framework in self.frameworks.values() {
            let before = known.get(&framework.id);
            let addresses = hosts.addresses(framework_host(framework));
            let kept = || before.map(|b| b.addresses.clone()).unwrap_or_default();
            let after = KnownFramework {
                id: framework.id.clone(),
                name: framework.name.clone(),
                addresses: addresses.unwrap_or_else(kept),
                port: framework.pid.as_ref().map(|pid| pid.port),
            };
            if before.is_some_and(|before| **before == after) {
                continue;
            }
            if before.is_none_or(|before| before.name != after.name) {
                changed.insert(framework.id.clone());
            }
            known.insert(framework.id.clone(), Arc::new(after));
        }
        changed
    }

    /// Makes one group anew.
    fn refresh_group(&mut self, id: TaskGroupId) {
        let mut tasks = Vec::new();
        let framework = self.cluster.frameworks.get(&id.framework);
        for task in self.members.get(&id).into_iter().flatten().filter(|_| framework.is_some()) {
            let Some(task) = self.tasks.get_mut(&(id.framework.clone(), task.clone())) else {
                continue;
            };
            let Some(agent) = self.cluster.agents.get(&task.facts.agent.id) else { continue };
            if !task.phase.counts() {
                continue;
            }
            if !Arc::ptr_eq(&task.facts.agent, agent) {
                Arc::make_mut(&mut task.facts).agent = agent.clone();
            }
            tasks.push(task.facts.clone());
        }
        let (Some(framework), false) = (framework, tasks.is_empty()) else {
            self.cluster.groups.remove(&id);
            return;
        };
        let before = self.cluster.groups.get(&id);
        let same = before.is_some_and(|before| {
            before.framework == framework.name
                && before.tasks.len() == tasks.len()
                && before.tasks.iter().zip(&tasks).all(|(a, b)| Arc::ptr_eq(a, b) || a == b)
        });
        if !same {
            let group = TaskGroup { id: id.clone(), framework: framework.name.clone(), tasks };
            self.cluster.groups.insert(id, Arc::new(group));
        }
    }

    fn task_added(&mut self, task: Task) -> Applied {
        let key = key_of(&task);
        self.carried.remove(&key);
        match self.tasks.remove(&key) {
            _ if task.phase == Phase::Gone => return Applied::Unchanged,
            Some(old) => self.put(key, old, task),
            None => self.insert(task),
        }
        Applied::Changed
    }

    fn task_updated(&mut self, update: TaskUpdate) -> Applied {
        let TaskUpdate { framework, task, phase, status } = update;
        let key = (framework, task);
        if phase == Phase::Gone {
            self.carried.remove(&key);
            let Some(old) = self.tasks.remove(&key) else { return Applied::Unchanged };
            self.forget_member(&old);
            if status.is_some_and(|status| status.agent_gone) {
                // Masters tell an agent that went out of reach in no other way.
                self.agent_removed(&old.facts.agent.id);
            }
            return Applied::Changed;
        }
        let Some(known) = self.tasks.get_mut(&key) else { return Applied::Gap };
        if !known.update(phase, status) {
            return Applied::Unchanged;
        }
        self.stale.insert(known.group.clone());
        Applied::Changed
    }

    fn agent_removed(&mut self, id: &Arc<str>) -> Applied {
        if self.agents.remove(id).is_none() {
            return Applied::Unchanged;
        }
        self.remove_tasks(|task| task.facts.agent.id == *id);
        self.stale_hosts = true;
        Applied::Changed
    }

    fn agent_added(&mut self, agent: Agent) -> Applied {
        self.away.remove(&agent.id);
        self.agents.insert(agent.id.clone(), agent);
        self.stale_hosts = true;
        Applied::Changed
    }

    fn framework(&mut self, mut framework: Framework) -> Applied {
        let before = self.frameworks.get(&framework.id);
        if framework.pid.is_none() {
            framework.pid = before.and_then(|before| before.pid.clone());
        }
        if before == Some(&framework) {
            return Applied::Unchanged;
        }
        self.frameworks.insert(framework.id.clone(), framework);
        self.stale_hosts = true;
        Applied::Changed
    }

    /// Keeps the agents that have not come back yet.
    fn carry_agents(&mut self, away: &Set<Arc<str>>, before: Map<Arc<str>, Agent>) {
        self.agents.extend(before.into_iter().filter(|(id, _)| away.contains(id)));
    }

    /// Keeps a task whose agent has not come back yet, and its framework.
    fn carry(&mut self, key: TaskKey, task: Task, frameworks: &Map<Arc<str>, Framework>) {
        if let Some(framework) = frameworks.get(&key.0) {
            self.frameworks.entry(key.0.clone()).or_insert_with(|| framework.clone());
        }
        self.carried.insert(key.clone());
        self.tasks.insert(key, task);
    }

    /// Puts a task in the place of what was known of it before.
    fn put(&mut self, key: TaskKey, old: Task, mut task: Task) {
        if task.says_the_same(&old) {
            task.facts = old.facts;
            self.tasks.insert(key, task);
            return;
        }
        if task.group != old.group {
            self.forget_member(&old);
        }
        self.insert(task);
    }

    fn insert(&mut self, task: Task) {
        self.members.entry(task.group.clone()).or_default().insert(task.id().clone());
        self.stale.insert(task.group.clone());
        self.tasks.insert(key_of(&task), task);
    }

    /// Takes a task, which is not among the tasks any more, out of its group.
    fn forget_member(&mut self, task: &Task) {
        if let Some(members) = self.members.get_mut(&task.group) {
            members.remove(task.id());
            if members.is_empty() {
                self.members.remove(&task.group);
            }
        }
        self.stale.insert(task.group.clone());
    }

    fn remove_tasks(&mut self, which: impl Fn(&Task) -> bool) {
        let gone: Vec<Task> =
            self.tasks.extract_if(|_, task| which(task)).map(|(_, t)| t).collect();
        for task in &gone {
            self.carried.remove(&key_of(task));
            self.forget_member(task);
        }
    }
}

fn key_of(task: &Task) -> TaskKey {
    (task.group.framework.clone(), task.id().clone())
}

/// Where a framework's scheduler is: as its pid says, else its host name.
fn framework_host(framework: &Framework) -> &Arc<str> {
    framework.pid.as_ref().map_or(&framework.hostname, |pid| &pid.host)
}
