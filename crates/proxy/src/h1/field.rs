//! Field lines (headers and trailers) as they stand in a message, strictly read: RFC 9112 §5
//! without its leniencies. Positions instead of copies, so that a head is patched and written on
//! without an allocation for each field.

use super::Bad;

/// One field line of a head: positions in its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// What the name means here.
    pub(crate) known: Known,
    line: u32,
    name_end: u32,
    value: u32,
    value_end: u32,
}

impl Field {
    /// The name, as it was sent.
    pub(crate) fn name<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        part(head, self.line, self.name_end)
    }

    /// The value, without the blanks around it.
    pub(crate) fn value<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        part(head, self.value, self.value_end)
    }

    /// Where the line begins.
    pub(crate) fn start(&self) -> usize {
        self.line as usize
    }
}

fn part(head: &[u8], from: u32, to: u32) -> &[u8] {
    head.get(from as usize..to as usize).unwrap_or_default()
}

/// The names that have a meaning to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Other,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    KeepAlive,
    ProxyConnection,
    ProxyAuthenticate,
    ProxyAuthorization,
    Te,
    Upgrade,
    Expect,
    Http2Settings,
    XForwardedFor,
    XForwardedPort,
    XForwardedProto,
    XForwardedHost,
    Forwarded,
    Cookie,
    Authorization,
    UserAgent,
    Referer,
    Location,
}

impl Known {
    /// Belongs to one connection only (RFC 9110 §7.6.1), or must not reach the other side.
    pub(crate) fn is_hop_by_hop(self) -> bool {
        use Known::*;
        matches!(
            self,
            Connection
                | KeepAlive
                | ProxyConnection
                | Te
                | Upgrade
                | Http2Settings
                | ProxyAuthenticate
        )
    }

    /// Says who the client is and what it asked for, so a client itself must not say it.
    pub(crate) fn is_forwarding(self) -> bool {
        use Known::*;
        matches!(
            self,
            XForwardedFor | XForwardedPort | XForwardedProto | XForwardedHost | Forwarded
        )
    }

    /// Must not stand in a trailer (RFC 9110 §6.5.1): it would change what was decided by the head.
    fn is_forbidden_in_trailers(self) -> bool {
        use Known::*;
        self.is_hop_by_hop()
            || self.is_forwarding()
            || matches!(
                self,
                Host | ContentLength
                    | TransferEncoding
                    | Expect
                    | Cookie
                    | Authorization
                    | ProxyAuthorization
            )
    }

    /// What a name means.
    pub(crate) fn of(name: &[u8]) -> Known {
        use Known::*;
        let (text, known): (&[u8], Known) = match (name.len(), name.first()) {
            (2, _) => (b"te", Te),
            (4, _) => (b"host", Host),
            (6, Some(b'e' | b'E')) => (b"expect", Expect),
            (6, _) => (b"cookie", Cookie),
            (7, Some(b'r' | b'R')) => (b"referer", Referer),
            (7, _) => (b"upgrade", Upgrade),
            (8, _) => (b"location", Location),
            (9, _) => (b"forwarded", Forwarded),
            (10, Some(b'c' | b'C')) => (b"connection", Connection),
            (10, Some(b'k' | b'K')) => (b"keep-alive", KeepAlive),
            (10, _) => (b"user-agent", UserAgent),
            (13, _) => (b"authorization", Authorization),
            (14, Some(b'c' | b'C')) => (b"content-length", ContentLength),
            (14, _) => (b"http2-settings", Http2Settings),
            (15, _) => (b"x-forwarded-for", XForwardedFor),
            (16, Some(b'p' | b'P')) => (b"proxy-connection", ProxyConnection),
            (16, _) if name.ends_with(b"t") || name.ends_with(b"T") => {
                if name.len() > 13 && matches!(name.get(12), Some(b'p' | b'P')) {
                    (b"x-forwarded-port", XForwardedPort)
                } else {
                    (b"x-forwarded-host", XForwardedHost)
                }
            }
            (17, Some(b't' | b'T')) => (b"transfer-encoding", TransferEncoding),
            (17, _) => (b"x-forwarded-proto", XForwardedProto),
            (18, _) => (b"proxy-authenticate", ProxyAuthenticate),
            (19, _) => (b"proxy-authorization", ProxyAuthorization),
            _ => return Other,
        };
        if same_name(name, text) { known } else { Other }
    }
}

/// Equal but for case; an underscore counts as a dash, because servers that hand headers to programs
/// as variables (CGI, WSGI) see no difference.
fn same_name(name: &[u8], text: &[u8]) -> bool {
    name.len() == text.len()
        && name
            .iter()
            .zip(text)
            .all(|(n, t)| n.eq_ignore_ascii_case(t) || (*n == b'_' && *t == b'-'))
}

/// Looks for the empty line that ends a head, from `*scanned` on, which it moves forward. Returns
/// where the head ends. A line that ends without CR is refused as soon as it is there.
pub(crate) fn find_end(bytes: &[u8], scanned: &mut usize) -> Result<Option<usize>, Bad> {
    let fresh = bytes.get(*scanned..).unwrap_or_default();
    for at in memchr::memchr_iter(b'\n', fresh) {
        let line_feed = *scanned + at;
        match bytes.get(line_feed.saturating_sub(3)..line_feed) {
            Some(b"\r\n\r") => return Ok(Some(line_feed + 1)),
            Some(before) if before.ends_with(b"\r") => {}
            _ => return Err(Bad::Request("a line ends with a bare LF")),
        }
    }
    *scanned = bytes.len();
    Ok(None)
}

/// Reads the field lines of a whole head from `at` up to its empty line; `most` of them at most.
pub(crate) fn read_fields(
    head: &[u8],
    mut at: usize,
    most: usize,
    fields: &mut Vec<Field>,
) -> Result<(), Bad> {
    fields.clear();
    loop {
        let rest = head.get(at..).unwrap_or_default();
        if rest.starts_with(b"\r\n") {
            return Ok(());
        }
        if fields.len() >= most {
            return Err(Bad::TooLarge("too many header fields"));
        }
        let (field, next) = read_field(head, at)?;
        fields.push(field);
        at = next;
    }
}

/// One field line; also where the next line begins.
fn read_field(head: &[u8], line: usize) -> Result<(Field, usize), Bad> {
    let rest = head.get(line..).unwrap_or_default();
    let name_len = rest.iter().position(|&b| !is_token(b)).unwrap_or(rest.len());
    match (name_len, rest.get(name_len)) {
        (0, Some(b' ' | b'\t')) => {
            return Err(Bad::Request("a header line is continued (obs-fold)"));
        }
        (0, _) => return Err(Bad::Request("a header line has no name")),
        (_, Some(b':')) => {}
        (_, Some(b' ' | b'\t')) => return Err(Bad::Request("blank before the colon of a header")),
        _ => return Err(Bad::Request("a header name has an invalid character")),
    }
    let after = rest.get(name_len + 1..).unwrap_or_default();
    let blanks = after.iter().position(|&b| b != b' ' && b != b'\t').unwrap_or(after.len());
    let text = after.get(blanks..).unwrap_or_default();
    let len = memchr::memchr(b'\r', text).unwrap_or(text.len());
    let value = text.get(..len).unwrap_or_default();
    // All of them, without a branch for each: values are long, and invalid ones rare.
    let valid = value.iter().fold(true, |valid, &b| valid & is_value(b));
    if !valid || !text.get(len..).unwrap_or_default().starts_with(b"\r\n") {
        return Err(Bad::Request("a header value has an invalid character"));
    }
    let trimmed = value.iter().rposition(|&b| b != b' ' && b != b'\t').map_or(0, |p| p + 1);
    let name = rest.get(..name_len).unwrap_or_default();
    let value_at = line + name_len + 1 + blanks;
    let position = |at: usize| u32::try_from(at).map_err(|_| Bad::TooLarge("the head is too long"));
    let field = Field {
        known: Known::of(name),
        line: position(line)?,
        name_end: position(line + name_len)?,
        value: position(value_at)?,
        value_end: position(value_at + trimmed)?,
    };
    Ok((field, value_at + len + 2))
}

/// Checks one trailer line, without its CRLF.
pub(crate) fn check_trailer(line: &[u8]) -> Result<(), Bad> {
    let colon = line.iter().position(|&b| !is_token(b)).unwrap_or(line.len());
    let (name, rest) = line.split_at_checked(colon).unwrap_or((line, b""));
    let Some((b':', value)) = rest.split_first() else {
        return Err(Bad::Request("a trailer line is malformed"));
    };
    if name.is_empty() || !value.iter().all(|&b| is_value(b)) {
        return Err(Bad::Request("a trailer line is malformed"));
    }
    if Known::of(name).is_forbidden_in_trailers() {
        return Err(Bad::Request("a trailer has a name that belongs into the head"));
    }
    Ok(())
}

/// Whether the byte may stand in a token (RFC 9110 §5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    TOKENS[usize::from(byte)]
}

/// Whether the byte may stand in a field value (RFC 9110 §5.5).
pub(crate) fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

static TOKENS: [bool; 256] = tokens();

const fn tokens() -> [bool; 256] {
    let mut tokens = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        tokens[byte] = b.is_ascii_alphanumeric()
            || matches!(b, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.')
            || matches!(b, b'^' | b'_' | b'`' | b'|' | b'~');
        byte += 1;
    }
    tokens
}

/// The members of a comma-separated list, without blanks and empty ones (RFC 9110 §5.6.1).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}
