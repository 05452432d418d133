//! Requests, events and catalog entries, case by case. What happens over time is simulated in
//! `tests/simulation`.

use std::sync::Arc;
use std::time::Duration;

use waymark_executors::StatusUpdate;
use waymark_health::{CheckId, Outcome, ProbeReport};
use waymark_model::{
    Agent, App, AppId, HealthCheck, PathId, PortDefinition, Readiness, TaskId, TaskState, Timestamp,
};

use super::*;
use crate::{Accepted, Change, Failure, Refusal, announce};

mod catalog;
mod changes;
mod events;
mod tasks;

/// A core with a machine that counts instead of drawing random numbers.
struct Bench {
    core: Core,
    now: Timestamp,
    count: u64,
    out: Effects,
}

struct Counting<'a>(&'a mut u64);

impl Host for Counting<'_> {
    fn random(&mut self) -> u64 {
        *self.0 += 1;
        *self.0
    }
    fn port_is_free(&mut self, _: u16) -> bool {
        true
    }
}

fn id(text: &str) -> AppId {
    PathId::parse(text).unwrap()
}

fn agent() -> Agent {
    Agent { id: "uuid-S0".to_owned(), hostname: "host".to_owned(), address: [127, 0, 0, 1].into() }
}

/// An app with these service ports.
fn app(name: &str, instances: u32, ports: &[u16]) -> App {
    let mut app = App::new(id(name));
    app.instances = instances;
    app.cmd = Some("sleep 1".to_owned());
    app.port_definitions =
        ports.iter().map(|port| PortDefinition { port: *port, ..Default::default() }).collect();
    app
}

fn put(apps: impl IntoIterator<Item = App>) -> Change {
    let apps = apps.into_iter().map(|a| (a.id.clone(), Some(a))).collect();
    Change { apps, ..Change::default() }
}

impl Bench {
    fn new() -> Bench {
        Bench::with(Settings::new(agent()))
    }

    fn with(settings: Settings) -> Bench {
        let core = Core::new(settings, "framework");
        Bench { core, now: Timestamp(1_000_000), count: 0, out: Effects::default() }
    }

    fn handle(&mut self, input: Input) -> &Effects {
        self.out = self.core.handle(input, self.now, &mut Counting(&mut self.count));
        &self.out
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
        self.handle(Input::Tick);
    }

    fn change(&mut self, change: Change, force: bool) -> Result<Accepted, Refusal> {
        let change = Box::new(move |_: &Root| Ok(change));
        self.handle(Input::Request(Request::Change { change, force }));
        self.out.answer.take().unwrap()
    }

    fn put(&mut self, app: App) -> Accepted {
        self.change(put([app]), false).unwrap()
    }

    fn status(&mut self, task: &TaskId, state: TaskState) {
        let update = StatusUpdate { task: task.clone(), state, message: "said".to_owned() };
        self.handle(Input::Status(update));
    }

    fn probe(&mut self, task: &TaskId, check: CheckId, well: bool) {
        let failure = || Outcome::Failure("ill".to_owned());
        let outcome = if well { Outcome::Success } else { failure() };
        self.handle(Input::Probe(ProbeReport {
            task: task.clone(),
            check,
            outcome,
            response: None,
            at: self.now,
            latency: Duration::ZERO,
        }));
    }

    fn tasks(&self, app: &str) -> Vec<TaskId> {
        self.core.state().tasks_of(&id(app)).map(|t| t.id.clone()).collect()
    }

    fn run_all(&mut self, app: &str) -> Vec<TaskId> {
        let tasks = self.tasks(app);
        for task in &tasks {
            self.status(task, TaskState::Running);
        }
        tasks
    }

    fn state_of(&self, task: &TaskId) -> Option<TaskState> {
        self.core.state().task(task).map(|t| t.state)
    }

    fn stored_app(&self, name: &str) -> Arc<App> {
        self.core.state().app(&id(name)).unwrap().clone()
    }
}
