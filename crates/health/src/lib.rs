//! Health checks: what a probe's outcome means (pure), and making probes.
//!
//! ```text
//! control ── target(task) ──► Prober::watch ──► Schedule ──► probe: HTTP, HTTPS, TCP, command
//!    ▲            Prober::forget ──►               ▲                 │
//!    │                                             └── try again ◄───┤
//!    └── record() (pure) ──► Verdict ◄── ProbeReport (channel) ◄─────┘
//! ```
//!
//! Nothing here kills, routes or stores; it only says what was found. What the results so far are
//! is kept by the control plane with the task.

mod insecure_tls;
mod probe;
mod prober;
mod schedule;
mod state;
mod target;

pub use probe::{BODY_LIMIT, BODY_TIME, CommandRunner};
pub use prober::{Config, MAX_CONCURRENT, ProbeReport, Prober};
pub use state::{
    EAGER_LIMIT, FIRST_RETRY, MIN_INTERVAL, Outcome, ReadinessState, Response, Verdict,
    pause_before_next, record,
};
pub use target::{CheckId, Expectation, Probe, ProbeKind, Target, target};
