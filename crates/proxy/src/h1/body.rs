//! How a message's body is delimited (RFC 9112 §6), and how far it has come.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Bad;
use super::chunked::Chunked;
use super::field::{Field, Known, list};

/// What the head says about the body's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// It has this many bytes.
    Length(u64),
    /// Chunked.
    Chunked,
    /// It ends with the connection; answers only.
    Close,
}

/// `Content-Length` and `Transfer-Encoding` of a head; `None` when it has neither.
///
/// Stricter than RFC 9112 asks for: both together, either of them twice, a list as length, another
/// coding than `chunked`, or one of them written with an underscore is refused.
pub(crate) fn framing(head: &[u8], fields: &[Field]) -> Result<Option<Framing>, Bad> {
    let mut found = None;
    for field in fields {
        let next = match field.known {
            Known::ContentLength => Framing::Length(length(field.value(head))?),
            Known::TransferEncoding => coding(field.value(head))?,
            _ => continue,
        };
        if field.name(head).contains(&b'_') {
            return Err(Bad::Request("a framing header is written with an underscore"));
        }
        match (found, next) {
            (None, _) => found = Some(next),
            (Some(Framing::Chunked), Framing::Chunked) => {
                return Err(Bad::Request("Transfer-Encoding stands twice"));
            }
            (Some(Framing::Length(_)), Framing::Length(_)) => {
                return Err(Bad::Request("Content-Length stands twice"));
            }
            _ => return Err(Bad::Request("both Content-Length and Transfer-Encoding")),
        }
    }
    Ok(found)
}

fn length(value: &[u8]) -> Result<u64, Bad> {
    const BAD: Bad = Bad::Request("Content-Length is not a number");
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(BAD)
}

fn coding(value: &[u8]) -> Result<Framing, Bad> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::Chunked);
    }
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    match (list(value).filter(is_chunked).count(), list(value).last()) {
        (1, Some(last)) if is_chunked(&last) => {
            Err(Bad::Coding("a transfer coding besides chunked"))
        }
        _ => Err(Bad::Request("Transfer-Encoding is not chunked")),
    }
}

/// How far a body has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// This many bytes are left.
    Length(u64),
    /// Somewhere among the chunks. Boxed: most bodies are not.
    Chunked(Box<Chunked>),
    /// Until the end of the stream.
    Close,
}

impl Progress {
    pub(crate) fn new(framing: Framing) -> Progress {
        match framing {
            Framing::None => Progress::Length(0),
            Framing::Length(length) => Progress::Length(length),
            Framing::Chunked => Progress::Chunked(Box::new(Chunked::new())),
            Framing::Close => Progress::Close,
        }
    }

    /// As [`Progress::new`], and the trailers are kept.
    pub(crate) fn keeping_trailers(framing: Framing) -> Progress {
        match framing {
            Framing::Chunked => Progress::Chunked(Box::new(Chunked::keeping_trailers())),
            framing => Progress::new(framing),
        }
    }

    /// The trailers that were kept; `None` when there are none.
    pub(crate) fn trailers(&self) -> Option<HeaderMap> {
        let Progress::Chunked(chunked) = self else { return None };
        let mut trailers = HeaderMap::new();
        for (name, value) in chunked.trailers() {
            let name = HeaderName::from_bytes(name);
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                trailers.append(name, value);
            }
        }
        (!trailers.is_empty()).then_some(trailers)
    }

    /// Nothing more belongs to it.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Progress::Length(left) => *left == 0,
            Progress::Chunked(chunked) => chunked.is_done(),
            Progress::Close => false,
        }
    }

    /// How many of the bytes belong to the body. `data` gets its content, without the coding.
    pub(crate) fn advance(
        &mut self,
        bytes: &[u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<usize, Bad> {
        match self {
            Progress::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= take as u64;
                data(bytes.get(..take).unwrap_or_default());
                Ok(take)
            }
            Progress::Chunked(chunked) => chunked.advance(bytes, data),
            Progress::Close => {
                data(bytes);
                Ok(bytes.len())
            }
        }
    }
}
