//! What one worker keeps for its HTTP connections, all in one place: what they read into, idle
//! connections to tasks, and whom to wake when the worker stops.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use crate::h1::Scratch;
use crate::h2;
use crate::http::auth::Passwords;
use crate::upstream::IdlePool;

/// One worker's state for HTTP. Lives on its thread.
#[derive(Debug)]
pub(crate) struct HttpState {
    /// What all connections read into. Borrowed between two waits only.
    pub(crate) scratch: RefCell<Scratch>,
    /// Connections to tasks that no request uses.
    pub(crate) idle: IdlePool,
    /// Connections to tasks that many requests use.
    pub(crate) h2: h2::Connections,
    /// Outcomes of password checks.
    pub(crate) passwords: Passwords,
    stopping: Cell<bool>,
    present: RefCell<Present>,
}

/// The wakers of all connections, by their place.
#[derive(Debug, Default)]
struct Present {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl HttpState {
    /// `waiting_passwords`: see [`crate::Limits`].
    pub(crate) fn new(waiting_passwords: usize) -> HttpState {
        HttpState {
            scratch: RefCell::new(Scratch::new()),
            idle: IdlePool::default(),
            h2: h2::Connections::default(),
            passwords: Passwords::new(waiting_passwords),
            stopping: Cell::new(false),
            present: RefCell::default(),
        }
    }

    /// Whether connections are to end after the request they are at.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// From here on connections end after the request they are at; those without one soon.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        self.present.borrow().wakers.iter().flatten().for_each(Waker::wake_by_ref);
    }

    /// Has a connection woken at the stop, until [`HttpState::leave`] is called with the place.
    pub(crate) fn enter(&self, waker: &Waker) -> usize {
        let present = &mut *self.present.borrow_mut();
        let waker = Some(waker.clone());
        match present.free.pop() {
            Some(place) => {
                if let Some(free) = present.wakers.get_mut(place) {
                    *free = waker;
                }
                place
            }
            None => {
                present.wakers.push(waker);
                present.wakers.len() - 1
            }
        }
    }

    pub(crate) fn leave(&self, place: usize) {
        let present = &mut *self.present.borrow_mut();
        if let Some(waker) = present.wakers.get_mut(place) {
            *waker = None;
            present.free.push(place);
        }
    }
}
