//! The load balancer: a TCP listener on every service port of the catalog, each connection relayed
//! to one of the app's ready tasks.
//!
//! ```text
//! catalog::Reader ──► table ── RouteTable ──► worker ──► listener ── accepted ──► connect ──► relay
//!                     (one thread)            (one thread a core)                   │
//! catalog::Output ◄── output ◄── usage ◄──────── a seat for every connection ◄──────┘
//! stats           ◄── port
//! ```
//!
//! * `table` turns the catalog into routes, at the cost of what changed;
//! * `worker` is one thread with its own event loop; a listener and a connection belong to one;
//! * `listener` binds and accepts, `connect` finds a task that answers, `relay` moves the bytes;
//! * `balance` picks among tasks, purely;
//! * `usage` counts connections per task, which `output` reports to whoever drains a task.
//!
//! Nothing here decides which task is healthy, speaks to the control plane, or keeps a connection
//! from running because the catalog changed. UDP services get no listener: only TCP is relayed.

mod balance;
mod config;
mod connect;
mod limits;
mod listener;
mod output;
mod port;
mod proxy;
mod relay;
pub mod route;
mod stats;
mod table;
mod usage;
mod worker;

pub use config::ProxyConfig;
pub use limits::{NofileError, raise_nofile_limit};
pub use proxy::{Proxy, StartError};
pub use stats::{ListenerState, PortStats, TaskStats, Totals};
pub use table::{Reason, Route, RouteTable, TableBuilder, Withheld};
pub use usage::{Endpoint, Usage};
