//! First bytes of a connection as a PROXY header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waymark_proxy::proxy_protocol::{Preface, read};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Preface::Whole { length, .. }) = read(bytes) {
        assert!(length <= bytes.len());
        // What follows a header changes nothing about it, and less of it is no header yet.
        assert_eq!(read(&bytes[..length]), read(bytes));
        for end in 0..length {
            assert_eq!(read(&bytes[..end]), Ok(Preface::Partial));
        }
    }
});
