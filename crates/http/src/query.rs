//! The query of a request, read by Marathon's rules: parameters may be repeated, and a boolean is
//! true only when it says so (`true` in any case; Python clients send `True`).

/// The decoded parameters, in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part of the URI after `?`. What is not well-formed percent-encoding is taken as
    /// it stands.
    pub fn parse(text: &str) -> Query {
        let decode = |part: &str| {
            let spaced = part.replace('+', " ");
            percent_decode(&spaced).unwrap_or(spaced)
        };
        let pairs = text.split('&').filter(|part| !part.is_empty()).map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        });
        Query(pairs.collect())
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter, also when it is written `name[]`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = move |n: &str| n == name || n.strip_suffix("[]") == Some(name);
        self.0.iter().filter(move |(n, _)| named(n)).map(|(_, value)| value.as_str())
    }

    /// A boolean; `default` when it is not there.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }
}

/// Undoes percent-encoding (RFC 3986 §2.1); `None` when the text is not well-formed or not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let [high, low, tail @ ..] = tail else { return None };
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        bytes.push(digit(*high)? << 4 | digit(*low)?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let q = Query::parse("embed=a&embed=b&force=True&x&status[]=running&id=%2Fa+b&bad=%zz");
        assert_eq!(q.all("embed").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(q.all("status").collect::<Vec<_>>(), ["running"]);
        assert_eq!(q.get("x"), Some(""));
        assert_eq!(q.get("id"), Some("/a b"));
        assert_eq!(q.get("bad"), Some("%zz"));
        assert_eq!(q.get("y"), None);
        assert!(q.flag("force", false) && !q.flag("x", true));
        assert!(q.flag("y", true) && !q.flag("y", false));
        assert_eq!(Query::parse(""), Query::default());
    }

    #[test]
    fn decoding() {
        assert_eq!(percent_decode("a%2fb%C3%A9").as_deref(), Some("a/bé"));
        for bad in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }
}
