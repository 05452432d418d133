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
            o.put("state", task.told_state().as_str())?;
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
        let serving = |t: &&Task| t.told_state() == TaskState::Running;
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

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use std::sync::Arc;
    use waymark_model::{Agent, AppId, PathId, PortDefinition, PortMapping, TaskId, Timestamp};

    fn app(id: &str, ports: &[(&str, u16)]) -> App {
        let definition = |(name, port): &(&str, u16)| PortDefinition {
            port: *port,
            name: (!name.is_empty()).then(|| (*name).to_owned()),
            ..PortDefinition::default()
        };
        let id: AppId = PathId::parse(id).unwrap();
        App { port_definitions: ports.iter().map(definition).collect(), ..App::new(id) }
    }

    fn task(app: &App, host: &str, host_ports: &[Option<u16>]) -> Task {
        Task {
            id: TaskId::new(&app.id, "2f6c", 1),
            app: Arc::new(app.clone()),
            agent: Arc::new(Agent {
                id: "6f0b-S3".into(),
                hostname: host.into(),
                address: [10, 0, 0, 7].into(),
            }),
            state: TaskState::Running,
            host_ports: host_ports.to_vec(),
            addresses: Vec::new(),
            staged_at: Timestamp(120),
            started_at: Some(Timestamp(2440)),
            health: Vec::new(),
            ready: true,
            draining_since: None,
        }
    }

    #[test]
    fn json_of_a_task() {
        let app = app("/shop/web", &[("http", 10000), ("", 10001)]);
        let mut task = task(&app, "node7", &[Some(31417), Some(31418)]);
        task.health = vec![
            Some(HealthResult {
                alive: true,
                first_success: Some(Timestamp(5000)),
                last_success: Some(Timestamp(6000)),
                ..HealthResult::default()
            }),
            None,
        ];
        expect![[r#"{"id":"shop_web.instance-2f6c._app.1","appId":"/shop/web","state":"TASK_RUNNING","host":"node7","slaveId":"6f0b-S3","ipAddresses":[{"ipAddress":"10.0.0.7","protocol":"IPv4"}],"ports":[31417,31418],"servicePorts":[10000,10001],"stagedAt":"1970-01-01T00:00:00.120Z","startedAt":"1970-01-01T00:00:02.440Z","version":"1970-01-01T00:00:00.000Z","healthCheckResults":[{"alive":true,"consecutiveFailures":0,"firstSuccess":"1970-01-01T00:00:05.000Z","lastSuccess":"1970-01-01T00:00:06.000Z","lastFailure":null,"lastFailureCause":null,"instanceId":"shop_web.instance-2f6c"}],"localVolumes":[]}"#]]
            .assert_eq(&crate::to_text(&TaskView::with_service_ports(&task)));
        // Lists stay when they are empty; an unset time does not.
        task.health.clear();
        task.started_at = None;
        task.host_ports = vec![None, Some(31418)];
        expect![[r#"{"id":"shop_web.instance-2f6c._app.1","appId":"/shop/web","state":"TASK_RUNNING","host":"node7","slaveId":"6f0b-S3","ipAddresses":[],"ports":[31418],"servicePorts":[],"stagedAt":"1970-01-01T00:00:00.120Z","version":"1970-01-01T00:00:00.000Z","healthCheckResults":[],"localVolumes":[]}"#]]
            .assert_eq(&crate::to_text(&TaskView::new(&task)));
    }

    #[test]
    fn a_task_that_drains_is_being_killed() {
        let app = app("/web", &[("", 10000)]);
        let task = Task { draining_since: Some(Timestamp(1)), ..task(&app, "n", &[Some(31000)]) };
        assert!(crate::to_text(&TaskView::new(&task)).contains(r#""state":"TASK_KILLING""#));
        let counts = crate::TaskCounts::of([&task]);
        assert_eq!((counts.staged, counts.running), (0, 0), "as Marathon counts");
    }

    #[test]
    fn text_of_tasks() {
        let web = app("/shop/web", &[("http", 10000), ("", 10001)]);
        let (worker, idle) = (app("/worker", &[]), app("/idle", &[("", 10002)]));
        let one = task(&web, "n1", &[Some(31000), Some(31001)]);
        let two = task(&web, "n2", &[Some(31500), Some(31501)]);
        let starting = Task { state: TaskState::Starting, ..task(&web, "n3", &[Some(1), Some(2)]) };
        let leaving =
            Task { draining_since: Some(Timestamp(1)), ..task(&web, "n4", &[Some(1), Some(2)]) };
        let (w1, w2) = (task(&worker, "n1", &[]), task(&worker, "n2", &[]));
        let text = tasks_text([
            (&web, vec![&one, &two, &starting, &leaving]),
            (&worker, vec![&w1, &w2]),
            (&idle, vec![]),
        ]);
        assert_eq!(
            text,
            "shop_web\t10000\tn1:31000\tn2:31500\t\n\
             shop_web\t10001\tn1:31001\tn2:31501\t\n\
             worker\t \tn1\tn2\t\n\
             idle\t10002\t\n"
        );
    }

    /// A port inserted in front must not move the traffic of old tasks to another service.
    #[test]
    fn tasks_of_older_definitions_are_listed_under_the_same_ports() {
        let host_ports = |n: u16| (0..n).map(|i| Some(31000 + i)).collect::<Vec<_>>();
        let lines = |now: &App, then: &App| {
            let count = then.ports().len() as u16;
            tasks_text([(now, vec![&task(then, "h", &host_ports(count))])])
        };
        let then = app("/a", &[("http", 1)]);
        let now = app("/a", &[("admin", 2), ("http", 1)]);
        assert_eq!(lines(&now, &then), "a\t2\t\na\t1\th:31000\t\n");
        // Without names only lists of one length can be paired.
        assert_eq!(lines(&app("/a", &[("", 3)]), &app("/a", &[("", 1)])), "a\t3\th:31000\t\n");
        assert_eq!(
            lines(&app("/a", &[("", 3), ("", 4)]), &app("/a", &[("", 1)])),
            "a\t3\t\na\t4\t\n"
        );

        let mapped = |ports: &[(u16, u16)]| {
            let mapping = |(container_port, service_port): &(u16, u16)| PortMapping {
                container_port: *container_port,
                service_port: *service_port,
                host_port: Some(0),
                ..PortMapping::default()
            };
            let update = serde_json::json!({"container": {"docker": {"image": "i"}},
                "networks": [{"mode": "container/bridge"}]});
            let update = crate::AppUpdate::from_json(update.to_string().as_bytes()).unwrap();
            let mut app = update.complete(PathId::parse("/a").unwrap()).unwrap();
            app.container.as_mut().unwrap().port_mappings = ports.iter().map(mapping).collect();
            app
        };
        let (then, now) = (mapped(&[(80, 1), (81, 2)]), mapped(&[(79, 3), (81, 2), (80, 1)]));
        assert_eq!(lines(&now, &then), "a\t3\t\na\t2\th:31001\t\na\t1\th:31000\t\n");
        // Not mapped to the host: nothing to connect to, and no port 0.
        let unmapped = tasks_text([(&then, vec![&task(&then, "h", &[None, Some(31001)])])]);
        assert_eq!(unmapped, "a\t1\t\na\t2\th:31001\t\n");
    }
}
