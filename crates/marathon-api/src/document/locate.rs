//! Where in a JSON text a value stands that Marathon's path notation names.

/// Line and column, both from 1, of the member or item at `path` (`/apps(0)/cpus`) in `text`, which
/// is well-formed JSON. A path that leads nowhere gives the place of the deepest value on the way.
pub(super) fn locate(text: &[u8], path: &str) -> (usize, usize) {
    let mut cursor = Cursor { text, at: 0 };
    cursor.skip_blanks();
    let mut found = cursor.at;
    for step in steps(path) {
        let next = match step {
            Step::Member(name) => cursor.enter_member(&name),
            Step::Item(index) => cursor.enter_item(index),
        };
        match next {
            Some(at) => found = at,
            None => break,
        }
    }
    place(text, found)
}

fn place(text: &[u8], at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
}

enum Step {
    Member(String),
    Item(usize),
}

/// `/a(0)/b` → member a, item 0, member b.
fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in path.split('/') {
        let (name, indexes) = part.split_at(part.find('(').unwrap_or(part.len()));
        if !name.is_empty() {
            steps.push(Step::Member(name.to_owned()));
        }
        let numbers = indexes.split(['(', ')']).filter_map(|n| n.parse().ok());
        steps.extend(numbers.map(Step::Item));
    }
    steps
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// From an object to its member's value; gives where the member's name stands.
    fn enter_member(&mut self, name: &str) -> Option<usize> {
        self.open(b'{')?;
        while self.peek()? == b'"' {
            let start = self.at;
            self.skip_value();
            let key: Option<String> = serde_json::from_slice(&self.text[start..self.at]).ok();
            self.skip_past(b':');
            if key.as_deref() == Some(name) {
                return Some(start);
            }
            self.skip_value();
            self.skip_past(b',');
        }
        None
    }

    /// From an array to one of its items; gives where it stands.
    fn enter_item(&mut self, index: usize) -> Option<usize> {
        self.open(b'[')?;
        for _ in 0..index {
            self.skip_value();
            self.skip_past(b',');
        }
        (self.peek()? != b']').then_some(self.at)
    }

    fn open(&mut self, bracket: u8) -> Option<()> {
        (self.peek()? == bracket).then(|| self.at += 1)?;
        self.skip_blanks();
        Some(())
    }

    fn skip_past(&mut self, mark: u8) {
        self.skip_blanks();
        if self.peek() == Some(mark) {
            self.at += 1;
        }
        self.skip_blanks();
    }

    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => self.skip_string(),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' if depth == 0 => return,
                b'}' | b']' => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b':' if depth == 0 => return,
                _ => self.at += 1,
            }
            if depth == 0 && matches!(byte, b'"' | b'}' | b']') {
                return;
            }
        }
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_members_and_items() {
        let text =
            "{\n  \"id\": \"/a\", \"b\": [1, {\"x,}\": 2,\n \"y\": [true]}],\n\t\"c\\\"\": {}\n}";
        for (path, want) in [
            ("/", (1, 1)),
            ("/id", (2, 3)),
            ("/b", (2, 15)),
            ("/b(0)", (2, 21)),
            ("/b(1)", (2, 24)),
            ("/b(1)/x,}", (2, 25)),
            ("/b(1)/y(0)", (3, 8)),
            ("/c\"", (4, 2)),
            ("/b(1)/none", (2, 24)),
            ("/b(7)", (2, 15)),
            ("/none/deep(3)", (1, 1)),
        ] {
            assert_eq!(locate(text.as_bytes(), path), want, "{path}");
        }
        assert_eq!(locate("[\"ä\", 5]".as_bytes(), "(1)"), (1, 7));
        assert_eq!(locate(b"", "/a(0)"), (1, 1));
    }
}
