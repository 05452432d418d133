//! Heads as they go on: one pass over what came, whole runs of lines copied, what does not pass
//! left out, what is Waymark's to say added at the end.

use std::io::Write;

use super::body::Framing;
use super::field::{Field, Known};
use super::request::{Request, Version};
use super::response::Response;
use crate::http::{rewrite, sticky};

/// What changes of a request.
#[derive(Debug)]
pub(crate) struct RequestChanges<'a> {
    /// Path and query as the task sees them.
    pub(crate) target: &'a str,
    /// `Host` as the task sees it.
    pub(crate) host: &'a str,
    /// The sticky cookie, which the task does not see.
    pub(crate) cookie: Option<&'a str>,
}

/// Writes the request's head up to the place where the forwarding headers go; the caller adds them
/// and the empty line.
pub(crate) fn write_request(
    out: &mut Vec<u8>,
    request: &Request<'_>,
    changes: &RequestChanges<'_>,
) {
    for part in [request.method, " ", changes.target, " HTTP/1.1\r\nHost: ", changes.host, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    copy(out, request.head, request.fields, |field, out| match field.known {
        Known::Host | Known::ContentLength | Known::TransferEncoding => Line::Drop,
        known if known.is_hop_by_hop() || known.is_forwarding() => Line::Drop,
        Known::Expect if request.version == Version::Http10 => Line::Drop,
        Known::Cookie => match changes.cookie {
            None => Line::Keep,
            Some(name) => without_cookie(out, field.value(request.head), name),
        },
        _ if request.is_nominated(field) => Line::Drop,
        _ => Line::Keep,
    });
    write_framing(out, request.body);
    match (request.upgrade, request.trailers) {
        (Some(protocol), _) => {
            out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: ");
            out.extend_from_slice(protocol.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        // A sender of TE names it in Connection (RFC 9110 §10.1.4).
        (None, true) => out.extend_from_slice(b"Connection: TE\r\nTE: trailers\r\n"),
        (None, false) => {}
    }
}

/// Adds a header.
pub(crate) fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn without_cookie(out: &mut Vec<u8>, value: &[u8], name: &str) -> Line {
    if memchr::memmem::find(value, name.as_bytes()).is_none() {
        return Line::Keep;
    }
    let start = out.len();
    out.extend_from_slice(b"Cookie: ");
    if sticky::strip(value, name, out) {
        out.extend_from_slice(b"\r\n");
    } else {
        out.truncate(start);
    }
    Line::Drop
}

/// How the client's side of the connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// As HTTP/1.1 does without a word: it stays open.
    Open,
    /// It stays open, and an HTTP/1.0 client has to be told so.
    KeepAlive,
    /// It is closed.
    Close,
    /// The protocol changes.
    Upgrade,
}

/// What changes of an answer.
#[derive(Debug)]
pub(crate) struct ResponseChanges<'a> {
    /// How the body goes on, when that differs from how it came.
    pub(crate) body: Framing,
    pub(crate) after: After,
    /// The sticky cookie's name, and the task's value if the client has to be told.
    pub(crate) sticky: Option<(&'a str, Option<&'a str>)>,
    /// What `Location` gets as prefix, and the host that counts as the service's own.
    pub(crate) location: Option<(&'a str, &'a str)>,
    /// `Strict-Transport-Security` is added.
    pub(crate) hsts: bool,
}

/// marathon-lb's `BACKEND_HSTS_OPTIONS`.
pub(crate) const HSTS: &str = "max-age=15768000";

/// Writes the answer's head, its empty line included.
pub(crate) fn write_response(
    out: &mut Vec<u8>,
    response: &Response<'_>,
    changes: &ResponseChanges<'_>,
) {
    let head = response.head;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(response.status_text);
    out.extend_from_slice(b"\r\n");
    copy(out, head, response.fields, |field, out| match field.known {
        Known::ContentLength | Known::TransferEncoding => Line::Drop,
        Known::Upgrade if changes.after == After::Upgrade => Line::Keep,
        known if known.is_hop_by_hop() => Line::Drop,
        Known::Location => with_prefix(out, field.value(head), changes.location),
        _ if response.is_nominated(field) => Line::Drop,
        Known::Other => match changes.sticky {
            Some((name, _))
                if is_set_cookie(field, head) && sticky::sets(field.value(head), name) =>
            {
                Line::Drop
            }
            _ => Line::Keep,
        },
        _ => Line::Keep,
    });
    match response.described_length {
        Some(length) => write_framing(out, Framing::Length(length)),
        None => write_framing(out, changes.body),
    }
    if let Some((name, Some(value))) = changes.sticky {
        write_line(out, "Set-Cookie", sticky::set_cookie(name, value).as_bytes());
        write_line(out, "Cache-Control", sticky::CACHE_CONTROL.as_bytes());
    }
    if changes.hsts {
        write_line(out, "Strict-Transport-Security", HSTS.as_bytes());
    }
    out.extend_from_slice(match changes.after {
        After::Open => b"\r\n",
        After::KeepAlive => b"Connection: keep-alive\r\n\r\n".as_slice(),
        After::Close => b"Connection: close\r\n\r\n".as_slice(),
        After::Upgrade => b"Connection: Upgrade\r\n\r\n".as_slice(),
    });
}

/// Writes an interim answer's head.
pub(crate) fn write_interim(out: &mut Vec<u8>, response: &Response<'_>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(response.status_text);
    out.extend_from_slice(b"\r\n");
    copy(out, response.head, response.fields, |field, _| match field.known {
        Known::ContentLength | Known::TransferEncoding => Line::Drop,
        known if known.is_hop_by_hop() => Line::Drop,
        _ if response.is_nominated(field) => Line::Drop,
        _ => Line::Keep,
    });
    out.extend_from_slice(b"\r\n");
}

fn is_set_cookie(field: &Field, head: &[u8]) -> bool {
    field.name(head).eq_ignore_ascii_case(b"set-cookie")
}

fn with_prefix(out: &mut Vec<u8>, value: &[u8], prefix: Option<(&str, &str)>) -> Line {
    let Some((prefix, host)) = prefix else { return Line::Keep };
    let text = std::str::from_utf8(value).unwrap_or_default();
    match rewrite::location(prefix, &[host], text) {
        None => Line::Keep,
        Some(location) => {
            write_line(out, "Location", location.as_bytes());
            Line::Drop
        }
    }
}

/// Adds the header that says how the body ends.
pub(crate) fn write_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::None | Framing::Close => {}
        // Writing to memory does not fail.
        Framing::Length(length) => drop(write!(out, "Content-Length: {length}\r\n")),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

/// What becomes of a line.
#[derive(PartialEq, Eq)]
enum Line {
    Keep,
    /// It goes; whoever says so may have written another in its place.
    Drop,
}

/// Copies lines in whole runs, but those that `judge` drops.
fn copy(
    out: &mut Vec<u8>,
    head: &[u8],
    fields: &[Field],
    mut judge: impl FnMut(&Field, &mut Vec<u8>) -> Line,
) {
    let end = head.len().saturating_sub(2);
    let mut run = fields.first().map_or(end, Field::start);
    for (n, field) in fields.iter().enumerate() {
        if judge(field, out) == Line::Keep {
            continue;
        }
        // What `judge` wrote stands before the run it interrupts: order among different names does
        // not matter (RFC 9110 §5.3).
        out.extend_from_slice(head.get(run..field.start()).unwrap_or_default());
        run = fields.get(n + 1).map_or(end, Field::start);
    }
    out.extend_from_slice(head.get(run..end).unwrap_or_default());
}
