//! The server's side of TLS: certificates and key from PEM.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// What is needed to speak TLS. Clones share it.
#[derive(Clone)]
pub struct Tls(pub(crate) TlsAcceptor);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// Why certificate and key cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// No certificate in the PEM text.
    #[error("there is no certificate in PEM form")]
    NoCertificate,
    /// No key in the PEM text.
    #[error("there is no private key in PEM form")]
    NoKey,
    /// The two cannot be used, or not with each other.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Tls {
    /// From PEM: the certificate and those up to the authority, and the certificate's key.
    pub fn new(certificates: &[u8], key: &[u8]) -> Result<Tls, TlsError> {
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| TlsError::NoCertificate)?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::NoKey)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls(TlsAcceptor::from(Arc::new(config))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_and_keys() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let new = |certificate: &str, key: &str| Tls::new(certificate.as_bytes(), key.as_bytes());
        assert!(new(&certificate, &key).is_ok());
        assert!(matches!(new("", &key), Err(TlsError::NoCertificate)));
        assert!(matches!(new(&key, &key), Err(TlsError::NoCertificate)));
        assert!(matches!(new(&certificate, &certificate), Err(TlsError::NoKey)));
        let other = other.signing_key.serialize_pem();
        assert!(matches!(new(&certificate, &other), Err(TlsError::Unusable(_))));
    }
}
