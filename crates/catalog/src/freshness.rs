//! How old the word of a source is. A source that is lost keeps its last word in the catalog; that
//! it is old shows here, to whoever answers from it.
//!
//! Written by a source, read by outputs. Time is an argument.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is known about a source's word. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Freshness(Arc<Mutex<Word>>);

#[derive(Debug, Default)]
struct Word {
    /// When the source was last known to be up to date.
    heard: Option<Instant>,
    /// How old its word was when this process took it over from disk.
    older_by: Duration,
    /// Why it is not up to date.
    trouble: Option<Arc<str>>,
}

/// What a source's word is worth now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has never spoken.
    Silent {
        /// What is wrong, when that is known.
        reason: Option<Arc<str>>,
    },
    /// It is up to date as far as one can tell; its last word is this old.
    Fresh(Duration),
    /// It is lost since its last word, which is this old.
    Stale {
        /// How old its last word is.
        age: Duration,
        /// What is wrong.
        reason: Arc<str>,
    },
}

impl Freshness {
    /// The source spoke, or showed that nothing has changed (a heartbeat).
    pub fn heard(&self, now: Instant) {
        *self.lock() = Word { heard: Some(now), ..Word::default() };
    }

    /// A word from disk, that was this old, is used until the source itself speaks.
    pub fn restored(&self, now: Instant, age: Duration, reason: &str) {
        *self.lock() = Word { heard: Some(now), older_by: age, trouble: Some(Arc::from(reason)) };
    }

    /// The source is lost.
    pub fn lost(&self, reason: &str) {
        self.lock().trouble = Some(Arc::from(reason));
    }

    /// What its word is worth.
    pub fn standing(&self, now: Instant) -> Standing {
        let word = self.lock();
        let age = word.heard.map(|heard| now.saturating_duration_since(heard) + word.older_by);
        match (age, word.trouble.clone()) {
            (None, reason) => Standing::Silent { reason },
            (Some(age), None) => Standing::Fresh(age),
            (Some(age), Some(reason)) => Standing::Stale { age, reason },
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Word> {
        // Every write replaces the whole; a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_silent_fresh_and_stale_apart() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let word = Freshness::default();
        word.lost("refused");
        assert_eq!(word.standing(at(1)), Standing::Silent { reason: Some(Arc::from("refused")) });
        word.restored(at(1), Duration::from_secs(60), "from disk");
        let reason: Arc<str> = Arc::from("from disk");
        assert_eq!(word.standing(at(3)), Standing::Stale { age: Duration::from_secs(62), reason });
        word.heard(at(4));
        assert_eq!(word.standing(at(9)), Standing::Fresh(Duration::from_secs(5)));
        word.lost("closed");
        let reason: Arc<str> = Arc::from("closed");
        assert_eq!(word.standing(at(10)), Standing::Stale { age: Duration::from_secs(6), reason });
    }
}
