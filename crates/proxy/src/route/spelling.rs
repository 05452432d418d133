//! Other spellings of a path. Rules compare the path as it came, as HAProxy does with marathon-lb's;
//! a task may see `/admin` in `/%61dmin`, `//admin`, `/x/../admin`, `/./admin`, `/;x/admin` and
//! `\admin` too. So that nobody gets round a password by spelling, [`canonical`] says what such a
//! path comes to. Pure.

/// Some servers decode twice; a limit, since each time costs the length of the path.
const DECODED: usize = 2;

/// The path with escapes decoded, dot segments and doubled slashes resolved, parameters of segments
/// cut off and backslashes turned (RFC 3986 §5.2.4 and §6.2.2, and what servers do beyond); `None`
/// when it is spelled so already.
pub(super) fn canonical(path: &str) -> Option<String> {
    let odd = |pair: &[u8]| matches!(pair, b"//" | b"/.");
    let bytes = path.as_bytes();
    if !bytes.iter().any(|byte| b"%;\\".contains(byte)) && !bytes.windows(2).any(odd) {
        return None;
    }
    let mut decoded = bytes.to_vec();
    for _ in 0..DECODED {
        let Some(shorter) = decode(&decoded) else { break };
        decoded = shorter;
    }
    let text = String::from_utf8_lossy(&decoded).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in text.split('/').map(|s| s.split(';').next().unwrap_or_default()) {
        open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    let mut plain = segments.iter().fold(String::with_capacity(text.len()), |mut plain, name| {
        plain.push('/');
        plain.push_str(name);
        plain
    });
    if open || plain.is_empty() {
        plain.push('/');
    }
    Some(plain)
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
            let canonical = canonical(path);
            assert!(canonical.is_none_or(|plain| plain == path), "{path}");
        }
        assert_eq!(canonical("/a/./").as_deref(), Some("/a/"));
        assert_eq!(canonical("/a/..").as_deref(), Some("/"));
        assert_eq!(canonical("/100%").as_deref(), Some("/100%"));
        assert_eq!(canonical("/%ff").as_deref(), Some("/\u{fffd}"));
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
    }
}
