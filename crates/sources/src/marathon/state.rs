//! What a Marathon has said about its apps, and what the catalog gets of it (pure).
//!
//! ```text
//! Listing, AppFacts, "gone" ─► State ─► entries that changed
//! ```
//!
//! Whatever way an app's facts come, alone or in a list, the same entry comes of them. What an
//! answer says is believed; what a *list* only leaves out (an app, or all tasks of an app that wants
//! some) is believed when it is said again some time later, since lists may be half: a leader that
//! has just been elected, or something in between that failed. Questions about a single app are
//! answered by name, and those answers are believed at once. An app that makes no sense keeps its
//! last entry. Time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use waymark_marathon_api::answer::{AppFacts, Listing, Unreadable};
use waymark_mesos_api::Hosts;
use waymark_model::{AppEntry, AppId, NetworkMode, TaskId};

use super::entry::{self, Agents, Memory};
use super::invent::invent;

/// How long a list must go on leaving something out before that is believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For an app, or all tasks of an app.
    pub gone: Duration,
    /// For everything at once.
    pub empty: Duration,
}

/// What a Marathon said.
pub(super) struct State {
    framework: Arc<str>,
    apps: BTreeMap<AppId, Followed>,
    /// Apps that lists leave out, or whose tasks they do, and since when.
    doubted: BTreeMap<AppId, Instant>,
    /// Apps whose entry is to be made anew.
    dirty: BTreeSet<AppId>,
    /// Why the last word about an app was of no use.
    problems: BTreeMap<AppId, String>,
    /// The range for service ports of apps that have none.
    range: Option<RangeInclusive<u16>>,
    invented: BTreeMap<AppId, Vec<u16>>,
    agents: Agents,
}

/// One app.
#[derive(Default)]
struct Followed {
    /// What was said of it; `None` while only what was published before the start is known.
    facts: Option<AppFacts>,
    memory: HashMap<TaskId, Memory>,
}

/// The answer to a question about one app.
#[derive(Debug)]
pub(super) enum Told {
    Facts(Box<AppFacts>),
    Unreadable(String),
    Gone,
}

impl State {
    /// Knows nothing yet. `framework` is what the apps belong to until a Marathon says its name.
    pub fn new(framework: &str, range: Option<RangeInclusive<u16>>) -> State {
        State {
            framework: Arc::from(framework),
            apps: BTreeMap::new(),
            doubted: BTreeMap::new(),
            dirty: BTreeSet::new(),
            problems: BTreeMap::new(),
            range,
            invented: BTreeMap::new(),
            agents: Agents::default(),
        }
    }

    /// Takes over an entry that was published before the start. It stays as it is until something
    /// is said about the app.
    pub fn restore(&mut self, entry: &AppEntry) {
        self.framework = entry.framework.clone();
        let known =
            |task: &Arc<waymark_model::TaskEntry>| (task.id.clone(), Memory::of(task.readiness));
        let memory = entry.tasks.iter().map(known).collect();
        self.apps.insert(entry.id.clone(), Followed { memory, ..Followed::default() });
    }

    /// Number of apps.
    pub fn len(&self) -> usize {
        self.apps.len()
    }

    /// Apps whose last word was of no use, and why.
    pub fn problems(&self) -> &BTreeMap<AppId, String> {
        &self.problems
    }

    /// Apps that lists leave out, or whose tasks they do, and that are kept for now.
    pub fn doubted(&self) -> usize {
        self.doubted.len()
    }

    /// Says which framework the apps belong to.
    pub fn set_framework(&mut self, name: &str) {
        if *self.framework != *name {
            self.framework = Arc::from(name);
            self.dirty.extend(self.apps.keys().cloned());
        }
    }

    /// Takes over the answer to a question for everything. Nothing is done about the apps in
    /// `fresher`, whose facts are younger than this answer. Returns when to ask again because
    /// something that was left out is kept for now.
    pub fn take_listing(
        &mut self,
        listing: Listing,
        fresher: &HashSet<AppId>,
        now: Instant,
        patience: Patience,
    ) -> Option<Instant> {
        let Listing { apps, unreadable } = listing;
        let nothing = apps.is_empty() && unreadable.is_empty();
        // With an element that says not even which app it is, none can be said to be missing.
        let complete = unreadable.iter().all(|element| element.id.is_some());
        let mut present: HashSet<AppId> = fresher.clone();
        let mut again: Option<Instant> = None;
        let mut ask_again = |at: Instant| again = Some(again.map_or(at, |again| again.min(at)));
        for Unreadable { id, reason } in unreadable {
            let Some(id) = id else { continue };
            present.insert(id.clone());
            self.misunderstood(id, reason);
        }
        for facts in apps {
            let id = facts.id.clone();
            if !present.insert(id.clone()) {
                continue;
            }
            match self.is_doubtful(&facts).then(|| self.doubt(&id, now, patience.gone)).flatten() {
                Some(until) => ask_again(until),
                None => self.take(facts),
            }
        }
        let missing: Vec<AppId> =
            self.apps.keys().filter(|id| complete && !present.contains(*id)).cloned().collect();
        let patience = if nothing { patience.empty } else { patience.gone };
        for id in missing {
            match self.doubt(&id, now, patience) {
                Some(until) => ask_again(until),
                None => self.forget(&id),
            }
        }
        again
    }

    /// Takes over the answer to a question for one app.
    pub fn take_app(&mut self, id: &AppId, told: Told) {
        match told {
            Told::Facts(facts) if facts.id == *id => self.take(*facts),
            Told::Facts(facts) => {
                self.misunderstood(id.clone(), format!("the answer is about {}", facts.id));
            }
            Told::Unreadable(reason) => self.misunderstood(id.clone(), reason),
            Told::Gone => self.forget(id),
        }
    }

    /// The last word about an app is of no use; what was known of it stays.
    pub fn misunderstood(&mut self, id: AppId, reason: String) {
        self.doubted.remove(&id);
        self.problems.insert(id, reason);
    }

    /// Whether a list leaves out all tasks of an app that has some and goes on wanting some.
    fn is_doubtful(&self, facts: &AppFacts) -> bool {
        let has_tasks = self.apps.get(&facts.id).is_some_and(|app| match &app.facts {
            Some(before) => !before.tasks.is_empty(),
            None => !app.memory.is_empty(),
        });
        has_tasks && facts.tasks.is_empty() && facts.instances > 0
    }

    /// Until when what a list leaves out is kept; `None` when it has been left out long enough.
    fn doubt(&mut self, id: &AppId, now: Instant, patience: Duration) -> Option<Instant> {
        let until = *self.doubted.entry(id.clone()).or_insert(now) + patience;
        (until > now).then_some(until)
    }

    fn take(&mut self, facts: AppFacts) {
        let id = facts.id.clone();
        self.problems.remove(&id);
        self.doubted.remove(&id);
        let app = self.apps.entry(id.clone()).or_default();
        if app.facts.as_ref() == Some(&facts) {
            return;
        }
        let remembered = |task: &waymark_marathon_api::answer::TaskFacts| {
            let before = app.memory.get(&task.id).copied().unwrap_or_default();
            (task.id.clone(), before.after(&facts, task))
        };
        app.memory = facts.tasks.iter().map(remembered).collect();
        let wanted = wanted_ports(&facts) != app.facts.as_ref().and_then(wanted_ports);
        app.facts = Some(facts);
        self.dirty.insert(id);
        if wanted {
            self.invent();
        }
    }

    fn forget(&mut self, id: &AppId) {
        self.problems.remove(id);
        self.doubted.remove(id);
        let Some(app) = self.apps.remove(id) else { return };
        self.dirty.insert(id.clone());
        if app.facts.as_ref().and_then(wanted_ports).is_some() {
            self.invent();
        }
    }

    /// Draws the service ports of apps that have none.
    fn invent(&mut self) {
        let Some(range) = &self.range else { return };
        let asking = self.apps.iter().filter_map(|(id, app)| {
            app.facts.as_ref().and_then(wanted_ports).map(|ports| (id, ports))
        });
        let invented = invent(range, asking);
        let before = std::mem::replace(&mut self.invented, invented);
        for (id, ports) in &self.invented {
            if before.get(id) != Some(ports) {
                self.dirty.insert(id.clone());
            }
        }
    }

    /// The hosts of all tasks.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<str>> {
        let facts = self.apps.values().filter_map(|app| app.facts.as_ref());
        facts.flat_map(hosts)
    }

    /// The hosts of the tasks of one app.
    pub fn hosts_of(&self, id: &AppId) -> impl Iterator<Item = &Arc<str>> {
        let facts = self.apps.get(id).and_then(|app| app.facts.as_ref());
        facts.into_iter().flat_map(hosts)
    }

    /// Something new is known about the addresses of these hosts.
    pub fn hosts_changed(&mut self, hosts: &HashSet<Arc<str>>) {
        let on_them = |app: &Followed| {
            let facts = app.facts.as_ref();
            facts.is_some_and(|facts| facts.tasks.iter().any(|task| hosts.contains(&task.host)))
        };
        let ids = self.apps.iter().filter(|(_, app)| on_them(app)).map(|(id, _)| id.clone());
        self.dirty.extend(ids);
    }

    /// The entries that may have changed since this was asked last; `None` for an app that is gone.
    pub fn changes(&mut self, hosts: &impl Hosts) -> Vec<(AppId, Option<AppEntry>)> {
        let mut changes = Vec::new();
        for id in std::mem::take(&mut self.dirty) {
            let Some(app) = self.apps.get(&id) else {
                changes.push((id, None));
                continue;
            };
            // Without facts the entry from before the start stays.
            let Some(facts) = &app.facts else { continue };
            let invented = self.invented.get(&id).map(Vec::as_slice);
            let entry = entry::entry(
                facts,
                &self.framework,
                &app.memory,
                invented,
                hosts,
                &mut self.agents,
            );
            changes.push((id, Some(entry)));
        }
        changes
    }
}

fn hosts(facts: &AppFacts) -> impl Iterator<Item = &Arc<str>> {
    facts.tasks.iter().map(|task| &task.host).filter(|host| !host.is_empty())
}

/// The task ports of an app that has no service ports and can be given some.
fn wanted_ports(facts: &AppFacts) -> Option<Vec<u16>> {
    let none = facts.ports.iter().all(|port| port.service_port == 0);
    let ports: Vec<u16> = facts.ports.iter().map(|port| port.container_port).collect();
    let listens = ports.iter().any(|port| *port != 0);
    (facts.mode == NetworkMode::Container && none && listens).then_some(ports)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
