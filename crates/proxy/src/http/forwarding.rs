//! What a task is told about the client: `X-Forwarded-For`, `-Port`, `-Proto`, `-Host` and
//! `Forwarded` (RFC 7239).
//!
//! What a client says of itself in these headers is dropped, whatever it sends: only a peer among
//! the trusted proxies is believed, and then its word is continued. marathon-lb's `option
//! forwardfor` appends to whatever came, so that tasks behind it had to know how many proxies there
//! are.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// What is known of a request's way here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop<'a> {
    /// Who is connected.
    pub(crate) source: SocketAddr,
    /// The port it is connected to.
    pub(crate) port: u16,
    /// Whether it came over TLS that ended here.
    pub(crate) secure: bool,
    /// `Host` or `:authority`, as it came; it has no quotes or backslashes.
    pub(crate) host: &'a str,
}

/// What a trusted peer has said, all lines of a name joined by commas; empty = nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// `X-Forwarded-For`
    pub(crate) for_: Vec<u8>,
    /// `X-Forwarded-Port`
    pub(crate) port: Vec<u8>,
    /// `X-Forwarded-Proto`
    pub(crate) proto: Vec<u8>,
    /// `X-Forwarded-Host`
    pub(crate) host: Vec<u8>,
    /// `Forwarded`
    pub(crate) forwarded: Vec<u8>,
}

/// The names of all headers that [`tell`] writes, in lower case: what came under them is dropped.
pub(crate) const NAMES: [&str; 5] =
    ["x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "x-forwarded-host", "forwarded"];

/// Hands each header and its value to `sink`. `said` is what a trusted peer said; `None` when the
/// peer is not trusted.
pub(crate) fn tell(hop: &Hop<'_>, said: Option<&Said>, mut sink: impl FnMut(&'static str, &[u8])) {
    let nothing = Said::default();
    let said = said.unwrap_or(&nothing);
    let mut text = String::with_capacity(96);
    let ip = hop.source.ip().to_canonical();
    let _ = write!(text, "{ip}");
    sink("X-Forwarded-For", &joined(&said.for_, text.as_bytes()));
    text.clear();
    let _ = write!(text, "{}", hop.port);
    sink("X-Forwarded-Port", either(&said.port, text.as_bytes()));
    let proto = if hop.secure { "https" } else { "http" };
    sink("X-Forwarded-Proto", either(&said.proto, proto.as_bytes()));
    if !hop.host.is_empty() || !said.host.is_empty() {
        sink("X-Forwarded-Host", either(&said.host, hop.host.as_bytes()));
    }
    text.clear();
    let _ = match ip {
        IpAddr::V4(ip) => write!(text, "for={ip};proto={proto}"),
        IpAddr::V6(ip) => write!(text, "for=\"[{ip}]\";proto={proto}"),
    };
    if !hop.host.is_empty() {
        let _ = write!(text, ";host=\"{}\"", hop.host);
    }
    sink("Forwarded", &joined(&said.forwarded, text.as_bytes()));
}

fn either<'a>(said: &'a [u8], own: &'a [u8]) -> &'a [u8] {
    if said.is_empty() { own } else { said }
}

fn joined<'a>(said: &[u8], own: &'a [u8]) -> std::borrow::Cow<'a, [u8]> {
    if said.is_empty() { own.into() } else { [said, b", ", own].concat().into() }
}

/// Whether the peer's word about the client counts.
pub(crate) fn is_trusted(trusted: &[IpNet], peer: IpAddr) -> bool {
    !trusted.is_empty() && trusted.iter().any(|net| net.contains(&peer.to_canonical()))
}

impl Said {
    /// Who the client is: going back from the nearest proxy, the first address that is not a trusted
    /// proxy's. What is no address ends the search, since whoever wrote it is not to be trusted.
    pub(crate) fn client(&self, trusted: &[IpNet], peer: SocketAddr) -> SocketAddr {
        let mut client = peer;
        let text = std::str::from_utf8(&self.for_).unwrap_or_default();
        for hop in text.rsplit(',').map(str::trim) {
            if !is_trusted(trusted, client.ip()) {
                break;
            }
            let Some(address) = address(hop) else { break };
            client = address;
        }
        client
    }

    /// Whether the client spoke TLS with the first of the trusted proxies.
    pub(crate) fn is_secure(&self) -> bool {
        self.proto.eq_ignore_ascii_case(b"https")
    }
}

/// `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5`.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse().map(|ip: IpAddr| SocketAddr::new(ip, 0)).ok().or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: &str, host: &str, said: Option<&Said>) -> Vec<String> {
        let hop = Hop { source: source.parse().unwrap(), port: 80, secure: false, host };
        let mut lines = Vec::new();
        tell(&hop, said, |name, value| {
            lines.push(format!("{name}: {}", String::from_utf8_lossy(value)));
        });
        lines
    }

    #[test]
    fn a_client_is_described() {
        assert_eq!(
            told("10.0.0.1:5", "a.b:80", None),
            [
                "X-Forwarded-For: 10.0.0.1",
                "X-Forwarded-Port: 80",
                "X-Forwarded-Proto: http",
                "X-Forwarded-Host: a.b:80",
                "Forwarded: for=10.0.0.1;proto=http;host=\"a.b:80\"",
            ]
        );
        let v6 = told("[2001:db8::1]:5", "", None);
        assert_eq!(v6.last().unwrap(), "Forwarded: for=\"[2001:db8::1]\";proto=http");
        assert_eq!(told("[::ffff:10.0.0.1]:5", "", None)[0], "X-Forwarded-For: 10.0.0.1");
    }

    #[test]
    fn a_trusted_proxy_is_continued() {
        let said = Said {
            for_: b"1.1.1.1".to_vec(),
            proto: b"https".to_vec(),
            host: b"public".to_vec(),
            forwarded: b"for=1.1.1.1".to_vec(),
            ..Said::default()
        };
        assert_eq!(
            told("10.0.0.1:5", "a", Some(&said)),
            [
                "X-Forwarded-For: 1.1.1.1, 10.0.0.1",
                "X-Forwarded-Port: 80",
                "X-Forwarded-Proto: https",
                "X-Forwarded-Host: public",
                "Forwarded: for=1.1.1.1, for=10.0.0.1;proto=http;host=\"a\"",
            ]
        );
        assert!(said.is_secure());
    }

    #[test]
    fn the_client_is_the_first_who_is_not_trusted() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let client = |said: &str, peer: &str| {
            let said = Said { for_: said.as_bytes().to_vec(), ..Said::default() };
            said.client(&trusted, peer.parse().unwrap()).ip().to_string()
        };
        assert_eq!(client("6.6.6.6, 1.1.1.1", "10.0.0.1:1"), "1.1.1.1");
        assert_eq!(client("6.6.6.6, 1.1.1.1, 10.2.2.2", "10.0.0.1:1"), "1.1.1.1");
        assert_eq!(client("1.1.1.1", "9.9.9.9:1"), "9.9.9.9");
        assert_eq!(client("unknown", "10.0.0.1:1"), "10.0.0.1");
        assert_eq!(client("[2001:db8::1]:55", "10.0.0.1:1"), "2001:db8::1");
        assert_eq!(client("", "10.0.0.1:1"), "10.0.0.1");
    }
}
