//! HTTP/2 (RFC 9113) on both sides.
//!
//! ```text
//! client ─► front ─► stream ─► route::decide ─► Seat ─┬─► to_h1 ─► a connection of its own ─► task
//!             │        │                              └─► to_h2 ─► a shared connection ────► task
//!           flood     pump: contents, trailers, windows, resets, both ways
//! ```
//!
//! * `front`: one client's connection, its limits and its end; `io` and `flood` watch its bytes;
//! * `head`: a request's head, checked; `grpc`: answers of our own that gRPC clients understand;
//! * `exchange`: what a task's side can do; `to_h1`, `to_h2`: in either protocol;
//! * `pump`: one stream and its exchange;
//! * `bridge`: a client of HTTP/1.1 and a task of HTTP/2.
//!
//! Frames, HPACK and windows are the `h2` library's. Nothing here decides where a request goes.

mod admit;
mod bridge;
mod connections;
mod exchange;
mod flood;
mod forward;
mod front;
mod grpc;
mod head;
mod io;
mod job;
mod limits;
mod pump;
mod serve;
mod to_h1;
mod to_h2;
mod upgrade;

pub(crate) use bridge::bridge;
pub(crate) use connections::{Connections, Way};
pub use limits::Counters;
pub(crate) use serve::serve;

#[cfg(test)]
mod exchange_tests;
#[cfg(test)]
mod front_tests;
