//! Where a request or a connection goes: the one place that decides it, for the data path and for
//! whoever asks why.
//!
//! ```text
//! catalog ─► builder ─► RouteTable ──┐
//!            (service, merge, hosts) ├─► decide ─► Decision ─► Pool ─► pick ─► Seat at a task
//!                          Request ──┘
//! ```
//!
//! Pure: tables, requests, time and randomness are arguments. Nothing here waits, connects or logs.

mod budget;
mod builder;
mod decide;
mod explain;
mod hosts;
mod merge;
mod pick;
mod pool;
mod queue;
mod service;
mod spelling;
mod table;
#[cfg(test)]
pub(crate) mod test_world;

pub use builder::{Notices, TableBuilder};
pub use decide::{Decision, Front, Headers, Request, admit, decide};
pub use explain::{CandidateLook, Explanation, PickLook, RuleLook, ServiceLook};
pub(crate) use explain::{balance_text, explain};
pub use hosts::{HostRules, HostTable, Rule, Share};
pub(crate) use pick::{Look, Pick};
pub(crate) use pool::PoolState;
pub use pool::{Affinity, Candidate, Pool, PoolCheck, PoolCounters, PoolId, Reason};
pub use table::{Exposure, Groups, HealthPolicy, ListenKey, RouteTable, ServiceRoute};
