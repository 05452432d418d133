//! A configuration file as a list of members, each with its line: from Mesos-DNS's JSON, or from
//! the table `[mesos-dns]` of a `waymark.toml`. What the values mean is not known here.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use toml::de::{DeTable, DeValue};

/// One member of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its name as written.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Its line, from 1.
    pub line: usize,
}

/// A file that has no members to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Its line, from 1; 0 when the error concerns the whole file.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// The table of a `waymark.toml` that belongs to this command.
pub const TABLE: &str = "mesos-dns";

/// The members of a JSON object, in the order of the file, repeated ones included.
pub fn of_json(text: &str) -> Result<Vec<Member>, SyntaxError> {
    let members: Pairs = serde_json::from_str(text).map_err(|e| {
        // The position is told apart from the message.
        let message = e.to_string();
        let reason = message.split(" at line ").next().unwrap_or_default().to_owned();
        SyntaxError { line: e.line(), reason }
    })?;
    // The text is known to be good JSON, so each member's line is found by counting brackets.
    let lines = member_lines(text);
    let pairs = members.0.into_iter().zip(lines);
    Ok(pairs.map(|((name, value), line)| Member { name, value, line }).collect())
}

/// Names and values of an object as they stand in the file.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object, such as {\"masters\": [\"10.0.0.1:5050\"]}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The line on which each name of the outermost object stands.
fn member_lines(text: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    let (mut line, mut depth, mut in_text, mut escaped) = (1, 0_usize, false, false);
    // Behind `{` and `,` of the outermost object comes a name.
    let mut name_next = false;
    for byte in text.bytes() {
        match byte {
            b'\n' => line += 1,
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => {
                if !in_text && depth == 1 && name_next {
                    lines.push(line);
                    name_next = false;
                }
                in_text = !in_text;
            }
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                name_next = depth == 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => name_next = depth == 1,
            _ => {}
        }
    }
    lines
}

/// The members of the table `[mesos-dns]`.
pub fn of_toml(text: &str) -> Result<Vec<Member>, SyntaxError> {
    let line_of = |offset: usize| text.get(..offset).unwrap_or(text).matches('\n').count() + 1;
    let document = DeTable::parse(text).map_err(|e| SyntaxError {
        line: line_of(e.span().unwrap_or_default().start),
        reason: e.message().to_owned(),
    })?;
    let table = document.get_ref().iter().find(|(name, _)| name.get_ref() == TABLE);
    let Some((_, table)) = table else {
        return Err(SyntaxError {
            line: 0,
            reason: format!("there is no table [{TABLE}]; write one, or give a JSON file"),
        });
    };
    let DeValue::Table(table) = table.get_ref() else {
        let line = line_of(table.span().start);
        return Err(SyntaxError { line, reason: format!("{TABLE} is not a table") });
    };
    let mut members = Vec::new();
    for (name, value) in table {
        let line = line_of(name.span().start);
        let name = name.get_ref().to_string();
        let value = json_of(value.get_ref())
            .map_err(|reason| SyntaxError { line, reason: format!("{name}: {reason}") })?;
        members.push(Member { name, value, line });
    }
    members.sort_by_key(|member| member.line);
    Ok(members)
}

fn json_of(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(yes) => Value::Bool(*yes),
        DeValue::Integer(number) => {
            i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
                .map_err(|_| format!("{} is too large", number.as_str()))?
                .into()
        }
        DeValue::Array(array) => {
            Value::Array(array.iter().map(|v| json_of(v.get_ref())).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(name, v)| Ok((name.get_ref().to_string(), json_of(v.get_ref())?)))
                .collect::<Result<_, String>>()?,
        ),
        other => return Err(format!("{} cannot be a value here", other.type_str())),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_members_have_their_lines() {
        let text = "{\n \"a\": \"}\\\"{,\",\n \"b\": {\"a\": [1,\n {\"c\": 2}]}, \"a\": null\n}\n";
        let members: Vec<_> =
            of_json(text).unwrap().into_iter().map(|m| (m.name, m.value, m.line)).collect();
        assert_eq!(
            members,
            [
                ("a".to_owned(), json!("}\"{,"), 2),
                ("b".to_owned(), json!({"a": [1, {"c": 2}]}), 3),
                ("a".to_owned(), json!(null), 4),
            ]
        );
        assert_eq!(of_json("{}"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_object() {
        for (text, line, part) in [
            ("[]", 1, "expected a JSON object"),
            ("", 1, "EOF"),
            ("{\"a\": 1,\n}", 2, "trailing comma"),
            ("{} x", 1, "trailing characters"),
            ("\u{feff}{}", 1, "expected value"),
            ("{\n// no comments\n}", 2, "key must be a string"),
        ] {
            let error = of_json(text).unwrap_err();
            assert!(error.reason.contains(part) && error.line == line, "{text}: {error:?}");
        }
    }

    #[test]
    fn toml_members_come_from_the_table() {
        let text = "api-port = 1\n[mesos-dns]\nport = 5_3\nmasters = [\"a:1\"]\nsubscribe = true\n\
                    mesos-credentials = { principal = \"p\" }\n";
        let members: Vec<_> =
            of_toml(text).unwrap().into_iter().map(|m| (m.name, m.value, m.line)).collect();
        assert_eq!(
            members,
            [
                ("port".to_owned(), json!(53), 3),
                ("masters".to_owned(), json!(["a:1"]), 4),
                ("subscribe".to_owned(), json!(true), 5),
                ("mesos-credentials".to_owned(), json!({"principal": "p"}), 6),
            ]
        );
        for (text, line, part) in [
            ("domain = \"x\"\n", 0, "there is no table [mesos-dns]"),
            ("\nmesos-dns = 1\n", 2, "is not a table"),
            ("[mesos-dns]\nttl = 1.5\n", 2, "ttl: float cannot be a value here"),
            ("[mesos-dns]\nttl = \n", 2, ""),
        ] {
            let error = of_toml(text).unwrap_err();
            assert!(error.line == line && error.reason.contains(part), "{text}: {error:?}");
        }
    }
}
