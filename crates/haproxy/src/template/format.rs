//! Python's `str.format`, as far as templates need it: `{name}`, `{name[key]}`, `{name!s:>8}`, and
//! doubled braces.

use thiserror::Error;

use super::spec::Spec;
use super::table::Template;

/// A template, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field(Field),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    /// The keys in brackets after it.
    keys: Vec<String>,
    spec: String,
}

/// Why a template cannot be filled in.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FormatError {
    /// A brace that is not doubled and begins or ends nothing.
    #[error("a single {0:?}; braces that are meant as such are doubled")]
    Brace(char),
    /// `{}` or `{0}`.
    #[error("{{{0}}} has no name")]
    Unnamed(String),
    /// A placeholder that there is none of in this place.
    #[error("there is no {{{0}}} here")]
    Unknown(String),
    /// A key of a placeholder that it has not.
    #[error("{{{0}}} has no {1:?}")]
    Key(String, String),
    /// A placeholder that cannot be printed so.
    #[error("{{{0}}} cannot be printed so")]
    Spec(String),
    /// An attribute, a conversion other than `!s`, or braces inside braces.
    #[error("{{{0}}} is not understood")]
    Unsupported(String),
}

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Number(i64),
    Flag(bool),
    /// Python's `None`.
    Nothing,
    /// Something with keys.
    Keyed(&'a dyn Keyed),
}

/// Something with keys in brackets.
pub(crate) trait Keyed: std::fmt::Debug {
    /// What the key stands for.
    fn get(&self, key: &str) -> Option<Value<'_>>;
}

/// The placeholders that there are.
pub(crate) type Values<'a> = &'a [(&'a str, Value<'a>)];

impl Text {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Text, FormatError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(at);
            literal.push_str(before);
            let brace = if after.starts_with('{') { '{' } else { '}' };
            let after = after.get(1..).unwrap_or_default();
            if let Some(after) = after.strip_prefix(brace) {
                literal.push(brace);
                rest = after;
                continue;
            }
            if brace == '}' {
                return Err(FormatError::Brace('}'));
            }
            let (field, after) = split_field(after)?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field(Field::parse(field)?));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Text(parts))
    }

    /// A text that is printed as it is.
    pub fn raw(text: &str) -> Text {
        if text.is_empty() {
            return Text::default();
        }
        Text(vec![Part::Literal(text.to_owned())])
    }

    /// Reads the text of a template by that template's rules.
    pub fn of(template: Template, text: &str) -> Result<Text, FormatError> {
        let entry = template.entry();
        let text = if entry.is_part_of_line() { text.trim() } else { text };
        let padded = match entry.is_part_of_line() && !text.is_empty() {
            true => format!(" {text}"),
            false => text.to_owned(),
        };
        match entry.placeholders {
            None => Ok(Text::raw(&padded)),
            Some(_) => Text::parse(&padded),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fills the placeholders in.
    pub fn fill(&self, values: Values<'_>, out: &mut String) -> Result<(), FormatError> {
        for part in &self.0 {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Field(field) => field.fill(values, out)?,
            }
        }
        Ok(())
    }
}

/// What stands between braces, and what comes after them.
fn split_field(text: &str) -> Result<(&str, &str), FormatError> {
    let mut in_brackets = false;
    for (at, c) in text.char_indices() {
        match c {
            ']' => in_brackets = false,
            '[' => in_brackets = true,
            '{' if !in_brackets => return Err(FormatError::Unsupported(text.to_owned())),
            '}' if !in_brackets => {
                let field = text.get(..at).unwrap_or_default();
                return Ok((field, text.get(at + 1..).unwrap_or_default()));
            }
            _ => {}
        }
    }
    Err(FormatError::Brace('{'))
}

impl Field {
    fn parse(text: &str) -> Result<Field, FormatError> {
        let name_ends = text.find(['[', ':', '!', '.']).unwrap_or(text.len());
        let (name, mut rest) = text.split_at(name_ends);
        if name.is_empty() || name.bytes().all(|b| b.is_ascii_digit()) {
            return Err(FormatError::Unnamed(text.to_owned()));
        }
        let unsupported = || FormatError::Unsupported(text.to_owned());
        let mut keys = Vec::new();
        while let Some(after) = rest.strip_prefix('[') {
            let (key, after) = after.split_once(']').ok_or_else(unsupported)?;
            keys.push(key.to_owned());
            rest = after;
        }
        rest = rest.strip_prefix("!s").unwrap_or(rest);
        let spec = match rest.strip_prefix(':') {
            Some(spec) => spec,
            None if rest.is_empty() => "",
            None => return Err(unsupported()),
        };
        Ok(Field { name: name.to_owned(), keys, spec: spec.to_owned() })
    }

    fn fill(&self, values: Values<'_>, out: &mut String) -> Result<(), FormatError> {
        let found = values.iter().find(|(name, _)| *name == self.name);
        let mut value = found.ok_or_else(|| FormatError::Unknown(self.name.clone()))?.1;
        let mut character = [0; 4];
        let mut keys = self.keys.iter().peekable();
        while let Some(key) = keys.next() {
            let missing = || FormatError::Key(self.name.clone(), key.clone());
            value = match value {
                Value::Keyed(keyed) => keyed.get(key).ok_or_else(missing)?,
                Value::Text(text) if keys.peek().is_none() => {
                    let at = key.parse().map_err(|_| missing())?;
                    let c = text.chars().nth(at).ok_or_else(missing)?;
                    Value::Text(c.encode_utf8(&mut character))
                }
                _ => return Err(missing()),
            };
        }
        let refused = || FormatError::Spec(self.name.clone());
        if self.spec.is_empty() {
            return plain(value, out).ok_or_else(refused);
        }
        let spec = Spec::parse(&self.spec).ok_or_else(refused)?;
        let text = match value {
            Value::Text(text) => spec.text(text),
            Value::Number(number) => spec.number(number),
            Value::Flag(_) | Value::Nothing | Value::Keyed(_) => None,
        };
        out.push_str(&text.ok_or_else(refused)?);
        Ok(())
    }
}

fn plain(value: Value<'_>, out: &mut String) -> Option<()> {
    match value {
        Value::Text(text) => out.push_str(text),
        Value::Number(number) => {
            use std::fmt::Write;
            // Writing to a String cannot fail.
            let _ = write!(out, "{number}");
        }
        Value::Flag(flag) => out.push_str(if flag { "True" } else { "False" }),
        Value::Nothing => out.push_str("None"),
        Value::Keyed(_) => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Check;

    impl Keyed for Check {
        fn get(&self, key: &str) -> Option<Value<'_>> {
            match key {
                "path" => Some(Value::Text("/ping")),
                "command" => Some(Value::Keyed(self)),
                _ => None,
            }
        }
    }

    fn fill(text: &str) -> Result<String, FormatError> {
        let values: Values<'_> = &[
            ("name", Value::Text("web")),
            ("port", Value::Number(80)),
            ("healthCheck", Value::Keyed(&Check)),
            ("none", Value::Nothing),
            ("on", Value::Flag(true)),
        ];
        let mut out = String::new();
        Text::parse(text)?.fill(values, &mut out).map(|()| out)
    }

    #[test]
    fn as_python_does() {
        for (text, want) in [
            ("", ""),
            ("a {name}:{port}", "a web:80"),
            ("{{ {name} }}", "{ web }"),
            ("{healthCheck[path]}", "/ping"),
            ("{healthCheck[command][path]:>6}|", " /ping|"),
            ("{port:05d}{name!s:4}|", "00080web |"),
            ("{name[1]}", "e"),
            ("{none}{on}", "NoneTrue"),
            ("{{{name}}}", "{web}"),
        ] {
            assert_eq!(fill(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn refused() {
        use FormatError::*;
        let n = || "name".to_owned();
        for (text, want) in [
            ("a } b", Brace('}')),
            ("a { b", Brace('{')),
            ("{}", Unnamed("".to_owned())),
            ("{0}", Unnamed("0".to_owned())),
            ("{other}", Unknown("other".to_owned())),
            ("{name[9]}", Key(n(), "9".to_owned())),
            ("{healthCheck[x]}", Key("healthCheck".to_owned(), "x".to_owned())),
            ("{healthCheck}", Spec("healthCheck".to_owned())),
            ("{name:d}", Spec(n())),
            ("{name.lower}", Unsupported("name.lower".to_owned())),
            ("{name!r}", Unsupported("name!r".to_owned())),
            ("{ ssl_fc }", Unknown(" ssl_fc ".to_owned())),
        ] {
            assert_eq!(fill(text), Err(want), "{text}");
        }
    }
}
