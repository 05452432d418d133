//! The head of an answer, read as strictly as a request: a task that answers what two readers could
//! frame in two ways could have its next answer taken for somebody else's.

use super::body::{Framing, framing};
use super::field::{Field, Known, list, read_fields};
use super::request::{Version, is_nominated};
use super::{Bad, field::is_value};

/// An answer's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Response<'a> {
    /// The bytes of the head, its empty line included.
    pub(crate) head: &'a [u8],
    /// Its fields.
    pub(crate) fields: &'a [Field],
    pub(crate) status: u16,
    /// Status and reason, as sent.
    pub(crate) status_text: &'a [u8],
    /// How its body ends.
    pub(crate) body: Framing,
    /// `Content-Length` where there is no body to it (HEAD, 304).
    pub(crate) described_length: Option<u64>,
    /// Whether the task goes on with this connection.
    pub(crate) keep_alive: bool,
    /// How long the task says it keeps an idle connection, in seconds (`Keep-Alive: timeout=5`).
    pub(crate) keep_for: Option<u32>,
    /// `Connection` names other fields than those it usually does.
    nominates: bool,
}

/// What of the request decides how its answer is framed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// With HEAD: there is no body, whatever the head says.
    pub(crate) head: bool,
    /// For an upgrade: 101 is an answer.
    pub(crate) upgrade: bool,
}

impl<'a> Response<'a> {
    /// Reads a head that [`super::field::find_end`] found whole. `fields` is emptied first.
    pub(crate) fn read(
        head: &'a [u8],
        most_fields: usize,
        fields: &'a mut Vec<Field>,
        asked: Asked,
    ) -> Result<Response<'a>, Bad> {
        let line_end = memchr::memchr(b'\r', head).unwrap_or(head.len());
        let (line, rest) = head.split_at_checked(line_end).unwrap_or((head, b""));
        if !rest.starts_with(b"\r\n") {
            return Err(Bad::Request("the status line has a bare CR"));
        }
        let (version, status, status_text) = status_line(line)?;
        read_fields(head, line_end + 2, most_fields, fields)?;
        let fields: &'a [Field] = fields;
        if status == 101 && !asked.upgrade {
            return Err(Bad::Request("101 without a request for it"));
        }
        let said = framing(head, fields)?;
        if version == Version::Http10 && said == Some(Framing::Chunked) {
            return Err(Bad::Request("Transfer-Encoding in HTTP/1.0"));
        }
        let bodiless = asked.head || matches!(status, 100..=199 | 204 | 304);
        let described_length = match said {
            Some(Framing::Length(length)) if asked.head || status == 304 => Some(length),
            _ => None,
        };
        let body = if bodiless { Framing::None } else { said.unwrap_or(Framing::Close) };
        let mut response = Response {
            head,
            fields,
            status,
            status_text,
            body,
            described_length,
            keep_alive: false,
            keep_for: None,
            nominates: false,
        };
        response.read_options(version);
        Ok(response)
    }

    fn read_options(&mut self, version: Version) {
        let (mut close, mut keep) = (false, false);
        for field in self.fields {
            match field.known {
                Known::Connection => {
                    for option in list(field.value(self.head)) {
                        match () {
                            () if option.eq_ignore_ascii_case(b"close") => close = true,
                            () if option.eq_ignore_ascii_case(b"keep-alive") => keep = true,
                            () => self.nominates = true,
                        }
                    }
                }
                Known::KeepAlive => self.keep_for = keep_alive_timeout(field.value(self.head)),
                _ => {}
            }
        }
        let wanted = !close && (keep || version == Version::Http11);
        self.keep_alive = wanted && self.body != Framing::Close;
    }

    /// An answer before the real one, which follows on the same connection.
    pub(crate) fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    /// Whether `Connection` names this field, which then ends here.
    pub(crate) fn is_nominated(&self, field: &Field) -> bool {
        self.nominates && field.known == Known::Other && is_nominated(self.head, self.fields, field)
    }
}

/// `HTTP/1.x SP 3DIGIT [SP reason]`; the text is everything after the version's space.
fn status_line(line: &[u8]) -> Result<(Version, u16, &[u8]), Bad> {
    const BAD: Bad = Bad::Request("the status line is malformed");
    let (version, text) = match line.split_at_checked(9).ok_or(BAD)? {
        (b"HTTP/1.1 ", text) => (Version::Http11, text),
        (b"HTTP/1.0 ", text) => (Version::Http10, text),
        _ => return Err(BAD),
    };
    let (digits, reason) = text.split_at_checked(3).ok_or(BAD)?;
    let number = digits.iter().try_fold(0u16, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0'))
    });
    let status = number.filter(|status| (100..600).contains(status)).ok_or(BAD)?;
    match reason {
        [] => Ok((version, status, text)),
        [b' ', reason @ ..] if reason.iter().all(|&b| is_value(b)) => Ok((version, status, text)),
        _ => Err(BAD),
    }
}

fn keep_alive_timeout(value: &[u8]) -> Option<u32> {
    let parameter = list(value).find_map(|p| p.strip_prefix(b"timeout="))?;
    std::str::from_utf8(parameter).ok()?.parse().ok()
}
