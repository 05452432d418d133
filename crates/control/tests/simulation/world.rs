//! The world around the core: what the shell does, with faults.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use waymark_control::Refusal;
use waymark_control::core::{Core, Effects, Host, Input, Key, Record, Settings, Stored, entry};
use waymark_executors::StatusUpdate;
use waymark_health::{CheckId, Outcome, ProbeReport};
use waymark_model::{Agent, App, AppEntry, AppId, Task, TaskId, TaskState, Timestamp};

use crate::machine::{Event, Machine, Process};
use crate::{check, requests};

pub struct World {
    pub rng: ChaCha8Rng,
    pub now: u64,
    pub core: Core,
    pub machine: Machine,
    /// What the store has.
    pub disk: BTreeMap<Key, Record>,
    /// What it has not got yet.
    unsaved: BTreeSet<Key>,
    disk_full: bool,
    waiting_launches: Vec<Arc<Task>>,
    /// What outputs see.
    pub catalog: BTreeMap<AppId, AppEntry>,
    /// The apps of the last root that was stored.
    pub accepted: BTreeMap<AppId, Arc<App>>,
    watched: BTreeSet<TaskId>,
    /// Tasks of which `Drained` was told.
    pub drained: BTreeSet<TaskId>,
    calm: bool,
    verbose: bool,
}

struct Dice<'a>(&'a mut ChaCha8Rng, &'a Machine);

impl Host for Dice<'_> {
    fn random(&mut self) -> u64 {
        self.0.next_u64()
    }
    fn port_is_free(&mut self, port: u16) -> bool {
        self.1.port_is_free(port)
    }
}

pub fn settings() -> Settings {
    let agent = Agent {
        id: "agent-S0".to_owned(),
        hostname: "localhost".to_owned(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    // Few of both kinds of ports, so that they run out.
    Settings {
        service_ports: 10_000..=10_008,
        host_ports: vec![31_000..=31_063],
        ..Settings::new(agent)
    }
}

impl World {
    pub fn new(seed: u64, verbose: bool) -> World {
        World {
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: 1_000_000,
            core: Core::new(settings(), "framework"),
            machine: Machine { foreign_ports: vec![31_007, 31_020], ..Machine::default() },
            disk: BTreeMap::new(),
            unsaved: BTreeSet::new(),
            disk_full: false,
            waiting_launches: Vec::new(),
            catalog: BTreeMap::new(),
            accepted: BTreeMap::new(),
            watched: BTreeSet::new(),
            drained: BTreeSet::new(),
            calm: false,
            verbose,
        }
    }

    pub fn run(mut self, steps: usize) {
        for _ in 0..steps {
            match self.rng.random_range(0..100) {
                0..12 => self.request(),
                12..16 => self.crash_a_task(),
                16..20 => self.sicken_a_task(),
                20..22 => self.die(),
                22..24 => self.disk_full = self.rng.random_bool(0.4),
                _ => self.pass_time(),
            }
            check::always(&self);
        }
        self.calm_down();
    }

    /// No more faults: everything must become as wanted.
    fn calm_down(&mut self) {
        self.calm = true;
        self.disk_full = false;
        self.machine.foreign_ports.clear();
        for process in self.machine.processes.values_mut() {
            process.healthy_from = process.healthy_from.min(self.now + 1000);
        }
        for _ in 0..20_000 {
            if check::is_converged(self) {
                return;
            }
            self.pass_time();
            check::always(self);
        }
        check::converged(self);
    }

    /// Goes to the next moment at which something happens.
    fn pass_time(&mut self) {
        let lazy = if self.unsaved.is_empty() { None } else { Some(self.now + 250) };
        let wakeup = self.core.next_wakeup().map(|t| t.0);
        let next = [self.machine.next(), wakeup, lazy].into_iter().flatten().min();
        self.now = next.unwrap_or(self.now + 1000).max(self.now + 1);
        while let Some(event) = self.machine.due(self.now) {
            self.happen(event);
        }
        if self.core.next_wakeup().is_some_and(|at| at.0 <= self.now) {
            self.fact(Input::Tick);
        }
        if !self.unsaved.is_empty() && (self.calm || self.rng.random_bool(0.5)) {
            self.commit();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Starting(id) => {
                if self.machine.processes.contains_key(&id) {
                    self.status(id, TaskState::Starting);
                }
            }
            Event::Running(id) => {
                if let Some(process) = self.machine.processes.get_mut(&id) {
                    process.running = true;
                    self.status(id, TaskState::Running);
                }
            }
            Event::Ended(id, state) => {
                if self.machine.processes.remove(&id).is_some() {
                    self.status(id, state);
                }
            }
            Event::Probe(id) => self.probe(id),
            Event::Drained(id) => {
                self.drained.insert(id.clone());
                self.fact(Input::Drained(id));
            }
        }
    }

    fn status(&mut self, task: TaskId, state: TaskState) {
        self.fact(Input::Status(StatusUpdate { task, state, message: "told".to_owned() }));
    }

    fn probe(&mut self, id: TaskId) {
        if !self.watched.contains(&id) {
            return;
        }
        let Some(process) = self.machine.processes.get(&id).cloned() else { return };
        let later = self.now + self.rng.random_range(500..5000);
        self.machine.plan(later, Event::Probe(id.clone()));
        let well = process.running && process.healthy_from <= self.now;
        let app = &process.task.app;
        let health = (0..app.health_checks.len()).map(CheckId::Health);
        let readiness = (0..app.readiness_checks.len()).map(CheckId::Readiness);
        for check in health.chain(readiness) {
            let outcome = if well { Outcome::Success } else { Outcome::Failure("ill".to_owned()) };
            self.fact(Input::Probe(ProbeReport {
                task: id.clone(),
                check,
                outcome,
                response: None,
                at: Timestamp(self.now),
                latency: std::time::Duration::ZERO,
            }));
        }
    }

    fn crash_a_task(&mut self) {
        if let Some(id) = self.any_process() {
            let states = [TaskState::Failed, TaskState::Finished, TaskState::Lost];
            let state = states[self.rng.random_range(0..states.len())];
            self.happen(Event::Ended(id, state));
        }
    }

    fn sicken_a_task(&mut self) {
        let for_ever = self.rng.random_bool(0.3);
        let until = if for_ever { u64::MAX } else { self.now + self.rng.random_range(0..20_000) };
        if let Some(process) = self.any_process().and_then(|id| self.machine.processes.get_mut(&id))
        {
            process.healthy_from = until;
        }
    }

    fn any_process(&mut self) -> Option<TaskId> {
        let ids: Vec<&TaskId> = self.machine.processes.keys().collect();
        if ids.is_empty() {
            return None;
        }
        Some(ids[self.rng.random_range(0..ids.len())].clone())
    }

    /// A fact cannot be refused.
    fn fact(&mut self, input: Input) {
        let before = self.core.clone();
        let effects = self.handle(input);
        check::voluntary_leaves(self, &before, &effects, &[]);
        self.act(effects);
        self.commit_launches();
    }

    /// A change happens only if it can be stored.
    fn request(&mut self) {
        let before = self.core.clone();
        let (request, named) = requests::random(&mut self.rng, before.state());
        let is_change = !matches!(
            request,
            waymark_control::Request::Kill { scale: false, .. }
                | waymark_control::Request::ResetDelay(_)
        );
        let mut effects = self.handle(Input::Request(request));
        let answer = effects.answer.take().expect("a request is answered");
        if self.verbose {
            println!("{} answer {:?}", self.now, answer.as_ref().map(|a| a.deployment.clone()));
        }
        check::answer(&before, &self.core, &answer, &effects);
        check::voluntary_leaves(self, &before, &effects, &named);
        if !is_change {
            self.act(effects);
            return self.commit_launches();
        }
        if effects.writes.is_empty() {
            return self.act(effects);
        }
        self.unsaved.extend(effects.writes.iter().cloned());
        if self.commit() {
            self.act(effects);
            self.launch();
        } else {
            self.core = before;
        }
    }

    fn handle(&mut self, input: Input) -> Effects {
        if self.verbose {
            match &input {
                Input::Status(s) => println!("{} {} {:?}", self.now, s.task, s.state),
                Input::Probe(p) => println!("{} {} {:?}", self.now, p.task, p.outcome),
                Input::Drained(t) => println!("{} {t} drained", self.now),
                Input::Request(_) => println!("{} request", self.now),
                Input::Tick | Input::Shutdown => println!("{} tick", self.now),
            }
        }
        let mut dice = Dice(&mut self.rng, &self.machine);
        let effects = self.core.handle(input, Timestamp(self.now), &mut dice);
        if self.verbose {
            for happening in &effects.happenings {
                println!("    {happening:?}");
            }
            println!("    drain {:?} kill {:?}", effects.drain, effects.kills);
        }
        effects
    }

    fn act(&mut self, effects: Effects) {
        for launch in &effects.launches {
            assert!(effects.writes.contains(&Key::Task(launch.id.clone())), "launch without write");
        }
        self.unsaved.extend(effects.writes);
        for task in &effects.forget {
            self.watched.remove(task);
        }
        for app in effects.catalog {
            match entry(self.core.state(), &app) {
                Some(entry) => drop(self.catalog.insert(app, entry)),
                None => drop(self.catalog.remove(&app)),
            }
        }
        for task in effects.drain {
            // Some take longer than the drain time-out.
            let later = self.now + self.rng.random_range(0..15_000);
            self.machine.plan(later, Event::Drained(task));
        }
        self.waiting_launches.extend(effects.launches);
        for kill in effects.kills {
            check::kill(self, &kill);
            self.waiting_launches.retain(|t| t.id != kill.task);
            self.kill(kill.task);
        }
        for task in effects.watch {
            if self.core.state().task(&task.id).is_some() && self.watched.insert(task.id.clone()) {
                let later = self.now + self.rng.random_range(0..500);
                self.machine.plan(later, Event::Probe(task.id.clone()));
            }
        }
    }

    fn kill(&mut self, id: TaskId) {
        let later = self.now + self.rng.random_range(0..3000);
        match self.machine.processes.get_mut(&id) {
            // Some kills get lost and have to be repeated.
            Some(process) if process.told_to_end || self.calm || self.rng.random_bool(0.95) => {
                process.told_to_end = true;
                self.machine.plan(later, Event::Ended(id, TaskState::Killed));
            }
            Some(_) => {}
            None => self.status(id, TaskState::Lost),
        }
    }

    fn commit_launches(&mut self) {
        if !self.waiting_launches.is_empty() && self.commit() {
            self.launch();
        }
    }

    /// Everything unsaved at once, or nothing.
    fn commit(&mut self) -> bool {
        if self.disk_full {
            return false;
        }
        for key in std::mem::take(&mut self.unsaved) {
            let record = self.core.stored(&key);
            match record {
                Record::App { current: None, .. }
                | Record::Group(None)
                | Record::Task(None)
                | Record::Deployment(None)
                | Record::Failure(None) => drop(self.disk.remove(&key)),
                record => drop(self.disk.insert(key, record)),
            }
        }
        let apps = self.core.state().root.apps.iter();
        self.accepted = apps.map(|(id, app)| (id.clone(), app.clone())).collect();
        self.launch();
        true
    }

    fn launch(&mut self) {
        for task in std::mem::take(&mut self.waiting_launches) {
            check::launch(self, &task);
            let id = task.id.clone();
            let healthy_from = if !self.calm && self.rng.random_bool(0.05) {
                u64::MAX
            } else {
                self.now + self.rng.random_range(0..8000)
            };
            let process = Process { task, running: false, healthy_from, told_to_end: false };
            self.machine.processes.insert(id.clone(), process);
            let start = self.now + self.rng.random_range(1..400);
            self.machine.plan(start, Event::Starting(id.clone()));
            // A few hang until they are overdue.
            if self.calm || self.rng.random_bool(0.98) {
                let run = start + self.rng.random_range(0..2000);
                self.machine.plan(run, Event::Running(id));
            }
        }
    }

    /// The control plane is killed and starts again from what the store has.
    fn die(&mut self) {
        if self.verbose {
            println!("{} the control plane dies", self.now);
        }
        self.machine.forget_answers();
        self.waiting_launches.clear();
        self.unsaved.clear();
        self.watched.clear();
        self.core = Core::restore(settings(), stored(&self.disk));
        check::restored(self);
        self.now += self.rng.random_range(1..5000);
        let known: Vec<Arc<Task>> =
            self.core.state().tasks.values().flat_map(|t| t.values()).cloned().collect();
        let ids: BTreeSet<&TaskId> = known.iter().map(|t| &t.id).collect();
        self.machine.processes.retain(|id, _| ids.contains(id));
        for task in &known {
            let state = match self.machine.processes.get(&task.id) {
                Some(process) if process.running => TaskState::Running,
                // It will tell by itself.
                Some(_) => continue,
                None => TaskState::Lost,
            };
            self.status(task.id.clone(), state);
        }
        let mut dice = Dice(&mut self.rng, &self.machine);
        let effects = self.core.resume(Timestamp(self.now), &mut dice);
        self.catalog.clear();
        self.act(effects);
        self.commit_launches();
    }
}

/// The store's contents as it would load them.
fn stored(disk: &BTreeMap<Key, Record>) -> Stored {
    let mut stored = Stored { framework_id: "framework".to_owned(), ..Stored::default() };
    for (key, record) in disk {
        match (key, record.clone()) {
            (_, Record::Root(version)) => stored.root_version = version,
            (_, Record::App { current: Some(app), .. }) => stored.apps.push(app),
            (Key::Group(id), Record::Group(Some(group))) => stored.groups.push((id.clone(), group)),
            (_, Record::Task(Some(task))) => stored.tasks.push(task),
            (_, Record::Deployment(Some(deployment))) => stored.deployments.push(deployment),
            (Key::Failure(id), Record::Failure(Some(f))) => stored.failures.push((id.clone(), f)),
            _ => {}
        }
    }
    stored
}

/// Refusals that random requests may meet.
pub fn is_expected(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Locked(_) | Refusal::PortsExhausted { .. })
}
