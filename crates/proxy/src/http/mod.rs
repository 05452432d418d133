//! What HTTP/1 and HTTP/2 have in common: who the client is and what the task is told about it, what
//! is changed on the way, who may ask, what Waymark answers itself, and what is written down.
//!
//! Everything here works on names, values and paths; how they are framed is `h1`'s and `h2`'s.

pub(crate) mod access_log;
pub(crate) mod admission;
pub(crate) mod auth;
pub(crate) mod counters;
pub(crate) mod forwarding;
pub(crate) mod latency;
pub(crate) mod local;
pub(crate) mod rewrite;
pub(crate) mod state;
pub(crate) mod sticky;
