//! Planning a deployment: the old and the new root in, steps out. Pure.
//!
//! The order is Marathon's: first every app that is gone is stopped, then every new app is made
//! known with no instances, then apps are brought to what is wanted by the depth of their
//! dependencies, so that an app starts only after all it depends on runs, is ready and healthy.
//!
//! A plan says what to reach, never how: that is [`crate::replace`]'s.

mod depth;

use std::collections::{BTreeMap, BTreeSet};

use waymark_model::{App, AppId, Root};

use crate::{Action, ActionKind, Step};

pub use depth::Cycle;

/// The steps from `old` to `new`. Only the apps in `touched` are looked at, so the cost is that of
/// the change; apps outside of it must be the same in both.
pub fn plan(old: &Root, new: &Root, touched: &BTreeSet<AppId>) -> Result<Vec<Step>, Cycle> {
    let mut stops = Vec::new();
    let mut starts = Vec::new();
    let mut moves: Vec<Action> = Vec::new();
    for app in touched {
        let action = |kind| Action { kind, app: app.clone() };
        match (old.apps.get(app), new.apps.get(app)) {
            (Some(_), None) => stops.push(action(ActionKind::Stop)),
            (None, Some(_)) => {
                starts.push(action(ActionKind::Start));
                moves.push(action(ActionKind::Scale));
            }
            (Some(before), Some(after)) => moves.extend(moving(before, after).map(action)),
            (None, None) => {}
        }
    }
    let depths = depth::depths(new, moves.iter().map(|a| &a.app))?;
    let mut levels: BTreeMap<usize, Vec<Action>> = BTreeMap::new();
    for action in moves {
        let depth = depths.get(&action.app).copied().unwrap_or(0);
        levels.entry(depth).or_default().push(action);
    }
    let steps = [stops, starts].into_iter().chain(levels.into_values());
    Ok(steps.filter(|a| !a.is_empty()).map(|actions| Step { actions }).collect())
}

/// How an app that stays gets from one definition to the other.
fn moving(before: &App, after: &App) -> Option<ActionKind> {
    let upgraded = before.last_config_change_at != after.last_config_change_at;
    match (upgraded, before.instances != after.instances) {
        (true, _) if after.instances > 0 => Some(ActionKind::Restart),
        (true, _) | (_, true) => Some(ActionKind::Scale),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
