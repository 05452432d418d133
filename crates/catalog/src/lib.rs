//! The middle of Waymark: one writer publishes immutable snapshots, any number of readers take the
//! latest.
//!
//! ```text
//! control ──► Writer ──► Arc<Catalog> ──► Reader ──► dns, proxy   (left to right only)
//!                                                     │
//! control ◄── Output::applied, Output::in_use ◄───────┘           (asked, never pushed)
//! ```
//!
//! A reader gets *the latest* snapshot, not a queue of changes: a slow one skips versions and never
//! lags, and nothing waits for it. What changed it finds with [`Catalog::changes_since`].
//!
//! Nothing here blocks the writer, interprets an app, or does I/O.

mod freshness;
mod output;
mod snapshot;

pub use freshness::{Freshness, Standing};
pub use output::{InUse, Output, Outputs};
pub use snapshot::{Reader, Writer};
