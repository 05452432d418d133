//! A request's head as HTTP/2 brings it: what the library leaves to be checked, and the same head
//! as the router sees it.
//!
//! The library has refused already (as RFC 9113 §8.2 and §8.3 want it): names in upper case or with
//! bytes that no name has, values with CR, LF or NUL, connection-specific fields, `te` other than
//! `trailers`, pseudo-headers that are missing, doubled, unknown or late, contents of another
//! length than `content-length`. What passes both is safe to be written as HTTP/1.1.

use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use thiserror::Error;

use crate::route::Headers;

/// Why a request is reset with PROTOCOL_ERROR.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Neither `:authority` nor `host` (RFC 9113 §8.3.1).
    #[error("no authority")]
    NoAuthority,
    /// `host` says another thing than `:authority`, or two things (RFC 9113 §8.3.1).
    #[error("host differs from authority")]
    HostDiffers,
    /// `user@host` (RFC 9113 §8.3.1), or bytes that no host has.
    #[error("authority is none of a host")]
    Authority,
    /// A path that does not begin with a slash (RFC 9113 §8.3.1).
    #[error("path without a slash")]
    Path,
    /// A value that begins or ends with white space (RFC 9113 §8.2.1).
    #[error("white space around a value")]
    Padding,
    /// Two different lengths, or one that is no number.
    #[error("content length")]
    Length,
}

/// The head of a request that has passed.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    /// Host and port as they came.
    pub(crate) authority: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    /// The length of its contents, if it says one.
    pub(crate) length: Option<u64>,
}

/// Checks what the library has let pass.
pub(crate) fn check(parts: &Parts) -> Result<Head<'_>, Malformed> {
    let target = target(parts)?;
    let padded = |v: &HeaderValue| match v.as_bytes() {
        [] => false,
        [first, .., last] => blank(*first) || blank(*last),
        [only] => blank(*only),
    };
    if parts.headers.values().any(padded) {
        return Err(Malformed::Padding);
    }
    Ok(Head { authority: authority(parts)?, target, length: length(&parts.headers)? })
}

fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn target(parts: &Parts) -> Result<&str, Malformed> {
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let whole_server = parts.method == Method::OPTIONS && target == "*";
    let connect = parts.method == Method::CONNECT && target.is_empty();
    if target.starts_with('/') || whole_server || connect {
        Ok(target)
    } else {
        Err(Malformed::Path)
    }
}

fn authority(parts: &Parts) -> Result<&str, Malformed> {
    let named = parts.uri.authority().map(|authority| authority.as_str());
    let mut authority = named;
    for host in parts.headers.get_all(HOST) {
        let host = host.to_str().map_err(|_| Malformed::Authority)?;
        match authority {
            Some(other) if !other.eq_ignore_ascii_case(host) => return Err(Malformed::HostDiffers),
            Some(_) => {}
            None => authority = Some(host),
        }
    }
    let authority = authority.filter(|a| !a.is_empty()).ok_or(Malformed::NoAuthority)?;
    if authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&b)) {
        Ok(authority)
    } else {
        Err(Malformed::Authority)
    }
}

/// The length that all `content-length` fields agree on.
pub(crate) fn length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let digits = value.to_str().map_err(|_| Malformed::Length)?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Malformed::Length);
        }
        let value = digits.parse::<u64>().map_err(|_| Malformed::Length)?;
        if length.is_some_and(|other| other != value) {
            return Err(Malformed::Length);
        }
        length = Some(value);
    }
    Ok(length)
}

/// Fields as the router reads them.
#[derive(Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a HeaderMap);

impl Headers for Fields<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(HeaderValue::as_bytes)
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        let pairs =
            self.0.get_all(COOKIE).into_iter().flat_map(|v| v.as_bytes().split(|b| *b == b';'));
        pairs.map(<[u8]>::trim_ascii).find_map(|pair| {
            let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(value)
        })
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn checked(uri: &str, method: &str, headers: &[(&str, &str)]) -> Result<String, Malformed> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request =
                request.header(*name, HeaderValue::from_bytes(value.as_bytes()).expect("value"));
        }
        let (parts, ()) = request.body(()).expect("request").into_parts();
        check(&parts).map(|head| format!("{} {} {:?}", head.authority, head.target, head.length))
    }

    #[test]
    fn what_the_library_lets_pass() {
        type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Result<&'a str, Malformed>);
        let cases: &[Case<'_>] = &[
            ("http://a.b/x?y=1", "GET", &[], Ok("a.b /x?y=1 None")),
            ("http://a.b:81/", "GET", &[("host", "A.b:81")], Ok("a.b:81 / None")),
            ("http://[::1]:81/", "GET", &[], Ok("[::1]:81 / None")),
            ("/x", "GET", &[("host", "a.b")], Ok("a.b /x None")),
            ("/x", "GET", &[], Err(Malformed::NoAuthority)),
            ("/x", "GET", &[("host", "")], Err(Malformed::NoAuthority)),
            ("http://a.b/", "GET", &[("host", "c.d")], Err(Malformed::HostDiffers)),
            ("/", "GET", &[("host", "a"), ("host", "b")], Err(Malformed::HostDiffers)),
            ("http://u:p@a.b/", "GET", &[], Err(Malformed::Authority)),
            ("/", "GET", &[("host", "a.b/c")], Err(Malformed::Authority)),
            ("/", "GET", &[("host", "a b")], Err(Malformed::Authority)),
            ("*", "OPTIONS", &[("host", "a")], Ok("a * None")),
            ("*", "GET", &[("host", "a")], Err(Malformed::Path)),
            ("http://a/", "POST", &[("content-length", "12")], Ok("a / Some(12)")),
            ("http://a/", "POST", &[("content-length", "+12")], Err(Malformed::Length)),
            ("http://a/", "POST", &[("content-length", "")], Err(Malformed::Length)),
            (
                "http://a/",
                "POST",
                &[("content-length", "99999999999999999999")],
                Err(Malformed::Length),
            ),
            (
                "http://a/",
                "POST",
                &[("content-length", "5"), ("content-length", "5")],
                Ok("a / Some(5)"),
            ),
            (
                "http://a/",
                "POST",
                &[("content-length", "5"), ("content-length", "6")],
                Err(Malformed::Length),
            ),
            ("http://a/", "GET", &[("x", " y")], Err(Malformed::Padding)),
            ("http://a/", "GET", &[("x", "y\t")], Err(Malformed::Padding)),
            ("http://a/", "GET", &[("x", " ")], Err(Malformed::Padding)),
            ("http://a/", "GET", &[("x", "")], Ok("a / None")),
        ];
        for (uri, method, headers, expected) in cases {
            let expected = expected.map(str::to_owned);
            assert_eq!(checked(uri, method, headers), expected, "{method} {uri} {headers:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_in_any_crumb() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=1; bb=2"));
        headers.append("cookie", HeaderValue::from_static("b=3=x"));
        let fields = Fields(&headers);
        assert_eq!(fields.cookie("a"), Some(&b"1"[..]));
        assert_eq!(fields.cookie("b"), Some(&b"3=x"[..]));
        assert_eq!(fields.cookie("c"), None);
        assert_eq!(fields.get("cookie"), Some(&b"a=1; bb=2"[..]));
    }
}
