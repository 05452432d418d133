//! The control plane: what is wanted, what is there, and the steps between.
//!
//! ```text
//! API ── Request ──► shell ──► Core::handle(input, now, host) ──► effects ──► store, executor,
//!                      ▲                                                      catalog, events
//!   statuses, probes, drained tasks, timers
//! ```
//!
//! The core is pure; the shell does what its effects say, in this order: store, then act, then
//! answer. Reads never pass through the core: [`Handle::state`] is the latest state.

pub mod announce;
mod backoff;
pub mod core;
mod handle;
mod plan;
pub mod replace;
mod request;
pub mod simulated;
mod state;

pub use handle::{Handle, MAX_WAITING_EVENTS, MAX_WAITING_REQUESTS, Submission};
pub use request::{Accepted, Change, ChangeFn, DeploymentId, Refusal, Request, Violation};
pub use state::{Action, ActionKind, AppTasks, Counts, Delay, Deployment, Failure, State, Step};
