//! The local executor with real processes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test fails by panicking.

mod adopting;
mod commands;
mod ending;
mod launching;
mod machine;
#[path = "../support/sample.rs"]
mod sample;
