//! Apps whose definition cannot be written keep their last good one.
//!
//! ```text
//! change of an app ──► follow ──► the entry in effect: new, or good definition + new tasks, or none
//! bad label, HAProxy's refusal ──► refuse ──┘          accept ──► what is in effect is good
//! ```
//!
//! What is kept are labels, ports and checks; tasks are followed all the same. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use waymark_model::{AppEntry, AppId, Timestamp};

/// Why an app's latest definition is not in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong with it.
    pub reason: String,
    /// Since when the app has had a definition that is refused.
    pub since: Timestamp,
    /// Whether an earlier definition is in effect; else the app is not written.
    pub kept: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Quarantine {
    apps: BTreeMap<AppId, Followed>,
}

#[derive(Clone, Debug)]
struct Followed {
    latest: Arc<AppEntry>,
    /// The last entry in effect that was accepted.
    good: Option<Arc<AppEntry>>,
    effective: Option<Arc<AppEntry>>,
    refusal: Option<Refusal>,
}

impl Quarantine {
    /// Takes over what became of an app; `None` = it is gone.
    pub fn follow(&mut self, id: &AppId, entry: Option<&Arc<AppEntry>>) {
        let Some(entry) = entry else {
            self.apps.remove(id);
            return;
        };
        let Some(app) = self.apps.get_mut(id) else {
            let (latest, effective) = (entry.clone(), Some(entry.clone()));
            let app = Followed { latest, good: None, effective, refusal: None };
            self.apps.insert(id.clone(), app);
            return;
        };
        let still_bad = app.refusal.is_some() && same_definition(&app.latest, entry);
        app.latest = entry.clone();
        if !still_bad {
            // A new definition is a new try; when it is refused too, it is so since the first one.
            app.effective = Some(entry.clone());
        } else if let Some(good) = &app.good {
            app.effective = app.effective.is_some().then(|| with_tasks_of(good, entry));
        }
    }

    /// The entry to write for an app.
    pub fn effective(&self, id: &AppId) -> Option<&Arc<AppEntry>> {
        self.apps.get(id)?.effective.as_ref()
    }

    /// The entry in effect cannot be written. The last good one takes its place; when that is the
    /// one that was refused, none.
    pub fn refuse(&mut self, id: &AppId, reason: String, now: Timestamp) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let good = app.good.as_ref().filter(|good| {
            let refused = app.effective.as_ref();
            !refused.is_some_and(|refused| same_definition(refused, good))
        });
        app.effective = good.map(|good| with_tasks_of(good, &app.latest));
        let since = app.refusal.as_ref().map_or(now, |before| before.since);
        app.refusal = Some(Refusal { reason, since, kept: app.effective.is_some() });
    }

    /// What is in effect was accepted and is good from now on.
    pub fn accept(&mut self) {
        for app in self.apps.values_mut() {
            if is_latest(app) {
                app.refusal = None;
            }
            if app.effective.is_some() {
                app.good.clone_from(&app.effective);
            }
        }
    }

    /// Apps in effect with a definition that was not accepted yet.
    pub fn suspects(&self) -> impl Iterator<Item = &AppId> {
        let new = |app: &Followed| match (&app.effective, &app.good) {
            (Some(effective), Some(good)) => !same_definition(effective, good),
            (effective, _) => effective.is_some(),
        };
        self.apps.iter().filter(move |(_, app)| new(app)).map(|(id, _)| id)
    }

    /// The apps whose latest definition is not in effect.
    pub fn refused(&self) -> impl Iterator<Item = (&AppId, &Refusal)> {
        let refused = self.apps.iter().filter(|(_, app)| !is_latest(app));
        refused.filter_map(|(id, app)| Some((id, app.refusal.as_ref()?)))
    }
}

fn is_latest(app: &Followed) -> bool {
    app.effective.as_ref().is_some_and(|effective| Arc::ptr_eq(effective, &app.latest))
}

fn same_definition(a: &AppEntry, b: &AppEntry) -> bool {
    a.labels == b.labels && a.services == b.services && a.health_checks == b.health_checks
}

/// The tasks' places are paired with ports by position; those of ports that the good definition
/// does not know have no effect.
fn with_tasks_of(good: &Arc<AppEntry>, latest: &Arc<AppEntry>) -> Arc<AppEntry> {
    Arc::new(AppEntry {
        labels: good.labels.clone(),
        services: good.services.clone(),
        health_checks: good.health_checks.clone(),
        ..AppEntry::clone(latest)
    })
}

#[cfg(test)]
mod tests {
    use waymark_model::PathId;

    use super::*;

    fn entry(label: &str, instances: u32) -> Arc<AppEntry> {
        let labels = BTreeMap::from([("HAPROXY_0_AUTH".to_owned(), label.to_owned())]);
        let id = PathId::parse("/web").unwrap();
        Arc::new(AppEntry { labels, instances, ..AppEntry::new(id, "marathon") })
    }

    fn shown(quarantine: &Quarantine) -> Option<(String, u32)> {
        let id = PathId::parse("/web").unwrap();
        let entry = quarantine.effective(&id)?;
        Some((entry.labels["HAPROXY_0_AUTH"].clone(), entry.instances))
    }

    #[test]
    fn the_good_definition_stays_and_the_tasks_go_on() {
        let id = PathId::parse("/web").unwrap();
        let mut quarantine = Quarantine::default();
        let good = entry("good", 1);
        quarantine.follow(&id, Some(&good));
        assert_eq!(quarantine.suspects().count(), 1);
        quarantine.accept();
        assert_eq!(quarantine.suspects().count(), 0);

        quarantine.follow(&id, Some(&entry("bad", 2)));
        quarantine.refuse(&id, "no".to_owned(), Timestamp(7));
        assert_eq!(shown(&quarantine), Some(("good".to_owned(), 2)));
        quarantine.accept();
        quarantine.follow(&id, Some(&entry("bad", 3)));
        assert_eq!(shown(&quarantine), Some(("good".to_owned(), 3)));
        let (_, refusal) = quarantine.refused().next().unwrap();
        assert_eq!((refusal.since, refusal.kept), (Timestamp(7), true));

        // Another bad one: refused since the first.
        quarantine.follow(&id, Some(&entry("worse", 4)));
        assert_eq!(shown(&quarantine), Some(("worse".to_owned(), 4)));
        quarantine.refuse(&id, "no".to_owned(), Timestamp(8));
        assert_eq!(shown(&quarantine), Some(("good".to_owned(), 4)));
        assert_eq!(quarantine.refused().next().unwrap().1.since, Timestamp(7));
        // The good one itself cannot be written any more.
        quarantine.refuse(&id, "neither".to_owned(), Timestamp(9));
        assert_eq!(shown(&quarantine), None);
        quarantine.follow(&id, Some(&entry("mended", 5)));
        quarantine.accept();
        assert_eq!(shown(&quarantine), Some(("mended".to_owned(), 5)));
        assert_eq!(quarantine.refused().count(), 0);
        quarantine.follow(&id, None);
        assert_eq!(shown(&quarantine), None);
    }

    #[test]
    fn an_app_that_never_was_good_is_not_written() {
        let id = PathId::parse("/web").unwrap();
        let mut quarantine = Quarantine::default();
        quarantine.follow(&id, Some(&entry("bad", 1)));
        quarantine.refuse(&id, "no".to_owned(), Timestamp(1));
        quarantine.follow(&id, Some(&entry("bad", 2)));
        assert_eq!(shown(&quarantine), None);
        assert!(!quarantine.refused().next().unwrap().1.kept);
    }
}
