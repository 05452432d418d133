//! Mesos sources beside masters that answer as a test says.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cluster;
mod polling;
mod security;
#[path = "../server/mod.rs"]
mod server;
mod streaming;
