//! Where a request or a connection goes: the one place that decides it, for the data path and for
//! whoever asks why.
//!
//! ```text
//! RouteTable ──┐
//!              ├─► decide ─► Decision ─► Pool ─► pick ─► Seat at a task
//! Request ─────┘
//! ```
//!
//! Pure: tables, requests, time and randomness are arguments. Nothing here waits, connects or logs.

mod decide;
mod pool;

pub use decide::{Decision, Front, Headers, Request, decide};
pub use pool::{Affinity, Candidate, Pool, PoolCounters, PoolId};
