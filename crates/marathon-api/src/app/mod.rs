//! App definitions.

mod build;
mod constraint;
mod counts;
mod names;
mod normalize;
mod read;
mod read_checks;
mod read_container;
#[cfg(test)]
mod tests;
mod update;
mod validate;
mod write;
mod write_parts;

pub(crate) use build::dependencies;
pub use counts::{TaskCounts, TaskFailure};
pub use read::task_ids_from_json;
pub(crate) use read::{app as reader, timestamp};
pub(crate) use read_checks::health_check;
pub use update::{AppUpdate, app_from_stored, app_to_stored};
pub use write::{AppExtras, AppView, ReadinessOf};
