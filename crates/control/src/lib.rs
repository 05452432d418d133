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

mod announce;
pub mod api;
mod backoff;
pub mod core;
mod events;
mod handle;
mod metrics;
mod plan;
pub mod replace;
mod request;
mod shell;
pub mod simulated;
mod state;
pub mod store;

pub use handle::{Handle, MAX_WAITING_EVENTS, MAX_WAITING_REQUESTS, Submission};
pub use metrics::Metrics;
pub use request::{Accepted, Change, ChangeFn, DeploymentId, Refusal, Request, Violation};
pub use shell::{ControlConfig, ControlPlane, PauseError, Paused, Running, VERSION_BLOCK};
pub use state::{Action, ActionKind, AppTasks, Counts, Delay, Deployment, Failure, State, Step};
