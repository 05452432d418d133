//! A request of HTTP/1 in pieces: the first byte says how large they are. What goes on to a task can
//! be read in one way only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waymark_proxy::read_request;

#[path = "message.rs"]
mod message;

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, request)) = bytes.split_first() else { return };
    message::check(request, usize::from(*piece) + 1, read_request);
});
