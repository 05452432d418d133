//! From the catalog to what HAProxy shall run: one snapshot after the other is rendered and handed
//! to the applier, and the renderer learns what HAProxy thought of it.
//!
//! Always the latest: what changes while HAProxy is being told of something is rendered once,
//! afterwards.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tracing::{error, warn};
use waymark_catalog::Reader;
use waymark_haproxy::apply::{Status, Wanted};
use waymark_haproxy::{Refused, Rendered, Renderer};
use waymark_model::{AppId, Catalog, PathId, Timestamp};

/// What was rendered last, for whoever shows it.
pub type Shown = watch::Receiver<Arc<Rendered>>;

/// The time for the renderer.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn locked(renderer: &Mutex<Renderer>) -> MutexGuard<'_, Renderer> {
    renderer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A snapshot's text as the applier takes it: with those whom HAProxy's refusal may be due to, and
/// a way to render without them.
pub fn wanted(
    renderer: &Arc<Mutex<Renderer>>,
    catalog: &Catalog,
    rendered: Arc<Rendered>,
) -> Wanted {
    let suspects = locked(renderer).suspects();
    let (version, catalog) = (catalog.version, catalog.clone());
    let (renderer, so_far) = (renderer.clone(), rendered.clone());
    let without = move |apps: &[String]| {
        let mut copy = locked(&renderer).clone();
        for app in apps.iter().filter_map(|app| PathId::parse(app).ok()) {
            copy.refuse(&app, String::new(), now());
        }
        // What was rendered with these apps can be rendered without them.
        copy.render(&catalog, now()).unwrap_or_else(|_| Rendered::clone(&so_far))
    };
    Wanted {
        version,
        rendered,
        suspects: suspects.iter().map(AppId::to_string).collect(),
        without: Some(Arc::new(without)),
    }
}

/// Follows the catalog.
pub struct Follower {
    renderer: Arc<Mutex<Renderer>>,
    reader: Reader,
    wanted: watch::Sender<Option<Arc<Wanted>>>,
    applied: watch::Receiver<Status>,
    shown: watch::Sender<Arc<Rendered>>,
    /// Apps that are told to be left out already.
    told: Vec<Refused>,
}

impl Follower {
    /// Of this catalog, for this applier.
    pub fn new(
        renderer: Renderer,
        reader: Reader,
        wanted: watch::Sender<Option<Arc<Wanted>>>,
        applied: watch::Receiver<Status>,
    ) -> Follower {
        let renderer = Arc::new(Mutex::new(renderer));
        let shown = watch::Sender::new(Arc::default());
        Follower { renderer, reader, wanted, applied, shown, told: Vec::new() }
    }

    /// What was rendered last.
    pub fn shown(&self) -> Shown {
        self.shown.subscribe()
    }

    /// Follows until the catalog's writer is gone.
    pub async fn run(mut self) {
        // Version 0 says nothing yet.
        let mut next = Some(self.reader.latest()).filter(|catalog| catalog.version > 0);
        loop {
            let catalog = match next.take() {
                Some(catalog) => catalog,
                None => match self.reader.changed().await {
                    Some(catalog) => catalog,
                    None => return,
                },
            };
            if self.hand_on(&catalog) {
                next = self.settle(catalog.version).await;
            }
        }
    }

    /// Renders a snapshot and hands it to the applier.
    fn hand_on(&mut self, catalog: &Catalog) -> bool {
        // Bound here: a guard in the scrutinee would be held by what follows.
        let result = locked(&self.renderer).render(catalog, now());
        let rendered = match result {
            Ok(rendered) => Arc::new(rendered),
            Err(error) => {
                error!(%error, "nothing is written; HAProxy runs on with what it has");
                return false;
            }
        };
        for refused in rendered.refused.iter().filter(|refused| !self.told.contains(refused)) {
            let effect = if refused.kept { "its last good form stays" } else { "it is left out" };
            warn!(app = %refused.app, reason = %refused.reason, "{effect}");
        }
        self.told.clone_from(&rendered.refused);
        let wanted = wanted(&self.renderer, catalog, rendered.clone());
        self.shown.send_replace(rendered);
        self.wanted.send_replace(Some(Arc::new(wanted)));
        true
    }

    /// Waits until HAProxy has taken or refused it. Returns a newer snapshot that came meanwhile
    /// where the applier is in trouble; it takes the latest then.
    async fn settle(&mut self, version: u64) -> Option<Arc<Catalog>> {
        loop {
            let status = self.applied.borrow_and_update().clone();
            if status.wanted == version && status.version == version {
                let mut renderer = locked(&self.renderer);
                let refused = status.refused.iter();
                for refused in refused.filter(|refused| !self.told.contains(refused)) {
                    if let Ok(app) = PathId::parse(&refused.app) {
                        renderer.refuse(&app, refused.reason.clone(), now());
                    }
                }
                renderer.accept();
                return None;
            }
            let in_trouble = status.wanted == version && status.error.is_some();
            tokio::select! {
                changed = self.applied.changed() => changed.ok()?,
                catalog = self.reader.changed(), if in_trouble => return catalog,
            }
        }
    }
}
