//! The bytes of the event stream, as Marathon's web server wrote them. Clients split lines on CRLF
//! and take the bare CRLF for a sign of life.

use bytes::Bytes;

/// The sign of life.
pub const HEARTBEAT: Bytes = Bytes::from_static(b"\r\n");

/// One event. `json` is one line.
pub fn event(event_type: &str, json: &str) -> Bytes {
    Bytes::from(format!("event: {event_type}\r\ndata: {json}\r\n\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_on_the_wire() {
        assert_eq!(
            event("event_stream_attached", "{\"a\":1}"),
            "event: event_stream_attached\r\ndata: {\"a\":1}\r\n\r\n"
        );
        assert_eq!(HEARTBEAT, "\r\n");
    }
}
