//! Which certificate a client gets. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;

use super::bundle::Certificate;

/// The certificates of one listener, by the names they are for.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    exact: HashMap<Box<str>, Group>,
    /// By what follows `*.`.
    under: HashMap<Box<str>, Group>,
    /// For clients that name nothing, or something that no certificate is for.
    default: Group,
}

/// Certificates for one name, in the order of preference.
type Group = Vec<Arc<Certificate>>;

impl Choice {
    /// From certificates in the order in which they were configured: the first valid one is the
    /// default, with those of other kinds for the same name.
    pub(crate) fn new(certificates: &[Arc<Certificate>], now: i64) -> Choice {
        let mut choice = Choice::default();
        for certificate in certificates {
            for name in &certificate.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut choice.under, parent),
                    None => (&mut choice.exact, name.as_str()),
                };
                map.entry(name.into()).or_default().push(certificate.clone());
            }
        }
        // A stable sort: among equals the first configured one wins, as in HAProxy.
        let groups = choice.exact.values_mut().chain(choice.under.values_mut());
        groups.for_each(|group| group.sort_by_key(|c| (!c.valid_at(now), c.algorithm)));
        choice.default = choice.default_of(certificates, now);
        choice
    }

    fn default_of(&self, certificates: &[Arc<Certificate>], now: i64) -> Group {
        let valid = certificates.iter().find(|certificate| certificate.valid_at(now));
        let Some(first) = valid.or(certificates.first()) else { return Group::new() };
        let named = first.names.first().map_or(&[][..], |name| self.group(name));
        let mut group = if named.is_empty() { vec![first.clone()] } else { named.to_vec() };
        // For clients that none of these suits.
        let others = certificates.iter().filter(|certificate| certificate.valid_at(now));
        for other in others {
            if group.iter().all(|there| there.algorithm != other.algorithm) {
                group.push(other.clone());
            }
        }
        group
    }

    /// The certificate for a client: for the name it asks for, else that of the domain above it
    /// (`*.` stands for one label, RFC 9525 §6.3), else the default; of several the first whose
    /// signatures the client can check. An expired one only where there is no other.
    pub(crate) fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<&Arc<Certificate>> {
        let named = name.map_or(&[][..], |name| self.lookup(name));
        named.iter().chain(&self.default).find(|certificate| certificate.suits(schemes))
    }

    /// Whether a connection that asked for `name` may carry requests for `host` (RFC 9110 §7.4):
    /// the certificates that it may have got are for both, or the two are the same.
    pub(crate) fn covers(&self, name: Option<&str>, host: &str) -> bool {
        let Some(name) = name else { return true };
        if name.eq_ignore_ascii_case(host) {
            return true;
        }
        let served = match self.lookup(name) {
            [] => &self.default,
            named => named,
        };
        let host = host.to_ascii_lowercase();
        let covered = |of: &String| match of.strip_prefix("*.") {
            Some(parent) => parent_of(&host) == Some(parent),
            None => *of == host || of == "*",
        };
        served.iter().any(|certificate| certificate.names.iter().any(covered))
    }

    fn lookup(&self, name: &str) -> &[Arc<Certificate>] {
        // Nearly all clients send lower case.
        match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => self.group(&name.to_ascii_lowercase()),
            false => self.group(name),
        }
    }

    fn group(&self, name: &str) -> &[Arc<Certificate>] {
        let exact = self.exact.get(name);
        let found = exact.or_else(|| self.under.get(parent_of(name)?));
        found.map_or(&[], Vec::as_slice)
    }
}

fn parent_of(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, parent)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{NOW, certificate};
    use rcgen::{PKCS_ECDSA_P256_SHA256 as ECDSA, PKCS_RSA_SHA256 as RSA};

    const BOTH: &[SignatureScheme] =
        &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256];
    const ONLY_RSA: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256];

    fn position(of: Option<&Arc<Certificate>>, among: &[Arc<Certificate>]) -> Option<usize> {
        among.iter().position(|certificate| of.is_some_and(|of| Arc::ptr_eq(of, certificate)))
    }

    #[test]
    fn names_and_kinds() {
        let all = [
            certificate(&["default.test"], &RSA, NOW + 1),
            certificate(&["www.a.test", "a.test"], &RSA, NOW + 1),
            certificate(&["WWW.a.test"], &ECDSA, NOW + 1),
            certificate(&["*.a.test"], &ECDSA, NOW + 1),
            certificate(&["expired.test"], &ECDSA, NOW - 1),
            certificate(&["both.test"], &ECDSA, NOW - 1),
            certificate(&["both.test"], &RSA, NOW + 1),
        ];
        let choice = Choice::new(&all, NOW);
        let table: &[(Option<&str>, &[SignatureScheme], usize)] = &[
            (None, BOTH, 0),
            (Some("other.test"), BOTH, 0),
            (Some("www.a.test"), BOTH, 2),
            (Some("www.a.test"), ONLY_RSA, 1),
            (Some("WWW.A.test"), ONLY_RSA, 1),
            (Some("a.test"), BOTH, 1),
            (Some("x.a.test"), BOTH, 3),
            // Nothing for the name suits the client: better the default than no handshake.
            (Some("x.a.test"), ONLY_RSA, 0),
            // The star stands for one label.
            (Some("x.y.a.test"), BOTH, 0),
            // Expired, and the only one for its name.
            (Some("expired.test"), BOTH, 4),
            // Expired, and there is another one.
            (Some("both.test"), BOTH, 6),
        ];
        for (name, schemes, expected) in table {
            let chosen = position(choice.choose(*name, schemes), &all);
            assert_eq!(chosen, Some(*expected), "{name:?} {schemes:?}");
        }
        assert!(choice.choose(None, &[]).is_none());
        assert!(Choice::default().choose(None, BOTH).is_none());
        // A default that is expired gives way to the first that is not.
        let late = [all[4].clone(), all[3].clone()];
        assert_eq!(position(Choice::new(&late, NOW).choose(None, BOTH), &late), Some(1));
    }

    #[test]
    fn what_a_connection_may_carry() {
        let all = [
            certificate(&["*.a.test", "b.test"], &ECDSA, NOW + 1),
            certificate(&["c.test"], &ECDSA, NOW + 1),
        ];
        let choice = Choice::new(&all, NOW);
        let table = [
            (None, "anything", true),
            (Some("x.a.test"), "y.a.test", true),
            (Some("x.a.test"), "B.test", true),
            (Some("x.a.test"), "c.test", false),
            (Some("x.a.test"), "x.y.a.test", false),
            (Some("c.test"), "c.test", true),
            (Some("c.test"), "b.test", false),
            // The default was served.
            (Some("unknown.test"), "unknown.test", true),
            (Some("unknown.test"), "z.a.test", true),
            (Some("unknown.test"), "c.test", false),
        ];
        for (name, host, expected) in table {
            assert_eq!(choice.covers(name, host), expected, "{name:?} {host}");
        }
    }
}
