//! Changing what is wanted.
//!
//! ```text
//! ChangeFn(root) ──► groups made ──► service ports ──► conflicts ──► stamps ──► plan ──► locks
//!                                                                                         │
//!                    refused at any point: nothing has changed            accepted ◄──────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use waymark_model::service_ports::AppUpdate;
use waymark_model::{App, AppId, Group, GroupId, Root, Timestamp};

use super::{Context, Core, Happening, Key};
use crate::plan::plan;
use crate::{Accepted, Change, ChangeFn, DeploymentId, Refusal, Violation};

/// A change that has been worked out but not taken over yet.
struct Draft {
    root: Root,
    /// Apps that differ from the present root, or are restarted.
    changed: BTreeSet<AppId>,
    /// Groups that differ, apart from their version.
    groups: BTreeSet<GroupId>,
    /// All apps that were put, changed or not, as they are in `root`.
    put: BTreeSet<AppId>,
    warnings: Vec<String>,
}

impl Core {
    pub(super) fn change(
        &mut self,
        change: ChangeFn,
        force: bool,
        cx: &mut Context<'_>,
    ) -> Result<Accepted, Refusal> {
        if self.shutdown {
            return Err(Refusal::Stopping);
        }
        let change = change(&self.state.root)?;
        self.apply(change, force, cx)
    }

    /// Works the change out and takes it over, or refuses it and leaves everything as it was.
    pub(super) fn apply(
        &mut self,
        change: Change,
        force: bool,
        cx: &mut Context<'_>,
    ) -> Result<Accepted, Refusal> {
        let stamp = self.next_version(cx.now);
        let draft = self.draft(change, stamp)?;
        let steps = plan(&self.state.root, &draft.root, &draft.changed).map_err(|cycle| {
            Refusal::Invalid(vec![Violation {
                path: "/dependencies".to_owned(),
                message: cycle.to_string(),
            }])
        })?;
        let cancelled = self.conflicting_deployments(&draft.changed);
        if !cancelled.is_empty() && !force {
            return Err(Refusal::Locked(cancelled));
        }
        self.check_deployment_limit(!steps.is_empty(), cancelled.len())?;

        let before = draft.changed.iter().map(|a| (a.clone(), self.wanted(a))).collect();
        for deployment in &cancelled {
            self.cancel_deployment(deployment, cx);
        }
        let put = draft.put.clone();
        let warnings = draft.warnings.clone();
        self.take_over(draft, stamp, cx);
        let deployment = self.start_deployment(steps, before, cx);
        let apps = put.iter().filter_map(|id| self.state.root.apps.get(id).cloned()).collect();
        Ok(Accepted {
            deployment: Some(deployment),
            version: self.state.root.version,
            apps,
            killed: Vec::new(),
            warnings,
        })
    }

    /// Versions only grow, also when the clock does not.
    fn next_version(&self, now: Timestamp) -> Timestamp {
        now.max(Timestamp(self.state.root.version.0.saturating_add(1)))
    }

    fn draft(&self, change: Change, stamp: Timestamp) -> Result<Draft, Refusal> {
        let old = &self.state.root;
        let mut root = old.clone();
        let groups = put_groups(&mut root, &change, stamp);
        let put: BTreeSet<AppId> =
            change.apps.iter().filter(|(_, a)| a.is_some()).map(|(id, _)| id.clone()).collect();
        let mut changed = BTreeSet::new();
        let mut new = Vec::new();
        for (id, app) in change.apps {
            match app {
                Some(app) => new.push(App { id, ..app }),
                None => changed.extend(root.apps.remove(&id).map(|app| app.id.clone())),
            }
        }
        // Restarted apps that are not put are taken as they are.
        for id in &change.restart {
            if let Some(app) = old.apps.get(id).filter(|_| !put.contains(id)) {
                new.push(App::clone(app));
            }
        }
        self.assign_service_ports(&mut new)?;
        let warnings = self.check_conflicts(&new, &changed)?;
        for mut app in new {
            let before = old.apps.get(&app.id);
            let restart = change.restart.contains(&app.id);
            if stamp_app(&mut app, before.map(|a| &**a), restart, stamp) {
                changed.insert(app.id.clone());
                root.apps.insert(app.id.clone(), Arc::new(app));
            }
        }
        check_ids(&root, &changed, &groups)?;
        touch_groups(&mut root, changed.iter().chain(&groups), stamp);
        if !changed.is_empty() || !groups.is_empty() {
            root.version = stamp;
        }
        Ok(Draft { root, changed, groups, put, warnings })
    }

    fn assign_service_ports(&self, new: &mut [App]) -> Result<(), Refusal> {
        let mut updates: Vec<AppUpdate<'_>> = new
            .iter_mut()
            .map(|app| (self.state.root.apps.get(&app.id).map(|a| &**a), app))
            .collect();
        self.state
            .service_ports
            .assign(&mut updates)
            .map_err(|e| Refusal::PortsExhausted { min: e.min, max: e.max })
    }

    /// Service ports that more than one app would have, as warnings or, when strict, a refusal.
    fn check_conflicts(
        &self,
        new: &[App],
        removed: &BTreeSet<AppId>,
    ) -> Result<Vec<String>, Refusal> {
        // Nothing new is owned by those that go; the owners among `new` are as they will be.
        let mut ports = self.state.service_ports.clone();
        for id in removed {
            ports.release(id);
        }
        for app in new {
            ports.claim(&app.id, &app.service_ports());
        }
        let mut found = Vec::new();
        for app in new {
            for conflict in ports.conflicts(&app.id, &app.service_ports()) {
                let known = self.state.service_ports.of(&app.id).contains(&conflict.port)
                    && self.state.service_ports.of(&conflict.other).contains(&conflict.port);
                if known && self.settings.strict_service_ports {
                    continue;
                }
                found.push((app, conflict));
            }
        }
        if self.settings.strict_service_ports && !found.is_empty() {
            // Marathon 0.8's text for the same check.
            let violation = |(app, c): &(&App, waymark_model::service_ports::Conflict)| Violation {
                path: port_path(app, c.port),
                message: format!(
                    "Requested service port {} conflicts with a service port in app {}",
                    c.port, c.other
                ),
            };
            return Err(Refusal::Invalid(found.iter().map(violation).collect()));
        }
        let warning = |(app, c): (&App, waymark_model::service_ports::Conflict)| {
            format!("service port {} of app {} is also used by app {}", c.port, app.id, c.other)
        };
        Ok(found.into_iter().map(warning).collect())
    }

    /// Makes the draft the present, with everything that is derived from it.
    fn take_over(&mut self, draft: Draft, stamp: Timestamp, cx: &mut Context<'_>) {
        if draft.changed.is_empty() && draft.groups.is_empty() {
            return;
        }
        let old = std::mem::replace(&mut self.state.root, draft.root);
        cx.out.writes.insert(Key::Root);
        for id in &draft.changed {
            let before = old.apps.get(id).filter(|a| !a.health_checks.is_empty());
            let after = self.state.root.apps.get(id).cloned();
            match &after {
                Some(app) => self.state.service_ports.claim(id, &app.service_ports()),
                None => {
                    self.state.service_ports.release(id);
                    self.removed.insert(id.clone());
                }
            }
            let config = |a: &App| a.last_config_change_at;
            if before.map(|a| config(a)) != after.as_deref().map(config) {
                if before.is_some() {
                    cx.happened(Happening::ChecksRemoved(id.clone()));
                }
                if let Some(app) = after.filter(|a| !a.health_checks.is_empty()) {
                    cx.happened(Happening::ChecksAdded(app));
                }
            }
            self.state.delays.remove(id);
            cx.out.writes.insert(Key::App(id.clone()));
            cx.app_changed(id);
        }
        let touched = draft.changed.iter().chain(&draft.groups);
        let written: BTreeSet<GroupId> =
            touched.clone().flat_map(ancestors).chain(draft.groups.iter().cloned()).collect();
        cx.out.writes.extend(written.into_iter().map(Key::Group));
        cx.happened(Happening::RootChanged { group: common_group(touched), version: stamp });
    }

    fn conflicting_deployments(&self, apps: &BTreeSet<AppId>) -> Vec<DeploymentId> {
        let ids = apps.iter().filter_map(|a| self.locks.get(a)).map(|l| l.deployment.clone());
        ids.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Puts and removes groups, and makes those that are missing. Returns those that differ.
fn put_groups(root: &mut Root, change: &Change, stamp: Timestamp) -> BTreeSet<GroupId> {
    let mut differ = BTreeSet::new();
    for (id, group) in &change.groups {
        let before = root.groups.get(id);
        match group {
            Some(group) if before.is_some_and(|b| b.dependencies == group.dependencies) => {}
            Some(group) => {
                let group = Group { version: stamp, ..group.clone() };
                root.groups.insert(id.clone(), Arc::new(group));
                differ.insert(id.clone());
            }
            None if id.is_root() => {}
            None => differ.extend(root.groups.remove(id).map(|_| id.clone())),
        }
    }
    let apps = change.apps.iter().filter(|(_, a)| a.is_some()).map(|(id, _)| id);
    let groups = change.groups.iter().filter(|(_, g)| g.is_some()).map(|(id, _)| id);
    for id in apps.chain(groups).flat_map(ancestors) {
        if !root.groups.contains_key(&id) {
            let group = Group { version: stamp, ..Group::default() };
            root.groups.insert(id.clone(), Arc::new(group));
            differ.insert(id);
        }
    }
    differ
}

/// Stamps an app that differs from before; an identical one stays as it is (`false`).
fn stamp_app(app: &mut App, before: Option<&App>, restart: bool, stamp: Timestamp) -> bool {
    let scaled = match before {
        Some(before) if !restart && app.same_definition(before) => return false,
        Some(before) if !restart && app.same_config(before) => Some(before.last_config_change_at),
        _ => None,
    };
    app.version = stamp;
    app.last_scaling_at = stamp;
    app.last_config_change_at = scaled.unwrap_or(stamp);
    true
}

/// The groups above an id, the root last.
fn ancestors(id: &AppId) -> impl Iterator<Item = GroupId> + use<> {
    std::iter::successors(id.parent(), GroupId::parent)
}

/// Gives every group above what changed the new version.
fn touch_groups<'a>(root: &mut Root, changed: impl Iterator<Item = &'a AppId>, stamp: Timestamp) {
    for id in changed.flat_map(ancestors).collect::<BTreeSet<_>>() {
        if let Some(group) = root.groups.get_mut(&id) {
            Arc::make_mut(group).version = stamp;
        }
    }
}

/// An id is an app's or a group's, never both.
fn check_ids(
    root: &Root,
    apps: &BTreeSet<AppId>,
    groups: &BTreeSet<GroupId>,
) -> Result<(), Refusal> {
    let both = |id: &&AppId| root.apps.contains_key(*id) && root.groups.contains_key(*id);
    let mut violations: BTreeMap<&AppId, Violation> = BTreeMap::new();
    for id in apps.iter().chain(groups).filter(both) {
        violations.insert(
            id,
            Violation {
                path: "/id".to_owned(),
                message: format!("Groups and Applications may not have the same identifier: {id}"),
            },
        );
    }
    if violations.is_empty() {
        Ok(())
    } else {
        Err(Refusal::Invalid(violations.into_values().collect()))
    }
}

/// Marathon's path to the position that declares a service port.
fn port_path(app: &App, port: u16) -> String {
    match app.ports().iter().find(|p| p.service_port == port) {
        Some(p) if p.container_port.is_some() => {
            format!("/container/portMappings({})/servicePort", p.index)
        }
        Some(p) => format!("/portDefinitions({})/port", p.index),
        None => "/".to_owned(),
    }
}

/// The smallest group that holds all of them.
fn common_group<'a>(mut ids: impl Iterator<Item = &'a AppId>) -> GroupId {
    let parent = |id: &AppId| id.parent().unwrap_or_else(GroupId::root);
    let Some(first) = ids.next() else { return GroupId::root() };
    ids.fold(parent(first), |common, id| {
        let holds = |g: &GroupId| g.is_root() || id.is_below(g);
        std::iter::successors(Some(common), GroupId::parent)
            .find(holds)
            .unwrap_or_else(GroupId::root)
    })
}
