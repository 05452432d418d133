//! First bytes of a connection as the first message of TLS.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waymark_proxy::client_hello::{Hello, read};

const MOST: usize = 1 << 14;

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes, MOST);
    if let Hello::Named(name) = &whole {
        assert!(!name.is_empty() && name.is_ascii() && **name == name.to_ascii_lowercase());
    }
    // Bytes that come one at a time lead to the same word, and it stands once it is said.
    let said = (0..bytes.len()).map(|end| read(&bytes[..end], MOST)).find(|h| *h != Hello::Partial);
    if let Some(said) = said {
        assert_eq!(said, whole);
    }
});
