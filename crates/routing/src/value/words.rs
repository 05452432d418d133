//! Words as HAProxy's configuration splits them.

/// Splits at blanks; a backslash takes the next character literally, quotes keep blanks together.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => {
                let next = letters.next().ok_or("it ends with a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (c, Some(q)) if c == q => quote = None,
            (c @ ('"' | '\''), None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    match quote {
        Some(quote) => Err(format!("a {quote} is not closed")),
        None => {
            words.extend(word);
            Ok(words)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn split() {
        for (text, expected) in [
            ("", vec![]),
            ("  a  b ", vec!["a", "b"]),
            (r"a\ b c", vec!["a b", "c"]),
            (r#""a b"'c d' """#, vec!["a bc d", ""]),
            (r"'a\b'", vec![r"a\b"]),
        ] {
            assert_eq!(words(text), Ok(expected.into_iter().map(String::from).collect()), "{text}");
        }
        assert!(words("a\\").is_err());
        assert!(words("'a").is_err());
    }
}
