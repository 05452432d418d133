//! The sockets that are listened on, as far as somebody else may have to have them: those that were
//! inherited from the process before, and those that the process after may ask for.
//!
//! In: descriptors, from `handover` and from listeners that open. Out: the same, to listeners and to
//! `handover`. A listener that is closed is forgotten by itself: only weak references are held.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What a listening socket is known by, over processes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SocketKey {
    /// TCP at this address.
    Tcp(SocketAddr),
    /// UDP at this address.
    Udp(SocketAddr),
    /// One that somebody else in the process listens on, by a name of its own.
    Named(String),
}

/// A socket that stays open while it is referred to.
type Open = dyn AsFd + Send + Sync;

/// The listening sockets of one process.
#[derive(Default)]
pub struct Sockets {
    inherited: Mutex<HashMap<SocketKey, OwnedFd>>,
    open: Mutex<BTreeMap<SocketKey, Weak<Open>>>,
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").finish_non_exhaustive()
    }
}

impl Sockets {
    /// With what was inherited.
    pub fn inheriting(inherited: HashMap<SocketKey, OwnedFd>) -> Sockets {
        Sockets { inherited: Mutex::new(inherited), ..Sockets::default() }
    }

    /// Takes the inherited socket of this key, if there is one.
    pub fn take(&self, key: &SocketKey) -> Option<OwnedFd> {
        locked(&self.inherited).remove(key)
    }

    /// Whether something was inherited and has not been taken yet.
    pub(crate) fn has_inherited(&self) -> bool {
        !locked(&self.inherited).is_empty()
    }

    /// Closes what was inherited and nobody has taken; returns what that is.
    pub(crate) fn close_untaken(&self) -> Vec<SocketKey> {
        locked(&self.inherited).drain().map(|(key, _)| key).collect()
    }

    /// Tells of an open socket, which a later process gets if it is still open then.
    pub fn opened<S: AsFd + Send + Sync + 'static>(&self, key: SocketKey, socket: &Arc<S>) {
        let socket: Weak<S> = Arc::downgrade(socket);
        locked(&self.open).insert(key, socket);
    }

    /// The keys of all open sockets.
    pub(crate) fn keys(&self) -> Vec<SocketKey> {
        let mut open = locked(&self.open);
        open.retain(|_, socket| socket.strong_count() > 0);
        open.keys().cloned().collect()
    }

    /// The open socket of this key. It must be let go soon: until then the port stays bound.
    pub(crate) fn get(&self, key: &SocketKey) -> Option<Arc<Open>> {
        locked(&self.open).get(key).and_then(Weak::upgrade)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here can panic halfway, so a poisoned map is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
