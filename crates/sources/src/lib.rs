//! What fills the catalog from clusters that somebody else runs.
//!
//! ```text
//! masters   ──► mesos::MesosSource ───────┐
//! Marathons ──► marathon::MarathonSource ─┴─► catalog::Writer, catalog::Freshness
//! ```
//!
//! A source turns a cluster's word into snapshots. It never empties the catalog because it has lost
//! the cluster, never ends the process, and knows nothing of what is made of the snapshots.

mod backoff;
pub mod client;
mod hosts;
mod keep;
mod lines;
pub mod marathon;
pub mod mesos;
mod status;
