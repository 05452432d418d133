//! Server-sent events, read (pure). Marathon ends lines with CRLF and shows by empty lines that it is
//! alive; what is read here is all that HTML's standard allows, except a byte order mark.

/// The longest event; plans of deployments by old Marathons hold two whole root groups.
pub(super) const MAX_EVENT: usize = 64 << 20;

/// Takes bytes as they come and gives events.
#[derive(Default)]
pub(super) struct Decoder {
    line: Vec<u8>,
    /// The last byte was a CR, so that an LF now belongs to it.
    after_cr: bool,
    name: String,
    data: Vec<u8>,
    /// The event is too long; it is given without data.
    too_long: bool,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerEvent {
    pub name: String,
    /// Its data; empty when it was too long.
    pub data: Vec<u8>,
}

impl Decoder {
    /// Takes what came and gives the events that are complete.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(ServerEvent)) {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes.first() == Some(&b'\n') {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let Some(end) = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
                return self.extend(bytes);
            };
            let (part, rest) = bytes.split_at(end);
            self.extend(part);
            self.after_cr = rest.first() == Some(&b'\r');
            bytes = rest.get(1..).unwrap_or_default();
            self.end_of_line(&mut each);
        }
    }

    fn extend(&mut self, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        if self.line.len() + self.data.len() + part.len() > MAX_EVENT {
            self.too_long = true;
        }
        if self.too_long {
            (self.line, self.data) = (vec![b':'], Vec::new());
        } else {
            self.line.extend_from_slice(part);
        }
    }

    fn end_of_line(&mut self, each: &mut impl FnMut(ServerEvent)) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            if std::mem::take(&mut self.too_long) || !data.is_empty() {
                each(ServerEvent { name, data });
            }
            return;
        }
        let (field, value) = match line.iter().position(|b| *b == b':') {
            Some(colon) => {
                let (field, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line.as_slice(), [].as_slice()),
        };
        match field {
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"data" => {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            _ => {}
        }
        // A short event must not hold a long line's memory.
        if line.capacity() <= 64 * 1024 {
            self.line = line;
            self.line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut decoder = Decoder::default();
        let mut found = Vec::new();
        for piece in pieces {
            decoder.feed(piece, |event| {
                found.push((event.name, String::from_utf8(event.data).unwrap()));
            });
        }
        found
    }

    #[test]
    fn reads_what_marathon_writes_and_whatever_else_is_allowed() {
        let text = b"\r\nevent: a\r\ndata: {\"x\":1}\r\n\r\n\r\n:note\rdata:1\rdata: 2\r\rdata\n\nid: 7\n\n";
        let want = [("a".to_owned(), "{\"x\":1}".to_owned()), (String::new(), "1\n2".to_owned())];
        assert_eq!(events(&[text]), want);
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(events(&single), want);
    }

    #[test]
    fn an_event_that_is_too_long_is_given_without_data() {
        let mut decoder = Decoder::default();
        let mut found = Vec::new();
        let piece = vec![b'x'; 1 << 20];
        decoder.feed(b"event: a\ndata: ", |event| found.push(event));
        for _ in 0..=MAX_EVENT >> 20 {
            decoder.feed(&piece, |event| found.push(event));
            assert!(decoder.line.len() <= MAX_EVENT);
        }
        decoder.feed(b"\n\ndata: 1\n\n", |event| found.push(event));
        let data: Vec<&[u8]> = found.iter().map(|event| event.data.as_slice()).collect();
        assert_eq!(data, [b"".as_slice(), b"1"]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes in "[a-d: \r\n]{0,60}", cut in 0usize..60) {
            let cut = cut.min(bytes.len());
            let (a, b) = bytes.as_bytes().split_at(cut);
            prop_assert_eq!(events(&[bytes.as_bytes()]), events(&[a, b]));
        }
    }
}
