//! Who may have signed a server's certificate.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

/// A file of certificates cannot be used.
#[derive(Debug, Error)]
#[error("{}: {reason}", file.display())]
pub struct AuthorityError {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub reason: String,
}

impl AuthorityError {
    fn new(file: &Path, reason: impl ToString) -> AuthorityError {
        AuthorityError { file: file.to_owned(), reason: reason.to_string() }
    }
}

/// The certificates of a PEM file; at least one.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|error| AuthorityError::new(file, error))?;
    match found.is_empty() {
        true => Err(AuthorityError::new(file, "no certificate in it")),
        false => Ok(found),
    }
}

/// The authorities of a PEM file; each of them must be usable.
pub fn authorities(file: &Path) -> Result<RootCertStore, AuthorityError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| AuthorityError::new(file, error))?;
    }
    Ok(roots)
}

/// The system's authorities; what cannot be read of them is left out, with a warning.
pub fn system_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(%error, "some of the system's certificate authorities cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_authorities() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let with = |text: String| {
            std::fs::write(&file, text).unwrap();
            authorities(&file).map(|roots| roots.len()).map_err(|error| error.reason)
        };
        let pem = made.cert.pem();
        assert_eq!(with(pem.clone() + &pem), Ok(2));
        assert_eq!(with(String::new()), Err("no certificate in it".to_owned()));
        assert_eq!(with(made.signing_key.serialize_pem()), Err("no certificate in it".to_owned()));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(with(pem + broken).is_err());
        assert!(authorities(&folder.path().join("none")).is_err());
    }
}
