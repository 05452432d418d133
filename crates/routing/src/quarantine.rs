//! Apps whose labels cannot be read keep their last good routes.
//!
//! ```text
//! change of an app ──► follow ──► Routing to use (new, or the last good one, or none)
//!                         └─────► Quarantined: reasons, since when
//! ```
//!
//! marathon-lb stops following everybody when one label is malformed; here only the change of that
//! one app waits. Its tasks are followed all the same: what is kept are the rules, not the tasks.
//! Pure: the time is an argument, nothing is logged.

use std::collections::BTreeMap;
use std::sync::Arc;

use waymark_model::{AppEntry, AppId, Timestamp};

use crate::{LabelError, Routing, read};

/// The rules of every app, as far as they could be read.
#[derive(Debug, Default)]
pub struct Quarantine {
    apps: BTreeMap<AppId, Followed>,
    quarantined: BTreeMap<AppId, Quarantined>,
}

/// Why an app's latest labels are not in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Everything that is wrong with them.
    pub errors: Vec<LabelError>,
    /// Since when the app has had labels that cannot be read.
    pub since: Timestamp,
    /// Whether earlier rules are still in effect; else the app has no routes.
    pub kept: bool,
}

#[derive(Debug)]
struct Followed {
    entry: Arc<AppEntry>,
    routing: Option<Arc<Routing>>,
}

impl Quarantine {
    /// Nothing followed yet.
    pub fn new() -> Quarantine {
        Quarantine::default()
    }

    /// Takes over what became of an app (`None` = it is gone) and returns the rules to use for it
    /// from now on; `None` = it gets no routes. The same `Arc` as before when nothing that the rules
    /// depend on has changed.
    ///
    /// Rules that are kept listen on the port numbers they listened on, whatever the app says now.
    /// They may name fewer or more ports than the app has: the surplus of either has no routes.
    pub fn follow(
        &mut self,
        app: &AppId,
        entry: Option<&Arc<AppEntry>>,
        now: Timestamp,
    ) -> Option<Arc<Routing>> {
        let Some(entry) = entry else {
            self.apps.remove(app);
            self.quarantined.remove(app);
            return None;
        };
        if let Some(followed) = self.apps.get_mut(app)
            && same_rules(&followed.entry, entry)
        {
            followed.entry = entry.clone();
            return followed.routing.clone();
        }
        let routing = match read(entry) {
            Ok(routing) => {
                self.quarantined.remove(app);
                Some(Arc::new(routing))
            }
            Err(errors) => {
                let kept = self.last_good(app);
                let since = self.quarantined.get(app).map_or(now, |q| q.since);
                let quarantined = Quarantined { errors, since, kept: kept.is_some() };
                self.quarantined.insert(app.clone(), quarantined);
                kept
            }
        };
        let followed = Followed { entry: entry.clone(), routing: routing.clone() };
        self.apps.insert(app.clone(), followed);
        routing
    }

    /// The rules in effect for an app.
    pub fn routing(&self, app: &AppId) -> Option<&Arc<Routing>> {
        self.apps.get(app)?.routing.as_ref()
    }

    /// The apps whose latest labels are not in effect, in order of their ids.
    pub fn quarantined(&self) -> &BTreeMap<AppId, Quarantined> {
        &self.quarantined
    }

    /// The rules in effect, pinned to the port numbers they listen on.
    fn last_good(&self, app: &AppId) -> Option<Arc<Routing>> {
        let followed = self.apps.get(app)?;
        let routing = followed.routing.as_ref()?;
        if self.quarantined.contains_key(app) {
            return Some(routing.clone());
        }
        let mut pinned = Routing::clone(routing);
        for (port, service) in pinned.ports.iter_mut().zip(&followed.entry.services) {
            Arc::make_mut(port).port.get_or_insert(service.port);
        }
        Some(Arc::new(pinned))
    }
}

/// Whether two states of an app have the same rules for certain: tasks come and go more often than
/// labels change.
fn same_rules(a: &AppEntry, b: &AppEntry) -> bool {
    a.labels == b.labels && a.services == b.services && a.health_checks == b.health_checks
}
