//! Blue/green deployments: one app as two alternating colours, as zdd.py does it.
//!
//! ```text
//! document, former colours ─► prepare ─► the app to create
//! Marathon's apps ───────────┐
//! balancers' statistics ─────┴─► Picture ─► Conduct::next(now) ─► Step: wait, kill, scale, delete
//! ```
//!
//! Which old tasks stop getting requests is the balancers' decision (they read the labels and drain as
//! many old tasks as there are healthy new ones beyond the target); this crate decides when new tasks
//! are added and drained ones are killed, and says so as data. It asks nobody, waits for nothing and
//! knows no clock; whoever drives it does. A deployment's whole state is in Marathon's labels, so an
//! interrupted one is resumed from what is seen.

mod conduct;
mod document;
mod former;
mod picture;
mod plan;
mod port;
mod stats;

pub use conduct::{Conduct, Failure, Step, Waiting};
pub use document::{DocumentError, Wanted, group, prepare, validate, without_nulls};
pub use former::{last, last_two, members};
pub use picture::{Light, Picture, Side, Task, backend_name};
pub use plan::{Direction, Growth, Plan, number_label};
pub use stats::{Row, State, StatsError, View, rows};
