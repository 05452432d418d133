//! The head of a request, strictly read.
//!
//! In: all bytes of a head. Out: where its parts are and what they mean, or the status to refuse it
//! with. Leniencies of RFC 9112 that make two readers differ are not taken: bare LF, blanks around
//! the parts of the request line, obs-fold, lists of lengths, a missing or doubled `Host`.

use super::body::{Framing, framing};
use super::field::{Field, Known, is_token, list, read_fields};
use super::{Bad, MAX_TARGET};
use crate::route::Headers;

/// The longest method, in bytes.
const MAX_METHOD: usize = 32;

/// The two versions that HTTP/1 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
}

/// A request's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// The bytes of the head, its empty line included.
    pub(crate) head: &'a [u8],
    /// Its fields.
    pub(crate) fields: &'a [Field],
    pub(crate) method: &'a str,
    /// Path and query, or `*`.
    pub(crate) target: &'a str,
    /// `Host`, or the authority of a target in absolute form; empty when there is none.
    pub(crate) host: &'a str,
    pub(crate) version: Version,
    /// How its body ends.
    pub(crate) body: Framing,
    /// Whether the client wants to go on with this connection.
    pub(crate) keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
    /// The protocol it would go on with; `None` when it asks for none that can be tunnelled.
    pub(crate) upgrade: Option<&'a str>,
    /// It takes trailers (`TE: trailers`).
    pub(crate) trailers: bool,
    /// `Connection` names other fields than those it usually does.
    nominates: bool,
}

impl<'a> Request<'a> {
    /// Reads a head that [`super::field::find_end`] found whole. `fields` is emptied first.
    pub(crate) fn read(
        head: &'a [u8],
        most_fields: usize,
        fields: &'a mut Vec<Field>,
    ) -> Result<Request<'a>, Bad> {
        let line_end = memchr::memchr(b'\r', head).unwrap_or(head.len());
        let (line, rest) = head.split_at_checked(line_end).unwrap_or((head, b""));
        if !rest.starts_with(b"\r\n") {
            return Err(Bad::Request("the request line has a bare CR"));
        }
        let (method, target, version) = request_line(line)?;
        read_fields(head, line_end + 2, most_fields, fields)?;
        let fields: &'a [Field] = fields;
        let (authority, target) = split_target(method, target)?;
        let host = host(head, fields, authority, version)?;
        let body = match framing(head, fields)? {
            Some(Framing::Chunked) if version == Version::Http10 => {
                return Err(Bad::Request("Transfer-Encoding in HTTP/1.0"));
            }
            framing => framing.unwrap_or(Framing::None),
        };
        let mut request = Request {
            head,
            fields,
            method,
            target,
            host,
            version,
            body,
            keep_alive: version == Version::Http11,
            expects_continue: false,
            upgrade: None,
            trailers: false,
            nominates: false,
        };
        request.read_options()?;
        Ok(request)
    }

    /// What the fields of this one connection say.
    fn read_options(&mut self) -> Result<(), Bad> {
        let (mut close, mut keep, mut upgrade, mut protocol) = (false, false, false, None);
        for field in self.fields {
            let value = field.value(self.head);
            match field.known {
                Known::Connection => {
                    for option in list(value) {
                        match () {
                            () if option.eq_ignore_ascii_case(b"close") => close = true,
                            () if option.eq_ignore_ascii_case(b"keep-alive") => keep = true,
                            () if option.eq_ignore_ascii_case(b"upgrade") => upgrade = true,
                            () => self.nominates = true,
                        }
                    }
                }
                Known::Upgrade if protocol.is_some() => {
                    return Err(Bad::Request("Upgrade stands twice"));
                }
                Known::Upgrade => protocol = Some(value),
                Known::Te => {
                    self.trailers |= list(value).any(|t| t.eq_ignore_ascii_case(b"trailers"));
                }
                Known::Expect if self.version == Version::Http11 => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(Bad::Expectation("this expectation is not known"));
                    }
                    self.expects_continue = true;
                }
                _ => {}
            }
        }
        self.keep_alive = !close && (keep || self.version == Version::Http11);
        if upgrade && self.version == Version::Http11 {
            self.upgrade = protocol.and_then(|protocol| self.tunnelled(protocol));
        }
        Ok(())
    }

    /// The protocol, if a request for it may go on. Never `h2c`: requests inside it would pass
    /// unseen. Never with a body: what follows the head must be the new protocol and nothing else.
    fn tunnelled(&self, protocol: &'a [u8]) -> Option<&'a str> {
        let known =
            !list(protocol).any(|p| p.get(..2).is_some_and(|p| p.eq_ignore_ascii_case(b"h2")));
        if !(self.has_no_body() && known) || protocol.is_empty() {
            return None;
        }
        std::str::from_utf8(protocol).ok()
    }

    /// Whether nothing follows its head.
    pub(crate) fn has_no_body(&self) -> bool {
        matches!(self.body, Framing::None | Framing::Length(0))
    }

    /// Whether repeating it changes nothing (RFC 9110 §9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
    }

    /// Whether `Connection` names this field, which then ends here. Fields that this proxy decides
    /// by cannot be taken away like this.
    pub(crate) fn is_nominated(&self, field: &Field) -> bool {
        self.nominates && field.known == Known::Other && is_nominated(self.head, self.fields, field)
    }
}

/// Whether a `Connection` field names the field (RFC 9110 §7.6.1).
pub(crate) fn is_nominated(head: &[u8], fields: &[Field], field: &Field) -> bool {
    let name = field.name(head);
    fields
        .iter()
        .filter(|f| f.known == Known::Connection)
        .flat_map(|f| list(f.value(head)))
        .any(|option| option.eq_ignore_ascii_case(name))
}

impl Headers for Request<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        let found =
            self.fields.iter().find(|f| f.name(self.head).eq_ignore_ascii_case(name.as_bytes()));
        found.map(|field| field.value(self.head))
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        let cookies = self.fields.iter().filter(|f| f.known == Known::Cookie);
        cookies.flat_map(|f| f.value(self.head).split(|&b| b == b';')).find_map(|pair| {
            let equals = memchr::memchr(b'=', pair)?;
            let (key, value) = pair.split_at_checked(equals)?;
            (key.trim_ascii() == name.as_bytes())
                .then(|| value.get(1..).unwrap_or_default().trim_ascii())
        })
    }
}

/// `METHOD SP target SP HTTP/1.x`, with one space each.
fn request_line(line: &[u8]) -> Result<(&str, &str, Version), Bad> {
    const BAD: Bad = Bad::Request("the request line is malformed");
    let method_len = line.iter().position(|&b| !is_token(b)).unwrap_or(line.len());
    let (method, rest) = line.split_at_checked(method_len).ok_or(BAD)?;
    if method.is_empty() || method_len > MAX_METHOD {
        return Err(BAD);
    }
    let rest = rest.strip_prefix(b" ").ok_or(BAD)?;
    let target_len = rest.iter().position(|&b| !is_target(b)).unwrap_or(rest.len());
    if target_len > MAX_TARGET {
        return Err(Bad::LongTarget);
    }
    let (target, version) = rest.split_at_checked(target_len).ok_or(BAD)?;
    let version = version.strip_prefix(b" ").ok_or(BAD)?;
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Bad::Version("this version of HTTP is not spoken here"));
        }
        _ => return Err(BAD),
    };
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| BAD);
    Ok((text(method)?, text(target)?, version))
}

/// What may stand in a request target: visible ASCII but the fragment, which no client sends
/// (RFC 9112 §3.2).
fn is_target(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// The authority that a target in absolute form has, and the target in origin form.
fn split_target<'a>(method: &str, target: &'a str) -> Result<(Option<&'a str>, &'a str), Bad> {
    if method == "CONNECT" {
        return Err(Bad::Method("this is no forward proxy: CONNECT is not served"));
    }
    if target.starts_with('/') {
        return Ok((None, target));
    }
    if target == "*" && method == "OPTIONS" {
        return Ok((None, target));
    }
    let scheme = ["http://", "https://"].into_iter().find(|scheme| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let Some(rest) = scheme.and_then(|scheme| target.get(scheme.len()..)) else {
        return Err(Bad::Request("the request target is neither a path nor a URL"));
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if authority.is_empty() {
        return Err(Bad::Request("the request target has no host"));
    }
    match path {
        "" if method == "OPTIONS" => Ok((Some(authority), "*")),
        "" => Ok((Some(authority), "/")),
        path if path.starts_with('/') => Ok((Some(authority), path)),
        _ => Err(Bad::Request("the request target has no path")),
    }
}

/// Exactly one `Host` (RFC 9112 §3.2), none only in HTTP/1.0; equal to the authority of a target in
/// absolute form.
fn host<'a>(
    head: &'a [u8],
    fields: &[Field],
    authority: Option<&'a str>,
    version: Version,
) -> Result<&'a str, Bad> {
    let mut hosts = fields.iter().filter(|f| f.known == Known::Host);
    let host = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(Bad::Request("Host stands twice")),
        (None, _) if version == Version::Http11 => return Err(Bad::Request("Host is missing")),
        (field, _) => field.map(|f| f.value(head)),
    };
    let host = host.map(|host| {
        let valid = host.iter().all(|&b| is_host(b));
        let text = valid.then(|| std::str::from_utf8(host).ok()).flatten();
        text.filter(|text| has_valid_port(text))
            .ok_or(Bad::Request("Host has an invalid character"))
    });
    match (host.transpose()?, authority) {
        (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
            Err(Bad::Request("Host differs from the request target"))
        }
        (Some(host), _) => Ok(host),
        (None, Some(authority)) if authority.bytes().all(is_host) && has_valid_port(authority) => {
            Ok(authority)
        }
        (None, Some(_)) => Err(Bad::Request("the request target's host is invalid")),
        (None, None) => Ok(""),
    }
}

/// RFC 3986 §3.2.2 without user information.
fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

/// What follows the host's last colon outside of brackets is a number or nothing.
fn has_valid_port(host: &str) -> bool {
    let after = match host.strip_prefix('[') {
        Some(literal) => match literal.split_once(']') {
            Some((_, after)) => after,
            None => return false,
        },
        None => host.find([':', '[', ']']).and_then(|at| host.get(at..)).unwrap_or(""),
    };
    after.is_empty()
        || after
            .strip_prefix(':')
            .is_some_and(|port| port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()))
}
