//! The chunked coding (RFC 9112 §7.1), checked while it passes: the bytes go on as they came, and
//! what could be read in two ways stops them. Chunk extensions pass too, bounded; they may hold
//! nothing that some reader takes for the end of a line.

use super::Bad;
use super::field::{check_trailer, is_value};

/// The longest chunk-size line with its extensions, in bytes without CRLF.
pub(crate) const MAX_SIZE_LINE: usize = 256;
/// Bytes of extensions of one body, over all its chunks: an endless row of tiny chunks with long
/// extensions is an attack (CVE-2023-39326).
pub(crate) const MAX_EXTENSIONS: usize = 16 * 1024;
/// The longest trailer line, in bytes without CRLF.
pub(crate) const MAX_TRAILER_LINE: usize = 4096;
/// Bytes of all trailer lines together.
pub(crate) const MAX_TRAILERS: usize = 16 * 1024;
/// Hexadecimal digits of a chunk's size: sizes up to 2^60 - 1.
const MAX_DIGITS: u8 = 15;

/// Where in a chunked body its reader stands. Fed with pieces of any length.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    /// What is left of the present chunk's data.
    left: u64,
    digits: u8,
    line: usize,
    extensions: usize,
    trailers: usize,
    /// The trailer line that is being read; empty outside the trailers.
    trailer: Vec<u8>,
    /// The trailer lines that were read, each ended by LF, if somebody wants them.
    kept: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    TrailerLf,
    Done,
}

impl Chunked {
    pub(crate) fn new() -> Chunked {
        Chunked {
            state: State::Size,
            left: 0,
            digits: 0,
            line: 0,
            extensions: 0,
            trailers: 0,
            trailer: Vec::new(),
            kept: None,
        }
    }

    /// One that keeps the trailer lines, for a receiver that gets them in another form.
    pub(crate) fn keeping_trailers() -> Chunked {
        Chunked { kept: Some(Vec::new()), ..Chunked::new() }
    }

    /// Names and values of the trailers that were kept.
    pub(crate) fn trailers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.kept.iter().flat_map(|kept| kept.split(|b| *b == b'\n'));
        lines.filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((line.get(..colon)?, line.get(colon + 1..)?.trim_ascii()))
        })
    }

    /// The body has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads on and returns how many of the bytes belong to the body. `data` gets the content.
    pub(crate) fn advance(
        &mut self,
        bytes: &[u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<usize, Bad> {
        let mut at = 0;
        while !self.is_done() {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(&byte) = rest.first() else { break };
            if self.state == State::Data {
                let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                data(rest.get(..take).unwrap_or_default());
                self.left -= take as u64;
                at += take;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            self.step(byte)?;
            at += 1;
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<(), Bad> {
        match (self.state, byte) {
            (State::Size, _) => return self.size(byte),
            (State::Extension, b'\r') => self.state = State::SizeLf,
            (State::Extension, _) => {
                self.line += 1;
                self.extensions += 1;
                if !is_value(byte) {
                    return Err(Bad::Request("a chunk extension has an invalid character"));
                }
                if self.line > MAX_SIZE_LINE || self.extensions > MAX_EXTENSIONS {
                    return Err(Bad::Request("chunk extensions are too long"));
                }
            }
            (State::SizeLf, b'\n') => {
                (self.digits, self.line) = (0, 0);
                self.state = if self.left == 0 { State::Trailer } else { State::Data };
            }
            (State::DataCr, b'\r') => self.state = State::DataLf,
            (State::DataLf, b'\n') => self.state = State::Size,
            (State::Trailer, b'\r') => self.state = State::TrailerLf,
            (State::Trailer, _) => {
                self.trailers += 1;
                if self.trailer.len() == MAX_TRAILER_LINE || self.trailers > MAX_TRAILERS {
                    return Err(Bad::TooLarge("trailers are too long"));
                }
                if byte == b'\n' {
                    return Err(Bad::Request("a trailer line ends with a bare LF"));
                }
                self.trailer.push(byte);
            }
            (State::TrailerLf, b'\n') if self.trailer.is_empty() => self.state = State::Done,
            (State::TrailerLf, b'\n') => {
                check_trailer(&self.trailer)?;
                if let Some(kept) = &mut self.kept {
                    kept.extend_from_slice(&self.trailer);
                    kept.push(b'\n');
                }
                self.trailer.clear();
                self.state = State::Trailer;
            }
            _ => return Err(Bad::Request("a chunk is not ended by CRLF")),
        }
        Ok(())
    }

    fn size(&mut self, byte: u8) -> Result<(), Bad> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            self.digits += 1;
            if self.digits > MAX_DIGITS {
                return Err(Bad::Request("a chunk size is too long"));
            }
            self.left = self.left * 16 + u64::from(digit);
            return Ok(());
        }
        if self.digits == 0 {
            return Err(Bad::Request("a chunk has no size"));
        }
        match byte {
            b'\r' => self.state = State::SizeLf,
            b';' => {
                self.line = 1;
                self.extensions += 1;
                self.state = State::Extension;
            }
            _ => return Err(Bad::Request("a chunk size has an invalid character")),
        }
        Ok(())
    }
}
