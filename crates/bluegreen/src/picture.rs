//! The two apps as they stand: each task with what every balancer makes of it.

use std::net::IpAddr;

use waymark_marathon_api::answer::{AppFacts, Phase, TaskFacts};
use waymark_model::{NetworkMode, Timestamp};

use crate::stats::{Row, State, View};

/// The two apps of a deployment and the balancers' word about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The app that is to serve in the end.
    pub new: Side,
    /// The app that is to go.
    pub old: Side,
    /// How many balancers there are.
    pub balancers: usize,
    /// How many of them say nothing. Their lights are those of tasks that are down.
    pub silent: usize,
    /// How many still have an old worker with connections.
    pub reloading: usize,
}

/// One app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// How many tasks are wanted of it.
    pub instances: u32,
    /// Whether Marathon is changing it.
    pub deploying: bool,
    /// When its number of tasks last changed.
    pub scaled_at: Timestamp,
    /// Its tasks that run and are not about to end.
    pub tasks: Vec<Task>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// What each balancer makes of it, in the balancers' order.
    pub lights: Vec<Light>,
}

/// What a balancer makes of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Light {
    /// It gets requests.
    Serving,
    /// It gets nothing new, and has open sessions.
    Draining,
    /// It gets nothing new, and has nothing open.
    Drained,
    /// It is not there, or fails the balancer's check.
    Down,
}

impl Picture {
    /// The picture that Marathon's and the balancers' answers make.
    pub fn new(new: &AppFacts, old: &AppFacts, views: &[View]) -> Picture {
        let count = |wanted: fn(&View) -> bool| views.iter().filter(|view| wanted(view)).count();
        Picture {
            new: Side::new(new, views),
            old: Side::new(old, views),
            balancers: views.len(),
            silent: count(|view| *view == View::Silent),
            reloading: count(|view| matches!(view, View::Seen { reloading: true, .. })),
        }
    }

    /// The least that any balancer has of something.
    pub(crate) fn least(&self, count: impl Fn(usize) -> usize) -> u32 {
        let least = (0..self.balancers).map(count).min().unwrap_or(0);
        u32::try_from(least).unwrap_or(u32::MAX)
    }
}

impl Side {
    fn new(app: &AppFacts, views: &[View]) -> Side {
        let running = app.tasks.iter().filter(|task| task.phase == Phase::Running);
        Side {
            instances: app.instances,
            deploying: app.is_deploying,
            scaled_at: app.last_scaling_at,
            tasks: running
                .map(|task| Task {
                    id: task.id.to_string(),
                    lights: views.iter().map(|view| light(app, task, view)).collect(),
                })
                .collect(),
        }
    }

    /// How many of its tasks are so to a balancer.
    pub fn count(&self, balancer: usize, wanted: impl Fn(Light) -> bool) -> usize {
        self.tasks
            .iter()
            .filter(|task| task.lights.get(balancer).is_some_and(|l| wanted(*l)))
            .count()
    }

    /// Its tasks that are so to every balancer.
    pub fn everywhere(&self, wanted: impl Fn(Light) -> bool) -> Vec<String> {
        let all = |task: &&Task| task.lights.iter().all(|light| wanted(*light));
        self.tasks.iter().filter(all).map(|task| task.id.clone()).collect()
    }

    /// Whether any of its tasks is so to any balancer.
    pub fn anywhere(&self, wanted: impl Fn(Light) -> bool) -> bool {
        self.tasks.iter().flat_map(|task| &task.lights).any(|light| wanted(*light))
    }
}

fn light(app: &AppFacts, task: &TaskFacts, view: &View) -> Light {
    let View::Seen { rows, .. } = view else { return Light::Down };
    // Of a task that is there twice, which happens while it is replaced at its address, what speaks
    // against it counts.
    let lights = rows.iter().filter(|row| is_of(app, task, &row.server)).map(row_light);
    lights.max_by_key(|light| *light as u8).unwrap_or(Light::Down)
}

fn row_light(row: &Row) -> Light {
    match (row.state, row.busy) {
        (State::Serving, _) => Light::Serving,
        (State::Draining, true) => Light::Draining,
        (State::Draining, false) => Light::Drained,
        (State::Down, _) => Light::Down,
    }
}

/// The backend of a deployment group at a service port, as marathon-lb names it: the group without
/// its first slash, slashes as underscores. zdd.py looks for the label's text as it is and so never
/// finds that of a group with slashes.
pub fn backend_name(group: &str, port: &str) -> String {
    format!("{}_{port}", group.trim_start_matches('/').replace('/', "_"))
}

/// Whether a server of this name is the task: host, address unless it is the host, and port, each
/// character that is none of a host name as `_`. The address of a host that has a name is not known
/// here, and any is taken: host and port are enough.
fn is_of(app: &AppFacts, task: &TaskFacts, server: &str) -> bool {
    let named = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
    let (host, port) = (named(&task.host), port(app, task));
    let Some(port) = port else { return false };
    let middle = server.strip_prefix(&host).and_then(|rest| rest.strip_suffix(&format!("_{port}")));
    let Some(middle) = middle else { return false };
    if app.mode != NetworkMode::Container {
        return middle.is_empty() || is_address(middle);
    }
    let own = |address: &IpAddr| match address.to_string() {
        address if address == *task.host => middle.is_empty(),
        address => middle == format!("_{}", named(&address)),
    };
    task.addresses.first().is_some_and(own)
}

/// `_10_0_0_1`, `_fd00__1`
fn is_address(middle: &str) -> bool {
    middle.starts_with('_') && middle.chars().all(|c| c == '_' || c.is_ascii_hexdigit())
}

/// Where the task is reached for the app's first service port.
fn port(app: &AppFacts, task: &TaskFacts) -> Option<u16> {
    let at = app.ports.iter().position(|port| port.service_port > 0).unwrap_or(0);
    let declared = app.ports.get(at);
    match app.mode {
        NetworkMode::Container => declared.map(|port| port.container_port),
        // Host ports are listed for those positions that have one.
        NetworkMode::Host | NetworkMode::Bridge => task.ports.get(at).copied(),
    }
    .filter(|port| *port > 0)
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
