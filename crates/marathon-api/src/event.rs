//! The events of `/v2/events`, typed, and the one line of JSON that each becomes.
//!
//! Input: facts from the control plane. Output: the `event:` name and the `data:` text of a
//! server-sent event. Framing, filtering and delivery are the server's.

use std::net::IpAddr;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};
use waymark_model::{App, AppId, GroupId, HealthCheck, Task, TaskId, TaskState, Timestamp};

use crate::app::AppView;
use crate::deployment::{Plan, Step};
use crate::task::{address_list, host_port_list};
use crate::wire::{self, Json, Members, Text};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An app was created or changed through the API.
    ApiPost {
        /// The client's address.
        client_ip: IpAddr,
        /// The request's path.
        uri: String,
        /// The app as stored, with its final service ports.
        app: Arc<App>,
    },
    /// A task changed its state.
    StatusUpdate {
        /// The task in its new state.
        task: Arc<Task>,
        /// What the executor says about it; may be empty.
        message: String,
    },
    /// A health check's verdict on a task changed.
    HealthStatusChanged {
        /// The task.
        task: Arc<Task>,
        /// The new verdict.
        alive: bool,
    },
    /// A probe failed.
    FailedHealthCheck {
        /// The task probed.
        task: Arc<Task>,
        /// The check.
        check: HealthCheck,
    },
    /// A health check was added to an app.
    AddHealthCheck {
        /// The app.
        app: AppId,
        /// The version it came with.
        version: Timestamp,
        /// The check.
        check: HealthCheck,
    },
    /// The health checks of an app were removed.
    RemoveHealthCheck {
        /// The app.
        app: AppId,
    },
    /// A task is killed because its health check failed too often.
    UnhealthyInstanceKill {
        /// The task.
        task: Arc<Task>,
        /// Why.
        reason: String,
    },
    /// A step of a deployment starts.
    DeploymentInfo {
        /// The plan.
        plan: Arc<Plan>,
        /// The step's position in it, from 0.
        step: usize,
    },
    /// A step of a deployment is done.
    DeploymentStepSuccess {
        /// The plan.
        plan: Arc<Plan>,
        /// The step's position in it, from 0.
        step: usize,
    },
    /// A step of a deployment was given up.
    DeploymentStepFailure {
        /// The plan.
        plan: Arc<Plan>,
        /// The step's position in it, from 0.
        step: usize,
    },
    /// A deployment is done.
    DeploymentSuccess {
        /// The plan.
        plan: Arc<Plan>,
    },
    /// A deployment was cancelled.
    DeploymentFailed {
        /// The plan.
        plan: Arc<Plan>,
        /// Why.
        reason: Option<String>,
    },
    /// The root group changed.
    GroupChangeSuccess {
        /// The group that was changed.
        group: GroupId,
        /// Its new version.
        version: Timestamp,
    },
    /// A change of the root group was refused.
    GroupChangeFailed {
        /// The group that was to be changed.
        group: GroupId,
        /// The version it would have got.
        version: Timestamp,
        /// Why not.
        reason: String,
    },
    /// The last instance of a deleted app is gone.
    AppTerminated {
        /// The app.
        app: AppId,
    },
    /// An instance changed its condition. For an instance that has a task, see
    /// [`Event::instance_changed`].
    InstanceChanged {
        /// The instance.
        instance: Instance,
        /// The new condition.
        condition: Condition,
    },
    /// The health of an instance changed.
    InstanceHealthChanged {
        /// The instance.
        instance: Instance,
        /// `None` while nothing is known.
        healthy: Option<bool>,
    },
    /// A task that nobody knew has ended.
    UnknownInstanceTerminated {
        /// Its instance's id.
        instance: String,
        /// The app its id names.
        app: AppId,
        /// How it ended.
        condition: Condition,
    },
    /// A client opened the event stream.
    EventStreamAttached {
        /// Its address.
        remote_address: IpAddr,
    },
    /// A client of the event stream is gone.
    EventStreamDetached {
        /// Its address.
        remote_address: IpAddr,
    },
}

/// What events say about an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its app.
    pub app: AppId,
    /// The version of the app that it runs.
    pub version: Timestamp,
    /// The agent's id; `None` before one is chosen.
    pub agent_id: Option<String>,
    /// The agent's host name; `None` before one is chosen.
    pub host: Option<String>,
}

impl From<&Task> for Instance {
    fn from(task: &Task) -> Instance {
        Instance {
            id: task.id.instance_id(),
            app: task.app.id.clone(),
            version: task.app.version,
            agent_id: Some(task.agent.id.clone()),
            host: Some(task.agent.hostname.clone()),
        }
    }
}

/// The condition of an instance, by Marathon's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Wanted, not yet placed.
    Scheduled,
    /// Placed, not yet confirmed.
    Provisioned,
    /// A condition that follows from the state of the instance's task.
    Of(TaskState),
}

impl Condition {
    /// Marathon's text for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Scheduled => "Scheduled",
            Condition::Provisioned => "Provisioned",
            Condition::Of(TaskState::Staging) => "Staging",
            Condition::Of(TaskState::Starting) => "Starting",
            Condition::Of(TaskState::Running) => "Running",
            Condition::Of(TaskState::Killing) => "Killing",
            Condition::Of(TaskState::Finished) => "Finished",
            Condition::Of(TaskState::Failed) => "Failed",
            Condition::Of(TaskState::Killed) => "Killed",
            Condition::Of(TaskState::Error) => "Error",
            // Marathon takes a task that Mesos calls lost for gone, unless it may come back.
            Condition::Of(TaskState::Lost) => "Gone",
        }
    }
}

impl Event {
    /// The change of an instance to the condition that its task's state means.
    pub fn instance_changed(task: &Task) -> Event {
        Event::InstanceChanged {
            instance: task.into(),
            condition: Condition::Of(task.told_state()),
        }
    }

    /// The change of an instance's health to what its task's results mean.
    pub fn instance_health_changed(task: &Task) -> Event {
        Event::InstanceHealthChanged { instance: task.into(), healthy: task.healthy() }
    }

    /// Marathon's name of the event's type, by which clients filter.
    pub fn event_type(&self) -> &'static str {
        match self {
            Event::ApiPost { .. } => "api_post_event",
            Event::StatusUpdate { .. } => "status_update_event",
            Event::HealthStatusChanged { .. } => "health_status_changed_event",
            Event::FailedHealthCheck { .. } => "failed_health_check_event",
            Event::AddHealthCheck { .. } => "add_health_check_event",
            Event::RemoveHealthCheck { .. } => "remove_health_check_event",
            Event::UnhealthyInstanceKill { .. } => "unhealthy_instance_kill_event",
            Event::DeploymentInfo { .. } => "deployment_info",
            Event::DeploymentStepSuccess { .. } => "deployment_step_success",
            Event::DeploymentStepFailure { .. } => "deployment_step_failure",
            Event::DeploymentSuccess { .. } => "deployment_success",
            Event::DeploymentFailed { .. } => "deployment_failed",
            Event::GroupChangeSuccess { .. } => "group_change_success",
            Event::GroupChangeFailed { .. } => "group_change_failed",
            Event::AppTerminated { .. } => "app_terminated_event",
            Event::InstanceChanged { .. } => "instance_changed_event",
            Event::InstanceHealthChanged { .. } => "instance_health_changed_event",
            Event::UnknownInstanceTerminated { .. } => "unknown_instance_terminated_event",
            Event::EventStreamAttached { .. } => "event_stream_attached",
            Event::EventStreamDetached { .. } => "event_stream_detached",
        }
    }

    /// The event as one line of JSON; `at` is when it happened.
    pub fn to_json(&self, at: Timestamp) -> String {
        wire::to_text(&Line { event: self, at })
    }
}

struct Line<'a> {
    event: &'a Event,
    at: Timestamp,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| {
            o.put("eventType", self.event.event_type())?;
            o.put("timestamp", Text(self.at))?;
            write_fields(self.event, o)
        })
    }
}

fn write_fields<M: SerializeMap>(event: &Event, o: &mut Members<M>) -> Result<(), M::Error> {
    match event {
        Event::ApiPost { client_ip, uri, app } => {
            o.put("clientIp", client_ip)?;
            o.put("uri", uri)?;
            o.put("appDefinition", AppView::plain(app))
        }
        Event::StatusUpdate { task, message } => write_status(task, message, o),
        Event::HealthStatusChanged { task, alive } => {
            o.put("appId", task.app.id.as_str())?;
            o.put("instanceId", task.id.instance_id())?;
            // Marathon up to 1.3 wrote the task's id, later ones the instance's. Clients of both
            // times are served; deriving one from the other has failed them before.
            o.put("taskId", task.id.as_str())?;
            o.put("version", Text(task.app.version))?;
            o.put("alive", alive)
        }
        Event::FailedHealthCheck { task, check } => {
            o.put("appId", task.app.id.as_str())?;
            // As Marathon: an instance id under the name of a task id.
            o.put("taskId", task.id.instance_id())?;
            o.put("healthCheck", Json(check))
        }
        Event::AddHealthCheck { app, version, check } => {
            o.put("appId", app.as_str())?;
            o.put("version", Text(version))?;
            o.put("healthCheck", Json(check))
        }
        Event::RemoveHealthCheck { app } | Event::AppTerminated { app } => {
            o.put("appId", app.as_str())
        }
        Event::UnhealthyInstanceKill { task, reason } => {
            o.put("appId", task.app.id.as_str())?;
            o.put("taskId", task.id.as_str())?;
            o.put("instanceId", task.id.instance_id())?;
            o.put("version", Text(task.app.version))?;
            o.put("reason", reason)?;
            o.put("host", &task.agent.hostname)?;
            o.put("slaveId", &task.agent.id)
        }
        Event::DeploymentInfo { plan, step }
        | Event::DeploymentStepSuccess { plan, step }
        | Event::DeploymentStepFailure { plan, step } => {
            o.put("plan", Json(&**plan))?;
            o.put("currentStep", Json(plan.steps.get(*step).unwrap_or(&Step::default())))
        }
        Event::DeploymentSuccess { plan } => write_end(plan, None, o),
        Event::DeploymentFailed { plan, reason } => write_end(plan, reason.as_deref(), o),
        Event::GroupChangeSuccess { group, version } => {
            o.put("groupId", group.as_str())?;
            o.put("version", Text(version))
        }
        Event::GroupChangeFailed { group, version, reason } => {
            o.put("groupId", group.as_str())?;
            o.put("version", Text(version))?;
            o.put("reason", reason)
        }
        Event::InstanceChanged { instance, condition } => {
            o.put("instanceId", &instance.id)?;
            o.put("condition", condition.as_str())?;
            o.put("runSpecId", instance.app.as_str())?;
            o.put_some("agentId", instance.agent_id.as_deref())?;
            o.put_some("host", instance.host.as_deref())?;
            o.put("runSpecVersion", Text(instance.version))
        }
        Event::InstanceHealthChanged { instance, healthy } => {
            o.put("instanceId", &instance.id)?;
            o.put("runSpecId", instance.app.as_str())?;
            o.put_some("healthy", *healthy)?;
            o.put("runSpecVersion", Text(instance.version))
        }
        Event::UnknownInstanceTerminated { instance, app, condition } => {
            o.put("instanceId", instance)?;
            o.put("runSpecId", app.as_str())?;
            o.put("condition", condition.as_str())
        }
        Event::EventStreamAttached { remote_address }
        | Event::EventStreamDetached { remote_address } => o.put("remoteAddress", remote_address),
    }
}

fn write_status<M: SerializeMap>(
    task: &Task,
    message: &str,
    o: &mut Members<M>,
) -> Result<(), M::Error> {
    o.put("slaveId", &task.agent.id)?;
    o.put("taskId", TaskId::as_str(&task.id))?;
    o.put("taskStatus", task.told_state().as_str())?;
    o.put("message", message)?;
    o.put("appId", task.app.id.as_str())?;
    o.put("host", &task.agent.hostname)?;
    o.put("ipAddresses", address_list(task))?;
    o.put("ports", host_port_list(task))?;
    o.put("version", Text(task.app.version))
}

fn write_end<M: SerializeMap>(
    plan: &Plan,
    reason: Option<&str>,
    o: &mut Members<M>,
) -> Result<(), M::Error> {
    o.put("id", &*plan.id)?;
    o.put("plan", Json(plan))?;
    o.put_some("reason", reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{Action, ActionKind};
    use expect_test::expect;
    use waymark_model::{Agent, PathId};

    fn task() -> Arc<Task> {
        let mut app = App::new(PathId::parse("/shop/web").unwrap());
        app.cmd = Some("x".to_owned());
        app.version = Timestamp(9);
        Arc::new(Task {
            id: TaskId::new(&app.id, "2f6c", 1),
            app: Arc::new(app),
            agent: Arc::new(Agent {
                id: "6f0b-S3".into(),
                hostname: "node7".into(),
                address: [10, 0, 0, 7].into(),
            }),
            state: TaskState::Running,
            host_ports: vec![Some(31417)],
            addresses: Vec::new(),
            staged_at: Timestamp(1),
            started_at: Some(Timestamp(2)),
            health: Vec::new(),
            ready: true,
            draining_since: None,
        })
    }

    /// Every type of event, with its fields: what clients of the stream read.
    #[test]
    fn lines() {
        let task = task();
        let app = task.app.id.clone();
        let group = PathId::parse("/shop").unwrap();
        let step = Step { actions: vec![Action { kind: ActionKind::Scale, app: app.clone() }] };
        let plan = Arc::new(Plan { id: "b3f1".into(), version: Timestamp(9), steps: vec![step] });
        let check = HealthCheck { path: Some("/ping".into()), ..HealthCheck::default() };
        let remote_address: IpAddr = [127, 0, 0, 1].into();
        let events = [
            Event::ApiPost {
                client_ip: remote_address,
                uri: "/v2/apps".into(),
                app: task.app.clone(),
            },
            Event::StatusUpdate { task: task.clone(), message: "up".into() },
            Event::HealthStatusChanged { task: task.clone(), alive: true },
            Event::FailedHealthCheck { task: task.clone(), check: check.clone() },
            Event::AddHealthCheck { app: app.clone(), version: Timestamp(9), check },
            Event::RemoveHealthCheck { app: app.clone() },
            Event::UnhealthyInstanceKill { task: task.clone(), reason: "failed".into() },
            Event::DeploymentInfo { plan: plan.clone(), step: 0 },
            Event::DeploymentStepSuccess { plan: plan.clone(), step: 0 },
            Event::DeploymentStepFailure { plan: plan.clone(), step: 7 },
            Event::DeploymentSuccess { plan: plan.clone() },
            Event::DeploymentFailed { plan, reason: Some("cancelled".into()) },
            Event::GroupChangeSuccess { group: group.clone(), version: Timestamp(9) },
            Event::GroupChangeFailed { group, version: Timestamp(9), reason: "no".into() },
            Event::AppTerminated { app: app.clone() },
            Event::instance_changed(&task),
            Event::instance_health_changed(&task),
            Event::UnknownInstanceTerminated {
                instance: "x.instance-1".into(),
                app,
                condition: Condition::Of(TaskState::Lost),
            },
            Event::EventStreamAttached { remote_address },
            Event::EventStreamDetached { remote_address },
        ];
        let lines: Vec<String> = events.iter().map(|e| e.to_json(Timestamp(5))).collect();
        assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])));
        expect![[r#"
            {"eventType":"api_post_event","timestamp":"1970-01-01T00:00:00.005Z","clientIp":"127.0.0.1","uri":"/v2/apps","appDefinition":{"id":"/shop/web","cmd":"x","instances":1,"cpus":1,"mem":128,"disk":0,"gpus":0,"executor":"","networks":[{"mode":"host"}],"portDefinitions":[],"requirePorts":false,"labels":{},"backoffSeconds":1,"backoffFactor":1.15,"maxLaunchDelaySeconds":300,"upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":1},"unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0},"killSelection":"YOUNGEST_FIRST","version":"1970-01-01T00:00:00.009Z","versionInfo":{"lastScalingAt":"1970-01-01T00:00:00.000Z","lastConfigChangeAt":"1970-01-01T00:00:00.000Z"}}}
            {"eventType":"status_update_event","timestamp":"1970-01-01T00:00:00.005Z","slaveId":"6f0b-S3","taskId":"shop_web.instance-2f6c._app.1","taskStatus":"TASK_RUNNING","message":"up","appId":"/shop/web","host":"node7","ipAddresses":[{"ipAddress":"10.0.0.7","protocol":"IPv4"}],"ports":[31417],"version":"1970-01-01T00:00:00.009Z"}
            {"eventType":"health_status_changed_event","timestamp":"1970-01-01T00:00:00.005Z","appId":"/shop/web","instanceId":"shop_web.instance-2f6c","taskId":"shop_web.instance-2f6c._app.1","version":"1970-01-01T00:00:00.009Z","alive":true}
            {"eventType":"failed_health_check_event","timestamp":"1970-01-01T00:00:00.005Z","appId":"/shop/web","taskId":"shop_web.instance-2f6c","healthCheck":{"protocol":"HTTP","path":"/ping","gracePeriodSeconds":300,"intervalSeconds":60,"timeoutSeconds":20,"maxConsecutiveFailures":3,"ignoreHttp1xx":false}}
            {"eventType":"add_health_check_event","timestamp":"1970-01-01T00:00:00.005Z","appId":"/shop/web","version":"1970-01-01T00:00:00.009Z","healthCheck":{"protocol":"HTTP","path":"/ping","gracePeriodSeconds":300,"intervalSeconds":60,"timeoutSeconds":20,"maxConsecutiveFailures":3,"ignoreHttp1xx":false}}
            {"eventType":"remove_health_check_event","timestamp":"1970-01-01T00:00:00.005Z","appId":"/shop/web"}
            {"eventType":"unhealthy_instance_kill_event","timestamp":"1970-01-01T00:00:00.005Z","appId":"/shop/web","taskId":"shop_web.instance-2f6c._app.1","instanceId":"shop_web.instance-2f6c","version":"1970-01-01T00:00:00.009Z","reason":"failed","host":"node7","slaveId":"6f0b-S3"}
            {"eventType":"deployment_info","timestamp":"1970-01-01T00:00:00.005Z","plan":{"id":"b3f1","version":"1970-01-01T00:00:00.009Z","steps":[{"actions":[{"action":"ScaleApplication","app":"/shop/web"}]}]},"currentStep":{"actions":[{"action":"ScaleApplication","app":"/shop/web"}]}}
            {"eventType":"deployment_step_success","timestamp":"1970-01-01T00:00:00.005Z","plan":{"id":"b3f1","version":"1970-01-01T00:00:00.009Z","steps":[{"actions":[{"action":"ScaleApplication","app":"/shop/web"}]}]},"currentStep":{"actions":[{"action":"ScaleApplication","app":"/shop/web"}]}}
            {"eventType":"deployment_step_failure","timestamp":"1970-01-01T00:00:00.005Z","plan":{"id":"b3f1","version":"1970-01-01T00:00:00.009Z","steps":[{"actions":[{"action":"ScaleApplication","app":"/shop/web"}]}]},"currentStep":{"actions":[]}}
            {"eventType":"deployment_success","timestamp":"1970-01-01T00:00:00.005Z","id":"b3f1","plan":{"id":"b3f1","version":"1970-01-01T00:00:00.009Z","steps":[{"actions":[{"action":"ScaleApplication","app":"/shop/web"}]}]}}
            {"eventType":"deployment_failed","timestamp":"1970-01-01T00:00:00.005Z","id":"b3f1","plan":{"id":"b3f1","version":"1970-01-01T00:00:00.009Z","steps":[{"actions":[{"action":"ScaleApplication","app":"/shop/web"}]}]},"reason":"cancelled"}
            {"eventType":"group_change_success","timestamp":"1970-01-01T00:00:00.005Z","groupId":"/shop","version":"1970-01-01T00:00:00.009Z"}
            {"eventType":"group_change_failed","timestamp":"1970-01-01T00:00:00.005Z","groupId":"/shop","version":"1970-01-01T00:00:00.009Z","reason":"no"}
            {"eventType":"app_terminated_event","timestamp":"1970-01-01T00:00:00.005Z","appId":"/shop/web"}
            {"eventType":"instance_changed_event","timestamp":"1970-01-01T00:00:00.005Z","instanceId":"shop_web.instance-2f6c","condition":"Running","runSpecId":"/shop/web","agentId":"6f0b-S3","host":"node7","runSpecVersion":"1970-01-01T00:00:00.009Z"}
            {"eventType":"instance_health_changed_event","timestamp":"1970-01-01T00:00:00.005Z","instanceId":"shop_web.instance-2f6c","runSpecId":"/shop/web","runSpecVersion":"1970-01-01T00:00:00.009Z"}
            {"eventType":"unknown_instance_terminated_event","timestamp":"1970-01-01T00:00:00.005Z","instanceId":"x.instance-1","runSpecId":"/shop/web","condition":"Gone"}
            {"eventType":"event_stream_attached","timestamp":"1970-01-01T00:00:00.005Z","remoteAddress":"127.0.0.1"}
            {"eventType":"event_stream_detached","timestamp":"1970-01-01T00:00:00.005Z","remoteAddress":"127.0.0.1"}"#]].assert_eq(&lines.join("\n"));
    }

    /// A line break in a message must not end the event early.
    #[test]
    fn one_line_whatever_it_says() {
        let event = Event::StatusUpdate { task: task(), message: "a\r\n\ndata: b".into() };
        assert!(!event.to_json(Timestamp(5)).contains(['\r', '\n']));
    }
}
