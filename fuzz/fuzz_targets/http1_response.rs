//! An answer of HTTP/1 in pieces: the first byte says how large they are, and whether it was asked
//! for with HEAD. What goes on to a client can be read in one way only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waymark_proxy::read_response;

#[path = "message.rs"]
mod message;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, answer)) = bytes.split_first() else { return };
    let (head, piece) = (first & 1 == 1, usize::from(first >> 1) + 1);
    message::check(answer, piece, |bytes, piece| read_response(bytes, head, piece));
});
