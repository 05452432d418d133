//! Other spellings of a path. Rules compare the path as it came, as HAProxy does with marathon-lb's;
//! a task may see `/admin` in `/%61dmin`, `//admin`, `/x/../admin`, `/;x/admin` and `\admin` too, and
//! no two servers read such a path alike. So that nobody gets round a password by spelling,
//! [`readings`] says all that it may come to. Pure.

/// The longest oddly spelled path whose readings are made, in bytes: each costs its length.
pub(super) const MAX_LEN: usize = 4096;

/// How often escapes are decoded at most; some servers do it twice.
const DECODED: usize = 2;

/// One way to read a path.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// How often escapes are decoded before the path is cut into segments, and how often in all.
    before: usize,
    decoded: usize,
    /// `\` is a slash.
    backslash: bool,
    /// What follows a `;` in a segment is a parameter and no part of its name.
    cut: bool,
    /// Slashes beside each other are one even for the `..` behind them.
    merged: bool,
    /// Dot segments are resolved (RFC 3986 §5.2.4).
    dots: bool,
}

/// With everything done that servers do.
const PLAIN: Reading = Reading {
    before: DECODED,
    decoded: DECODED,
    backslash: true,
    cut: true,
    merged: true,
    dots: true,
};

/// Whether servers may read the path otherwise than it is spelled.
pub(super) fn is_odd(path: &str) -> bool {
    let odd = |pair: &[u8]| matches!(pair, b"//" | b"/.");
    let bytes = path.as_bytes();
    bytes.iter().any(|byte| b"%;\\".contains(byte)) || bytes.windows(2).any(odd)
}

/// The path of a rule's pattern as the plainest of readings has it; `None` when it is spelled so.
pub(super) fn canonical(path: &str) -> Option<String> {
    let plain = is_odd(path).then(|| PLAIN.read(path.as_bytes()))?;
    (plain != path).then_some(plain)
}

/// All that an oddly spelled path may come to, itself first, each once; 52 at most, and two or three
/// for a path with nothing but escapes.
pub(super) fn readings(path: &str) -> Vec<String> {
    let mut found = vec![path.to_owned()];
    let mut texts = vec![path.as_bytes().to_vec()];
    while let Some(shorter) =
        texts.last().filter(|_| texts.len() <= DECODED).and_then(|t| decode(t))
    {
        texts.push(shorter);
    }
    let decoded_most = texts.len() - 1;
    // What no text has makes no difference.
    let either = |byte: u8| -> &[bool] {
        if texts.iter().any(|text| text.contains(&byte)) { &[false, true] } else { &[true] }
    };
    let mut add = |reading: Reading| {
        let read = reading.read(path.as_bytes());
        if !found.contains(&read) {
            found.push(read);
        }
    };
    for decoded in 0..=decoded_most {
        add(Reading { before: decoded, decoded, dots: false, ..PLAIN });
        for before in 0..=decoded {
            for &backslash in either(b'\\') {
                for &cut in either(b';') {
                    for merged in [true, false] {
                        add(Reading { before, decoded, backslash, cut, merged, dots: true });
                    }
                }
            }
        }
    }
    found
}

impl Reading {
    fn read(self, path: &[u8]) -> String {
        let text = decode_times(path, self.before);
        let mut read = self.resolve(&text, self.decoded - self.before);
        if self.decoded > self.before {
            // Decoded names may have slashes and be dots; parameters are gone already.
            read = Reading { cut: false, ..self }.resolve(&read, 0);
        }
        String::from_utf8_lossy(&read).into_owned()
    }

    /// Cuts into segments, decodes each so often and resolves them.
    fn resolve(self, text: &[u8], decoded: usize) -> Vec<u8> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut open = false;
        let is_slash = |&byte: &u8| byte == b'/' || (self.backslash && byte == b'\\');
        for (at, segment) in text.split(is_slash).enumerate() {
            let cut = if self.cut { segment.split(|&b| b == b';').next() } else { None };
            let name = decode_times(cut.unwrap_or(segment), decoded);
            let dots = self.dots && matches!(name.as_slice(), b"." | b"..");
            open = name.is_empty() || dots;
            match name.as_slice() {
                b"" if self.merged || at == 0 => {}
                b".." if dots => drop(names.pop()),
                b"." if dots => {}
                _ => names.push(name),
            }
        }
        let mut path = Vec::with_capacity(text.len());
        for name in names.iter().filter(|name| !name.is_empty()) {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if open || path.is_empty() {
            path.push(b'/');
        }
        path
    }
}

fn decode_times(bytes: &[u8], times: usize) -> Vec<u8> {
    let mut decoded = bytes.to_vec();
    for _ in 0..times {
        let Some(shorter) = decode(&decoded) else { break };
        decoded = shorter;
    }
    decoded
}

/// The bytes with their escapes decoded once; `None` when there are none.
fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let escape = |at: usize| match bytes.get(at) {
        Some(b'%') => u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok(),
        _ => None,
    };
    (0..bytes.len()).find(|at| escape(*at).is_some())?;
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let found = escape(at);
        decoded.push(found.unwrap_or(*byte));
        at += if found.is_some() { 3 } else { 1 };
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_path_in_many_spellings() {
        for path in [
            "/%61dmin",
            "//admin",
            "/./admin",
            "/x/../admin",
            "/../admin",
            "/%2e/admin",
            "/%2E%2e/admin",
            "/%2fadmin",
            "/%2561dmin",
            "/;x=1/admin",
            "/admin;jsessionid=1",
            "/x/..;/admin",
            "\\admin",
            "/x%5c..%5cadmin",
        ] {
            assert_eq!(canonical(path).as_deref(), Some("/admin"), "{path}");
        }
        for path in ["/", "/admin", "/admin/", "/a.b/.well", "*", ""] {
            assert_eq!(canonical(path), None, "{path}");
        }
        assert_eq!(canonical("/a/./").as_deref(), Some("/a/"));
        assert_eq!(canonical("/a/..").as_deref(), Some("/"));
        assert_eq!(canonical("/%ff").as_deref(), Some("/\u{fffd}"));
        assert_eq!(readings("/100%"), ["/100%"]);
        assert_eq!(readings("/a%20b"), ["/a%20b", "/a b"]);
    }

    #[test]
    fn what_hides_a_path_from_one_reading_does_not_from_all() {
        for path in [
            "/a%2fb/../admin",
            "/a%5cb/../admin",
            "/a\\b/../admin",
            "/a%252fb/../admin",
            "/a%2fb/%2e%2e/admin",
            "/a%2fb/%2e%2e/x%2f..%2fadmin",
            "/%61dmin/../docs",
        ] {
            let read = readings(path);
            let under = |path: &String| path.starts_with("/admin");
            assert!(read.iter().any(under), "{path}: {read:?}");
        }
        for path in ["/docs//../admin", "/a/..;/../docs/admin", "/docs/x/..%3b/..;/..;/admin"] {
            assert!(readings(path).contains(&"/docs/admin".to_owned()), "{path}");
        }
        assert!(readings("/a/..;/../admin").contains(&"/a/admin".to_owned()));
    }

    proptest! {
        #[test]
        fn what_comes_out_is_plain(path in "[/a-c.%25;\\\\e]{0,24}") {
            if let Some(plain) = canonical(&path) {
                prop_assert!(plain.starts_with('/'));
                prop_assert!(!plain.contains("//") && !plain.contains("/../"), "{plain}");
                prop_assert!(!plain.contains(';') && !plain.contains('\\'), "{plain}");
            }
        }

        #[test]
        fn no_reading_is_left_out(
            path in "/[/a.%25cCbf;\\\\3]{0,24}",
            before in 0..=DECODED,
            more in 0..=DECODED,
            [backslash, cut, merged] in any::<[bool; 3]>(),
        ) {
            let decoded = (before + more).min(DECODED);
            let reading = Reading { before, decoded, backslash, cut, merged, dots: true };
            let (read, all) = (reading.read(path.as_bytes()), readings(&path));
            prop_assert!(all.contains(&read), "{read} of {all:?}");
            prop_assert!(all.len() <= 52, "{}", all.len());
        }
    }
}
