//! What must hold of a message of HTTP/1 that is passed on.

use waymark_proxy::Reading;

/// The pieces that it comes in do not matter; what goes on is read again as the very same, to its
/// last byte; and a simple reader finds the same content in it.
pub fn check(message: &[u8], piece: usize, read: impl Fn(&[u8], usize) -> Reading) {
    let whole = read(message, usize::MAX);
    assert_eq!(whole, read(message, piece));
    let Reading::Forwarded { bytes, used, content } = whole else { return };
    assert!(used <= message.len());
    assert_eq!(simply_read(&bytes), content);
    let used = bytes.len();
    let again = read(&bytes, usize::MAX);
    assert_eq!(again, Reading::Forwarded { bytes, used, content });
}

/// The content of a message that has nothing strange about it.
fn simply_read(message: &[u8]) -> Vec<u8> {
    let end = message.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let (head, mut body) = message.split_at(end + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if body.is_empty() || !head.contains("\r\ntransfer-encoding: chunked\r\n") {
        return body.to_vec();
    }
    let mut content = Vec::new();
    loop {
        let line = body.iter().position(|b| *b == b'\r').expect("a line");
        let size = String::from_utf8_lossy(&body[..line]);
        let size = size.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).expect("a size");
        body = &body[line + 2..];
        if size == 0 {
            return content;
        }
        content.extend_from_slice(&body[..size]);
        assert_eq!(&body[size..size + 2], b"\r\n");
        body = &body[size + 2..];
    }
}
