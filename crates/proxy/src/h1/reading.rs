//! What becomes of a request's bytes, without a network: for fuzzing, and for comparison with what
//! other servers read. It is the code of the data path, from the end of the head to the end of the
//! body; only routes and the headers about the client are missing.

use super::body::Progress;
use super::field::find_end;
use super::patch::{self, RequestChanges};
use super::request::Request;
use super::{Bad, MAX_TARGET};

/// What becomes of the first request in some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is refused with this status.
    Refused(u16),
    /// More of it has to come.
    Incomplete,
    /// A task gets these bytes; the request was so long.
    Forwarded(Vec<u8>, usize),
}

/// Reads the first request in `bytes` as if they came in pieces of `piece` bytes.
pub fn read_request(bytes: &[u8], piece: usize) -> Reading {
    match read(bytes, piece.max(1)) {
        Ok(Some((forwarded, used))) => Reading::Forwarded(forwarded, used),
        Ok(None) => Reading::Incomplete,
        Err(bad) => Reading::Refused(bad.status()),
    }
}

fn read(bytes: &[u8], piece: usize) -> Result<Option<(Vec<u8>, usize)>, Bad> {
    let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let bytes = bytes.get(skipped..).unwrap_or_default();
    let limits = crate::Limits::default();
    let (mut scanned, mut seen) = (0, 0);
    let end = loop {
        let next = bytes.len().min(seen + piece);
        if let Some(end) = find_end(bytes.get(..next).unwrap_or_default(), &mut scanned)? {
            break end;
        }
        if next == bytes.len() {
            let in_line = next > MAX_TARGET && memchr::memchr(b'\n', bytes).is_none();
            return if in_line { Err(Bad::LongTarget) } else { Ok(None) };
        }
        seen = next;
    };
    let (head, rest) = bytes.split_at_checked(end).unwrap_or((bytes, b""));
    if head.len() > limits.head_bytes {
        return Err(Bad::TooLarge("the request's head is too long"));
    }
    let mut fields = Vec::new();
    let request = Request::read(head, limits.headers, &mut fields)?;
    let changes = RequestChanges { target: request.target, host: request.host, cookie: None };
    let mut out = Vec::new();
    patch::write_request(&mut out, &request, &changes);
    out.extend_from_slice(b"\r\n");
    let mut body = Progress::new(request.body);
    let mut used = 0;
    for part in rest.chunks(piece) {
        let taken = body.advance(part, |_| {})?;
        out.extend_from_slice(part.get(..taken).unwrap_or_default());
        used += taken;
        if body.is_done() {
            break;
        }
    }
    Ok(body.is_done().then_some((out, skipped + end + used)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that are nearly a request: what differs among parsers is thrown in anywhere.
    fn nearly_a_request() -> impl Strategy<Value = Vec<u8>> {
        let part = prop::sample::select(vec![
            "GET / HTTP/1.1\r\n",
            "POST /x HTTP/1.1\r\n",
            "Host: a\r\n",
            "Content-Length: 3\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close, x\r\n",
            "X: y\r\n",
            "\r\n",
            "\r",
            "\n",
            " ",
            "\t",
            ":",
            ";",
            "\0",
            "0\r\n\r\n",
            "3\r\nabc\r\n",
            "3;x=y\r\nabc\r\n",
            "abc",
            "0",
            "A: b\r\n",
            "Upgrade: h2c\r\n",
            "Te: trailers\r\n",
            "Expect: 100-continue\r\n",
        ]);
        let start = prop::bool::weighted(0.8);
        (start, prop::collection::vec(part, 0..8)).prop_map(|(start, parts)| {
            let start = if start { "POST / HTTP/1.1\r\nHost: a\r\n" } else { "" };
            (start.to_owned() + &parts.concat()).into_bytes()
        })
    }

    proptest! {
        #[test]
        fn the_pieces_it_comes_in_do_not_matter(bytes in nearly_a_request(), piece in 1usize..9) {
            prop_assert_eq!(read_request(&bytes, usize::MAX), read_request(&bytes, piece));
        }

        /// What goes on is read again as the very same, to its last byte.
        #[test]
        fn what_goes_on_can_be_read_in_one_way(bytes in nearly_a_request()) {
            if let Reading::Forwarded(forwarded, _) = read_request(&bytes, usize::MAX) {
                let length = forwarded.len();
                let again = read_request(&forwarded, usize::MAX);
                prop_assert_eq!(again, Reading::Forwarded(forwarded, length));
            }
        }
    }
}
