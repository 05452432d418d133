//! Tasks as answers show them: JSON, and the text form that scripts read by columns.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use serde::ser::{Serialize, Serializer};
use waymark_model::{App, HealthResult, PortView, Task, TaskState};

use crate::wire::{self, Text};

/// A task as JSON.
pub struct TaskView<'a> {
    task: &'a Task,
    service_ports: bool,
}

impl<'a> TaskView<'a> {
    /// The form of an app's task list, of embedded tasks and of answers to kills: its
    /// `servicePorts` is empty.
    pub fn new(task: &'a Task) -> TaskView<'a> {
        TaskView { task, service_ports: false }
    }

    /// The form of `/v2/tasks`, with service ports. They come from the task's own definition, not
    /// from the app's current one as in Marathon, where an inserted port made load balancers send
    /// traffic to wrong backends during a rollout.
    pub fn with_service_ports(task: &'a Task) -> TaskView<'a> {
        TaskView { task, service_ports: true }
    }
}

impl Serialize for TaskView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let task = self.task;
        let instance = task.id.instance_id();
        let results: Vec<_> =
            task.health.iter().flatten().map(|r| HealthView { r, instance: &instance }).collect();
        wire::object(serializer, |o| {
            o.put("id", task.id.as_str())?;
            o.put("appId", task.app.id.as_str())?;
            o.put("state", task.state.as_str())?;
            o.put("host", &task.agent.hostname)?;
            o.put("slaveId", &task.agent.id)?;
            o.put("ipAddresses", address_list(task))?;
            o.put("ports", host_port_list(task))?;
            let ports = if self.service_ports { task.app.service_ports() } else { Vec::new() };
            o.put("servicePorts", ports)?;
            o.put("stagedAt", Text(task.staged_at))?;
            o.put_some("startedAt", task.started_at.map(Text))?;
            o.put("version", Text(task.app.version))?;
            o.put("healthCheckResults", results)?;
            o.put("localVolumes", [(); 0])
        })
    }
}

/// What one health check has found, with the instance that it is about.
struct HealthView<'a> {
    r: &'a HealthResult,
    instance: &'a str,
}

impl Serialize for HealthView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| {
            o.put("alive", self.r.alive)?;
            o.put("consecutiveFailures", self.r.consecutive_failures)?;
            // Unlike other unset fields these are written as null, as Marathon does.
            o.put("firstSuccess", self.r.first_success.map(Text))?;
            o.put("lastSuccess", self.r.last_success.map(Text))?;
            o.put("lastFailure", self.r.last_failure.map(Text))?;
            o.put("lastFailureCause", &self.r.last_failure_cause)?;
            o.put("instanceId", self.instance)
        })
    }
}

/// `{"ipAddress":…,"protocol":…}`
pub(crate) struct Address(IpAddr);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| {
            o.put("ipAddress", self.0)?;
            o.put("protocol", if self.0.is_ipv4() { "IPv4" } else { "IPv6" })
        })
    }
}

/// A task's own addresses; in host mode the agent's, as Mesos reports it once the task has started.
pub(crate) fn address_list(task: &Task) -> Vec<Address> {
    if task.addresses.is_empty() && task.started_at.is_some() && task.app.is_host_mode() {
        vec![Address(task.agent.address)]
    } else {
        task.addresses.iter().copied().map(Address).collect()
    }
}

/// A task's host ports. Positions without one are left out, so indexes may shift: Marathon's rule.
pub(crate) fn host_port_list(task: &Task) -> Vec<u16> {
    task.host_ports.iter().flatten().copied().collect()
}

/// The text form of `/v2/tasks`: a line for each app and service port, then the endpoints of its
/// running tasks.
///
/// ```text
/// <app>\t<servicePort>\t<host:port>\t<host:port>\t\n
/// <app without ports>\t \t<host>\t<host>\t\n
/// ```
///
/// `apps` are the apps to list in this order, each with its current definition and its tasks. A
/// task that runs an older definition is listed under those of its ports that still exist. Tasks
/// that are being drained are left out: who reads this form is about to send traffic.
pub fn tasks_text<'a, T>(apps: impl IntoIterator<Item = (&'a App, T)>) -> String
where
    T: IntoIterator<Item = &'a Task>,
{
    let mut text = String::new();
    for (app, tasks) in apps {
        let serving = |t: &&Task| t.state == TaskState::Running && t.draining_since.is_none();
        let tasks: Vec<&Task> = tasks.into_iter().filter(serving).collect();
        write_app_lines(app, &tasks, &mut text);
    }
    text
}

fn write_app_lines(app: &App, tasks: &[&Task], text: &mut String) {
    let name = app.id.safe_path();
    let ports = app.ports();
    // Writing to a string cannot fail.
    if ports.is_empty() {
        let _ = write!(text, "{name}\t \t");
        for task in tasks {
            let _ = write!(text, "{}\t", task.agent.hostname);
        }
        text.push('\n');
        return;
    }
    let matched: Vec<_> = tasks.iter().map(|t| (t, same_ports(&ports, &t.app.ports()))).collect();
    for (position, port) in ports.iter().enumerate() {
        let _ = write!(text, "{name}\t{}\t", port.service_port);
        for (task, own) in &matched {
            let own = own.get(position).copied().flatten();
            if let Some(Some(number)) = own.and_then(|at| task.host_ports.get(at)) {
                let _ = write!(text, "{}:{number}\t", task.agent.hostname);
            }
        }
        text.push('\n');
    }
}

/// For each port of the current definition its position in a task's own definition: by name, else
/// by container port, else by position when both have as many ports.
fn same_ports(current: &[PortView<'_>], own: &[PortView<'_>]) -> Vec<Option<usize>> {
    let by_name = unique(own, |p| p.name);
    let by_container = unique(own, |p| p.container_port.filter(|n| *n != 0));
    let current_container = unique(current, |p| p.container_port.filter(|n| *n != 0));
    let same_count = current.len() == own.len();
    current
        .iter()
        .enumerate()
        .map(|(index, port)| match (port.name, port.container_port) {
            (Some(name), _) => by_name.get(&name).copied(),
            (None, Some(n)) if current_container.contains_key(&n) => by_container.get(&n).copied(),
            _ => same_count.then_some(index),
        })
        .collect()
}

/// The positions of the ports by a key, without keys that occur twice.
fn unique<'a, K: std::hash::Hash + Eq>(
    ports: &[PortView<'a>],
    key: impl Fn(&PortView<'a>) -> Option<K>,
) -> HashMap<K, usize> {
    let mut positions = HashMap::new();
    for (index, port) in ports.iter().enumerate() {
        if let Some(key) = key(port) {
            positions.entry(key).and_modify(|at| *at = None).or_insert(Some(index));
        }
    }
    positions.into_iter().filter_map(|(key, at)| at.map(|at| (key, at))).collect()
}
