//! Blue/green: apps with one `HAPROXY_DEPLOYMENT_GROUP` are written as one app, and as many tasks of
//! the old one are disabled as the new one makes superfluous. Pure; unlike in marathon-lb nothing
//! is changed by merging, so that merging again gives the same.

use std::sync::Arc;

use waymark_model::{AppEntry, AppId, TaskEntry};
use waymark_routing::parse_instant;

use super::is_passing;
use crate::labels::{LabelError, whole_number};

/// An app, or several as one.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    /// The id with its leading slash: the app's or the group's.
    pub id: Arc<str>,
    /// Labels, ports and checks are this app's.
    pub definition: Arc<AppEntry>,
    /// The tasks, and whether they are being replaced.
    pub tasks: Vec<(Arc<TaskEntry>, bool)>,
}

/// A label of an app that cannot be used.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// Whose.
    pub app: AppId,
    pub error: LabelError,
}

/// The id of the group that an app belongs to, with its leading slash.
///
/// # Errors
/// The label is empty.
pub(crate) fn group(app: &AppEntry) -> Result<Option<String>, Fault> {
    let Some(group) = app.labels.get("HAPROXY_DEPLOYMENT_GROUP") else { return Ok(None) };
    match group.as_str() {
        "" => Err(fault(app, "GROUP", "it is empty")),
        group if group.starts_with('/') => Ok(Some(group.to_owned())),
        group => Ok(Some(format!("/{group}"))),
    }
}

/// Makes one app of all members of a group, given in the order of their ids; `None` of none.
///
/// # Errors
/// The first label that makes no sense.
pub(crate) fn merge(id: &Arc<str>, members: &[Arc<AppEntry>]) -> Result<Option<Merged>, Fault> {
    let mut merged: Option<Merged> = None;
    for member in members {
        let alone = Merged {
            id: id.clone(),
            definition: member.clone(),
            tasks: member.tasks.iter().map(|task| (task.clone(), false)).collect(),
        };
        merged = Some(match merged {
            None => alone,
            Some(before) => merge_pair(before, alone)?,
        });
    }
    Ok(merged)
}

fn merge_pair(former: Merged, latter: Merged) -> Result<Merged, Fault> {
    // Whose checks count is who was met second, as in marathon-lb.
    let has_checks = !latter.definition.health_checks.is_empty();
    // Of two that started at one time the one met later counts as the older.
    let (former_at, latter_at) = (started(&former)?, started(&latter)?);
    let (mut older, mut newer) =
        if former_at < latter_at { (former, latter) } else { (latter, former) };
    let mut target = 1;
    if newer.definition.labels.contains_key("HAPROXY_DEPLOYMENT_NEW_INSTANCES") {
        if older.definition.last_scaling_at > newer.definition.last_scaling_at {
            std::mem::swap(&mut older, &mut newer);
        }
        target = target_instances(&newer.definition)?;
    }
    let healthy_new = match has_checks {
        true => newer.tasks.iter().filter(|(task, _)| is_passing(task)).count(),
        false => usize::try_from(newer.definition.instances).unwrap_or(usize::MAX),
    };
    let instances = i64::from(older.definition.instances);
    let healthy = i64::try_from(healthy_new).unwrap_or(i64::MAX);
    let superfluous = healthy.saturating_add(instances).saturating_sub(target).max(0);
    let superfluous = usize::try_from(superfluous).unwrap_or(usize::MAX);
    older.tasks.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    for (_, draining) in older.tasks.iter_mut().take(superfluous.min(healthy_new)) {
        *draining = true;
    }
    older.tasks.extend(newer.tasks);
    Ok(older)
}

/// When the deployment started; the beginning of time when that is not said.
fn started(app: &Merged) -> Result<i128, Fault> {
    let app = &app.definition;
    let Some(text) = app.labels.get("HAPROXY_DEPLOYMENT_STARTED_AT") else { return Ok(i128::MIN) };
    parse_instant(text).map_err(|reason| fault(app, "STARTED_AT", &reason))
}

fn target_instances(app: &AppEntry) -> Result<i64, Fault> {
    let name = "TARGET_INSTANCES";
    let text = app.labels.get("HAPROXY_DEPLOYMENT_TARGET_INSTANCES");
    let text = text.ok_or_else(|| fault(app, name, "it is missing beside NEW_INSTANCES"))?;
    whole_number(text).map_err(|reason| fault(app, name, &reason))
}

fn fault(app: &AppEntry, name: &str, reason: &str) -> Fault {
    let label = format!("HAPROXY_DEPLOYMENT_{name}");
    Fault { app: app.id.clone(), error: LabelError { label, reason: reason.to_owned() } }
}
