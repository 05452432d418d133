//! The root group: everything that is wanted.

use std::sync::Arc;

use imbl::OrdMap;

use crate::{App, AppId, GroupId, PathId, Timestamp};

/// A group's own properties; its apps are those of [`Root::apps`] below its id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Apps or groups that must be up before this one's, within one deployment.
    pub dependencies: Vec<PathId>,
    /// When the group, or anything below it, last changed.
    pub version: Timestamp,
}

/// All apps and groups. Cloning is cheap and shares what did not change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Root {
    /// The apps by id.
    pub apps: OrdMap<AppId, Arc<App>>,
    /// The groups by id, the root group and empty ones included.
    pub groups: OrdMap<GroupId, Arc<Group>>,
    /// When anything last changed.
    pub version: Timestamp,
}

impl Root {
    /// The apps below `group`, at any depth, in order of their ids.
    pub fn apps_below<'a>(&'a self, group: &'a GroupId) -> impl Iterator<Item = &'a Arc<App>> {
        self.apps
            .range(group.clone()..)
            .map(|(_, app)| app)
            .skip_while(move |app| app.id == *group)
            .take_while(move |app| app.id.as_str().starts_with(group.as_str()))
            .filter(move |app| app.id.is_below(group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_below_a_group() {
        let mut root = Root::default();
        for id in ["/a", "/shop", "/shop-2/x", "/shop/api", "/shop/web/x", "/shopper"] {
            let id = PathId::parse(id).unwrap();
            root.apps.insert(id.clone(), Arc::new(App::new(id)));
        }
        let below = |g: &str| {
            let g = PathId::parse(g).unwrap();
            root.apps_below(&g).map(|a| a.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(below("/shop"), ["/shop/api", "/shop/web/x"]);
        assert_eq!(below("/").len(), 6);
        assert!(below("/none").is_empty());
    }
}
