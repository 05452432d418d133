//! An app with its tasks, as a Marathon tells of it.

use std::collections::{BTreeMap, BTreeSet};

use waymark_model::{AppId, HealthCheck, NetworkMode, Protocol, TaskId, Timestamp};

use super::networking;
use super::task::{self, TaskFacts};
use crate::app::{health_check, timestamp};
use crate::reader::{Errors, Fields, Node, boolean, count, list, map, object, string};

/// What a Marathon says about one app. Nothing is decided here; `None` and empty are what was not
/// said.
#[derive(Clone, Debug, PartialEq)]
pub struct AppFacts {
    /// The app.
    pub id: AppId,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How many tasks are wanted.
    pub instances: u32,
    /// Its health checks.
    pub health_checks: Vec<HealthCheck>,
    /// When the instance count last changed.
    pub last_scaling_at: Timestamp,
    /// When anything but the instance count last changed.
    pub config_changed_at: Timestamp,
    /// How its tasks meet the network; of several networks the last counts, as in marathon-lb.
    pub mode: NetworkMode,
    /// Its ports by position.
    pub ports: Vec<PortFacts>,
    /// Whether deployments wait for a readiness check of its tasks.
    pub has_readiness_checks: bool,
    /// Whether a deployment is changing it.
    pub is_deploying: bool,
    /// The tasks whose readiness check has passed.
    pub passed: BTreeSet<TaskId>,
    /// Its tasks.
    pub tasks: Vec<TaskFacts>,
}

/// One position of an app's port list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortFacts {
    /// The service port; 0 where there is none.
    pub service_port: u16,
    /// Where the process listens in a network of its own; 0 where that is not declared.
    pub container_port: u16,
    /// Whether a port of the host leads to it.
    pub on_host: bool,
    /// The protocol.
    pub protocol: Protocol,
    /// The name.
    pub name: Option<String>,
    /// The port's labels.
    pub labels: BTreeMap<String, String>,
}

/// Reads an app. `labels` and `tasks` are always there in a Marathon's answer: without them it is
/// half an answer, which must not be taken for an app without routes or tasks.
pub(super) fn facts(id: &AppId, node: Node<'_>, errors: &mut Errors) -> Option<AppFacts> {
    object(|f| {
        let (last_scaling_at, config_changed_at) = versions(f);
        let (mode, ports) = networking::read(f);
        let deployments = f.read("deployments", list(object(|_| ())));
        AppFacts {
            id: id.clone(),
            labels: f.need("labels", map(string)),
            instances: f.read("instances", count).unwrap_or(1),
            health_checks: f.read("healthChecks", list(object(health_check))).unwrap_or_default(),
            last_scaling_at,
            config_changed_at,
            mode,
            ports,
            has_readiness_checks: f
                .read("readinessChecks", list(object(|_| ())))
                .is_some_and(|checks| !checks.is_empty()),
            is_deploying: deployments.is_some_and(|deployments| !deployments.is_empty()),
            passed: f
                .read("readinessCheckResults", list(object(passed)))
                .map_or_else(BTreeSet::new, |results| results.into_iter().flatten().collect()),
            tasks: f.need("tasks", list(object(task::facts))),
        }
    })(node, errors)
}

/// Marathon before 0.13 says only when the app last changed at all.
fn versions(f: &mut Fields<'_, '_>) -> (Timestamp, Timestamp) {
    let info = |f: &mut Fields<'_, '_>| {
        (f.read("lastScalingAt", timestamp), f.read("lastConfigChangeAt", timestamp))
    };
    let (scaled, changed) = f.read("versionInfo", object(info)).unwrap_or_default();
    let version = f.read("version", timestamp).unwrap_or(Timestamp::ZERO);
    (scaled.unwrap_or(version), changed.unwrap_or(version))
}

fn passed(f: &mut Fields<'_, '_>) -> Option<TaskId> {
    let ready = f.read("ready", boolean).unwrap_or(false);
    f.read("taskId", string).filter(|_| ready).map(|id| TaskId::from_text(&id))
}
