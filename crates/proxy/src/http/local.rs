//! What Waymark answers itself: refusals, redirects, and that nobody is there. Short text, with the
//! reason in `X-Waymark-Reason`, so that whoever looks at a 503 sees whose it is and why.

use std::borrow::Cow;

/// An answer of Waymark's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Why, in a few words: the value of `X-Waymark-Reason`. Visible ASCII.
    pub(crate) reason: Cow<'static, str>,
    /// A header that belongs to the status: `Location`, `WWW-Authenticate`, `Retry-After`, `Allow`.
    pub(crate) header: Option<(&'static str, String)>,
}

impl Answer {
    /// An answer without a header of its own.
    pub(crate) fn new(status: u16, reason: impl Into<Cow<'static, str>>) -> Answer {
        Answer { status, reason: reason.into(), header: None }
    }

    /// A redirect.
    pub(crate) fn redirect(status: u16, location: String) -> Answer {
        // The location is made from a label and the request's host and target; a line break in it
        // would be a header of somebody else's.
        let location = location.chars().filter(|c| !c.is_control()).collect();
        Answer { header: Some(("Location", location)), ..Answer::new(status, "redirect") }
    }

    /// 401: who are you?
    pub(crate) fn authenticate(realm: &str) -> Answer {
        let realm: String =
            realm.chars().filter(|c| !c.is_control() && *c != '"' && *c != '\\').collect();
        let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        Answer {
            header: Some(("WWW-Authenticate", challenge)),
            ..Answer::new(401, "a name and a password are needed")
        }
    }

    /// 503: try again in a moment.
    pub(crate) fn unavailable(reason: impl Into<Cow<'static, str>>) -> Answer {
        Answer { header: Some(("Retry-After", "1".to_owned())), ..Answer::new(503, reason) }
    }

    /// Its body: one line.
    pub(crate) fn body(&self) -> String {
        format!("{} {}: {}\n", self.status, phrase(self.status), self.reason)
    }

    /// Its headers but those about framing and connection.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fixed = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Cache-Control", "no-store"),
            ("X-Waymark-Reason", &*self.reason),
        ];
        fixed.into_iter().chain(self.header.as_ref().map(|(name, value)| (*name, value.as_str())))
    }

    /// The whole answer as HTTP/1.1. `head`: the request was HEAD, so the body is only described.
    pub(crate) fn write_h1(&self, head: bool, keep_alive: bool, out: &mut Vec<u8>) {
        let body = self.body();
        out.extend_from_slice(
            format!("HTTP/1.1 {} {}\r\n", self.status, phrase(self.status)).as_bytes(),
        );
        for (name, value) in self.headers() {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        let connection = if keep_alive { "keep-alive" } else { "close" };
        out.extend_from_slice(format!("Connection: {connection}\r\n\r\n").as_bytes());
        if !head {
            out.extend_from_slice(body.as_bytes());
        }
    }
}

/// The phrase of a status that Waymark itself answers with (RFC 9110 §15).
pub(crate) fn phrase(status: u16) -> &'static str {
    match status {
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_cannot_be_split() {
        let answer = Answer::redirect(301, "https://a/\r\nSet-Cookie: x".into());
        assert_eq!(answer.header, Some(("Location", "https://a/Set-Cookie: x".into())));
        let answer = Answer::authenticate("a\"b\r\n");
        assert_eq!(answer.header.unwrap().1, "Basic realm=\"ab\", charset=\"UTF-8\"");
    }

    #[test]
    fn an_answer_to_head_is_described_only() {
        let mut out = Vec::new();
        Answer::unavailable("no task").write_h1(true, true, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Content-Length: 33\r\n"), "{text}");
        assert!(text.contains("Retry-After: 1\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }
}
