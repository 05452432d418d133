//! What can be wrong with settings, and where a value came from.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Where a value was set. Later variants win over earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A line of the file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1, in characters.
        column: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag, with its dashes.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Source::Variable(name) => f.write_str(name),
            Source::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Why Waymark does not start with these settings. The text is complete: it names the source, the
/// setting, what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingError {
    /// The file cannot be read.
    #[error("--config {}: {reason}; name a readable TOML file", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{place}: {reason}")]
    Syntax {
        /// Where.
        place: Source,
        /// What the parser said.
        reason: String,
    },
    /// A key or a variable that is not a setting.
    #[error("{place}: unknown {what} \"{name}\"; {fix}")]
    Unknown {
        /// Where.
        place: Source,
        /// `key` or `variable`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What to do.
        fix: String,
    },
    /// A text that is no value for the setting.
    #[error("{}: {reason}", cite(.place, .setting))]
    Value {
        /// Where.
        place: Source,
        /// The setting.
        setting: String,
        /// What is wrong and how a value looks.
        reason: String,
    },
    /// Values that are good each by itself but not together.
    #[error("{0}")]
    Conflict(String),
}

/// The source, and the setting's name where the source does not show it.
fn cite(place: &Source, setting: &str) -> String {
    match place {
        Source::Flag(flag) => flag.clone(),
        Source::Default => setting.to_owned(),
        _ => format!("{place}: {setting}"),
    }
}
