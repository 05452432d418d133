//! Keeping the store up to date with the core, and what happens while it fails.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};
use waymark_model::Version;

use super::VERSION_BLOCK;
use crate::Metrics;
use crate::core::{Core, Key};
use crate::store::{Store, StoreError};

/// Writes that nobody waits for are made within this time.
const LAZY: Duration = Duration::from_millis(250);
/// How often a store that fails is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The store, and what it has not got yet.
pub struct Persistence {
    /// Written on a blocking thread, which borrows it through the lock; never contended.
    store: Arc<Mutex<Store>>,
    unsaved: BTreeSet<Key>,
    ceiling: Version,
    /// When to write without being asked.
    due: Option<Instant>,
    failing: bool,
    metrics: Arc<Metrics>,
}

impl Persistence {
    pub fn new(store: Store, ceiling: Version, metrics: Arc<Metrics>) -> Persistence {
        let store = Arc::new(Mutex::new(store));
        let unsaved = BTreeSet::new();
        Persistence { store, unsaved, ceiling, due: None, failing: false, metrics }
    }

    /// Notes what has to be written some time soon.
    pub fn add(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.unsaved.extend(keys);
        if !self.unsaved.is_empty() && self.due.is_none() {
            self.due = Some(Instant::now() + LAZY);
        }
        self.metrics.set_unsaved(self.unsaved.len());
    }

    /// When [`Persistence::commit`] should be called although nobody waits for it.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    pub fn is_failing(&self) -> bool {
        self.failing
    }

    /// Writes all that is unsaved as `core` has it now. On an error it stays unsaved and is due
    /// again soon.
    pub async fn commit(&mut self, core: &Core, version: Version) -> Result<(), StoreError> {
        let ceiling = (version + VERSION_BLOCK / 2 > self.ceiling).then(|| version + VERSION_BLOCK);
        if self.unsaved.is_empty() && ceiling.is_none() {
            self.due = None;
            return Ok(());
        }
        let records: Vec<_> =
            self.unsaved.iter().map(|key| (key.clone(), core.stored(key))).collect();
        let started = Instant::now();
        let result = self.write(records, ceiling).await;
        self.metrics.committed(started.elapsed(), result.is_ok());
        match &result {
            Ok(()) => {
                self.ceiling = ceiling.unwrap_or(self.ceiling);
                self.unsaved.clear();
                self.due = None;
                if std::mem::take(&mut self.failing) {
                    info!("the store works again");
                }
            }
            Err(error) => {
                self.due = Some(Instant::now() + RETRY);
                if !std::mem::replace(&mut self.failing, true) {
                    error!(%error, "the store fails; changes are refused until it works again");
                }
            }
        }
        self.metrics.set_unsaved(self.unsaved.len());
        result
    }

    /// Lets go of the store until the next commit.
    pub async fn close(&self) {
        let store = self.store.clone();
        let close = move || store.lock().unwrap_or_else(PoisonError::into_inner).close();
        // A panic of the database library was logged; it has let go then too.
        let _ = tokio::task::spawn_blocking(close).await;
    }

    async fn write(
        &self,
        records: Vec<(Key, crate::core::Record)>,
        ceiling: Option<Version>,
    ) -> Result<(), StoreError> {
        let store = self.store.clone();
        let work = move || {
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(ceiling) = ceiling {
                store.raise_version_ceiling(ceiling)?;
            }
            store.commit(&records)
        };
        // The only other way to end is a panic of the database library.
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| {
            warn!(%panic, "writing to the store panicked");
            let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
            Err(StoreError::Failed { path: store.path().to_owned(), cause: panic.to_string() })
        })
    }
}
