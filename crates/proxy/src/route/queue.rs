//! Waiting for a task of one pool to have room, while each has its most.
//!
//! Tasks are freed and awaited on different threads, so what is here is shared; where nobody waits
//! it costs one load for each seat given back.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use tokio::sync::Notify;

/// Who waits for room in one pool.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: AtomicU32,
    freed: Notify,
}

/// A place in the queue; given up when dropped.
pub(crate) struct Place<'a> {
    queue: &'a Queue,
    /// Whether nobody waited before.
    pub(crate) first: bool,
}

impl Queue {
    /// How many wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(SeqCst)
    }

    /// A place, unless `most` wait already.
    pub(crate) fn enter(&self, most: u32) -> Option<Place<'_>> {
        let more = |waiting: u32| (waiting < most).then(|| waiting + 1);
        let before = self.waiting.try_update(SeqCst, SeqCst, more).ok()?;
        Some(Place { queue: self, first: before == 0 })
    }

    /// A task has room for one more.
    pub(crate) fn freed(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.freed.notify_one();
        }
    }
}

impl Place<'_> {
    /// Waits until a task may have room. Who came earlier is woken earlier.
    pub(crate) async fn freed(&self) {
        self.queue.freed.notified().await;
    }
}

impl Drop for Place<'_> {
    /// Who leaves, served or not, passes the word on: it may have been woken for room it did not
    /// take, or have taken room while more was freed.
    fn drop(&mut self) {
        if self.queue.waiting.fetch_sub(1, SeqCst) > 1 {
            self.queue.freed.notify_one();
        }
    }
}
