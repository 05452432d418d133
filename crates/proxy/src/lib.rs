//! The load balancer: listeners on the shared ports and on every service port of the catalog, each
//! connection or request carried to one of the app's ready tasks.
//!
//! ```text
//! catalog::Reader ──► route ── RouteTable ──► worker ──► listen ── Conn ──► l4 | tls | h1
//!                     (one thread)            (one thread a core)              │
//! catalog::Output ◄── output ◄── usage ◄──────── a seat for every use ◄────────┘
//! stats           ◄── port
//! ```
//!
//! * `route` turns the catalog into routes, at the cost of what changed, and decides by them;
//! * `worker` is one thread with its own event loop; a listener and a connection belong to one;
//! * `listen` binds, accepts and dispatches; `l4` relays connections as they are,
//!   `udp` datagrams; `handover` gives the sockets to the next process;
//! * `tls` ends TLS with clients by certificates that are watched, and verifies tasks;
//! * `acquire` finds a task that may take one more, waiting for one if it must;
//! * `checks` finds out, if it is asked to, which tasks answer;
//! * `balance` picks among tasks, purely;
//! * `usage` counts connections per task, which `output` reports to whoever drains a task.
//!
//! Nothing here decides which task is healthy, speaks to the control plane, or keeps a connection
//! from running because the catalog changed.

mod acquire;
pub mod admin;
mod balance;
mod checks;
mod config;
mod h1;
mod h2;
pub mod handover;
mod http;
mod l4;
mod limits;
mod listen;
mod output;
mod port;
mod proxy;
pub mod proxy_protocol;
pub mod route;
mod stats;
mod timer;
pub mod tls;
mod udp;
mod upstream;
mod usage;
mod worker;

pub use config::{AccessLog, AccessLogFormat, ActiveChecks, Limits, ProxyConfig};
pub use h1::{Reading, read_request, read_response};
pub use h2::Counters as Http2Counters;
pub use http::counters::HttpTotals;
pub use http::latency::{BOUNDS_US, Latency};
pub use limits::{NofileError, raise_nofile_limit};
pub use listen::{SocketKey, Sockets, client_hello};
pub use proxy::{Proxy, StartError, routes_of};
pub use route::{
    Exposure, Groups, HealthPolicy, ListenKey, Reason, RouteTable, ServiceRoute, TableBuilder,
};
pub use stats::{ListenerState, PortStats, TaskStats, Totals};
pub use usage::{Endpoint, EndpointCounters, Usage};
