//! A request of HTTP/1 in pieces: the first byte says how large they are. What goes on to a task can
//! be read in one way only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waymark_proxy::{Reading, read_request};

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, request)) = bytes.split_first() else { return };
    let whole = read_request(request, usize::MAX);
    assert_eq!(whole, read_request(request, usize::from(*piece) + 1));
    if let Reading::Forwarded(forwarded, used) = whole {
        assert!(used <= request.len());
        let length = forwarded.len();
        let again = read_request(&forwarded, usize::MAX);
        assert_eq!(again, Reading::Forwarded(forwarded, length));
    }
});
