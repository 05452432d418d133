//! Which words of a `server` line may stand in `add server`, and with how many arguments.
//!
//! From HAProxy's management guide of 2.6, where the list is shortest, and the change log of later versions. A word that
//! is not here costs a reload, never a wrong server.

use super::version::Capabilities;

/// Words without an argument.
const ALONE: &[&str] = &[
    "agent-check",
    "allow-0rtt",
    "backup",
    "check",
    "check-send-proxy",
    "check-ssl",
    "check-via-socks4",
    "force-sslv3",
    "force-tlsv10",
    "force-tlsv11",
    "force-tlsv12",
    "force-tlsv13",
    "no-ssl-reuse",
    "no-sslv3",
    "no-tls-tickets",
    "no-tlsv10",
    "no-tlsv11",
    "no-tlsv12",
    "no-tlsv13",
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2-ssl",
    "send-proxy-v2-ssl-cn",
    "ssl",
    "tfo",
    "tls-tickets",
];

/// Words with one argument. `track` is left out: a server that is tracked cannot be removed.
const WITH_ONE: &[&str] = &[
    "addr",
    "agent-addr",
    "agent-inter",
    "agent-port",
    "agent-send",
    "alpn",
    "ca-file",
    "check-alpn",
    "check-proto",
    "check-sni",
    "ciphers",
    "ciphersuites",
    "crl-file",
    "crt",
    "downinter",
    "error-limit",
    "fall",
    "fastinter",
    "id",
    "inter",
    "maxconn",
    "maxqueue",
    "minconn",
    "npn",
    "observe",
    "on-error",
    "on-marked-down",
    "on-marked-up",
    "pool-low-conn",
    "pool-max-conn",
    "pool-purge-delay",
    "port",
    "proto",
    "proxy-v2-options",
    "rise",
    "slowstart",
    "sni",
    "ssl-max-ver",
    "ssl-min-ver",
    "verify",
    "verifyhost",
    "weight",
    "ws",
];

/// Words of one argument by which files are read: HAProxy reads none at run time that it has not read before.
const FILES: &[&str] = &["ca-file", "crl-file", "crt"];

/// What `add server` needs to know of the options of a `server` line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options<'a> {
    /// The words as they are sent, without `weight`.
    pub words: Vec<&'a str>,
    /// The value of `weight`.
    pub weight: Option<&'a str>,
    /// Whether health checks must be enabled.
    pub check: bool,
    /// Whether agent checks must be enabled.
    pub agent: bool,
}

impl<'a> Options<'a> {
    /// Reads the options of a `server` line.
    ///
    /// # Errors
    /// The word that `add server` of this version does not take.
    pub(super) fn read(text: &'a str, capabilities: Capabilities) -> Result<Self, &'a str> {
        let mut options = Self::default();
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            let takes_one = WITH_ONE.contains(&word) && !FILES.contains(&word)
                || word == "cookie" && capabilities.dynamic_cookie
                || word == "init-state" && capabilities.init_state;
            if takes_one {
                let argument = words.next().ok_or(word)?;
                if word == "weight" {
                    options.weight = Some(argument);
                } else {
                    options.words.extend([word, argument]);
                }
            } else if ALONE.contains(&word) {
                options.check |= word == "check";
                options.agent |= word == "agent-check";
                options.words.push(word);
            } else {
                return Err(word);
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::super::version::Version;
    use super::*;

    fn read(text: &str, minor: (u16, u16)) -> Result<Options<'_>, &str> {
        Options::read(text, Version { major: minor.0, minor: minor.1 }.into())
    }

    #[test]
    fn options_of_marathon_lb_are_taken_as_the_version_takes_them() {
        let text = " id 12 check inter 10s fall 4 port 80 weight 3";
        let options = read(text, (2, 6)).unwrap();
        assert_eq!(options.words.join(" "), "id 12 check inter 10s fall 4 port 80");
        assert_eq!((options.weight, options.check, options.agent), (Some("3"), true, false));
        assert_eq!(read("id 1 check cookie 1a2b", (2, 6)), Err("cookie"));
        assert!(read("id 1 check cookie 1a2b", (3, 0)).unwrap().check);
    }

    #[test]
    fn what_is_unknown_or_cut_off_is_named() {
        assert_eq!(read("id 1 resolvers dns", (3, 4)), Err("resolvers"));
        assert_eq!(read("check inter", (3, 4)), Err("inter"));
        assert_eq!(read("ssl crt /etc/ssl/a.pem", (3, 4)), Err("crt"));
        assert_eq!(read("track other/s1", (3, 4)), Err("track"));
    }
}
