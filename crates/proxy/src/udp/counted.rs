//! That a session counts while it exists.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::port::{Port, count};
use crate::worker::Shared;

/// A session counted at its port, its worker and among all.
#[derive(Debug)]
pub(crate) struct Counted {
    shared: Arc<Shared>,
    worker: usize,
    port: Arc<Port>,
}

impl Counted {
    /// Counts one more; `None` when there are as many as there may be.
    pub(crate) fn new(shared: &Arc<Shared>, worker: usize, port: &Arc<Port>) -> Option<Counted> {
        let most = shared.udp.all;
        let more = |sessions: usize| (sessions < most).then(|| sessions + 1);
        shared.udp_sessions.try_update(Relaxed, Relaxed, more).ok()?;
        count(&port.counters.accepted);
        port.counters.active.fetch_add(1, Relaxed);
        shared.add_load(worker);
        Some(Counted { shared: shared.clone(), worker, port: port.clone() })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.port.counters.active.fetch_sub(1, Relaxed);
        self.shared.remove_load(self.worker);
        self.shared.udp_sessions.fetch_sub(1, Relaxed);
    }
}
