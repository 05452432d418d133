//! Marathon's JSON in both directions.
//!
//! ```text
//! request, file, stored text ─► AppUpdate, GroupUpdate ─► model::App, model::Group
//! model::App, Task, Root, Deployment, Event, ApiError ─► answer, event line, stored text
//! answers and events of another Marathon ─► answer::Listing, AppFacts, Notice
//! ```
//!
//! The dialect is written here once: the REST API, the event stream, the store and the files given
//! on the command line all use it. Old notations (`ports`, `uris`, `ipAddress`, `docker.network`)
//! are read and turned into the canonical ones of Marathon 1.5 and later; only those are written.
//!
//! Nothing here does I/O, reads a clock, assigns a service port or stamps a version.

pub mod answer;
pub mod app;
pub mod deployment;
pub mod document;
pub mod error;
pub mod event;
pub mod group;
pub mod group_view;
mod reader;
pub mod task;
mod wire;

pub use app::{
    AppExtras, AppUpdate, AppView, ReadinessOf, TaskCounts, TaskFailure, app_from_stored,
    app_to_stored, task_ids_from_json,
};
pub use deployment::{Deployment, DeploymentResult};
pub use document::{Document, DocumentError};
pub use error::{ApiError, Violation};
pub use event::{Condition, Event, Instance};
pub use group::{GroupChange, GroupUpdate};
pub use group_view::{GroupParts, GroupView};
pub use reader::{MAX_JSON_BYTES, MAX_JSON_DEPTH};
pub use task::{TaskView, tasks_text};
pub use wire::to_text;
