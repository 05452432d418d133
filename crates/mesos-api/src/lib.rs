//! Mesos's JSON, read: state documents, operator events, and RecordIO, the framing of its streams.
//!
//! ```text
//! /master/state   ──► Document ─┐
//! SUBSCRIBED      ──► Document ─┼─► State ──► model::Cluster
//! operator events ──► Event ────┘
//! ```
//!
//! Bytes come in, facts go out; nothing here does I/O or knows the time. Reading is lenient by the
//! element: a task, agent or framework that makes no sense is left out and counted, the others
//! stay. A document that is no JSON, or does not have the shape of a state, is refused as a whole,
//! so that nonsense is never mistaken for an empty cluster. Nothing panics on any input.

mod document;
mod event;
mod intake;
mod json;
mod pid;
mod ports;
pub mod recordio;
pub mod sample;
mod state;
mod status;
mod task;

pub use document::{Agent, Document, Framework, Leader, ParseError, Skipped, parse};
pub use event::{Event, TaskUpdate, parse_master};
pub use pid::{HostPort, host_port, pid};
pub use state::{Applied, Hosts, State};
pub use status::Status;
pub use task::{Phase, Task};
