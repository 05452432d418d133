//! App definitions.

mod counts;
mod names;
mod write;
mod write_parts;

pub use counts::{TaskCounts, TaskFailure};
pub use write::{AppExtras, AppView, ReadinessOf};
