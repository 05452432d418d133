//! An app as answers show it (Marathon 1.5 to 1.8: canonical fields only).
//!
//! Which field is always there and which is left out when empty is part of the dialect: marathon-lb
//! indexes `labels` without a check, PyPI `marathon` fails on fields that it does not know.

use serde::ser::{Serialize, SerializeMap, Serializer};
use waymark_model::{App, Container, Network, NetworkMode, Opaque, UnreachableStrategy};

use super::{TaskCounts, TaskFailure};
use crate::deployment::ReadinessCheckResult;
use crate::error::ids_only;
use crate::task::TaskView;
use crate::wire::{self, Json, List, Members, Number, Text};

/// An app and what an answer adds to its definition.
pub struct AppView<'a> {
    app: &'a App,
    extras: AppExtras<'a>,
}

/// What an answer adds to a definition; `None` leaves the field out.
#[derive(Default)]
pub struct AppExtras<'a> {
    /// `tasksStaged`, `tasksRunning`, `tasksHealthy`, `tasksUnhealthy`
    pub counts: Option<TaskCounts>,
    /// `tasks`
    pub tasks: Option<Vec<TaskView<'a>>>,
    /// `deployments`: ids of the deployments that hold the app
    pub deployments: Option<Vec<String>>,
    /// `lastTaskFailure`; there is nothing to show when no task has failed
    pub last_task_failure: Option<TaskFailure>,
    /// `readinessCheckResults`
    pub readiness: Option<ReadinessOf<'a>>,
}

/// The latest readiness results of an app's tasks.
pub type ReadinessOf<'a> = Vec<&'a ReadinessCheckResult>;

impl<'a> AppView<'a> {
    /// The definition with what an answer adds.
    pub fn new(app: &'a App, extras: AppExtras<'a>) -> AppView<'a> {
        AppView { app, extras }
    }

    /// The definition alone.
    pub fn plain(app: &'a App) -> AppView<'a> {
        AppView { app, extras: AppExtras::default() }
    }
}

impl Serialize for AppView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| {
            write_process(self.app, o)?;
            write_network(self.app, o)?;
            write_life(self.app, o)?;
            write_kept(&self.app.opaque, o)?;
            write_versions(self.app, o)?;
            write_extras(&self.extras, o)
        })
    }
}

fn write_process<M: SerializeMap>(app: &App, o: &mut Members<M>) -> Result<(), M::Error> {
    o.put("id", app.id.as_str())?;
    o.put_some("cmd", app.cmd.as_deref())?;
    o.put_some("args", app.args.as_deref())?;
    o.put_some("user", app.user.as_deref())?;
    o.put_some("env", (!app.env.is_empty()).then_some(&app.env))?;
    o.put("instances", app.instances)?;
    o.put("cpus", Number(app.resources.cpus))?;
    o.put("mem", Number(app.resources.mem))?;
    o.put("disk", Number(app.resources.disk))?;
    o.put("gpus", app.resources.gpus)?;
    o.put("executor", &app.executor)?;
    o.put_filled("constraints", &app.constraints)?;
    o.put_filled("fetch", &app.fetch)
}

fn write_network<M: SerializeMap>(app: &App, o: &mut Members<M>) -> Result<(), M::Error> {
    let host_mode = app.is_host_mode();
    o.put_some("container", app.container.as_ref().map(|c| ContainerView { c, host_mode }))?;
    o.put("networks", List(&app.networks))?;
    if host_mode {
        o.put("portDefinitions", List(&app.port_definitions))?;
    }
    o.put("requirePorts", app.require_ports)?;
    o.put("labels", &app.labels)
}

fn write_life<M: SerializeMap>(app: &App, o: &mut Members<M>) -> Result<(), M::Error> {
    let dependencies: Vec<&str> = app.dependencies.iter().map(|d| d.as_str()).collect();
    o.put_some("dependencies", (!dependencies.is_empty()).then_some(dependencies))?;
    o.put_filled("healthChecks", &app.health_checks)?;
    o.put_filled("readinessChecks", &app.readiness_checks)?;
    o.put("backoffSeconds", app.backoff.initial.as_secs())?;
    o.put("backoffFactor", Number(app.backoff.factor))?;
    o.put("maxLaunchDelaySeconds", app.backoff.max.as_secs())?;
    o.put_some("taskKillGracePeriodSeconds", app.kill_grace_period.map(|d| d.as_secs()))?;
    o.put("upgradeStrategy", Json(&app.upgrade_strategy))?;
    match &app.unreachable_strategy {
        UnreachableStrategy::Disabled => o.put("unreachableStrategy", "disabled")?,
        enabled => o.put("unreachableStrategy", Json(enabled))?,
    }
    o.put("killSelection", Json(&app.kill_selection))
}

fn write_versions<M: SerializeMap>(app: &App, o: &mut Members<M>) -> Result<(), M::Error> {
    struct VersionInfo<'a>(&'a App);
    impl Serialize for VersionInfo<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            wire::object(serializer, |o| {
                o.put("lastScalingAt", Text(self.0.last_scaling_at))?;
                o.put("lastConfigChangeAt", Text(self.0.last_config_change_at))
            })
        }
    }
    o.put("version", Text(app.version))?;
    o.put("versionInfo", VersionInfo(app))
}

fn write_extras<M: SerializeMap>(
    extras: &AppExtras<'_>,
    o: &mut Members<M>,
) -> Result<(), M::Error> {
    if let Some(counts) = &extras.counts {
        o.put("tasksStaged", counts.staged)?;
        o.put("tasksRunning", counts.running)?;
        o.put("tasksHealthy", counts.healthy)?;
        o.put("tasksUnhealthy", counts.unhealthy)?;
    }
    o.put_some("deployments", extras.deployments.as_deref().map(ids_only))?;
    o.put_some("tasks", extras.tasks.as_deref())?;
    o.put_some("lastTaskFailure", extras.last_task_failure.as_ref().map(Json))?;
    let readiness = extras.readiness.as_ref();
    o.put_some(
        "readinessCheckResults",
        readiness.map(|all| all.iter().map(|r| Json(*r)).collect::<Vec<_>>()),
    )
}

/// Fields that are kept as they were given.
pub(super) fn write_kept<M: SerializeMap>(
    kept: &Opaque,
    o: &mut Members<M>,
) -> Result<(), M::Error> {
    for (name, text) in kept {
        // What is kept was JSON when it was read; anything else can only come from damage.
        let value = serde_json::from_str::<serde_json::Value>(text).ok();
        o.put_some(name, value)?;
    }
    Ok(())
}

/// A container; its port mappings show in modes other than host.
struct ContainerView<'a> {
    c: &'a Container,
    host_mode: bool,
}

impl Serialize for ContainerView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| {
            o.put("type", Json(&self.c.kind))?;
            o.put_some("docker", self.c.docker.as_ref().map(Json))?;
            o.put("volumes", List(&self.c.volumes))?;
            if !self.host_mode {
                o.put("portMappings", List(&self.c.port_mappings))?;
            }
            write_kept(&self.c.opaque, o)
        })
    }
}

impl Serialize for Json<'_, Network> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| {
            o.put_some("name", self.0.name.as_deref())?;
            o.put("mode", NetworkMode::as_str(self.0.mode))?;
            o.put_some("labels", (!self.0.labels.is_empty()).then_some(&self.0.labels))
        })
    }
}
