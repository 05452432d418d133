//! A file of definitions: an app, an array of apps, or a group with everything below it.
//!
//! Unlike a request's body a file is written by hand, so every error names its line and column.

mod locate;

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;
use waymark_model::{App, Group, GroupId, PathId};

use crate::error::Violation;
use crate::reader::code;
use crate::{ApiError, app, reader};

/// What a file says, flat: ids are absolute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// The apps, complete, normalised and valid, in the order of the file.
    pub apps: Vec<App>,
    /// The groups that the file names, with their dependencies. Version stamps are zero.
    pub groups: BTreeMap<GroupId, Group>,
}

/// The first thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{line}:{column}: {message}")]
pub struct DocumentError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Marathon's path of the field; empty when the text is not JSON.
    pub path: String,
    /// The field and what is wrong with it, one sentence.
    pub message: String,
}

/// Reads a file's text.
pub fn parse(text: &[u8]) -> Result<Document, DocumentError> {
    let value: Value = serde_json::from_slice(text).map_err(|error| {
        let said = error.to_string();
        let end = format!(" at line {} column {}", error.line(), error.column());
        DocumentError {
            line: error.line().max(1),
            column: error.column().max(1),
            path: String::new(),
            message: format!("not JSON: {}", said.strip_suffix(&end).unwrap_or(&said)),
        }
    })?;
    let mut document = Document::default();
    let read = match &value {
        Value::Array(apps) => document.add_apps(apps, &PathId::root(), ""),
        Value::Object(o) if o.contains_key("apps") || o.contains_key("groups") => {
            document.add_group(&value, &PathId::root(), "")
        }
        _ => document.add_app(&value, &PathId::root(), ""),
    };
    read.map_err(|violation| {
        let (line, column) = locate::locate(text, &violation.path);
        let message = format!("{}: {}", violation.path, in_words(&violation.message));
        DocumentError { line, column, path: violation.path, message }
    })?;
    Ok(document)
}

impl Document {
    fn add_apps(&mut self, apps: &[Value], group: &GroupId, path: &str) -> Result<(), Violation> {
        for (index, value) in apps.iter().enumerate() {
            self.add_app(value, group, &format!("{path}({index})"))?;
        }
        Ok(())
    }

    fn add_app(&mut self, value: &Value, group: &GroupId, path: &str) -> Result<(), Violation> {
        let complete = || {
            let update = reader::from_value(value, app::reader)?;
            let id = update.id_in(group)?.ok_or_else(|| missing("/id"))?;
            update.complete(id)
        };
        let app: App = complete().map_err(|error| below(path, &error))?;
        if self.apps.iter().any(|other| other.id == app.id) {
            let text = format!("app {} is defined twice", app.id);
            return Err(Violation::new(format!("{path}/id"), text));
        }
        self.apps.push(app);
        Ok(())
    }

    fn add_group(&mut self, value: &Value, parent: &GroupId, path: &str) -> Result<(), Violation> {
        let at = |name: &str| format!("{path}/{name}");
        let wrong = |name: &str, message: &str| Err(Violation::new(at(name), message));
        let members = match value {
            Value::Object(members) => members,
            _ => {
                return Err(Violation::new(if path.is_empty() { "/" } else { path }, code::OBJECT));
            }
        };
        let id = match members.get("id") {
            None | Some(Value::Null) if path.is_empty() => PathId::root(),
            None | Some(Value::Null) => return wrong("id", code::MISSING),
            Some(Value::String(text)) => {
                parent.resolve(text).map_err(|e| Violation::new(at("id"), e.to_string()))?
            }
            Some(_) => return wrong("id", code::STRING),
        };
        if !path.is_empty() && !id.is_below(parent) {
            return wrong("id", &format!("Identifier is not child of '{parent}'"));
        }
        let mut group = Group::default();
        for (index, dependency) in items(members.get("dependencies"), &at("dependencies"))? {
            let here = format!("{}({index})", at("dependencies"));
            let text =
                dependency.as_str().ok_or_else(|| Violation::new(here.clone(), code::STRING))?;
            let id = id.resolve(text).map_err(|e| Violation::new(here, e.to_string()))?;
            group.dependencies.push(id);
        }
        if !id.is_root() || !group.dependencies.is_empty() {
            self.groups.insert(id.clone(), group);
        }
        for (index, value) in items(members.get("apps"), &at("apps"))? {
            self.add_app(value, &id, &format!("{}({index})", at("apps")))?;
        }
        for (index, value) in items(members.get("groups"), &at("groups"))? {
            self.add_group(value, &id, &format!("{}({index})", at("groups")))?;
        }
        Ok(())
    }
}

fn items<'a>(
    value: Option<&'a Value>,
    path: &str,
) -> Result<impl Iterator<Item = (usize, &'a Value)>, Violation> {
    match value {
        None | Some(Value::Null) => Ok([].iter().enumerate()),
        Some(Value::Array(items)) => Ok(items.iter().enumerate()),
        Some(_) => Err(Violation::new(path, code::ARRAY)),
    }
}

fn missing(path: &str) -> ApiError {
    ApiError::invalid_json(vec![Violation::new(path, code::MISSING)])
}

/// The first violation of an app that stands at `path`.
fn below(path: &str, error: &ApiError) -> Violation {
    match error.violations().first() {
        Some(violation) => {
            let full = format!("{path}{}", violation.path);
            let full = full.strip_suffix('/').filter(|p| !p.is_empty()).unwrap_or(&full).to_owned();
            Violation::new(full, violation.message.clone())
        }
        None => Violation::new(path, error.to_string()),
    }
}

/// Marathon's codes in words; its sentences as they are.
fn in_words(message: &str) -> &str {
    match message {
        code::MISSING => "is missing",
        code::STRING => "must be a string",
        code::NUMBER => "must be a number",
        code::INTEGER => "must be a whole number",
        code::BOOLEAN => "must be true or false",
        code::ARRAY => "must be a list",
        code::OBJECT => "must be an object",
        code::PATTERN => "has characters or a form that is not allowed here",
        code::MIN => "is too small",
        code::MAX => "is too large",
        code::MIN_LENGTH => "must not be empty",
        code::LITERAL => "is none of the values allowed here",
        code::DATE => "must be a point in time such as 2026-01-05T10:00:00.000Z",
        sentence => sentence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<String> {
        let document = parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        document.apps.iter().map(|a| a.id.to_string()).collect()
    }

    #[test]
    fn the_three_forms() {
        assert_eq!(ids(r#"{"id": "web", "cmd": "x"}"#), ["/web"]);
        assert_eq!(ids(r#"[{"id": "/a", "cmd": "x"}, {"id": "b/c", "cmd": "x"}]"#), ["/a", "/b/c"]);
        let group = r#"{"id": "/shop", "dependencies": ["/db"], "apps": [{"id": "web", "cmd": "x"}],
            "groups": [{"id": "in", "apps": [{"id": "/shop/in/x", "cmd": "x", "dependencies": ["../web"]}]}]}"#;
        assert_eq!(ids(group), ["/shop/web", "/shop/in/x"]);
        let document = parse(group.as_bytes()).unwrap();
        let groups: Vec<_> = document.groups.keys().map(PathId::as_str).collect();
        assert_eq!(groups, ["/shop", "/shop/in"]);
        assert_eq!(document.apps[1].dependencies[0].as_str(), "/shop/web");
        assert_eq!(ids("[]"), [""; 0]);
    }

    #[test]
    fn errors_name_their_place() {
        for (text, want) in [
            ("{\n \"id\": \"/a\",\n \"cmd\": \n}", "4:1: not JSON: expected value"),
            ("", "1:1: not JSON: EOF while parsing a value"),
            ("5", "1:1: /: must be an object"),
            ("{\"cmd\": \"x\"}", "1:1: /id: is missing"),
            (
                "{\n  \"id\": \"/a\",\n  \"instances\": \"three\"\n}",
                "3:3: /instances: must be a number",
            ),
            (
                "{\"id\": \"/g\", \"apps\": [\n{\"id\": \"a\", \"cmd\": \"x\",\n\"env\": {\"A\": 1}}]}",
                "3:9: /apps(0)/env/A: must be a string",
            ),
            (
                "{\"id\": \"/g\", \"apps\": [{\"id\": \"/h/a\", \"cmd\": \"x\"}]}",
                "1:24: /apps(0)/id: Identifier is not child of '/g'",
            ),
            (
                "[{\"id\": \"/a\"}]",
                "1:2: (0): AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
            ),
            (
                "[{\"id\": \"/a\", \"cmd\": \"x\"}, {\"id\": \"/a\", \"cmd\": \"x\"}]",
                "1:29: (1)/id: app /a is defined twice",
            ),
            ("{\"id\": \"/g\", \"groups\": 5}", "1:14: /groups: must be a list"),
            ("{\"apps\": [], \"groups\": [{}]}", "1:25: /groups(0)/id: is missing"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), want, "{text}");
        }
    }
}
