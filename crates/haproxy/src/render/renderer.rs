//! Follows the catalog and renders it, again and again: what did not change is not made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use waymark_model::{AppEntry, AppId, Catalog, Timestamp};

use super::form::{Form, forms};
use super::layout::layout;
use crate::quarantine::Quarantine;
use crate::service::merge::{Fault, group, merge};
use crate::service::services;
use crate::{Refusal, Refused, Rendered, Settings, TemplateError, Templates};

/// The id that is written, and whether it is a deployment group's: an app and a group may have one
/// id.
type Key = (Arc<str>, bool);

/// Makes configurations of the catalog's snapshots.
///
/// ```text
/// render ─► Rendered ─► written, checked by HAProxy ─┬─► accept
///    ▲                                               └─► refuse(app that is to blame) ─┐
///    └────────────────────────────────── render again ◄────────────────────────────────┘
/// ```
#[derive(Clone, Debug)]
pub struct Renderer {
    settings: Settings,
    templates: Templates,
    quarantine: Quarantine,
    catalog: Catalog,
    key_of: BTreeMap<AppId, Key>,
    units: BTreeMap<Key, Unit>,
    /// Apps that are to be written anew although the catalog has not changed.
    again: BTreeSet<AppId>,
}

/// An app, or the apps of one deployment group.
#[derive(Clone, Debug, Default)]
struct Unit {
    members: BTreeMap<AppId, Arc<AppEntry>>,
    forms: Vec<Form>,
}

impl Renderer {
    /// Knows no app yet.
    pub fn new(settings: Settings, templates: Templates) -> Renderer {
        Renderer {
            settings,
            templates,
            quarantine: Quarantine::default(),
            catalog: Catalog::default(),
            key_of: BTreeMap::new(),
            units: BTreeMap::new(),
            again: BTreeSet::new(),
        }
    }

    /// What it renders by.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Renders a snapshot. An app with a label that makes no sense is refused: its last accepted
    /// definition is in the text, with its tasks of today, or it is not in it.
    ///
    /// # Errors
    /// A template that is there for everybody and that cannot be filled in. Nothing is lost then:
    /// the next call takes the same changes.
    pub fn render(&mut self, catalog: &Catalog, now: Timestamp) -> Result<Rendered, TemplateError> {
        let mut changed = std::mem::take(&mut self.again);
        for change in catalog.changes_since(&self.catalog) {
            self.quarantine.follow(change.app, change.after);
            changed.insert(change.app.clone());
        }
        self.catalog = catalog.clone();
        let mut units = BTreeSet::new();
        for app in changed {
            self.place(&app, now, &mut units);
        }
        while let Some(key) = units.pop_first() {
            self.write(&key, now, &mut units);
        }
        let mut all: Vec<&Form> = self.units.values().flat_map(|unit| &unit.forms).collect();
        all.sort_by(|a, b| a.app.cmp(&b.app).then(a.port.cmp(&b.port)));
        let mut rendered = layout(&all, &self.settings, &self.templates).map_err(|fault| {
            TemplateError::Format { name: fault.template.entry().name, error: fault.error }
        })?;
        let refused = self.quarantine.refused();
        rendered.refused = refused
            .map(|(app, refusal)| Refused {
                app: app.as_str().to_owned(),
                reason: refusal.reason.clone(),
                kept: refusal.kept,
            })
            .collect();
        Ok(rendered)
    }

    /// What was rendered last is in effect: HAProxy has taken it. From now on these definitions are
    /// the good ones.
    pub fn accept(&mut self) {
        self.quarantine.accept();
    }

    /// Apps whose definition in what was rendered last was never accepted: who is to blame when
    /// HAProxy refuses it, unless it is a shared template or HAProxy itself.
    pub fn suspects(&self) -> Vec<AppId> {
        self.quarantine.suspects().cloned().collect()
    }

    /// Apps whose latest definition is not in what was rendered last, and since when.
    pub fn refused(&self) -> impl Iterator<Item = (&AppId, &Refusal)> {
        self.quarantine.refused()
    }

    /// HAProxy takes no configuration with this app's definition: from the next rendering on its
    /// last accepted one takes its place, until the app has another definition.
    pub fn refuse(&mut self, app: &AppId, reason: String, now: Timestamp) {
        self.quarantine.refuse(app, reason, now);
        self.again.insert(app.clone());
    }

    /// Puts what is in effect of an app into its unit. `units` gets those to be written anew.
    fn place(&mut self, app: &AppId, now: Timestamp, units: &mut BTreeSet<Key>) {
        let mut found = self.quarantine.effective(app).map(|entry| (entry.clone(), key(entry)));
        // Its last good definition may stand in for one whose group makes no sense.
        for _ in 0..2 {
            let Some((_, Err(fault))) = found else { break };
            self.quarantine.refuse(app, fault.error.to_string(), now);
            found = self.quarantine.effective(app).map(|entry| (entry.clone(), key(entry)));
        }
        let placed = found.and_then(|(entry, key)| Some((entry, key.ok()?)));
        let before = self.key_of.remove(app);
        if let Some(key) = before.filter(|key| placed.as_ref().is_none_or(|(_, now)| now != key)) {
            if let Some(unit) = self.units.get_mut(&key) {
                unit.members.remove(app);
            }
            units.insert(key);
        }
        if let Some((entry, key)) = placed {
            self.units.entry(key.clone()).or_default().members.insert(app.clone(), entry);
            self.key_of.insert(app.clone(), key.clone());
            units.insert(key);
        }
    }

    /// Writes a unit. A member with a bad label is refused, and its last good definition put in its
    /// place, at most once each.
    fn write(&mut self, key: &Key, now: Timestamp, units: &mut BTreeSet<Key>) {
        let Some(unit) = self.units.get_mut(key) else { return };
        let passed_over = self
            .settings
            .framework_name
            .as_deref()
            .is_some_and(|n| key.0.strip_prefix('/') == Some(n));
        if unit.members.is_empty() || passed_over {
            self.units.remove(key);
            return;
        }
        let members: Vec<Arc<AppEntry>> = unit.members.values().cloned().collect();
        match written(&key.0, &members, &self.settings, &self.templates) {
            Ok(forms) => unit.forms = forms,
            Err(fault) => {
                unit.forms = Vec::new();
                self.quarantine.refuse(&fault.app, fault.error.to_string(), now);
                self.place(&fault.app, now, units);
                units.insert(key.clone());
            }
        }
    }
}

fn key(entry: &AppEntry) -> Result<Key, Fault> {
    Ok(match group(entry)? {
        Some(group) => (Arc::from(group), true),
        None => (Arc::from(entry.id.as_str()), false),
    })
}

fn written(
    id: &Arc<str>,
    members: &[Arc<AppEntry>],
    settings: &Settings,
    templates: &Templates,
) -> Result<Vec<Form>, Fault> {
    let Some(app) = merge(id, members)? else { return Ok(Vec::new()) };
    let to_blame = |error| Fault { app: app.definition.id.clone(), error };
    let services = services(&app, settings).map_err(to_blame)?;
    forms(&services, templates, settings).map_err(to_blame)
}
