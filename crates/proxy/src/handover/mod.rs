//! Listening sockets from one process to the next, so that a new binary takes over without a
//! connection being refused.
//!
//! ```text
//! old: Sockets ──► serve ── Unix socket, SCM_RIGHTS ──► take ──► Inherited ──► Proxy::start_with :new
//!                    ▲ ──── "yield", "commit", "ready" ◄─── Predecessor ──┘
//! old stops accepting, says so ("released"), and lets its connections end
//! ```
//!
//! Both processes have the sockets from the moment they are sent; the kernel keeps them, and the
//! connections that nobody has accepted yet, while one of the two is there. So whichever is killed
//! at whatever moment, the other one listens on: an old one whose successor is gone before it said
//! "ready" goes on as if nothing had been, a new one whose predecessor is gone has everything.
//!
//! Where more than traffic is handed over ([`Kind::Control`]), there is something that only one
//! process may do at a time. The new one asks for it ("yield") when it knows nothing that could
//! still go wrong; the old one stops doing it, and would take it up again if the other went away;
//! with "commit" it is the other's for good.
//!
//! Only a process of the same user, or root's, is given anything.

mod serve;
mod take;
mod wire;

use std::io;
use std::time::Duration;

use thiserror::Error;

pub use serve::{Reply, Step, Successor, Successors, serve};
pub use take::{Inherited, Predecessor, Presence, take};

/// Sockets cannot be handed over.
#[derive(Debug, Error)]
pub enum HandoverError {
    /// The Unix socket cannot be used.
    #[error("{action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The process at the other end is another user's.
    #[error("the process at the other end belongs to user {0}")]
    Stranger(u32),
    /// The process at the other end does not want to; its reason.
    #[error("the process that runs does not let go: {0}")]
    Refused(String),
    /// What came is not what this version of Waymark understands.
    #[error("the other process speaks otherwise ({0}): is it of a much older or newer version?")]
    Protocol(&'static str),
}

/// What is handed over. Both processes must mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sockets with traffic behind them, which both processes may serve at once.
    Traffic,
    /// The same, and what only one process may do at a time.
    Control,
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> HandoverError {
    move |source| HandoverError::Io { action, source }
}

/// How long the other process may take for a message that it has ready.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a new process may take from having the sockets to being ready: it has to learn all
/// routes. Then the old one forgets about it.
const READY_TIMEOUT: Duration = Duration::from_secs(600);

/// How long an old process may take to stop doing what only one may do, as the new one sees it.
const YIELD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a new process may take from "yield" to "commit". Then the old one takes everything up
/// again and forgets about it.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an old process may take to stop accepting, as the new one sees it; it is ready by then,
/// and waits only to try again what it could not bind.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
