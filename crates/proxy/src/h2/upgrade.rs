//! A WebSocket's beginning: HTTP/2 opens one by extended CONNECT (RFC 8441), HTTP/1.1 by an
//! `Upgrade` with a key that shows that the other side understood (RFC 6455 §4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::h1::write_line;
use crate::worker::Worker;

/// What RFC 6455 §1.3 has hashed with the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An upgrade that we ask a task for. HTTP/2 has no key (RFC 8441 §5), so it is ours.
#[derive(Debug)]
pub(crate) struct Upgrade {
    key: String,
}

impl Upgrade {
    /// One with a random key.
    pub(crate) fn new(worker: &Worker) -> Upgrade {
        let mut key = [0; 16];
        for part in key.chunks_mut(4) {
            part.copy_from_slice(&worker.random_below(u32::MAX).to_ne_bytes());
        }
        Upgrade { key: STANDARD.encode(key) }
    }

    /// One with a client's key.
    pub(crate) fn with_key(key: String) -> Upgrade {
        Upgrade { key }
    }

    /// Writes the fields that ask for it, but `connection`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        write_line(out, "upgrade", b"websocket");
        write_line(out, "sec-websocket-key", self.key.as_bytes());
    }

    /// The value of `Sec-WebSocket-Accept` in an answer that agrees.
    pub(crate) fn accept(&self) -> String {
        STANDARD.encode(Sha1::new().chain_update(&self.key).chain_update(GUID).finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc() {
        let upgrade = Upgrade { key: "dGhlIHNhbXBsZSBub25jZQ==".into() };
        assert_eq!(upgrade.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
