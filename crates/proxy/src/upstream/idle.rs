//! Connections to tasks that no request uses at the moment. One pool a worker, so nothing is shared.
//!
//! A connection that its task has closed is noticed by the event loop's own readiness: asking for it
//! costs no system call. [`IdlePool::sweep`] closes what has been idle for too long, what is dead,
//! and what leads to tasks that get nothing new.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use waymark_routing::PortRouting;

use super::Stream;
use crate::route::{Pool, Reason};
use crate::usage::Endpoint;
use crate::worker::Worker;

/// Endpoints with idle connections of one worker, at most; connections to more are not kept.
const MOST_ENDPOINTS: usize = 4096;

/// A request that cannot be repeated gets only a connection that has been idle for less: servers
/// keep idle connections for some seconds, and one that closes just now would lose the request.
const FRESH: Duration = Duration::from_secs(1);

/// How often dead and old connections are looked for.
const SWEEP: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Idle {
    stream: Stream,
    since: Instant,
    /// When it is of no use any more.
    until: Instant,
    rules: Arc<PortRouting>,
    _descriptor: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Shelf {
    endpoint: Arc<Endpoint>,
    pool: Arc<Pool>,
    /// The one used last stands last.
    idle: Vec<Idle>,
}

/// The idle connections of one worker, by endpoint.
#[derive(Debug, Default)]
pub(crate) struct IdlePool {
    shelves: RefCell<HashMap<usize, Shelf, foldhash::fast::RandomState>>,
}

/// How long a connection may be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    /// Connections to one endpoint.
    pub(crate) most: usize,
    /// How long.
    pub(crate) time: Duration,
}

fn key(endpoint: &Arc<Endpoint>) -> usize {
    // The shelf holds the endpoint, so no other one can get its address meanwhile.
    Arc::as_ptr(endpoint).addr()
}

impl IdlePool {
    /// A connection to the endpoint that is alive as far as is known here. `fresh`: the request
    /// cannot be repeated.
    pub(crate) fn take(
        &self,
        endpoint: &Arc<Endpoint>,
        rules: &Arc<PortRouting>,
        fresh: bool,
    ) -> Option<Stream> {
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelves.get_mut(&key(endpoint))?;
        let now = Instant::now();
        while let Some(mut idle) = shelf.idle.pop() {
            if fresh && now - idle.since >= FRESH {
                shelf.idle.push(idle);
                return None;
            }
            let same = Arc::ptr_eq(&idle.rules, rules) || idle.rules.backend == rules.backend;
            if same && now < idle.until && is_alive(&mut idle.stream) {
                return Some(idle.stream);
            }
        }
        None
    }

    /// Keeps a connection, if there is room and a descriptor for it.
    pub(crate) fn put(
        &self,
        endpoint: &Arc<Endpoint>,
        pool: &Arc<Pool>,
        stream: Stream,
        keep: Keep,
        descriptors: &Arc<Semaphore>,
    ) {
        let Ok(descriptor) = descriptors.clone().try_acquire_owned() else { return };
        let mut shelves = self.shelves.borrow_mut();
        if keep.time.is_zero() || shelves.len() >= MOST_ENDPOINTS {
            return;
        }
        let new = || Shelf { endpoint: endpoint.clone(), pool: pool.clone(), idle: Vec::new() };
        let shelf = shelves.entry(key(endpoint)).or_insert_with(new);
        if shelf.idle.len() < keep.most {
            let since = Instant::now();
            let (until, rules) = (since + keep.time, pool.rules.clone());
            shelf.idle.push(Idle { stream, since, until, rules, _descriptor: descriptor });
        }
    }

    /// Closes the connections to an endpoint: one of them has just turned out to be dead.
    pub(crate) fn forget(&self, endpoint: &Arc<Endpoint>) {
        self.shelves.borrow_mut().remove(&key(endpoint));
    }

    /// Closes what is dead or too old, and everything to endpoints that `serves` says no to.
    pub(crate) fn sweep(&self, mut serves: impl FnMut(&Arc<Pool>, &Arc<Endpoint>) -> bool) {
        let now = Instant::now();
        self.shelves.borrow_mut().retain(|_, shelf| {
            if serves(&shelf.pool, &shelf.endpoint) {
                shelf.idle.retain_mut(|idle| now < idle.until && is_alive(&mut idle.stream));
            } else {
                shelf.idle.clear();
            }
            !shelf.idle.is_empty()
        });
    }
}

/// Whether nothing has come on it: neither its end nor bytes nobody asked for. Without readiness
/// this makes no system call.
fn is_alive(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let mut read = ReadBuf::new(&mut byte);
    let polled = Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut read);
    matches!(polled, Poll::Pending)
}

/// Sweeps the worker's idle connections now and then, and whenever its table has changed.
pub(crate) async fn keep_swept(worker: Rc<Worker>) {
    loop {
        let _ = timeout(SWEEP, worker.table_changed.notified()).await;
        let table = worker.table().clone();
        worker.http.idle.sweep(|pool, endpoint| {
            let Some(pool) = table.present(pool) else { return false };
            let mut candidates = pool.candidates.iter();
            let found = candidates.find(|candidate| Arc::ptr_eq(&candidate.endpoint, endpoint));
            found.is_some_and(|candidate| candidate.withheld != Some(Reason::Draining))
        });
    }
}
