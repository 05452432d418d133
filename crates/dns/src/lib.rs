//! Names for tasks: A, AAAA and SRV records for every running, healthy task, as Mesos-DNS names
//! them, over UDP and TCP.
//!
//! ```text
//! catalog ──► tasks ──► compile ──► build ──► zone ──► answer ──► server ──► clients
//!            (naming)  (records)  (changes)  (all)    (bytes)    (sockets)
//!                                                        │
//! control ◄── output: applied version, leases ◄─┘
//! ```
//!
//! Everything up to `answer` is pure; `output` follows the catalog and publishes zones; `server`
//! moves packets, and `respond` says what becomes of each: who may ask (`access`), cookies
//! (`cookie`), how often (`rate_limit`), and whether the answer is made here. An answer takes no
//! lock that an update holds. Names outside the domain are [`forward`]'s; secondaries get the zone,
//! and what changes of it, from `transfer`. Nothing here changes the catalog, or judges the health
//! of a task: only tasks that the catalog calls ready have names.
//!
//! To use it: [`Dns::new`], [`Sockets::bind`], then [`Dns::follow`] on a runtime and
//! [`Server::start`], which makes threads of its own.

pub mod access;
pub mod answer;
mod build;
mod compile;
mod config;
mod cookie;
#[cfg(test)]
mod fixtures;
pub mod forward;
pub mod http;
mod index;
pub mod lease;
pub mod message;
pub mod naming;
mod output;
pub mod rate_limit;
mod records;
mod respond;
mod reverse;
mod server;
mod slots;
pub mod stats;
mod tasks;
mod transfer;
mod wire;
mod zone;

pub use build::Builder;
pub use config::{ConfigError, DnsConfig, IpSource, MAX_DOMAIN, MAX_TTL, NearFirst};
pub use output::Dns;
pub use respond::Policy;
pub use server::{BindError, Server, Sockets};
pub use stats::Stats;
pub use tasks::TTL_LABEL;
pub use transfer::{MAX_SECONDARIES, TransferConfig, TransferStats};
pub use zone::{Data, Difference, Lookup, Record, Rrset, Soa, TaskRecords, Zone};
