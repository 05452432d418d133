//! The cookie by which a client comes back to its task, in the form of HAProxy's `cookie NAME insert
//! indirect nocache` (marathon-lb's `BACKEND_STICKY_OPTIONS`): the task never sees it, the client
//! gets it once, and an answer that sets it is not kept by shared caches.

/// Writes the value of a `Cookie` header without the cookie to `out`. Returns whether anything is
/// left of it.
pub(crate) fn strip(value: &[u8], name: &str, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    for pair in value.split(|&b| b == b';').map(<[u8]>::trim_ascii) {
        let key = pair.split(|&b| b == b'=').next().unwrap_or_default().trim_ascii();
        if pair.is_empty() || key == name.as_bytes() {
            continue;
        }
        if out.len() > start {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(pair);
    }
    out.len() > start
}

/// Whether the value of a `Set-Cookie` header sets the cookie.
pub(crate) fn sets(value: &[u8], name: &str) -> bool {
    let key = value.split(|&b| b == b'=').next().unwrap_or_default();
    key.trim_ascii() == name.as_bytes()
}

/// The value of the `Set-Cookie` header that brings the client back to the task.
pub(crate) fn set_cookie(name: &str, task: &str) -> String {
    format!("{name}={task}; path=/")
}

/// The value of the `Cache-Control` header that goes with it.
pub(crate) const CACHE_CONTROL: &str = "private";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cookie_goes() {
        let stripped = |value: &str| {
            let mut out = b"Cookie: ".to_vec();
            let left = strip(value.as_bytes(), "id", &mut out);
            (left, String::from_utf8(out.split_off(8)).unwrap())
        };
        assert_eq!(stripped("id=1"), (false, String::new()));
        assert_eq!(stripped("a=1; id=2; b=3"), (true, "a=1; b=3".to_owned()));
        assert_eq!(stripped("a=1;id=2;"), (true, "a=1".to_owned()));
        assert_eq!(stripped("xid=1; idx=2; id"), (true, "xid=1; idx=2".to_owned()));
        assert!(sets(b"id=1; path=/", "id") && !sets(b"idx=1", "id"));
        assert_eq!(set_cookie("id", "0a1b"), "id=0a1b; path=/");
    }
}
