//! The binary: command line, configuration, wiring, telemetry.
fn main() {}
