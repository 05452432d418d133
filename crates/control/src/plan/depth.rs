//! How deep an app stands on its dependencies: 0 without any, else one more than the deepest of
//! them. A dependency on a group is one on every app below it, and the dependencies of a group are
//! those of every app below it.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;
use waymark_model::{App, AppId, PathId, Root};

/// Apps depend on each other in a circle.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("Dependency graph has cycles: {0} depends on itself")]
pub struct Cycle(pub AppId);

/// An app whose dependencies are being looked at.
struct Frame {
    app: AppId,
    rest: Vec<AppId>,
    depth: usize,
}

/// The depth of each of `apps`, by walking their dependencies once. A chain may be as long as the
/// root has apps, so this does not recurse.
pub fn depths<'a>(
    root: &Root,
    apps: impl Iterator<Item = &'a AppId>,
) -> Result<BTreeMap<AppId, usize>, Cycle> {
    let mut known: BTreeMap<AppId, usize> = BTreeMap::new();
    for start in apps {
        let mut open: BTreeSet<AppId> = BTreeSet::new();
        let mut stack: Vec<Frame> = Vec::new();
        let mut next = Some(start.clone()).filter(|a| !known.contains_key(a));
        loop {
            if let Some(app) = next.take() {
                if !open.insert(app.clone()) {
                    return Err(Cycle(app));
                }
                let rest = root.apps.get(&app).map(|a| dependencies(root, a)).unwrap_or_default();
                stack.push(Frame { app, rest, depth: 0 });
            }
            let Some(top) = stack.last_mut() else { break };
            match top.rest.pop() {
                Some(dependency) => match known.get(&dependency) {
                    Some(depth) => top.depth = top.depth.max(depth + 1),
                    None => next = Some(dependency),
                },
                None => {
                    let (app, depth) = (top.app.clone(), top.depth);
                    stack.pop();
                    open.remove(&app);
                    if let Some(below) = stack.last_mut() {
                        below.depth = below.depth.max(depth + 1);
                    }
                    known.insert(app, depth);
                }
            }
        }
    }
    Ok(known)
}

/// The apps that `app` depends on, those named by its groups included. Ids of nothing are skipped:
/// Marathon lets a dependency be deleted.
fn dependencies(root: &Root, app: &App) -> Vec<AppId> {
    let mut found = BTreeSet::new();
    for named in &app.dependencies {
        found.extend(below(root, named));
    }
    let mut group = app.id.parent();
    while let Some(id) = group {
        for named in root.groups.get(&id).into_iter().flat_map(|g| &g.dependencies) {
            found.extend(below(root, named));
        }
        group = id.parent();
    }
    found.into_iter().collect()
}

/// The apps an id of an app or group stands for.
fn below<'a>(root: &'a Root, id: &'a PathId) -> impl Iterator<Item = AppId> + 'a {
    let itself = root.apps.get(id).map(|a| a.id.clone());
    itself.into_iter().chain(root.apps_below(id).map(|a| a.id.clone()))
}
