//! Mesos sources beside masters that answer as a test says.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cluster;
mod polling;
mod security;
mod server;
mod streaming;
