//! HAProxy mode: the configuration that marathon-lb would write for the catalog's apps, and the ways by which a running
//! HAProxy comes to follow it.
//!
//! ```text
//! Catalog ─► Quarantine ─► merge (blue/green) ─► services ─► forms ─► layout ─► Rendered ─► apply
//!             │ last good definition of              labels + templates
//!             └ apps that were refused
//! ```
//!
//! Input is the catalog. Output is text ([`Rendered`], pure) and what is done with it (`apply`: validation, HAProxy's
//! runtime API, reloads). It never carries traffic itself. Names of frontends, backends and servers, their ids and
//! cookies are marathon-lb's to the letter, and directives stand in the same order wherever HAProxy cares; what is
//! different on purpose stands in docs/compat/marathon-lb.md.

#![forbid(unsafe_code)]

pub mod apply;
mod labels;
mod page;
mod quarantine;
mod render;
mod rendered;
mod service;
mod settings;
mod template;

pub use apply::Version as HaproxyVersion;
pub use labels::{LabelError, SETTING_LABELS, SettingLabel};
pub use page::reference;
pub use quarantine::Refusal;
pub use render::Renderer;
pub use rendered::{Backend, Conflict, Refused, Rendered, Server};
pub use settings::{Endpoints, Head, Settings};
pub use template::{Entry, FormatError, LabelUse, Template, TemplateError, Templates, templates};
