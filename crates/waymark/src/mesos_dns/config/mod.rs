//! The configuration of `waymark mesos-dns`: from the text of a file to one typed, checked value.
//!
//! ```text
//! config.json (Mesos-DNS's) ─┐
//!                            ├─► members ─► table ─► Config ─► check ─► Checked
//! waymark.toml [mesos-dns] ──┘      (names, lines)  (each value)  (together, and files)
//! ```
//!
//! Whatever could fail later is found here: files are read, addresses taken apart. Mesos-DNS ends
//! at its first load where a value is bad; Waymark does not start.

pub mod check;
mod given;
pub mod kind;
mod members;
mod table;

use std::path::Path;

use thiserror::Error;

pub use check::{Checked, Outside};
use given::Given;
use members::SyntaxError;
pub use members::TABLE;
pub use table::{Config, table};

/// A file longer than this is refused; it cannot be a configuration.
pub const MAX_BYTES: usize = 1 << 20;

/// Why a configuration cannot be used. The text names the setting and says what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{reason}", self.place())]
pub struct ConfigError {
    /// The line in the file, where there is one.
    pub line: Option<usize>,
    /// The setting as the file writes it; empty when the error concerns the file.
    pub name: String,
    /// What is wrong and how it would be right.
    pub reason: String,
}

impl ConfigError {
    fn at(line: usize, name: &str, reason: String) -> ConfigError {
        ConfigError { line: (line > 0).then_some(line), name: name.to_owned(), reason }
    }

    fn of(name: &str, reason: String) -> ConfigError {
        ConfigError { line: None, name: name.to_owned(), reason }
    }

    fn place(&self) -> String {
        let line = self.line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let name = if self.name.is_empty() { String::new() } else { format!("{}: ", self.name) };
        line + &name
    }
}

impl From<SyntaxError> for ConfigError {
    fn from(error: SyntaxError) -> ConfigError {
        ConfigError::at(error.line, "", error.reason)
    }
}

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings as given.
    pub config: Config,
    /// What follows from them.
    pub checked: Checked,
    /// What is not wrong but probably not meant, one sentence each.
    pub warnings: Vec<String>,
}

/// Reads a file's text. Files named `*.toml` are Waymark's, all others Mesos-DNS's.
pub fn load(path: &Path, text: &str, outside: &impl Outside) -> Result<Loaded, ConfigError> {
    if text.len() > MAX_BYTES {
        let reason = format!("the file has {} bytes, more than {MAX_BYTES}", text.len());
        return Err(ConfigError::of("", reason));
    }
    let table = table();
    let (given, mut warnings) = if path.extension().is_some_and(|extension| extension == "toml") {
        (Given::toml(members::of_toml(text)?, &table)?, Vec::new())
    } else {
        Given::json(members::of_json(text)?, &table)
    };
    let config = Config::build(&given)?;
    let checked = check::check(&config, outside).map_err(|(name, reason)| ConfigError {
        line: given.line(name),
        name: name.to_owned(),
        reason,
    })?;
    warnings.extend(check::warnings(&config));
    Ok(Loaded { config, checked, warnings })
}

#[cfg(test)]
mod tests;
