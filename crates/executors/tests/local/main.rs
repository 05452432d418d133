//! The local executor with real processes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod adopting;
mod commands;
mod ending;
mod launching;
mod machine;
