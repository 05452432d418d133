//! A group as answers show it: a tree of groups with the apps in them.

use std::collections::{BTreeMap, BTreeSet};

use serde::ser::{Serialize, Serializer};
use waymark_model::{App, GroupId, PathId, Root};

use crate::app::{AppExtras, AppView};
use crate::wire::{self, Text};

/// Which lists a group shows (`embed` of the request).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupParts {
    /// `group.apps`
    pub apps: bool,
    /// `group.groups`
    pub groups: bool,
    /// `group.pods`: a list that is always empty here
    pub pods: bool,
}

impl Default for GroupParts {
    fn default() -> Self {
        GroupParts { apps: true, groups: true, pods: true }
    }
}

/// A group of a root group, with everything below it.
pub struct GroupView<'a> {
    root: &'a Root,
    id: &'a GroupId,
    parts: GroupParts,
    extras: &'a (dyn Fn(&'a App) -> AppExtras<'a> + 'a),
    /// The groups directly in each group, and the apps.
    groups: BTreeMap<GroupId, BTreeSet<GroupId>>,
    apps: BTreeMap<GroupId, Vec<&'a App>>,
}

impl<'a> GroupView<'a> {
    /// The group `id` of `root`; `extras` says what is added to each app. `None` when there is no
    /// such group.
    pub fn new(
        root: &'a Root,
        id: &'a GroupId,
        parts: GroupParts,
        extras: &'a (dyn Fn(&'a App) -> AppExtras<'a> + 'a),
    ) -> Option<GroupView<'a>> {
        let mut view =
            GroupView { root, id, parts, extras, groups: BTreeMap::new(), apps: BTreeMap::new() };
        for group in groups_below(root, id) {
            view.add_group(group);
        }
        for app in root.apps_below(id) {
            let group = app.id.parent().unwrap_or_else(PathId::root);
            view.add_group(&group);
            view.apps.entry(group).or_default().push(app);
        }
        let exists = id.is_root() || root.groups.contains_key(id) || !view.apps.is_empty();
        exists.then_some(view)
    }

    /// Hangs a group into the tree, with the groups between it and the top.
    fn add_group(&mut self, group: &GroupId) {
        let mut group = group.clone();
        while group.is_below(self.id) {
            let parent = group.parent().unwrap_or_else(PathId::root);
            if !self.groups.entry(parent.clone()).or_default().insert(group) {
                return;
            }
            group = parent;
        }
    }
}

impl Serialize for GroupView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Branch { view: self, id: self.id }.serialize(serializer)
    }
}

/// The groups below `group`, at any depth.
pub(crate) fn groups_below<'a>(
    root: &'a Root,
    group: &'a GroupId,
) -> impl Iterator<Item = &'a GroupId> {
    root.groups
        .range(group.clone()..)
        .map(|(id, _)| id)
        .take_while(move |id| id.as_str().starts_with(group.as_str()))
        .filter(move |id| id.is_below(group))
}

/// One group of the tree.
struct Branch<'v, 'a> {
    view: &'v GroupView<'a>,
    id: &'v GroupId,
}

impl<'a> Serialize for Branch<'_, 'a> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Branch { view, id } = self;
        let group = view.root.groups.get(*id);
        let version = match group {
            Some(group) if !id.is_root() => group.version,
            _ => view.root.version,
        };
        let apps = view.apps.get(*id).into_iter().flatten();
        let groups = view.groups.get(*id).into_iter().flatten();
        let dependencies = group.iter().flat_map(|g| &g.dependencies);
        wire::object(serializer, |o| {
            o.put("id", id.as_str())?;
            if view.parts.apps {
                let app = |app: &&'a App| AppView::new(app, (view.extras)(app));
                o.put("apps", apps.map(app).collect::<Vec<_>>())?;
            }
            if view.parts.groups {
                o.put("groups", groups.map(|id| Branch { view, id }).collect::<Vec<_>>())?;
            }
            if view.parts.pods {
                o.put("pods", [(); 0])?;
            }
            o.put("dependencies", dependencies.map(PathId::as_str).collect::<Vec<_>>())?;
            o.put("version", Text(version))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use waymark_model::{Group, Timestamp};

    fn id(text: &str) -> PathId {
        PathId::parse(text).unwrap()
    }

    fn root(apps: &[&str]) -> Root {
        let mut root = Root { version: Timestamp(9), ..Root::default() };
        for app in apps {
            root.apps.insert(id(app), Arc::new(App::new(id(app))));
        }
        let group = Group { dependencies: vec![id("/db")], version: Timestamp(5) };
        root.groups.insert(id("/shop"), Arc::new(group));
        root.groups.insert(id("/shop/empty"), Arc::default());
        root
    }

    /// The tree with each app shown as its id.
    fn tree(root: &Root, group: &str, parts: GroupParts) -> Option<serde_json::Value> {
        let (id, extras) = (id(group), |_: &App| AppExtras::default());
        let text = crate::to_text(&GroupView::new(root, &id, parts, &extras)?);
        let mut tree: serde_json::Value = serde_json::from_str(&text).unwrap();
        fn ids_only(group: &mut serde_json::Value) {
            for app in group.get_mut("apps").and_then(|a| a.as_array_mut()).into_iter().flatten() {
                *app = app["id"].clone();
            }
            group
                .get_mut("groups")
                .and_then(|g| g.as_array_mut())
                .into_iter()
                .flatten()
                .for_each(ids_only);
        }
        ids_only(&mut tree);
        Some(tree)
    }

    #[test]
    fn a_tree_of_groups() {
        let root = root(&["/a", "/db", "/shop-2/x", "/shop/web", "/shop/in/x"]);
        let at = |n| Timestamp(n).to_string();
        let shop = serde_json::json!({
        "id": "/shop", "apps": ["/shop/web"], "pods": [], "dependencies": ["/db"], "version": at(5),
        "groups": [
            {"id": "/shop/empty", "apps": [], "groups": [], "pods": [], "dependencies": [], "version": at(0)},
            {"id": "/shop/in", "apps": ["/shop/in/x"], "groups": [], "pods": [], "dependencies": [], "version": at(9)},
        ]});
        assert_eq!(tree(&root, "/shop", GroupParts::default()), Some(shop.clone()));
        let whole = tree(&root, "/", GroupParts::default()).unwrap();
        assert_eq!(whole["apps"], serde_json::json!(["/a", "/db"]));
        assert_eq!(whole["groups"][0], shop);
        assert_eq!(whole["groups"][1]["id"], "/shop-2");
        let bare = GroupParts { apps: false, groups: false, pods: false };
        assert_eq!(
            tree(&root, "/shop", bare),
            Some(serde_json::json!({"id": "/shop", "dependencies": ["/db"], "version": at(5)}))
        );
        assert_eq!(tree(&root, "/none", GroupParts::default()), None);
        assert_eq!(tree(&Root::default(), "/", bare).unwrap()["id"], "/");
    }

    /// The deepest id that there can be makes no trouble.
    #[test]
    fn as_deep_as_ids_go() {
        let deep = "/a".repeat(PathId::MAX_LEN / 2);
        let root = root(&[&deep]);
        let (top, extras) = (PathId::root(), |_: &App| AppExtras::default());
        let view = GroupView::new(&root, &top, GroupParts::default(), &extras).unwrap();
        assert!(crate::to_text(&view).contains(&format!("\"id\":\"{deep}\"")));
    }
}
