//! Labels of one app in, [`Routing`] out; or everything that is wrong with them.

use thiserror::Error;
use waymark_model::AppEntry;

use crate::Routing;

/// A label that cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("label {label}: {reason}")]
pub struct LabelError {
    /// The label's name.
    pub label: String,
    /// What is wrong with its value, and what would be right.
    pub reason: String,
}

/// Reads an app's labels. Without any, every service is in mode tcp and
/// in no group.
pub fn read(app: &AppEntry) -> Result<Routing, Vec<LabelError>> {
    let ports = app.services.iter().map(|_| std::sync::Arc::default()).collect();
    Ok(Routing { ports, ..Routing::default() })
}
