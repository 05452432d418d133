//! Listening sockets from one process to the next, so that a new binary takes over without a
//! connection being refused.
//!
//! ```text
//! old: Sockets ──► serve ── Unix socket, SCM_RIGHTS ──► take ──► Inherited ──► Proxy::start_with :new
//!                    ▲ ───────────── "ready" ◄───────────── Predecessor::ready ──┘
//! old stops accepting, says so ("released"), and lets its connections end
//! ```
//!
//! Both processes have the sockets from the moment they are sent; the kernel keeps them, and the
//! connections that nobody has accepted yet, while one of the two is there. So whichever is killed
//! at whatever moment, the other one listens on: an old one whose successor is gone before it said
//! "ready" goes on as if nothing had been, a new one whose predecessor is gone has everything.
//!
//! Only a process of the same user, or root's, is given anything.

mod serve;
mod take;
mod wire;

use std::io;
use std::time::Duration;

use thiserror::Error;

pub use serve::{Successor, Successors, serve};
pub use take::{Inherited, Predecessor, take};

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
    /// What came is not what this version of Waymark understands.
    #[error("the other process speaks otherwise ({0}): is it of a much older or newer version?")]
    Protocol(&'static str),
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> HandoverError {
    move |source| HandoverError::Io { action, source }
}

/// How long the other process may take for each message of a hand-over, but for "ready".
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a new process may take from having the sockets to being ready: it has to learn all
/// routes. Then the old one forgets about it.
const READY_TIMEOUT: Duration = Duration::from_secs(600);

/// How long an old process may take to stop accepting, as the new one sees it; it is ready by then,
/// and waits only to try again what it could not bind.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
