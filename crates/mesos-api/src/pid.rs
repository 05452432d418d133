//! libprocess's addresses: `name@host:port`.

use std::sync::Arc;

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The host; of an IPv6 address without brackets.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
}

/// Reads `name@host:port`; nothing but exactly one `@` will do.
pub fn pid(text: &str) -> Option<HostPort> {
    let (_, address) = text.split_once('@')?;
    host_port(address)
}

/// Reads `host:port`; an IPv6 address must stand in brackets.
pub fn host_port(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|inner| inner.contains(':'))?,
        None if host.contains([':', '@', ']']) => return None,
        None => host,
    };
    let sound = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control());
    sound.then(|| HostPort { host: Arc::from(host), port })
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_libprocess_writes() {
        let read = |text: &str| pid(text).map(|p| p.to_string());
        assert_eq!(read("slave(1)@10.0.0.1:5051").as_deref(), Some("10.0.0.1:5051"));
        assert_eq!(read("master@[::1]:5050").as_deref(), Some("[::1]:5050"));
        assert_eq!(read("x@node-1.example:80").as_deref(), Some("node-1.example:80"));
        let bad = [
            "",
            "10.0.0.1:5051",
            "a@b",
            "a@b:",
            "a@b:x",
            "a@b:70000",
            "a@:80",
            "a@b@c:80",
            "a@::1:80",
            "a@[::1:80",
            "a@[b]:80",
            "a@b c:80",
        ];
        for text in bad {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
