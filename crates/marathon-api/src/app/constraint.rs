//! Placement constraints: `[field, operator, value?]`, with Marathon's messages.

use waymark_model::Constraint;

/// What an operator wants of its value.
#[derive(Clone, Copy)]
enum Wants {
    Nothing,
    AnythingOrNothing,
    Pattern,
    Integer,
    IntegerOrNothing,
    TextOrNumber,
}

const OPERATORS: [(&str, Wants); 7] = [
    ("UNIQUE", Wants::Nothing),
    ("CLUSTER", Wants::AnythingOrNothing),
    ("GROUP_BY", Wants::IntegerOrNothing),
    ("LIKE", Wants::Pattern),
    ("MAX_PER", Wants::Integer),
    ("UNLIKE", Wants::Pattern),
    ("IS", Wants::TextOrNumber),
];

/// Reads a constraint, its operator in any case; the error is the whole message.
pub(super) fn read(list: Vec<String>) -> Result<Constraint, &'static str> {
    let mut parts = list.into_iter();
    let (field, operator, value) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (None, ..) => return Err("Missing field and operator"),
        (Some(field), Some(operator), value, None) => (field, operator, value),
        _ => return Err("Each constraint must have either 2 or 3 fields"),
    };
    if field.is_empty() {
        return Err("missing field for constraint declaration");
    }
    let operator = operator.to_uppercase();
    let Some((_, wants)) = OPERATORS.iter().find(|(name, _)| *name == operator) else {
        return Err("operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, \
                    MAX_PER, UNLIKE or IS");
    };
    check(*wants, value.as_deref())?;
    Ok(Constraint { field, operator, value })
}

fn check(wants: Wants, value: Option<&str>) -> Result<(), &'static str> {
    let is_integer = |text: &str| text.parse::<i32>().is_ok();
    match (wants, value) {
        (Wants::Nothing, Some(_)) => Err("UNIQUE does not accept a value"),
        (Wants::Pattern, None | Some("")) => {
            Err("LIKE and UNLIKE require a non-empty, regular expression value")
        }
        (Wants::Pattern, Some(text)) if !may_be_pattern(text) => {
            Err("is not a valid regular expression")
        }
        (Wants::Integer, value) if !value.is_some_and(is_integer) => {
            Err("MAX_PER requires an integer value")
        }
        (Wants::IntegerOrNothing, Some(text)) if !is_integer(text) => {
            Err("GROUP BY must define an integer value or else no value at all")
        }
        (Wants::TextOrNumber, value) if !value.is_some_and(is_mesos_text_or_number) => {
            Err("IS only supports Mesos text and float values (see \
                 http://mesos.apache.org/documentation/latest/attributes-resources/)")
        }
        _ => Ok(()),
    }
}

/// Mesos's grammar of attribute values: letters, digits, `_`, `/`, `.`, `-`. Numbers are among them.
fn is_mesos_text_or_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_/.-".contains(&b))
}

/// Whether the brackets of a regular expression close, no escape is left open and no repetition
/// has nothing to repeat. Patterns are Java's in Marathon; what they match is decided at placement.
fn may_be_pattern(text: &str) -> bool {
    let mut open_groups = 0u32;
    let mut in_class = false;
    let mut nothing_before = true;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let Some(_escaped) = chars.next() else { return false };
            }
            ']' if in_class => in_class = false,
            _ if in_class => {}
            '[' => in_class = true,
            '(' => open_groups += 1,
            ')' => match open_groups.checked_sub(1) {
                Some(left) => open_groups = left,
                None => return false,
            },
            '*' | '+' if nothing_before => return false,
            _ => {}
        }
        nothing_before = !in_class && matches!(c, '(' | '|');
    }
    open_groups == 0 && !in_class
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(parts: &[&str]) -> Option<&'static str> {
        read(parts.iter().map(|p| p.to_string()).collect()).err()
    }

    #[test]
    fn accepts() {
        for parts in [
            &["hostname", "UNIQUE"][..],
            &["hostname", "unique"],
            &["hostname", "CLUSTER"],
            &["rack", "CLUSTER", "r1"],
            &["rack", "GROUP_BY"],
            &["rack", "GROUP_BY", "3"],
            &["rack", "LIKE", "r[1-3](a|b)*"],
            &["rack", "UNLIKE", ".*"],
            &["rack", "LIKE", r"\(x[)(]"],
            &["rack", "MAX_PER", "2"],
            &["cores", "IS", "4.0"],
            &["@zone", "IS", "eu-1/a"],
        ] {
            assert_eq!(refusal(parts), None, "{parts:?}");
        }
    }

    #[test]
    fn refuses() {
        for (parts, start) in [
            (&[][..], "Missing field and operator"),
            (&["hostname"], "Each constraint must have either 2 or 3 fields"),
            (&["a", "LIKE", "b", "c"], "Each constraint must have either 2 or 3 fields"),
            (&["", "UNIQUE"], "missing field for constraint declaration"),
            (&["a", "ONCE"], "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY"),
            (&["a", "UNIQUE", "b"], "UNIQUE does not accept a value"),
            (&["a", "LIKE"], "LIKE and UNLIKE require a non-empty, regular expression value"),
            (&["a", "LIKE", "(b"], "is not a valid regular expression"),
            (&["a", "LIKE", "b)"], "is not a valid regular expression"),
            (&["a", "LIKE", "[b"], "is not a valid regular expression"),
            (&["a", "UNLIKE", "*"], "is not a valid regular expression"),
            (&["a", "UNLIKE", "b\\"], "is not a valid regular expression"),
            (&["a", "MAX_PER"], "MAX_PER requires an integer value"),
            (&["a", "MAX_PER", "x"], "MAX_PER requires an integer value"),
            (&["a", "GROUP_BY", "x"], "GROUP BY must define an integer value or else no value"),
            (&["a", "IS", "a b"], "IS only supports Mesos text and float values (see "),
        ] {
            let error = refusal(parts).unwrap_or("accepted");
            assert!(error.starts_with(start), "{parts:?}: {error}");
        }
    }
}
