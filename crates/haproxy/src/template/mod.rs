//! The 53 pieces of text that the configuration is made of, and where each comes from.
//!
//! ```text
//! label of the service ──┐
//! environment ───────────┼─► the first that there is ─► str.format with the placeholders ─► text
//! file in templates/ ────┤
//! default ───────────────┘
//! ```

pub(crate) mod format;
mod head;
mod sources;
mod spec;
mod table;

pub use format::FormatError;
pub(crate) use sources::of_label;
pub use sources::{TemplateError, Templates};
pub use table::{Entry, LabelUse, Template, templates};
