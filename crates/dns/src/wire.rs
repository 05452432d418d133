//! Names in wire form: labels, each behind its length, in lower case (RFC 1035 §3.1).
//!
//! Inside the zone a name is kept *relative*: without the labels of the domain and without the
//! root's empty label, so the apex is the empty name.

use crate::naming::MAX_LABEL;

/// The longest name in wire form with its root label, in bytes (RFC 1035 §2.3.4).
pub const MAX_NAME: usize = 255;

/// Appends the labels of a dotted text in lower case and says whether it could: a text with an
/// empty or too long label, or more bytes than a name may have, leaves `out` as it was.
pub fn push_labels(out: &mut Vec<u8>, text: &str) -> bool {
    let start = out.len();
    for label in text.as_bytes().split(|b| *b == b'.') {
        let fits = (1..=MAX_LABEL).contains(&label.len())
            && out.len() - start + 1 + label.len() < MAX_NAME;
        let Some(length) = u8::try_from(label.len()).ok().filter(|_| fits) else {
            out.truncate(start);
            return false;
        };
        out.push(length);
        out.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    true
}

/// A whole name from text, with or without a final dot: wire form with the root label. `None` when
/// it is no name.
pub fn absolute(text: &str) -> Option<Box<[u8]>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut out = Vec::with_capacity(text.len() + 2);
    push_labels(&mut out, text).then(|| {
        out.push(0);
        out.into_boxed_slice()
    })
}

/// The names above a relative name, nearest first, without the apex: each a tail of it.
pub fn above(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(parent(name), |name| parent(name)).filter(|name| !name.is_empty())
}

/// The name without its first label; `None` for the apex.
fn parent(name: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*name.first()?);
    name.get(1 + length..)
}

/// What of `name` stands before `domain` (both with root label, lower case), if it ends so on a
/// label's boundary.
pub fn relative_to<'n>(name: &'n [u8], domain: &[u8]) -> Option<&'n [u8]> {
    let length = name.len().checked_sub(domain.len())?;
    if name.get(length..)? != domain {
        return None;
    }
    let mut at = 0;
    while at < length {
        at += 1 + usize::from(*name.get(at)?);
    }
    if at == length { name.get(..length) } else { None }
}

/// A relative or absolute name as people write it: dots between labels, no final dot, everything
/// else as it is (Mesos-DNS's API shows names so). What is no UTF-8 is replaced.
pub fn text(name: &[u8]) -> String {
    let mut labels: Vec<String> = Vec::new();
    let mut rest = name;
    while let Some((length, tail)) = rest.split_first().filter(|(length, _)| **length > 0) {
        let (label, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        labels.push(String::from_utf8_lossy(label).into_owned());
        rest = tail;
    }
    labels.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_text() {
        assert_eq!(absolute("Web.mesos.").as_deref(), Some(&b"\x03web\x05mesos\x00"[..]));
        assert_eq!(absolute(&"a".repeat(63)).map(|n| n.len()), Some(65));
        for bad in ["", ".", "a..b", ".a", &"a".repeat(64), &"abc.".repeat(64)] {
            assert_eq!(absolute(bad), None, "{bad}");
        }
        assert_eq!(absolute(&"abc.".repeat(63)).map(|n| n.len()), Some(253));
        let mut out = vec![9];
        assert!(!push_labels(&mut out, "ok..no"));
        assert_eq!(out, [9]);
    }

    #[test]
    fn relations() {
        let domain = absolute("mesos").unwrap();
        for (name, want) in [
            ("a.b.mesos", Some(&b"\x01a\x01b"[..])),
            ("mesos", Some(&b""[..])),
            ("xmesos", None),
            ("mesos.x", None),
            ("x", None),
        ] {
            assert_eq!(relative_to(&absolute(name).unwrap(), &domain), want, "{name}");
        }
        // A label whose bytes look like the domain is not the domain.
        assert_eq!(relative_to(b"\x07a\x05mesos\x00", &domain), None);
        let tails: Vec<&[u8]> = above(b"\x01a\x01b\x01c").collect();
        assert_eq!(tails, [&b"\x01b\x01c"[..], b"\x01c"]);
        assert_eq!(above(b"").count(), 0);
        assert_eq!(text(b"\x01a\x02b.\x00"), "a.b.");
        let odd = absolute("grün'(\"x\").mesos").unwrap();
        assert_eq!(text(&odd), "grün'(\"x\").mesos");
    }
}
