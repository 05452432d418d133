//! Settings: from the file, the environment and the flags to one typed, checked value.
//!
//! ```text
//! table ──► flags, --help, reference page
//!   └─────► default < waymark.toml < WAYMARK_* < flag ──► Settings ──► check
//! ```
//!
//! Every value is checked in every layer, also where a later layer wins, so that a slip does not
//! wait for the day on which the flag is left out. Nothing here opens a socket or makes a folder.

mod check;
mod error;
mod file;
mod fronts;
pub mod suggest;
mod table;
pub mod traffic;
pub mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use check::check;
pub use error::{SettingError, Source};
use table::Default;
pub use table::{Of, Role, Setting, Settings, table};
use value::Value;

/// The variable that names the settings file; not a setting itself.
pub const CONFIG_VARIABLE: &str = "WAYMARK_CONFIG";
/// The variable that tells client commands where the API is; not a setting of a server.
pub const API_VARIABLE: &str = "WAYMARK_API";

/// What the process finds around itself.
#[derive(Clone, Debug, std::default::Default)]
pub struct Surroundings {
    /// Whether it runs as root.
    pub root: bool,
    /// Its environment. Variables that are not UTF-8 are left out.
    pub environment: BTreeMap<String, String>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_this_process() -> Surroundings {
        Surroundings {
            root: nix::unistd::geteuid().is_root(),
            environment: std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
        }
    }

    /// The variable's value, when it is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }
}

/// What the command line says: the file to read, and values by name.
#[derive(Clone, Debug, std::default::Default)]
pub struct Flags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// Name of the setting (without dashes) → text.
    pub values: BTreeMap<String, String>,
}

/// Settings with the source of each.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The command that they are of. The settings of another one have their defaults.
    pub role: Role,
    /// Whether the process is root's.
    pub root: bool,
    /// The values.
    pub settings: Settings,
    /// Where each setting's value came from, by name.
    pub sources: BTreeMap<String, Source>,
    /// What was given for each, by name; stars for secrets.
    pub shown: BTreeMap<String, String>,
}

impl Loaded {
    /// Whether nobody set it.
    pub fn is_default(&self, name: &str) -> bool {
        self.sources.get(name).is_none_or(|source| *source == Source::Default)
    }

    /// How to speak of a setting in a message: its name and where its value came from.
    pub fn cite(&self, name: &str) -> String {
        match self.sources.get(name) {
            None | Some(Source::Default) => format!("{name} (default)"),
            Some(Source::Flag(flag)) => flag.clone(),
            Some(source) => format!("{name} ({source})"),
        }
    }
}

/// One text for each setting, and where it came from.
struct Texts {
    table: Vec<Setting>,
    texts: Vec<(Option<String>, Source)>,
}

impl Texts {
    fn read<T: Value>(&self, field: &str) -> Result<T, SettingError> {
        let name = field.replace('_', "-");
        let found = self.table.iter().zip(&self.texts).find(|(s, _)| s.name == name);
        let (text, place) =
            found.map_or((None, Source::Default), |(_, (t, p))| (t.clone(), p.clone()));
        let value = match text {
            Some(text) => T::parse(&text),
            None => T::absent().ok_or_else(|| "needs a value".to_owned()),
        };
        value.map_err(|reason| SettingError::Value { place, setting: name, reason })
    }
}

/// Reads all layers: default < file < environment < flag.
pub fn load(role: Role, flags: &Flags, around: &Surroundings) -> Result<Loaded, SettingError> {
    let table = table();
    let mut layers: Vec<file::Entry> = Vec::new();
    let config =
        flags.config.clone().or_else(|| around.variable(CONFIG_VARIABLE).map(PathBuf::from));
    if let Some(path) = config {
        layers.extend(file::parse(role, &path, &file::read(&path)?, &table)?);
    }
    layers.extend(from_environment(role, around, &table)?);
    layers.extend(from_flags(flags, &table)?);

    let mut texts: Vec<(Option<String>, Source)> = vec![(None, Source::Default); table.len()];
    for (index, text, source) in layers {
        texts[index] = (Some(text), source);
    }
    for (setting, (text, _)) in table.iter().zip(&mut texts) {
        if text.is_none() {
            *text = default_text(role, setting, around)?;
        }
    }
    let sources =
        table.iter().zip(&texts).map(|(s, (_, source))| (s.name.clone(), source.clone())).collect();
    let given = table.iter().zip(&texts).filter(|(setting, _)| setting.of.has(role));
    let shown = given
        .filter_map(|(setting, (text, _))| {
            let text = if setting.secret { "***" } else { text.as_deref()? };
            Some((setting.name.clone(), text.to_owned()))
        })
        .collect();
    let settings = Settings::build(&Texts { table, texts })?;
    Ok(Loaded { role, root: around.root, settings, sources, shown })
}

fn default_text(
    role: Role,
    setting: &Setting,
    around: &Surroundings,
) -> Result<Option<String>, SettingError> {
    match setting.default {
        Default::Text(text) => Ok(Some(text.to_owned())),
        Default::Each(run, lb) => Ok(Some(if role == Role::Run { run } else { lb }.to_owned())),
        Default::Unset(_) => Ok(None),
        Default::From(_, rule) => rule(role, around).map(Some).map_err(|reason| {
            SettingError::Value { place: Source::Default, setting: setting.name.clone(), reason }
        }),
    }
}

fn from_environment(
    role: Role,
    around: &Surroundings,
    table: &[Setting],
) -> Result<Vec<file::Entry>, SettingError> {
    let mut entries = Vec::new();
    for (variable, text) in around.environment.iter().filter(|(k, _)| k.starts_with("WAYMARK_")) {
        if variable == CONFIG_VARIABLE || variable == API_VARIABLE {
            continue;
        }
        let found = table.iter().position(|s| s.variable == *variable);
        let Some(index) = found.filter(|index| table[*index].of.has(role)) else {
            let fix = match found {
                Some(_) => elsewhere(role),
                None => did_you_mean(
                    nearest_variable(variable, table, role),
                    &format!("unset it; `waymark {} --help` lists all settings", role.name()),
                ),
            };
            let name = variable.clone();
            let place = Source::Variable("environment".to_owned());
            return Err(SettingError::Unknown { place, what: "variable", name, fix });
        };
        let place = Source::Variable(variable.clone());
        entries.push(checked(&table[index], index, text, place)?);
    }
    Ok(entries)
}

/// What to say of a setting that only the other command has.
fn elsewhere(role: Role) -> String {
    let other = match role {
        Role::Run => Role::Lb,
        Role::Lb => Role::Run,
    };
    format!("`waymark {}` has it, `waymark {}` has not", other.name(), role.name())
}

fn did_you_mean(near: Option<&str>, otherwise: &str) -> String {
    near.map_or_else(|| otherwise.to_owned(), |near| format!("did you mean \"{near}\"?"))
}

/// Compares what follows the prefix; the prefix alone would make everything alike.
fn nearest_variable<'a>(wrong: &str, table: &'a [Setting], role: Role) -> Option<&'a str> {
    let bare = |name: &'a str| name.trim_start_matches("WAYMARK_");
    let known = || table.iter().filter(|s| s.of.has(role)).map(|s| s.variable.as_str());
    let near = suggest::nearest(wrong.trim_start_matches("WAYMARK_"), known().map(bare))?;
    known().find(|v| bare(v) == near)
}

fn from_flags(flags: &Flags, table: &[Setting]) -> Result<Vec<file::Entry>, SettingError> {
    let set =
        table.iter().enumerate().filter_map(|(i, s)| Some((i, s, flags.values.get(&s.name)?)));
    set.map(|(index, setting, text)| {
        checked(setting, index, text, Source::Flag(format!("--{}", setting.name)))
    })
    .collect()
}

fn checked(
    setting: &Setting,
    index: usize,
    text: &str,
    place: Source,
) -> Result<file::Entry, SettingError> {
    match (setting.check)(text) {
        Ok(()) => Ok((index, text.to_owned(), place)),
        Err(reason) => Err(SettingError::Value { place, setting: setting.name.clone(), reason }),
    }
}

#[cfg(test)]
mod tests;
