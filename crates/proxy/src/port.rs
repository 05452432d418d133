//! One listener while it exists: whether it is listened on, and its counters. Written by the
//! workers, read by `stats`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::route::{Front, ListenKey};
use crate::stats::ListenerState;

/// A listener. A service port's outlives changes of its route and goes when no app has the port any
/// more; those of the shared ports live as long as the balancer.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) front: Front,
    pub(crate) number: u16,
    pub(crate) counters: Counters,
    listener: Mutex<ListenerState>,
}

/// What happened at a port since it exists.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) active: AtomicUsize,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) connect_errors: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) no_endpoint: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) resets: AtomicU64,
    pub(crate) idle_closed: AtomicU64,
    pub(crate) denied: AtomicU64,
    pub(crate) bad_proxy_headers: AtomicU64,
    pub(crate) hello_timeouts: AtomicU64,
    pub(crate) udp_dropped: AtomicU64,
    pub(crate) udp_evicted: AtomicU64,
}

impl Port {
    /// A service port.
    pub(crate) fn new(key: ListenKey) -> Port {
        Port::of(Front::Service(key), key.port)
    }

    /// A listener of this front.
    pub(crate) fn of(front: Front, number: u16) -> Port {
        let listener = Mutex::new(ListenerState::Pending);
        Port { front, number, counters: Counters::default(), listener }
    }

    pub(crate) fn listener(&self) -> ListenerState {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_listener(&self, state: ListenerState) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
