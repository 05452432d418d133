//! The server name in the first message of TLS, read without speaking TLS.
//!
//! In: the first bytes of a connection. Out: the name, if the client says one. The message may come
//! in several records (RFC 8446 §5.1), and bytes may come one at a time. Strict: lengths must agree
//! to the byte; what is not a ClientHello is left for TLS itself to refuse. Pure.

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// More bytes are needed.
    Partial,
    /// A ClientHello with this server name, in lower case.
    Named(Box<str>),
    /// A ClientHello without a server name.
    Nameless,
    /// Something else, or longer than the limit.
    Other,
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// The longest record of plain text (RFC 8446 §5.1).
const RECORD_MOST: usize = 1 << 14;
/// The longest host name (RFC 1035 §2.3.4).
const NAME_MOST: usize = 255;

/// Reads the first bytes of a connection; a message longer than `most` bytes is none.
pub fn read(bytes: &[u8], most: usize) -> Hello {
    match message(bytes, most) {
        Ok(Some(message)) => match server_name(&message) {
            Some(Some(name)) => Hello::Named(name),
            Some(None) => Hello::Nameless,
            None => Hello::Other,
        },
        Ok(None) => Hello::Partial,
        Err(NotHello) => Hello::Other,
    }
}

struct NotHello;

/// The body of the ClientHello, put together from its records; `None` while it is not whole.
fn message(mut bytes: &[u8], most: usize) -> Result<Option<Vec<u8>>, NotHello> {
    let mut message: Vec<u8> = Vec::new();
    loop {
        if let Some((kind, rest)) = message.split_first() {
            let length = rest.first_chunk::<3>().map(|l| u24(*l));
            if *kind != CLIENT_HELLO || length.is_some_and(|l| l > most) {
                return Err(NotHello);
            }
            if let Some(length) = length
                && let Some(body) = rest.get(3..3 + length)
            {
                return Ok(Some(body.to_vec()));
            }
        }
        let (kind, rest) = match bytes {
            [] => return Ok(None),
            [kind, rest @ ..] => (*kind, rest),
        };
        // The version of the record is 3.something whatever is meant (RFC 8446 §5.1).
        if kind != HANDSHAKE || rest.first().is_some_and(|major| *major != 3) {
            return Err(NotHello);
        }
        let Some(([_, _, high, low], rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 || length > RECORD_MOST {
            return Err(NotHello);
        }
        let part = rest.get(..length.min(rest.len())).unwrap_or_default();
        message.extend_from_slice(part);
        bytes = rest.get(part.len()..).unwrap_or_default();
    }
}

fn u24([a, b, c]: [u8; 3]) -> usize {
    usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
}

/// What remains to be read of a message.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk::<2>().map(|n| u16::from_be_bytes(*n))
    }

    /// Bytes behind a length of one byte.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// Bytes behind a length of two bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

/// The server name of a ClientHello's body; `None` if it is malformed.
fn server_name(body: &[u8]) -> Option<Option<Box<str>>> {
    let mut rest = Rest(body);
    rest.take(2 + 32)?;
    let session = rest.short()?;
    let ciphers = rest.long()?;
    let compressions = rest.short()?;
    let sizes_fit = session.len() <= 32 && !ciphers.is_empty() && ciphers.len().is_multiple_of(2);
    if !sizes_fit || compressions.is_empty() {
        return None;
    }
    if rest.0.is_empty() {
        // Before TLS 1.3 there may be no extensions at all.
        return Some(None);
    }
    let mut extensions = Rest(rest.long()?);
    if !rest.0.is_empty() {
        return None;
    }
    let mut name = None;
    while !extensions.0.is_empty() {
        let (kind, data) = (extensions.u16()?, extensions.long()?);
        if kind == SERVER_NAME {
            if name.is_some() {
                return None;
            }
            name = Some(host_name(data)?);
        }
    }
    Some(name)
}

/// The one host name of a server name extension (RFC 6066 §3).
fn host_name(data: &[u8]) -> Option<Box<str>> {
    let mut rest = Rest(data);
    let mut list = Rest(rest.long()?);
    let (kind, name) = (list.u8()?, list.long()?);
    if kind != HOST_NAME || !list.0.is_empty() || !rest.0.is_empty() {
        return None;
    }
    let letters = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if name.is_empty() || name.len() > NAME_MOST || !name.iter().all(letters) {
        return None;
    }
    Some(std::str::from_utf8(name).ok()?.to_ascii_lowercase().into())
}

#[cfg(test)]
#[path = "client_hello_tests.rs"]
mod tests;
