//! The core under seeded simulation: random changes, crashes, probe results, slow drains, a store
//! that fails, and a control plane that dies at any moment. After every step the invariants in
//! `check.rs` hold, and when the faults stop everything becomes as wanted.
//!
//! Fails with the seed; `WAYMARK_SEED=<n>` runs only that one, with every step printed.
//! `WAYMARK_SEEDS=<n>` sets how many are run.

// All of this is test code, which clippy cannot see outside of `#[test]` functions.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod check;
mod machine;
mod requests;
mod world;

use world::World;

/// Steps with faults, before the world calms down.
const STEPS: usize = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn seeds() {
    if let Some(seed) = number("WAYMARK_SEED") {
        return World::new(seed, true).run(STEPS);
    }
    let seeds = number("WAYMARK_SEEDS").unwrap_or(if cfg!(debug_assertions) { 60 } else { 2000 });
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            scope.spawn(move || {
                for seed in (worker..seeds).step_by(workers as usize) {
                    let run = std::panic::AssertUnwindSafe(|| World::new(seed, false).run(STEPS));
                    if let Err(panic) = std::panic::catch_unwind(run) {
                        eprintln!("failed with WAYMARK_SEED={seed}");
                        std::panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
}
