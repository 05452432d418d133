//! The core of the control plane: state + input + now → effects. Pure.
//!
//! ```text
//! Input ──► Core::handle ──► Effects { writes, launches, kills, probes, drains, catalog, … }
//!              │    ▲
//!              ▼    │ next_wakeup()
//!            State  └── Input::Tick
//! ```
//!
//! Every input changes the state and then reconciles the apps it touched: [`crate::replace`] says
//! what has to happen now, and the core turns that into effects. Inputs carry no plan, so a lost,
//! doubled or late one corrupts nothing.
//!
//! All collections share their structure, so a clone costs nothing: the shell clones the core,
//! handles requests, and goes back to the clone when they could not be stored.
//!
//! Nothing here does I/O, reads a clock or draws randomness by itself: see [`Host`].

mod change;
mod deploy;
mod effects;
mod entry;
mod health;
mod kill;
mod launch;
mod leave;
mod reconcile;
mod restore;
mod status;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use imbl::{OrdMap, OrdSet};
use waymark_executors::StatusUpdate;
use waymark_health::ProbeReport;
use waymark_model::host_ports::HostPorts;
use waymark_model::service_ports::ServicePorts;
use waymark_model::{Agent, App, AppId, Root, Task, TaskId, Timestamp};

use crate::{DeploymentId, Request, State};

pub use effects::{Effects, Happening, Key, Kill};
pub use entry::entry;
pub use restore::{Record, Stored};

use leave::Leaving;

/// Most deployments that run at once (`max_running_deployments` of Marathon); more are refused.
pub const MAX_DEPLOYMENTS: usize = 100;
/// After this long a kill that had no effect is repeated (`kill_retry_timeout` of Marathon).
pub const KILL_RETRY: Duration = Duration::from_secs(30);
/// How often a launch that lacks a host port is tried again.
pub const LAUNCH_RETRY: Duration = Duration::from_secs(1);
/// Time from TERM to KILL for apps that do not say, Mesos's default.
pub const DEFAULT_KILL_GRACE: Duration = Duration::from_secs(3);

/// What the core is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The framework's name (`marathon`).
    pub framework_name: Arc<str>,
    /// This machine.
    pub agent: Arc<Agent>,
    /// Automatic service ports, both ends included.
    pub service_ports: RangeInclusive<u16>,
    /// Dynamic host ports.
    pub host_ports: Vec<RangeInclusive<u16>>,
    /// Refuse a change that makes two apps share a service port, instead of warning.
    pub strict_service_ports: bool,
    /// Longest time a task drains before it is killed all the same (10 s).
    pub drain_timeout: Duration,
    /// A task that does not run after this long is killed (`task_launch_timeout`, 300 s).
    pub launch_timeout: Duration,
}

impl Settings {
    /// Marathon's defaults for the framework `marathon` on `agent`.
    pub fn new(agent: Agent) -> Settings {
        Settings {
            framework_name: Arc::from("marathon"),
            agent: Arc::new(agent),
            service_ports: 10_000..=20_000,
            host_ports: vec![31_000..=32_000],
            strict_service_ports: false,
            drain_timeout: Duration::from_secs(10),
            launch_timeout: Duration::from_secs(300),
        }
    }
}

/// What the core asks of the world while it handles an input.
pub trait Host {
    /// 64 random bits.
    fn random(&mut self) -> u64;
    /// Whether a host port could be bound at this moment.
    fn port_is_free(&mut self, port: u16) -> bool;
}

/// Something that happened.
pub enum Input {
    /// Somebody asks for something. [`Effects::answer`] is the answer.
    Request(Request),
    /// The executor says what became of a task.
    Status(StatusUpdate),
    /// A probe has ended.
    Probe(ProbeReport),
    /// Nothing uses a draining task any more.
    Drained(TaskId),
    /// The time is [`Core::next_wakeup`] or later.
    Tick,
    /// End all tasks and launch no more; what is wanted stays wanted.
    Shutdown,
}

/// The control plane's mind.
#[derive(Clone)]
pub struct Core {
    state: State,
    settings: Arc<Settings>,
    host_ports: HostPorts,
    /// Which deployment holds an app, and in which of its steps the app reaches its goal.
    locks: OrdMap<AppId, Lock>,
    /// Apps of each deployment's current step that have not reached their goal yet.
    pending: OrdMap<DeploymentId, OrdSet<AppId>>,
    /// Tasks that were told to leave.
    leaving: OrdMap<TaskId, Leaving>,
    /// When an app has to be looked at again, both ways.
    wakeups: OrdMap<AppId, Timestamp>,
    due: OrdSet<(Timestamp, AppId)>,
    /// Apps that were removed and whose last task is not gone yet.
    removed: OrdSet<AppId>,
    /// No more launches.
    shutdown: bool,
}

#[derive(Clone, Debug)]
struct Lock {
    deployment: DeploymentId,
    step: usize,
}

/// What one call of [`Core::handle`] works with.
struct Context<'a> {
    now: Timestamp,
    host: &'a mut dyn Host,
    out: Effects,
    /// Apps to reconcile before the call returns.
    touched: OrdSet<AppId>,
}

impl Core {
    /// A core that knows nothing yet.
    pub fn new(settings: Settings, framework_id: &str) -> Core {
        let settings = Arc::new(settings);
        let (min, max) = (*settings.service_ports.start(), *settings.service_ports.end());
        let mut root = Root::default();
        root.groups.insert(AppId::root(), Arc::default());
        let state = State {
            framework_id: Arc::from(framework_id),
            framework_name: settings.framework_name.clone(),
            agent: settings.agent.clone(),
            root,
            service_ports: ServicePorts::new(min, max),
            tasks: OrdMap::new(),
            task_apps: OrdMap::new(),
            deployments: OrdMap::new(),
            delays: OrdMap::new(),
            failures: OrdMap::new(),
            waiting: OrdMap::new(),
            catalog_version: 0,
            readiness: OrdMap::new(),
            store_failing: None,
        };
        Core {
            host_ports: HostPorts::new(&settings.host_ports),
            state,
            settings,
            locks: OrdMap::new(),
            pending: OrdMap::new(),
            leaving: OrdMap::new(),
            wakeups: OrdMap::new(),
            due: OrdSet::new(),
            removed: OrdSet::new(),
            shutdown: false,
        }
    }

    /// What everybody may see.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Handles one input. Nothing has happened outside yet: that is what the effects say.
    pub fn handle(&mut self, input: Input, now: Timestamp, host: &mut dyn Host) -> Effects {
        let mut cx = Context::new(now, host);
        match input {
            Input::Request(Request::Change { change, force }) => {
                let answer = self.change(change, force, &mut cx);
                cx.out.answer = Some(answer);
            }
            Input::Request(Request::Kill { tasks, scale, force }) => {
                let answer = self.kill(&tasks, scale, force, &mut cx);
                cx.out.answer = Some(answer);
            }
            Input::Request(Request::ResetDelay(app)) => {
                let answer = self.reset_delay(&app, &mut cx);
                cx.out.answer = Some(Ok(answer));
            }
            Input::Status(update) => self.status(update, &mut cx),
            Input::Probe(report) => self.probe(report, &mut cx),
            Input::Drained(task) => self.drained(&task, &mut cx),
            Input::Tick => self.tick(&mut cx),
            Input::Shutdown => self.shut_down(&mut cx),
        }
        self.settle(&mut cx);
        cx.out
    }

    /// When [`Input::Tick`] is needed next; `None` while nothing waits for time to pass.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        self.due.get_min().map(|(at, _)| *at)
    }

    /// Notes the catalog version that shows the present state.
    pub fn set_catalog_version(&mut self, version: waymark_model::Version) {
        self.state.catalog_version = version;
    }

    /// Notes whether the store works (`None`), else why not.
    pub fn set_store_failing(&mut self, reason: Option<String>) {
        self.state.store_failing = reason.map(Arc::from);
    }

    /// Reconciles what was touched, and what that touches, until nothing is left. Deployments go
    /// first: what is wanted of an app depends on how far they are.
    fn settle(&mut self, cx: &mut Context<'_>) {
        loop {
            while self.advance_deployments(cx) {}
            let Some(app) = cx.touched.get_min().cloned() else { return };
            cx.touched.remove(&app);
            self.reconcile(&app, cx);
            self.note_progress(&app);
        }
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        while let Some((_, app)) = self.due.get_min().filter(|(at, _)| *at <= cx.now).cloned() {
            self.set_wakeup(&app, None);
            cx.touched.insert(app);
        }
    }

    fn set_wakeup(&mut self, app: &AppId, at: Option<Timestamp>) {
        if self.wakeups.get(app).copied() == at {
            return;
        }
        if let Some(before) = self.wakeups.remove(app) {
            self.due.remove(&(before, app.clone()));
        }
        if let Some(at) = at {
            self.wakeups.insert(app.clone(), at);
            self.due.insert((at, app.clone()));
        }
    }

    /// What is wanted of an app at this moment: while its deployment has not come to its step, the
    /// definition from before.
    pub fn wanted(&self, app: &AppId) -> Option<Arc<App>> {
        if let Some(lock) = self.locks.get(app)
            && let Some(deployment) = self.state.deployments.get(&lock.deployment)
            && lock.step > deployment.current
        {
            return deployment.before.get(app).cloned().flatten();
        }
        self.state.root.apps.get(app).cloned()
    }

    /// Puts a task's new form.
    fn put_task(&mut self, task: Task, cx: &mut Context<'_>) -> Arc<Task> {
        let task = Arc::new(task);
        let app = task.app_id().clone();
        self.state.task_apps.insert(task.id.clone(), app.clone());
        self.state.tasks.entry(app.clone()).or_default().insert(task.id.clone(), task.clone());
        cx.task_changed(&task);
        task
    }

    /// Forgets a task that is gone.
    fn remove_task(&mut self, task: &Task, cx: &mut Context<'_>) {
        let app = task.app_id();
        self.state.task_apps.remove(&task.id);
        if let Some(tasks) = self.state.tasks.get_mut(app) {
            tasks.remove(&task.id);
            if tasks.is_empty() {
                self.state.tasks.remove(app);
            }
        }
        self.leaving.remove(&task.id);
        self.state.readiness.remove(&task.id);
        self.host_ports.release(&task.id, cx.now);
        cx.task_changed(task);
    }
}

impl<'a> Context<'a> {
    fn new(now: Timestamp, host: &'a mut dyn Host) -> Context<'a> {
        Context { now, host, out: Effects::default(), touched: OrdSet::new() }
    }

    /// A random UUID (version 4) as text.
    fn uuid(&mut self) -> String {
        let bits = (u128::from(self.host.random()) << 64) | u128::from(self.host.random());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
    }

    fn task_changed(&mut self, task: &Task) {
        self.out.writes.insert(Key::Task(task.id.clone()));
        self.app_changed(task.app_id());
    }

    fn app_changed(&mut self, app: &AppId) {
        self.out.catalog.insert(app.clone());
        self.touched.insert(app.clone());
    }

    fn happened(&mut self, happening: Happening) {
        self.out.happenings.push(happening);
    }
}

#[cfg(test)]
mod tests;
