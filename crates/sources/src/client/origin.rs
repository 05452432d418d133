//! Which server is asked: scheme, host and port.

use std::fmt;

use waymark_mesos_api::{HostPort, host_port};

/// A server. Two of them are one only if all three parts are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// By HTTPS.
    pub secure: bool,
    /// Where it is.
    pub at: HostPort,
}

impl Origin {
    /// Reads `host[:port]`; without a port it is that of the scheme.
    pub fn read(secure: bool, authority: &str) -> Option<Origin> {
        let port = if secure { 443 } else { 80 };
        let at = host_port(authority).or_else(|| host_port(&format!("{authority}:{port}")))?;
        (at.port > 0).then_some(Origin { secure, at })
    }

    /// Reads `http[s]://host[:port][/path]` into a server and a path.
    pub fn of_url(url: &str) -> Option<(Origin, String)> {
        let (secure, rest) = match url.split_once("://")? {
            (scheme, rest) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            (scheme, rest) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            _ => return None,
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        Some((Origin::read(secure, authority)?, path.to_owned()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls() {
        let read = |url: &str| Origin::of_url(url).map(|(o, path)| format!("{o} {path}"));
        for (url, want) in [
            ("http://a", "http://a:80 "),
            ("HTTPS://a/", "https://a:443 /"),
            ("http://a:8080/service/marathon/", "http://a:8080 /service/marathon/"),
            ("https://[::1]:8443/x", "https://[::1]:8443 /x"),
            ("https://[::1]", "https://[::1]:443 "),
        ] {
            assert_eq!(read(url).as_deref(), Some(want), "{url}");
        }
        for bad in ["", "a:80", "ftp://a", "http://", "http://u:p@a", "http://a:0", "http://a b"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
