//! The control plane: what is wanted, what is there, and the steps between.
//!
//! ```text
//! API ── Request ──► shell ──► Core::handle(input, now, host) ──► Effects ──► store, executor,
//!                      ▲                                                      catalog, events
//!   statuses, probes, drained tasks, timers
//! ```
//!
//! The core is pure; the shell does what its effects say, in this order: store, then act, then
//! answer. Reads never pass through the core: `Handle::state` is the latest state.

mod request;
pub use request::{Accepted, Change, ChangeFn, DeploymentId, Refusal, Request, Violation};
