//! Label selectors of `GET /v2/apps?label=…`, by Marathon's grammar: terms joined by commas, all of
//! which must hold: `key`, `key==value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`.
//! Characters other than letters, digits and `-_./` need a backslash.

use std::collections::BTreeMap;

use thiserror::Error;

/// A parsed selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    In(Vec<String>),
    NotIn(Vec<String>),
}

/// The text is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("Can not parse label selector {text}. Reason: expected {expected} at position {position}")]
pub struct SelectorError {
    text: String,
    expected: &'static str,
    position: usize,
}

impl LabelSelector {
    /// Reads a selector.
    pub fn parse(text: &str) -> Result<LabelSelector, SelectorError> {
        let mut input = Input { text, at: 0 };
        let mut terms = vec![input.term()?];
        while input.eat(",") {
            terms.push(input.term()?);
        }
        if input.rest().is_empty() {
            Ok(LabelSelector(terms))
        } else {
            input.fail("`,` or the end")
        }
    }

    /// Whether the labels fulfil every term. As in Marathon, a term about a label that is not
    /// there does not hold, `!=` and `notin` included.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|term| match (labels.get(&term.key), &term.test) {
            (None, _) => false,
            (Some(_), Test::Exists) => true,
            (Some(value), Test::In(values)) => values.contains(value),
            (Some(value), Test::NotIn(values)) => !values.contains(value),
        })
    }
}

struct Input<'a> {
    text: &'a str,
    at: usize,
}

impl Input<'_> {
    fn rest(&mut self) -> &str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.len() - rest.trim_start().len();
        rest.trim_start()
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T, SelectorError> {
        Err(SelectorError { text: self.text.to_owned(), expected, position: self.at })
    }

    fn term(&mut self) -> Result<Term, SelectorError> {
        let key = self.word()?;
        let test = if self.eat("==") {
            Test::In(vec![self.word()?])
        } else if self.eat("!=") {
            Test::NotIn(vec![self.word()?])
        } else if self.eat("notin") {
            Test::NotIn(self.set()?)
        } else if self.eat("in") {
            Test::In(self.set()?)
        } else {
            Test::Exists
        };
        Ok(Term { key, test })
    }

    fn set(&mut self) -> Result<Vec<String>, SelectorError> {
        if !self.eat("(") {
            return self.fail("`(`");
        }
        let mut values = vec![self.word()?];
        while self.eat(",") {
            values.push(self.word()?);
        }
        if self.eat(")") { Ok(values) } else { self.fail("`)`") }
    }

    fn word(&mut self) -> Result<String, SelectorError> {
        let mut word = String::new();
        let mut chars = self.rest().chars();
        let mut length = 0;
        while let Some(c) = chars.next() {
            let escaped = if c == '\\' { chars.next() } else { None };
            match escaped {
                Some(e) => word.push(e),
                None if c.is_ascii_alphanumeric() || "-_./".contains(c) => word.push(c),
                None => break,
            }
            length += c.len_utf8() + escaped.map_or(0, char::len_utf8);
        }
        self.at += length;
        if word.is_empty() { self.fail("a label") } else { Ok(word) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching() {
        let labels = BTreeMap::from(
            [("a", "1"), ("env", "prod"), ("x y", "q,r")]
                .map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
        for (text, want) in [
            ("a", true),
            ("b", false),
            ("a==1", true),
            ("a == 2", false),
            ("a!=2", true),
            ("b!=2", false),
            ("env in (test, prod)", true),
            ("env notin (test,prod)", false),
            ("env notin (test)", true),
            ("b notin (test)", false),
            ("a, env==prod", true),
            ("a,b", false),
            ("x\\ y", true),
            ("x\\ y==q\\,r", true),
            ("inner", false),
        ] {
            let selector = LabelSelector::parse(text).unwrap();
            assert_eq!(selector.matches(&labels), want, "{text}");
        }
    }

    #[test]
    fn refusals() {
        for text in
            ["", ",", "a,", "a==", "a=1", "a in", "a in (", "a in (b", "a in ()", "a b", "\\", "é"]
        {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            LabelSelector::parse("a in b").unwrap_err().to_string(),
            "Can not parse label selector a in b. Reason: expected `(` at position 5"
        );
    }
}
