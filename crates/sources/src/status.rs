//! How a source is doing, for metrics and status pages. Written by the source alone.

use std::sync::{Arc, Mutex, PoisonError};

/// A handle on how a source is doing, which is an `R`. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Status<R>(Arc<Mutex<R>>);

/// How changes come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Not at all.
    #[default]
    Lost,
    /// By the event stream.
    Stream,
    /// By asking again and again.
    Poll,
}

impl Mode {
    /// Its name in metrics and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Lost => "lost",
            Mode::Stream => "stream",
            Mode::Poll => "poll",
        }
    }
}

impl<R: Clone> Status<R> {
    /// What is known now.
    pub fn report(&self) -> R {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is known; for the source, and for tests of those who show it.
    pub fn update(&self, change: impl FnOnce(&mut R)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
