//! Blue/green: apps with one `HAPROXY_DEPLOYMENT_GROUP` are one service, and as many tasks of the
//! old one drain as healthy ones of the new one are there beyond the target (marathon-lb does the
//! same; zdd.py relies on it). Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use waymark_model::{AppEntry, AppId, Readiness, TaskEntry, TaskId};
use waymark_routing::{Deployment, Routing};

/// An app, or several that act as one.
#[derive(Clone, Debug)]
pub(super) struct Merged {
    pub(super) entry: Arc<AppEntry>,
    pub(super) routing: Arc<Routing>,
}

/// Makes one app of all members of a group, given in order of their ids; `None` of none. What it
/// says, and its ports, are the older one's; its id is the group.
pub(super) fn merge(group: &AppId, members: Vec<Merged>) -> Option<Merged> {
    let mut members = members.into_iter();
    let first = members.next()?;
    let mut merged = members.fold(first, merge_pair);
    if merged.entry.id != *group {
        Arc::make_mut(&mut merged.entry).id = group.clone();
    }
    Some(merged)
}

fn merge_pair(former: Merged, latter: Merged) -> Merged {
    // Of two that started at one time the one met later counts as the older.
    let (mut older, mut newer) =
        if started(&former) < started(&latter) { (former, latter) } else { (latter, former) };
    let target = if deployment(&newer).is_some_and(|d| d.new_instances.is_some()) {
        if older.entry.last_scaling_at > newer.entry.last_scaling_at {
            std::mem::swap(&mut older, &mut newer);
        }
        deployment(&newer).and_then(|d| d.target_instances).unwrap_or(0)
    } else {
        1
    };
    // Without health checks marathon-lb counts tasks that are wanted, and drains old ones for new ones
    // that do not run yet.
    let healthy_new =
        newer.entry.tasks.iter().filter(|task| task.readiness == Readiness::Ready).count();
    let draining = draining(&older.entry, healthy_new, target);
    let mut entry = AppEntry::clone(&older.entry);
    for task in &mut entry.tasks {
        if draining.contains(&task.id) {
            *task =
                Arc::new(TaskEntry { readiness: Readiness::Draining, ..TaskEntry::clone(task) });
        }
    }
    entry.tasks.extend(newer.entry.tasks.iter().cloned());
    Merged { entry: Arc::new(entry), routing: older.routing }
}

/// The first tasks of the older app, by id, as many as the new ones make superfluous.
fn draining(older: &AppEntry, healthy_new: usize, target: u32) -> BTreeSet<TaskId> {
    let instances = usize::try_from(older.instances).unwrap_or(usize::MAX);
    let target = usize::try_from(target).unwrap_or(usize::MAX);
    let superfluous = healthy_new.saturating_add(instances).saturating_sub(target);
    let mut ids: Vec<&TaskId> = older.tasks.iter().map(|task| &task.id).collect();
    ids.sort_unstable();
    ids.into_iter().take(superfluous.min(healthy_new)).cloned().collect()
}

fn deployment(app: &Merged) -> Option<&Deployment> {
    app.routing.deployment.as_ref()
}

/// When the deployment started; the beginning of time when that is not said.
fn started(app: &Merged) -> i128 {
    deployment(app).and_then(|d| d.started_at).unwrap_or(i128::MIN)
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
