//! Which HAProxy runs, and what its runtime API can do.
//!
//! Input is a version as HAProxy prints it (`show version`, `haproxy -v`). Versions older than what was tested are
//! believed to have less, never more.

use std::fmt;

/// A version of HAProxy: what decides about commands and keywords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u16,
    /// Second number.
    pub minor: u16,
}

impl Version {
    /// The one in marathon-lb's last image (1.15.0), for which its text was made.
    pub const MARATHON_LB: Version = Version { major: 2, minor: 0 };

    /// Reads `2.6.12-1+deb12u4`, `HAProxy version 3.0.5-8e879a5 2024/09/19 - …`: the first word that begins with two numbers.
    pub fn read(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let mut parts = word.split(['.', '-', '+']);
            let major = parts.next()?.parse().ok()?;
            let minor = parts.next()?.parse().ok()?;
            Some(Self { major, minor })
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a version's runtime API can do.
///
/// HAProxy 3.4 can also add whole backends (`add backend`), but only such whose every setting stands in a named
/// `defaults` section. marathon-lb's layout gives each app a bound frontend and settings of its own, neither of which can
/// be added without a reload; so an app that is new reloads every version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// `add server` and `del server` without experimental mode: 2.6.
    pub dynamic_servers: bool,
    /// `cookie` on an added server: 3.0.
    pub dynamic_cookie: bool,
    /// `init-state` on an added server: 3.1.
    pub init_state: bool,
    /// The master's `reload` says whether the new worker started: 2.7.
    pub reload_answers: bool,
}

impl From<Version> for Capabilities {
    fn from(version: Version) -> Self {
        let since = |major, minor| version >= Version { major, minor };
        Self {
            dynamic_servers: since(2, 6),
            dynamic_cookie: since(3, 0),
            init_state: since(3, 1),
            reload_answers: since(2, 7),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_haproxy_prints_them() {
        for (text, wanted) in [
            ("2.6.12-1+deb12u4\n\n", Some((2, 6))),
            ("HAProxy version 3.0.5-8e879a5 2024/09/19 - https://haproxy.org/", Some((3, 0))),
            ("HA-Proxy version 1.8.19-1 2019/02/11", Some((1, 8))),
            ("3.5-dev5", Some((3, 5))),
            ("Unknown command", None),
            ("", None),
        ] {
            assert_eq!(Version::read(text).map(|v| (v.major, v.minor)), wanted, "{text}");
        }
    }

    #[test]
    fn old_versions_can_less() {
        let of = |major, minor| Capabilities::from(Version { major, minor });
        assert!(!of(2, 5).dynamic_servers && of(2, 6).dynamic_servers);
        assert!(!of(2, 9).dynamic_cookie && of(3, 0).dynamic_cookie);
        assert!(!of(2, 6).reload_answers && of(2, 7).reload_answers);
    }
}
