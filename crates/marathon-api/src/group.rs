//! Groups as requests state them, and what they change in the root group.
//!
//! A list that is present (`apps`, `groups`, `dependencies`) replaces the stored one as a whole:
//! children that it does not name are removed. A list that is absent keeps what is there. Ids may be
//! relative to the group that they stand in; what comes out is absolute.

use std::collections::{BTreeMap, BTreeSet};

use waymark_model::{App, AppId, Group, GroupId, PathId, Root, Timestamp};

use crate::app::{self, AppUpdate};
use crate::error::{ApiError, Violation};
use crate::group_view::groups_below;
use crate::reader::{self, Errors, Fields, MAX_INT, Node, code, list, number, object, string};

/// A group with every field optional: what a client sent, types checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupUpdate {
    id: Option<String>,
    apps: Option<Vec<AppUpdate>>,
    groups: Option<Vec<GroupUpdate>>,
    dependencies: Option<Vec<String>>,
    version: Option<Timestamp>,
    scale_by: Option<f64>,
}

/// What a [`GroupUpdate`] does: apps and groups to put (`Some`) or to remove (`None`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupChange {
    /// The apps, complete, normalised and valid; service ports may be 0.
    pub apps: BTreeMap<AppId, Option<App>>,
    /// The groups. Version stamps are the stored ones, or zero.
    pub groups: BTreeMap<GroupId, Option<Group>>,
}

fn group(node: Node<'_>, errors: &mut Errors) -> Option<GroupUpdate> {
    object(|f: &mut Fields<'_, '_>| GroupUpdate {
        id: f.read("id", string),
        apps: f.read("apps", list(app::reader)),
        groups: f.read("groups", list(group)),
        dependencies: f.read("dependencies", list(string)),
        version: f.read("version", app::timestamp),
        scale_by: f.read("scaleBy", number(0.0..=f64::MAX)),
    })(node, errors)
}

impl GroupUpdate {
    /// Reads a group.
    ///
    /// Errors: 400 when the text is empty or not JSON, 422 when a value has a wrong type.
    pub fn from_json(text: &[u8]) -> Result<GroupUpdate, ApiError> {
        reader::from_text(text, group)
    }

    /// The id that the group names, relative to `parent`. 422 when it is no id.
    pub fn id_in(&self, parent: &GroupId) -> Result<Option<GroupId>, ApiError> {
        let wrong = |e: waymark_model::PathIdError| Violation::new("/id", e.to_string());
        let id = self.id.as_deref().map(|text| parent.resolve(text)).transpose();
        id.map_err(|error| ApiError::invalid(vec![wrong(error)]))
    }

    /// The version to roll back to, for the form `{"version":…}`: 422 when it comes together with
    /// other properties.
    pub fn version(&self) -> Result<Option<Timestamp>, ApiError> {
        self.alone("/version", self.version.is_some(), self.scale_by.is_some())?;
        Ok(self.version)
    }

    /// What the update changes when it is put on the group `id` of `root`. 422 when the result is
    /// not valid. The form with `version` changes nothing here; see [`GroupUpdate::version`].
    pub fn change(self, id: &GroupId, root: &Root) -> Result<GroupChange, ApiError> {
        self.version()?;
        self.alone("/scaleBy", self.scale_by.is_some(), self.version.is_some())?;
        if let Some(factor) = self.scale_by {
            return scale(id, root, factor);
        }
        let mut putting = Putting { root, change: GroupChange::default(), violations: Vec::new() };
        if self.version.is_none() {
            putting.group(self, id, "");
        }
        putting.done()
    }

    /// A property that makes sense alone only.
    fn alone(&self, path: &str, given: bool, other: bool) -> Result<(), ApiError> {
        let lists = self.apps.is_some() || self.groups.is_some() || self.dependencies.is_some();
        if given && (lists || other) {
            let text = "not allowed in conjunction with other properties.";
            return Err(ApiError::invalid(vec![Violation::new(path, text)]));
        }
        Ok(())
    }
}

/// `scaleBy`: the instances of every app below, times `factor`, rounded up.
fn scale(id: &GroupId, root: &Root, factor: f64) -> Result<GroupChange, ApiError> {
    let mut change = GroupChange::default();
    for app in root.apps_below(id) {
        let instances = (f64::from(app.instances) * factor).ceil();
        if instances > MAX_INT as f64 {
            return Err(ApiError::invalid_json(vec![Violation::new("/scaleBy", code::MAX)]));
        }
        let scaled = App { instances: instances as u32, ..App::clone(app) };
        change.apps.insert(app.id.clone(), Some(scaled));
    }
    Ok(change)
}

/// A group update on its way through the tree.
struct Putting<'a> {
    root: &'a Root,
    change: GroupChange,
    violations: Vec<Violation>,
}

impl Putting<'_> {
    fn group(&mut self, update: GroupUpdate, id: &GroupId, path: &str) {
        let stored = self.root.groups.get(id).map(|g| Group::clone(g)).unwrap_or_default();
        let mut wrong = Vec::new();
        let dependencies = match update.dependencies {
            Some(texts) => app::dependencies(id, texts, &mut wrong),
            None => stored.dependencies,
        };
        self.note(path, wrong);
        let group = Group { dependencies, version: stored.version };
        if self.change.groups.insert(id.clone(), Some(group)).is_some_and(|g| g.is_some()) {
            self.note(path, vec![Violation::new("/id", format!("group {id} is given twice"))]);
        }
        let groups = self.children(update.groups.as_deref(), id, path);
        // Before anything is put: an app may be given below a group that is not.
        if update.groups.is_some() {
            let kept: BTreeSet<&GroupId> = groups.iter().flatten().collect();
            self.remove_groups(id, &kept);
        }
        if let Some(apps) = update.apps {
            self.apps(apps, id, path);
        }
        for (index, (child, child_id)) in
            update.groups.into_iter().flatten().zip(groups).enumerate()
        {
            if let Some(child_id) = child_id {
                self.group(child, &child_id, &format!("{path}/groups({index})"));
            }
        }
    }

    /// The ids of a group's groups; `None` for those that are wrong.
    fn children(
        &mut self,
        groups: Option<&[GroupUpdate]>,
        parent: &GroupId,
        path: &str,
    ) -> Vec<Option<GroupId>> {
        let mut ids = Vec::new();
        for (index, child) in groups.unwrap_or_default().iter().enumerate() {
            let id = match child.id_in(parent) {
                Ok(Some(id)) if id.is_below(parent) => Ok(id),
                Ok(Some(_)) => Err(format!("Identifier is not child of '{parent}'")),
                Ok(None) => Err(code::MISSING.to_owned()),
                Err(error) => {
                    Err(error.violations().first().map_or(String::new(), |v| v.message.clone()))
                }
            };
            let at = format!("{path}/groups({index})");
            ids.push(id.map_err(|text| self.note(&at, vec![Violation::new("/id", text)])).ok());
        }
        ids
    }

    fn apps(&mut self, apps: Vec<AppUpdate>, group: &GroupId, path: &str) {
        let direct = |app: &&std::sync::Arc<App>| app.id.parent().as_ref() == Some(group);
        for app in self.root.apps_below(group).filter(direct) {
            self.change.apps.entry(app.id.clone()).or_insert(None);
        }
        for (index, update) in apps.into_iter().enumerate() {
            let missing = || ApiError::invalid(vec![Violation::new("/id", code::MISSING)]);
            let complete = || {
                let id = update.id_in(group)?.ok_or_else(missing)?;
                update.complete(id)
            };
            let path = format!("{path}/apps({index})");
            match complete() {
                Ok(app) => {
                    let id = app.id.clone();
                    if let Some(Some(_)) = self.change.apps.insert(id.clone(), Some(app)) {
                        let text = format!("An app with id [{id}] already exists.");
                        self.note(&path, vec![Violation::new("/id", text)]);
                    }
                }
                Err(error) => self.note(&path, error.violations().to_vec()),
            }
        }
    }

    /// Removes the groups below `parent`, with all that is in them, but for those kept.
    fn remove_groups(&mut self, parent: &GroupId, kept: &BTreeSet<&GroupId>) {
        // What a kept group lies in stays too, though not what else is there.
        let above: BTreeSet<GroupId> = kept.iter().flat_map(|id| ancestors(id)).collect();
        let goes = |id: &PathId| {
            let is_kept = kept.contains(id) || ancestors(id).any(|group| kept.contains(&group));
            !is_kept && !above.contains(id)
        };
        for id in groups_below(self.root, parent).filter(|id| goes(id)) {
            self.change.groups.entry(id.clone()).or_insert(None);
        }
        let nested = |id: &AppId| id.parent().is_some_and(|group| group.is_below(parent));
        for app in self.root.apps_below(parent).filter(|app| nested(&app.id) && goes(&app.id)) {
            self.change.apps.entry(app.id.clone()).or_insert(None);
        }
    }

    fn note(&mut self, path: &str, violations: Vec<Violation>) {
        for Violation { path: below, message } in violations {
            let path = if below == "/" && !path.is_empty() {
                path.to_owned()
            } else {
                format!("{path}{below}")
            };
            self.violations.push(Violation { path, message });
        }
    }

    fn done(mut self) -> Result<GroupChange, ApiError> {
        if !self.violations.is_empty() {
            return Err(ApiError::invalid(self.violations));
        }
        // A group in which something is put stays.
        let put = self.change.apps.iter().filter(|(_, app)| app.is_some()).map(|(id, _)| id);
        let above: BTreeSet<GroupId> = put.flat_map(ancestors).collect();
        self.change.groups.retain(|id, group| group.is_some() || !above.contains(id));
        Ok(self.change)
    }
}

/// The groups above an id, the root last.
fn ancestors(id: &PathId) -> impl Iterator<Item = GroupId> + use<> {
    std::iter::successors(id.parent(), PathId::parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn id(text: &str) -> PathId {
        PathId::parse(text).unwrap()
    }

    fn root(apps: &[&str], groups: &[&str]) -> Root {
        let mut root = Root::default();
        for app in apps {
            let mut app = App::new(id(app));
            app.instances = 3;
            root.apps.insert(app.id.clone(), Arc::new(app));
        }
        for group in groups {
            let group =
                (id(group), Group { dependencies: vec![id("/old")], version: Timestamp(4) });
            root.groups.insert(group.0, Arc::new(group.1));
        }
        root
    }

    /// `+/id` for what is put, `-/id` for what is removed; apps, then groups.
    fn change(root: &Root, group: &str, update: Value) -> Result<[Vec<String>; 2], String> {
        let update = GroupUpdate::from_json(update.to_string().as_bytes()).map_err(|e| e.body())?;
        let change = update.change(&id(group), root).map_err(|e| e.body())?;
        let sign = |put: bool, id: &PathId| format!("{}{id}", if put { '+' } else { '-' });
        Ok([
            change.apps.iter().map(|(id, app)| sign(app.is_some(), id)).collect(),
            change.groups.iter().map(|(id, group)| sign(group.is_some(), id)).collect(),
        ])
    }

    #[test]
    fn lists_that_are_given_replace_what_is_there() {
        let root = root(
            &["/x", "/g/a", "/g/b", "/g/in/c", "/g/in/deep/d", "/g-2/e"],
            &["/g", "/g/in", "/g/in/deep", "/g/empty", "/g-2"],
        );
        let app = |id: &str| json!({"id": id, "cmd": "x"});
        for (update, apps, groups) in [
            (json!({}), &[][..], &["+/g"][..]),
            (json!({"apps": [app("a"), app("/g/n")]}), &["+/g/a", "-/g/b", "+/g/n"], &["+/g"]),
            (json!({"apps": []}), &["-/g/a", "-/g/b"], &["+/g"]),
            (
                json!({"groups": [{"id": "in", "groups": []}]}),
                &["-/g/in/deep/d"],
                &["+/g", "-/g/empty", "+/g/in", "-/g/in/deep"],
            ),
            (
                json!({"groups": []}),
                &["-/g/in/c", "-/g/in/deep/d"],
                &["+/g", "-/g/empty", "-/g/in", "-/g/in/deep"],
            ),
            // A group in a group that is not named keeps it, but not what else is in it.
            (
                json!({"groups": [{"id": "/g/in/deep"}]}),
                &["-/g/in/c"],
                &["+/g", "-/g/empty", "+/g/in/deep"],
            ),
            // An app given in a group that is not named keeps the group.
            (
                json!({"apps": [app("in/c")], "groups": []}),
                &["-/g/a", "-/g/b", "+/g/in/c", "-/g/in/deep/d"],
                &["+/g", "-/g/empty", "-/g/in/deep"],
            ),
        ] {
            let text = update.to_string();
            let [got_apps, got_groups] = change(&root, "/g", update).unwrap();
            assert_eq!(
                (&got_apps[..], &got_groups[..]),
                (&owned(apps)[..], &owned(groups)[..]),
                "{text}"
            );
        }
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn dependencies_are_kept_or_replaced() {
        let root = root(&[], &["/g"]);
        let put = |update: Value| {
            let update = GroupUpdate::from_json(update.to_string().as_bytes()).unwrap();
            update.change(&id("/g"), &root).unwrap().groups.remove(&id("/g")).flatten().unwrap()
        };
        let stored = Group { dependencies: vec![id("/old")], version: Timestamp(4) };
        assert_eq!(put(json!({})), stored);
        assert_eq!(
            put(json!({"dependencies": ["../db", "/x"]})).dependencies,
            [id("/db"), id("/x")]
        );
    }

    #[test]
    fn scaling_a_group() {
        let root = root(&["/x", "/g/a", "/g/in/b"], &["/g"]);
        let scaled = |factor: f64| {
            let update = json!({"id": "/g", "scaleBy": factor}).to_string();
            let update = GroupUpdate::from_json(update.as_bytes()).unwrap();
            let change = update.change(&id("/g"), &root)?;
            let count = |(id, app): (PathId, Option<App>)| (id.to_string(), app.unwrap().instances);
            Ok::<_, ApiError>(change.apps.into_iter().map(count).collect::<Vec<_>>())
        };
        let both = |n| Ok(vec![("/g/a".to_owned(), n), ("/g/in/b".to_owned(), n)]);
        assert_eq!(scaled(2.0), both(6));
        assert_eq!(scaled(0.5), both(2));
        assert_eq!(scaled(0.0), both(0));
        assert_eq!(scaled(1e30).map_err(|e| e.status()), Err(422));
    }

    #[test]
    fn what_is_refused() {
        let root = root(&[], &[]);
        for (update, path, message) in [
            (
                json!({"apps": [{"id": "/h/a", "cmd": "x"}]}),
                "/apps(0)/id",
                "Identifier is not child of '/g'",
            ),
            (json!({"groups": [{"id": "/h"}]}), "/groups(0)/id", "Identifier is not child of '/g'"),
            (json!({"groups": [{}]}), "/groups(0)/id", "error.path.missing"),
            (
                json!({"groups": [{"id": "in", "apps": [{"id": "a", "cmd": "x", "networks": [{}]}]}]}),
                "/groups(0)/apps(0)/networks",
                "Network name must be specified when container network is selected.",
            ),
            (
                json!({"apps": [{"id": "a", "cmd": "x"}, {"id": "a", "cmd": "x"}]}),
                "/apps(1)/id",
                "An app with id [/g/a] already exists.",
            ),
            (
                json!({"groups": [{"id": "a"}, {"id": "a"}]}),
                "/groups(1)/id",
                "group /g/a is given twice",
            ),
            (
                json!({"scaleBy": 2, "apps": []}),
                "/scaleBy",
                "not allowed in conjunction with other properties.",
            ),
            (
                json!({"version": "2026-01-05T10:00:00.000Z", "scaleBy": 2}),
                "/version",
                "not allowed in conjunction with other properties.",
            ),
        ] {
            let body = json!({"message": "Object is not valid",
                              "details": [{"path": path, "errors": [message]}]});
            let text = update.to_string();
            let refused =
                change(&root, "/g", update).map_err(|b| serde_json::from_str::<Value>(&b).unwrap());
            assert_eq!(refused, Err(body), "{text}");
        }
        let rollback =
            GroupUpdate::from_json(br#"{"version": "2026-01-05T10:00:00.000Z"}"#).unwrap();
        assert_eq!(rollback.version().map(|v| v.is_some()), Ok(true));
        assert_eq!(rollback.change(&id("/g"), &root), Ok(GroupChange::default()));
    }
}
