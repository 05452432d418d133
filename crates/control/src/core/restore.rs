//! What the store keeps of the core, and the core made from it again.

use std::sync::Arc;

use waymark_model::{App, AppId, Group, GroupId, Task, TaskState, Timestamp};

use super::{Context, Core, Effects, Host, Key, Settings};
use crate::replace;
use crate::{Deployment, Failure};

/// Everything that was stored.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The framework id; made on the first start.
    pub framework_id: String,
    /// The version of the root.
    pub root_version: Timestamp,
    /// Current definitions.
    pub apps: Vec<Arc<App>>,
    /// Groups.
    pub groups: Vec<(GroupId, Arc<Group>)>,
    /// Tasks that were not known to be gone.
    pub tasks: Vec<Arc<Task>>,
    /// Deployments that were running.
    pub deployments: Vec<Arc<Deployment>>,
    /// The last failure of each app.
    pub failures: Vec<(AppId, Arc<Failure>)>,
}

/// What is to be stored under a key; `None` = nothing any more.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The version of the root.
    Root(Timestamp),
    /// An app.
    App {
        /// Its definition.
        current: Option<Arc<App>>,
        /// Versions that tasks or deployments refer to: they stay in the history.
        referred: Vec<Timestamp>,
    },
    /// A group.
    Group(Option<Arc<Group>>),
    /// A task, with the definition it was launched from.
    Task(Option<Arc<Task>>),
    /// A deployment.
    Deployment(Option<Arc<Deployment>>),
    /// A failure.
    Failure(Option<Arc<Failure>>),
}

impl Core {
    /// The core as it was stored. Call [`Core::resume`] before anything is expected of it.
    pub fn restore(settings: Settings, stored: Stored) -> Core {
        let mut core = Core::new(settings, &stored.framework_id);
        core.state.root.version = stored.root_version;
        core.state.root.groups.extend(stored.groups);
        core.state.failures.extend(stored.failures);
        for app in stored.apps {
            core.state.service_ports.claim(&app.id, &app.service_ports());
            core.state.root.apps.insert(app.id.clone(), app);
        }
        for task in stored.tasks {
            core.restore_task(&task);
        }
        for deployment in stored.deployments {
            core.state.deployments.insert(deployment.id.clone(), deployment.clone());
            core.lock(&deployment);
            core.await_step(&deployment);
        }
        core
    }

    fn restore_task(&mut self, task: &Task) {
        let app = task.app_id().clone();
        if !self.state.root.apps.contains_key(&app) {
            self.removed.insert(app.clone());
        }
        let protocols = task.app.ports().iter().map(|p| p.protocol).collect::<Vec<_>>();
        let held: Vec<_> = task
            .host_ports
            .iter()
            .zip(protocols)
            .filter_map(|(port, protocol)| port.map(|port| (port, protocol)))
            .collect();
        self.host_ports.hold(&task.id, &held);
        // The machine may have another name or address than last time.
        let task = Task { agent: self.settings.agent.clone(), ..task.clone() };
        self.state.task_apps.insert(task.id.clone(), app.clone());
        let tasks = self.state.tasks.entry(app).or_default();
        tasks.insert(task.id.clone(), Arc::new(task));
    }

    /// Goes on after [`Core::restore`], best when the executor has told which tasks still run.
    pub fn resume(&mut self, now: Timestamp, host: &mut dyn Host) -> Effects {
        let mut cx = Context::new(now, host);
        let watched = |t: &&Arc<Task>| t.state == TaskState::Running && !replace::is_leaving(t);
        let tasks = self.state.tasks.values().flat_map(|tasks| tasks.values());
        cx.out.watch.extend(tasks.filter(watched).cloned());
        let apps = self.state.root.apps.keys().chain(self.state.tasks.keys());
        for app in apps {
            cx.app_changed(app);
        }
        self.settle(&mut cx);
        cx.out
    }

    /// What is to be stored under `key` now.
    pub fn stored(&self, key: &Key) -> Record {
        let state = &self.state;
        match key {
            Key::Root => Record::Root(state.root.version),
            Key::App(id) => Record::App {
                current: state.root.apps.get(id).cloned(),
                referred: self.referred_versions(id),
            },
            Key::Group(id) => Record::Group(state.root.groups.get(id).cloned()),
            Key::Task(id) => Record::Task(state.task(id).cloned()),
            Key::Deployment(id) => Record::Deployment(state.deployments.get(id).cloned()),
            Key::Failure(id) => Record::Failure(state.failures.get(id).cloned()),
        }
    }

    fn referred_versions(&self, id: &AppId) -> Vec<Timestamp> {
        let tasks = self.state.tasks_of(id).map(|t| t.app.version);
        let deployments = self.state.deployments.values();
        let before = deployments.filter_map(|d| d.before.get(id)?.as_ref().map(|a| a.version));
        tasks.chain(before).collect()
    }
}
