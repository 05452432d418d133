//! Reading JSON into typed values, with Marathon's error codes.
//!
//! A reader is a function `(Node, &mut Errors) -> Option<T>`: it yields a value, or notes what is
//! wrong and where. Reading goes on after an error, so that one answer names all of them. A member
//! that is `null` counts as absent; unknown members are ignored.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::error::{ApiError, Violation};

/// The longest JSON text that is read, in bytes: a request's body, a file, a stored record. About
/// ten thousand apps in one group fit.
pub const MAX_JSON_BYTES: usize = 32 * 1024 * 1024;

/// The deepest nesting of arrays and objects that is read; `serde_json` refuses more.
pub const MAX_JSON_DEPTH: usize = 128;

/// Codes of type errors, as Marathon's JSON library spells them.
pub(crate) mod code {
    pub const MISSING: &str = "error.path.missing";
    pub const STRING: &str = "error.expected.jsstring";
    pub const NUMBER: &str = "error.expected.jsnumber";
    pub const INTEGER: &str = "error.expected.int";
    pub const BOOLEAN: &str = "error.expected.jsboolean";
    pub const ARRAY: &str = "error.expected.jsarray";
    pub const OBJECT: &str = "error.expected.jsobject";
    pub const PATTERN: &str = "error.pattern";
    pub const MIN: &str = "error.min";
    pub const MAX: &str = "error.max";
    pub const MIN_LENGTH: &str = "error.minLength";
    pub const LITERAL: &str = "error.unknown.enum.literal";
    pub const DATE: &str = "error.expected.date.isoformat";
}

/// A reader that only looks.
pub(crate) type Check = fn(Node<'_>, &mut Errors) -> Option<()>;

/// What is wrong so far.
pub(crate) type Errors = Vec<Violation>;

/// Where a value stands: `/portDefinitions(0)/name`; the whole is `/`.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Member(parent, name) => {
                parent.write(f)?;
                write!(f, "/{name}")
            }
            Path::Item(parent, index) => {
                parent.write(f)?;
                write!(f, "({index})")
            }
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Path::Root = self { f.write_str("/") } else { self.write(f) }
    }
}

/// A value and where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub value: &'a Value,
    pub path: &'a Path<'a>,
}

impl Node<'_> {
    /// Notes an error about this value.
    pub fn fail<T>(&self, errors: &mut Errors, message: &str) -> Option<T> {
        errors.push(Violation::new(self.path.to_string(), message));
        None
    }
}

/// The members of an object, read one by one.
pub(crate) struct Fields<'a, 'e> {
    object: &'a Map<String, Value>,
    path: &'a Path<'a>,
    errors: &'e mut Errors,
}

impl<'e> Fields<'_, 'e> {
    /// The member's value, if it is there and right.
    pub fn read<T>(
        &mut self,
        name: &str,
        reader: impl Fn(Node<'_>, &mut Errors) -> Option<T>,
    ) -> Option<T> {
        let value = self.object.get(name).filter(|v| !v.is_null())?;
        let path = Path::Member(self.path, name);
        reader(Node { value, path: &path }, self.errors)
    }

    /// The member's value. Its absence is an error, for which the default stands in.
    pub fn need<T: Default>(
        &mut self,
        name: &str,
        reader: impl Fn(Node<'_>, &mut Errors) -> Option<T>,
    ) -> T {
        if !self.has(name) {
            let path = Path::Member(self.path, name);
            self.errors.push(Violation::new(path.to_string(), code::MISSING));
        }
        self.read(name, reader).unwrap_or_default()
    }

    /// Whether the member is there and not null.
    pub fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|v| !v.is_null())
    }

    /// Keeps members as they are, after `check` has looked at each: name → JSON text.
    pub fn keep(&mut self, checks: &[(&'static str, Check)]) -> BTreeMap<String, String> {
        let mut kept = BTreeMap::new();
        for (name, check) in checks {
            if self.read(name, check).is_some() {
                let text = self.object.get(*name).map(Value::to_string).unwrap_or_default();
                kept.insert((*name).to_owned(), text);
            }
        }
        kept
    }

    /// The names of all members, given or null.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.object.iter().filter(|(_, v)| !v.is_null()).map(|(name, _)| name.as_str())
    }
}

/// Parses a text and reads it: 400 when it is not JSON, 422 when its values are wrong.
pub(crate) fn from_text<T>(
    text: &[u8],
    reader: impl Fn(Node<'_>, &mut Errors) -> Option<T>,
) -> Result<T, ApiError> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::no_body());
    }
    let value: Value =
        serde_json::from_slice(text).map_err(|error| ApiError::not_json(error.to_string()))?;
    from_value(&value, reader)
}

/// Reads a parsed text.
pub(crate) fn from_value<T>(
    value: &Value,
    reader: impl Fn(Node<'_>, &mut Errors) -> Option<T>,
) -> Result<T, ApiError> {
    let mut errors = Errors::new();
    let read = reader(Node { value, path: &Path::Root }, &mut errors);
    match read {
        Some(read) if errors.is_empty() => Ok(read),
        _ => Err(ApiError::invalid_json(errors)),
    }
}

/// An object, whose members `reader` reads.
pub(crate) fn object<T>(
    reader: impl Fn(&mut Fields<'_, '_>) -> T,
) -> impl Fn(Node<'_>, &mut Errors) -> Option<T> {
    move |node, errors| match node.value {
        Value::Object(object) => Some(reader(&mut Fields { object, path: node.path, errors })),
        _ => node.fail(errors, code::OBJECT),
    }
}

/// An array of what `reader` reads.
pub(crate) fn list<T>(
    reader: impl Fn(Node<'_>, &mut Errors) -> Option<T>,
) -> impl Fn(Node<'_>, &mut Errors) -> Option<Vec<T>> {
    move |node, errors| match node.value {
        Value::Array(items) => {
            let read = |(index, value)| {
                let path = Path::Item(node.path, index);
                reader(Node { value, path: &path }, errors)
            };
            Some(items.iter().enumerate().filter_map(read).collect())
        }
        _ => node.fail(errors, code::ARRAY),
    }
}

/// An object with free keys. Members that are null are left out.
pub(crate) fn map<T>(
    reader: impl Fn(Node<'_>, &mut Errors) -> Option<T>,
) -> impl Fn(Node<'_>, &mut Errors) -> Option<BTreeMap<String, T>> {
    move |node, errors| match node.value {
        Value::Object(members) => {
            let given = members.iter().filter(|(_, value)| !value.is_null());
            let read = |(name, value): (&String, &Value)| {
                let path = Path::Member(node.path, name);
                reader(Node { value, path: &path }, errors).map(|value| (name.clone(), value))
            };
            Some(given.filter_map(read).collect())
        }
        _ => node.fail(errors, code::OBJECT),
    }
}

/// A string.
pub(crate) fn string(node: Node<'_>, errors: &mut Errors) -> Option<String> {
    match node.value {
        Value::String(text) => Some(text.clone()),
        _ => node.fail(errors, code::STRING),
    }
}

/// A string of at least one character.
pub(crate) fn filled(node: Node<'_>, errors: &mut Errors) -> Option<String> {
    match string(node, errors)? {
        text if text.is_empty() => node.fail(errors, code::MIN_LENGTH),
        text => Some(text),
    }
}

/// A string that `fits`.
pub(crate) fn pattern(
    fits: impl Fn(&str) -> bool,
) -> impl Fn(Node<'_>, &mut Errors) -> Option<String> {
    move |node, errors| match string(node, errors)? {
        text if fits(&text) => Some(text),
        _ => node.fail(errors, code::PATTERN),
    }
}

/// One of the literals of an enumeration.
pub(crate) fn literal<T>(
    meaning: impl Fn(&str) -> Option<T>,
) -> impl Fn(Node<'_>, &mut Errors) -> Option<T> {
    move |node, errors| match meaning(&string(node, errors)?) {
        Some(value) => Some(value),
        None => node.fail(errors, code::LITERAL),
    }
}

/// `true` or `false`.
pub(crate) fn boolean(node: Node<'_>, errors: &mut Errors) -> Option<bool> {
    match node.value {
        Value::Bool(value) => Some(*value),
        _ => node.fail(errors, code::BOOLEAN),
    }
}

/// A number in a range.
pub(crate) fn number(range: RangeInclusive<f64>) -> impl Fn(Node<'_>, &mut Errors) -> Option<f64> {
    move |node, errors| match node.value.as_f64() {
        None => node.fail(errors, code::NUMBER),
        Some(n) if n < *range.start() => node.fail(errors, code::MIN),
        Some(n) if n > *range.end() => node.fail(errors, code::MAX),
        Some(n) => Some(n),
    }
}

/// A whole number in a range; `2.0` is one, `2.5` is not. Without a range of its own a number may be
/// as large as Marathon's 32-bit integers.
pub(crate) fn integer<T: TryFrom<i64>>(
    range: RangeInclusive<i64>,
) -> impl Fn(Node<'_>, &mut Errors) -> Option<T> {
    move |node, errors| {
        let n = number(f64::MIN..=f64::MAX)(node, errors)?;
        // Exact: what is outside 32 bits is refused, and a double holds all integers inside.
        if n.fract() != 0.0 || n < f64::from(i32::MIN) || n > f64::from(i32::MAX) {
            return node.fail(errors, code::INTEGER);
        }
        match n as i64 {
            n if n < *range.start() => node.fail(errors, code::MIN),
            n if n > *range.end() => node.fail(errors, code::MAX),
            n => T::try_from(n).ok(),
        }
    }
}

/// The largest whole number that Marathon reads.
pub(crate) const MAX_INT: i64 = i32::MAX as i64;

/// A count: a whole number that is not negative.
pub(crate) fn count(node: Node<'_>, errors: &mut Errors) -> Option<u32> {
    integer(0..=MAX_INT)(node, errors)
}

/// A port number, 0 included.
pub(crate) fn port(node: Node<'_>, errors: &mut Errors) -> Option<u16> {
    integer(0..=i64::from(u16::MAX))(node, errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(
        text: &str,
        reader: impl Fn(Node<'_>, &mut Errors) -> Option<T>,
    ) -> Result<T, (u16, String)> {
        from_text(text.as_bytes(), reader).map_err(|e| (e.status(), e.body()))
    }

    fn wrong(path: &str, code: &str) -> (u16, String) {
        let details = format!(r#"[{{"path":"{path}","errors":["{code}"]}}]"#);
        (422, format!(r#"{{"message":"Invalid JSON","details":{details}}}"#))
    }

    #[test]
    fn values_of_wrong_types() {
        assert_eq!(read("5", string), Err(wrong("/", "error.expected.jsstring")));
        assert_eq!(read(r#""""#, filled), Err(wrong("/", "error.minLength")));
        assert_eq!(read(r#""5""#, count), Err(wrong("/", "error.expected.jsnumber")));
        assert_eq!(read("1.5", count), Err(wrong("/", "error.expected.int")));
        assert_eq!(read("1e12", count), Err(wrong("/", "error.expected.int")));
        assert_eq!(read("-1", count), Err(wrong("/", "error.min")));
        assert_eq!(read("65536", port), Err(wrong("/", "error.max")));
        assert_eq!(read("2.0", count), Ok(2));
        assert_eq!(read("0", boolean), Err(wrong("/", "error.expected.jsboolean")));
        assert_eq!(read("{}", list(string)), Err(wrong("/", "error.expected.jsarray")));
        assert_eq!(read("[]", map(string)), Err(wrong("/", "error.expected.jsobject")));
        assert_eq!(read("[1]", list(string)), Err(wrong("(0)", "error.expected.jsstring")));
        assert_eq!(
            read(r#"{"a":{"b":[1,true]}}"#, object(|f| f.read("a", map(list(count))))),
            Err(wrong("/a/b(1)", "error.expected.jsnumber"))
        );
        assert_eq!(
            read("{}", object(|f| f.need("a", string))),
            Err(wrong("/a", "error.path.missing"))
        );
        assert_eq!(read(r#"{"a":null}"#, object(|f| f.read("a", string))), Ok(None));
    }

    #[test]
    fn what_is_not_json() {
        assert_eq!(read(" \n", string).map_err(|e| e.0), Err(400));
        let (status, body) = read("{", string).unwrap_err();
        assert_eq!(status, 400);
        assert!(body.starts_with(r#"{"message":"Invalid JSON","details":"EOF"#), "{body}");
        let deep = "[".repeat(MAX_JSON_DEPTH + 1);
        assert_eq!(read(&deep, string).map_err(|e| e.0), Err(400));
    }
}
