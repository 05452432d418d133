//! What becomes of a message's bytes, without a network: for fuzzing, and for comparison with what
//! other servers read. It is the code of the data path, from the end of the head to the end of the
//! body; only routes and the headers about the client are missing.

use super::body::{Framing, Progress};
use super::field::{Field, find_end};
use super::patch::{self, After, RequestChanges, ResponseChanges};
use super::request::Request;
use super::response::{Asked, Response};
use super::{Bad, MAX_TARGET};

/// What becomes of the first message in some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is refused with this status (an answer: the one that a request like it had got).
    Refused(u16),
    /// More of it has to come.
    Incomplete,
    /// It goes on.
    Forwarded {
        /// What the other side gets.
        bytes: Vec<u8>,
        /// So long was the message.
        used: usize,
        /// What its body says, without the coding.
        content: Vec<u8>,
    },
}

/// Reads the first request in `bytes` as if they came in pieces of `piece` bytes.
pub fn read_request(bytes: &[u8], piece: usize) -> Reading {
    let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let bytes = bytes.get(skipped..).unwrap_or_default();
    let message = message(bytes, piece.max(1), |head, fields, out| {
        let request = Request::read(head, crate::Limits::default().headers, fields)?;
        let changes = RequestChanges { target: request.target, host: request.host, cookie: None };
        patch::write_request(out, &request, &changes);
        out.extend_from_slice(b"\r\n");
        Ok(request.body)
    });
    match message {
        Ok(Reading::Forwarded { bytes, used, content }) => {
            Reading::Forwarded { bytes, used: used + skipped, content }
        }
        Ok(Reading::Incomplete) if bytes.len() > MAX_TARGET && !bytes.contains(&b'\n') => {
            Reading::Refused(Bad::LongTarget.status())
        }
        Ok(reading) => reading,
        Err(bad) => Reading::Refused(bad.status()),
    }
}

/// Reads the first answer in `bytes`, interim or not, as if they came in pieces of `piece` bytes.
/// One to HEAD has no body; the body of one that ends with the connection is what is there.
pub fn read_response(bytes: &[u8], head: bool, piece: usize) -> Reading {
    let asked = Asked { head, upgrade: false };
    let message = message(bytes, piece.max(1), |head, fields, out| {
        let response = Response::read(head, crate::Limits::default().headers, fields, asked)?;
        if response.is_interim() {
            patch::write_interim(out, &response);
            return Ok(Framing::None);
        }
        let body = response.body;
        let after = if body == Framing::Close { After::Close } else { After::Open };
        let changes = ResponseChanges { body, after, sticky: None, location: None, hsts: false };
        patch::write_response(out, &response, &changes);
        Ok(body)
    });
    message.unwrap_or_else(|bad| Reading::Refused(bad.status()))
}

/// Reads a message; `rewrite` reads its head, writes the one that goes on, and says how the body ends.
fn message(
    bytes: &[u8],
    piece: usize,
    rewrite: impl FnOnce(&[u8], &mut Vec<Field>, &mut Vec<u8>) -> Result<Framing, Bad>,
) -> Result<Reading, Bad> {
    let (mut scanned, mut seen) = (0, 0);
    let end = loop {
        let next = bytes.len().min(seen + piece);
        if let Some(end) = find_end(bytes.get(..next).unwrap_or_default(), &mut scanned)? {
            break end;
        }
        if next == bytes.len() {
            return Ok(Reading::Incomplete);
        }
        seen = next;
    };
    let (head, rest) = bytes.split_at_checked(end).unwrap_or((bytes, b""));
    if head.len() > crate::Limits::default().head_bytes {
        return Err(Bad::TooLarge("the head is too long"));
    }
    let (mut fields, mut out, mut content) = (Vec::new(), Vec::new(), Vec::new());
    let mut body = Progress::new(rewrite(head, &mut fields, &mut out)?);
    let mut used = end;
    for part in rest.chunks(piece) {
        let taken = body.advance(part, |data| content.extend_from_slice(data))?;
        out.extend_from_slice(part.get(..taken).unwrap_or_default());
        used += taken;
        if body.is_done() {
            break;
        }
    }
    let whole = body.is_done() || matches!(body, Progress::Close);
    Ok(match whole {
        true => Reading::Forwarded { bytes: out, used, content },
        false => Reading::Incomplete,
    })
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

    /// The same for an answer.
    fn nearly_an_answer() -> impl Strategy<Value = Vec<u8>> {
        let part = prop::sample::select(vec![
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.0 204\r\n",
            "Content-Length: 3\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close, keep-alive, x\r\n",
            "Keep-Alive: timeout=5\r\n",
            "X: y\r\n",
            "\r\n",
            "\r",
            "\n",
            " ",
            ":",
            "\0",
            "0\r\n\r\n",
            "0\r\nT: u\r\n\r\n",
            "3;x=y\r\nabc\r\n",
            "abc",
        ]);
        let status = prop::sample::select(vec!["100", "101", "103", "200", "204", "304", "502"]);
        (status, prop::collection::vec(part, 0..8)).prop_map(|(status, parts)| {
            format!("HTTP/1.1 {status} x\r\n{}", parts.concat()).into_bytes()
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
            if let Reading::Forwarded { bytes, content, .. } = read_request(&bytes, usize::MAX) {
                let again = read_request(&bytes, usize::MAX);
                let used = bytes.len();
                prop_assert_eq!(again, Reading::Forwarded { bytes, used, content });
            }
        }

        #[test]
        fn the_pieces_of_an_answer_do_not_matter(
            bytes in nearly_an_answer(), head: bool, piece in 1usize..9,
        ) {
            let whole = read_response(&bytes, head, usize::MAX);
            prop_assert_eq!(whole, read_response(&bytes, head, piece));
        }

        #[test]
        fn the_answer_that_goes_on_can_be_read_in_one_way(
            bytes in nearly_an_answer(), head: bool,
        ) {
            let first = read_response(&bytes, head, usize::MAX);
            if let Reading::Forwarded { bytes, content, .. } = first {
                let again = read_response(&bytes, head, usize::MAX);
                let used = bytes.len();
                prop_assert_eq!(again, Reading::Forwarded { bytes, used, content });
            }
        }
    }
}
