//! The settings file: TOML with the settings' names as keys, all at the top level.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeArray, DeTable, DeValue};

use super::error::{SettingError, Source};
use super::suggest::nearest;
use super::table::{Role, Setting};
use super::{did_you_mean, elsewhere};
use crate::mesos_dns::TABLE as MESOS_DNS_TABLE;

/// A file longer than this is refused; it cannot be a settings file.
const MAX_BYTES: u64 = 1 << 20;

/// A value in the file: the setting's index in the table, its text, its place.
pub type Entry = (usize, String, Source);

/// Reads the file from the disk.
pub fn read(path: &Path) -> Result<String, SettingError> {
    let unreadable = |reason: String| SettingError::Unreadable { path: path.to_owned(), reason };
    let length = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?.len();
    if length > MAX_BYTES {
        return Err(unreadable(format!("it has {length} bytes, more than {MAX_BYTES}")));
    }
    std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))
}

/// Takes the file's text apart. Each value is checked by its setting.
pub fn parse(
    role: Role,
    path: &Path,
    text: &str,
    table: &[Setting],
) -> Result<Vec<Entry>, SettingError> {
    let at = |span: Range<usize>| place(path, text, span.start);
    let document = DeTable::parse(text).map_err(|e| SettingError::Syntax {
        place: at(e.span().unwrap_or_default()),
        reason: e.message().to_owned(),
    })?;
    let mut entries: Vec<Entry> = Vec::new();
    // The map is sorted by key; errors are told in the order of the file.
    let mut pairs: Vec<_> = document.get_ref().iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in pairs {
        let name = key.get_ref().as_ref();
        // That table is read by `waymark mesos-dns`.
        if name == MESOS_DNS_TABLE {
            continue;
        }
        let found = table.iter().position(|s| s.name == name);
        let Some(index) = found.filter(|index| table[*index].of.has(role)) else {
            return Err(unknown_key(at(key.span()), name, table, role));
        };
        let place = at(value.span());
        let checked = scalar(value.get_ref())
            .and_then(|text| (table[index].check)(&text).map(|()| text))
            .map_err(|reason| SettingError::Value {
                place: place.clone(),
                setting: name.to_owned(),
                reason,
            })?;
        entries.push((index, checked, place));
    }
    Ok(entries)
}

fn unknown_key(place: Source, name: &str, table: &[Setting], role: Role) -> SettingError {
    let known = table.iter().filter(|s| s.of.has(role)).map(|s| s.name.as_str());
    let fix = match table.iter().any(|s| s.name == name) {
        true => elsewhere(role),
        false => did_you_mean(
            nearest(name, known),
            &format!("`waymark {} --help` lists all settings", role.name()),
        ),
    };
    SettingError::Unknown { place, what: "key", name: name.to_owned(), fix }
}

fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().replace('_', "")),
        DeValue::Boolean(yes) => Ok(yes.to_string()),
        DeValue::Array(list) => list_of_texts(list),
        other => Err(format!(
            "{} cannot be a value here; write a text, a whole number, true or false",
            other.type_str()
        )),
    }
}

/// A list as flags and variables write it. None of its texts can have a comma.
fn list_of_texts(list: &DeArray<'_>) -> Result<String, String> {
    let texts: Option<Vec<&str>> = list
        .iter()
        .map(|item| match item.get_ref() {
            DeValue::String(text) if !text.contains(',') => Some(text.as_ref()),
            _ => None,
        })
        .collect();
    texts
        .map(|texts| texts.join(","))
        .ok_or_else(|| "a list here holds texts without commas, each in quotes".to_owned())
}

fn place(path: &Path, text: &str, offset: usize) -> Source {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Source::File {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}
