//! Marathon sources beside Marathons that answer as a test says.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fake;
mod faults;
mod following;
mod security;
#[path = "../server/mod.rs"]
mod server;
