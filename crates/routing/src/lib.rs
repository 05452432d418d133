//! What an app's labels say about its traffic.
//!
//! ```text
//! AppEntry.labels ──► read ──► Routing ──► whoever carries the traffic
//! ```
//!
//! Labels are read once, here, into types; who routes never sees a label's text. Labels that begin
//! with `HAPROXY_` have marathon-lb's names and meaning; `WAYMARK_` ones say what marathon-lb has no
//! label for. Nothing here knows tasks, sockets or files: a path in a label is a path.

mod checks;
mod draft;
mod name;
mod page;
mod quarantine;
mod read;
mod rules;
mod table;
mod value;

pub use page::reference;
pub use quarantine::{Quarantine, Quarantined};
pub use read::{LabelError, read};
pub use rules::*;
pub use table::{Family, Label, Need, Scope, labels};
pub use value::instant::parse as parse_instant;
