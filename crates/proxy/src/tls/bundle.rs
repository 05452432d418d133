//! One certificate with its chain and key, from PEM.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The longest file that is read, in bytes: a hundred times what a chain and a key need.
pub(crate) const MAX_FILE: u64 = 1 << 20;

/// Why a file cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Longer than [`MAX_FILE`].
    #[error("it is longer than {MAX_FILE} bytes")]
    TooLong,
    /// No certificate in it.
    #[error("there is no certificate in PEM form in it")]
    NoCertificate,
    /// The PEM text is damaged, or not yet written to its end.
    #[error("its PEM text is damaged: {0}")]
    Damaged(String),
    /// Neither the file nor the one beside it has a key.
    #[error("there is no private key in PEM form in it, nor in a file of its name with .key")]
    NoKey,
    /// The only key there has a password.
    #[error("its private key is encrypted; only plain ones can be used")]
    EncryptedKey,
    /// The first certificate cannot be read.
    #[error("its first certificate cannot be read: {0}")]
    BadCertificate(String),
    /// The key cannot be used.
    #[error("its private key cannot be used: {0}")]
    BadKey(String),
    /// The two do not belong together.
    #[error("its private key is not that of its first certificate")]
    Mismatch,
}

/// What kind of key a certificate has. Better ones come first: a client that knows several gets
/// the cheapest for both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// Elliptic curves of NIST.
    Ecdsa,
    /// Ed25519.
    Ed25519,
    /// RSA.
    Rsa,
    /// Another one.
    Other,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::Ecdsa => "ECDSA",
            Algorithm::Ed25519 => "Ed25519",
            Algorithm::Rsa => "RSA",
            Algorithm::Other => "other",
        })
    }
}

/// A certificate that can be served.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// Chain and key.
    pub(crate) key: Arc<CertifiedKey>,
    /// What it is for: DNS names in lower case, `*.` in front for all under a name, addresses as
    /// text. The common name counts where there is no alternative name, as HAProxy does it.
    pub(crate) names: Vec<String>,
    /// From when on it is valid, in seconds since 1970.
    pub(crate) not_before: i64,
    /// Until when it is valid, in seconds since 1970.
    pub(crate) not_after: i64,
    /// Its key's kind.
    pub(crate) algorithm: Algorithm,
}

impl Certificate {
    /// From the PEM text of a file, chain and key in any order, and of the key file beside it if
    /// there is one.
    pub(crate) fn read(pem: &[u8], beside: Option<&[u8]>) -> Result<Certificate, Refused> {
        let (chain, own_key) = sections(pem)?;
        let first = chain.first().ok_or(Refused::NoCertificate)?;
        let key = match (own_key, beside) {
            (Some(key), _) => key,
            (None, Some(text)) => private_key(text)?.ok_or(Refused::NoKey)?,
            (None, None) => return Err(no_key(pem)),
        };
        let (_, parsed) = X509Certificate::from_der(first)
            .map_err(|error| Refused::BadCertificate(error.to_string()))?;
        let provider = aws_lc_rs::default_provider();
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| Refused::BadKey(error.to_string()))?;
        if key.public_key().is_some_and(|public| *public != *parsed.public_key().raw) {
            return Err(Refused::Mismatch);
        }
        let names = names(&parsed);
        let validity = parsed.validity();
        let (not_before, not_after) =
            (validity.not_before.timestamp(), validity.not_after.timestamp());
        let algorithm = match key.algorithm() {
            SignatureAlgorithm::ECDSA => Algorithm::Ecdsa,
            SignatureAlgorithm::ED25519 => Algorithm::Ed25519,
            SignatureAlgorithm::RSA => Algorithm::Rsa,
            _ => Algorithm::Other,
        };
        let key = Arc::new(CertifiedKey::new(chain, key));
        Ok(Certificate { key, names, not_before, not_after, algorithm })
    }

    /// Whether it is valid at this time, in seconds since 1970.
    pub(crate) fn valid_at(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Whether a client with these schemes can check what its key signs.
    pub(crate) fn suits(&self, schemes: &[SignatureScheme]) -> bool {
        self.key.key.choose_scheme(schemes).is_some()
    }
}

type Sections = (Vec<CertificateDer<'static>>, Option<PrivateKeyDer<'static>>);

/// All certificates of a text, and its first key. What else is in it (parameters, requests) is
/// passed over.
fn sections(pem: &[u8]) -> Result<Sections, Refused> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(damaged)?;
    Ok((chain, private_key(pem)?))
}

fn private_key(pem: &[u8]) -> Result<Option<PrivateKeyDer<'static>>, Refused> {
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(Some(key)),
        Err(pem::Error::NoItemsFound) => Ok(None),
        Err(error) => Err(damaged(error)),
    }
}

fn damaged(error: pem::Error) -> Refused {
    // The error's own text may quote a line, which may be of a key.
    Refused::Damaged(match error {
        pem::Error::MissingSectionEnd { .. } => "a section does not end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a section does not begin properly".to_owned(),
        pem::Error::Base64Decode(_) => "a section is not base 64".to_owned(),
        _ => "it is no PEM text".to_owned(),
    })
}

fn no_key(pem: &[u8]) -> Refused {
    const ENCRYPTED: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
    match memchr::memmem::find(pem, ENCRYPTED) {
        Some(_) => Refused::EncryptedKey,
        None => Refused::NoKey,
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let mut found: Vec<String> = alternatives
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(alternative_name)
        .collect();
    if found.is_empty() {
        let common = certificate.subject().iter_common_name();
        found = common.filter_map(|name| name.as_str().ok()).map(str::to_ascii_lowercase).collect();
    }
    found
}

fn alternative_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// A certificate of our own for CN `*`, as marathon-lb's image makes one: what is served while
/// there is no other. No client that verifies accepts it.
pub(crate) fn self_signed() -> Result<Certificate, rcgen::Error> {
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "*");
    let text = params.self_signed(&key)?.pem() + &key.serialize_pem();
    // What was just made can be read; were it not so, there would be no certificate to make.
    Certificate::read(text.as_bytes(), None).map_err(|_| rcgen::Error::CouldNotParseKeyPair)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{NOW, make};
    use rcgen::{PKCS_ECDSA_P256_SHA256 as ECDSA, PKCS_ED25519 as ED25519, PKCS_RSA_SHA256 as RSA};

    fn refused(pem: &str, beside: Option<&str>) -> Refused {
        Certificate::read(pem.as_bytes(), beside.map(str::as_bytes)).map(|c| c.names).unwrap_err()
    }

    #[test]
    fn chain_and_key_in_any_order_and_place() {
        let kinds =
            [(&ECDSA, Algorithm::Ecdsa), (&ED25519, Algorithm::Ed25519), (&RSA, Algorithm::Rsa)];
        for (kind, algorithm) in kinds {
            let made = make(&["Www.Example.com", "*.example.com", "::1"], kind, NOW);
            let other = make(&["issuer"], &ECDSA, NOW);
            let texts = [
                (format!("{}{}{}", made.chain, other.chain, made.key), None),
                (format!("{}{}{}", made.key, made.chain, other.chain), None),
                (format!("{}{}", made.chain, other.chain), Some(made.key.as_bytes())),
                // Its own key counts, not the one beside it.
                (format!("{}{}{}", made.key, made.chain, other.chain), Some(other.key.as_bytes())),
            ];
            for (text, beside) in texts {
                let read = Certificate::read(text.as_bytes(), beside).unwrap();
                assert_eq!(read.names, ["www.example.com", "*.example.com", "::1"]);
                assert_eq!((read.not_before, read.not_after), (0, NOW));
                assert_eq!((read.algorithm, read.key.cert.len()), (algorithm, 2));
                assert!(read.valid_at(NOW) && !read.valid_at(NOW + 1) && !read.valid_at(-1));
            }
        }
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let made = make(&["a.test"], &ECDSA, NOW);
        let other = make(&["b.test"], &ECDSA, NOW);
        assert_eq!(refused("", None), Refused::NoCertificate);
        assert_eq!(refused(&made.key, None), Refused::NoCertificate);
        assert_eq!(refused(&made.chain, None), Refused::NoKey);
        assert_eq!(refused(&made.chain, Some("")), Refused::NoKey);
        assert_eq!(refused(&(made.chain.clone() + &other.key), None), Refused::Mismatch);
        let locked = made.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert_eq!(refused(&(made.chain.clone() + &locked), None), Refused::EncryptedKey);
        let torn = &made.pem()[..made.pem().len() - 40];
        assert!(matches!(refused(torn, None), Refused::Damaged(_)));
        let garbled = made.key.replacen('\n', "\n!", 1);
        let reason = refused(&(made.chain.clone() + &garbled), None).to_string();
        assert_eq!(reason, "its PEM text is damaged: a section is not base 64");
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            refused(&(empty.to_owned() + &made.key), None),
            Refused::BadCertificate(_)
        ));
        let empty = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(matches!(refused(&(made.chain + empty), None), Refused::BadKey(_)));
    }

    #[test]
    fn the_one_made_here() {
        let made = self_signed().unwrap();
        assert_eq!(made.names, ["*"]);
        assert!(made.valid_at(NOW));
    }
}
