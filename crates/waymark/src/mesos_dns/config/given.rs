//! What a file gives, matched with the settings there are.

use serde_json::Value;

use super::ConfigError;
use super::kind::Kind;
use super::members::Member;
use super::table::Setting;
use crate::settings::suggest::nearest;

/// Members of a file by the settings they belong to.
pub struct Given {
    /// Setting's name and member, in the order of the file.
    members: Vec<(&'static str, Member)>,
}

impl Given {
    /// Matches Mesos-DNS's members: their names count without regard to case, and unknown ones only
    /// make a warning.
    pub fn json(members: Vec<Member>, table: &[Setting]) -> (Given, Vec<String>) {
        let (mut known, mut warnings) = (Vec::new(), Vec::new());
        for member in members {
            match table.iter().find(|s| s.name.eq_ignore_ascii_case(&member.name)) {
                Some(setting) => known.push((setting.name, member)),
                None => {
                    let near = nearest(&member.name, table.iter().map(|s| s.name));
                    let near = near.map(|n| format!("; did you mean \"{n}\"?")).unwrap_or_default();
                    warnings.push(format!(
                        "line {}: unknown member \"{}\" is ignored{near}",
                        member.line, member.name
                    ));
                }
            }
        }
        (Given { members: known }, warnings)
    }

    /// Matches the keys of `waymark.toml`, where unknown ones are refused as everywhere in it.
    pub fn toml(members: Vec<Member>, table: &[Setting]) -> Result<Given, ConfigError> {
        let known =
            members.into_iter().map(|member| match table.iter().find(|s| s.key == member.name) {
                Some(setting) => Ok((setting.name, member)),
                None => {
                    let near = nearest(&member.name, table.iter().map(|s| s.key.as_str()));
                    let near = near.map(|n| format!("; did you mean \"{n}\"?")).unwrap_or_default();
                    Err(ConfigError::at(
                        member.line,
                        &member.name,
                        format!("there is no such setting{near}"),
                    ))
                }
            });
        Ok(Given { members: known.collect::<Result<_, _>>()? })
    }

    /// The value of a setting.
    pub fn value<T: Kind>(&self, name: &str, default: &str) -> Result<T, ConfigError> {
        let mut value = None;
        for (_, member) in self.members.iter().filter(|(known, _)| *known == name) {
            let read = match &member.value {
                Value::Null => T::of_null(),
                given => Some(T::read(given)),
            };
            if let Some(read) = read {
                let read =
                    read.map_err(|reason| ConfigError::at(member.line, &member.name, reason))?;
                value = Some(read);
            }
        }
        if let Some(value) = value {
            return Ok(value);
        }
        let default = serde_json::from_str(default).unwrap_or(Value::Null);
        T::read(&default).map_err(|reason| ConfigError::of(name, reason))
    }

    /// The line on which a setting was last given.
    pub fn line(&self, name: &str) -> Option<usize> {
        self.members.iter().rev().find(|(known, _)| *known == name).map(|(_, m)| m.line)
    }
}
