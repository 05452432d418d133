//! An authority and a certificate of it for servers and clients at 127.0.0.1.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair as CertKey};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// An authority with a certificate for 127.0.0.1 and one for a client, in files.
pub struct Certificates {
    directory: tempfile::TempDir,
    authority: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Certificates {
    pub fn new() -> Certificates {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, CertKey::generate().unwrap()).unwrap();
        let key = CertKey::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        write("ca.pem", issuer.pem());
        write("cert.pem", certificate.pem());
        write("key.pem", key.serialize_pem());
        let authority = issuer.der().clone();
        let (certificate, key) = (certificate.der().clone(), key.serialize_der());
        Certificates { directory, authority, certificate, key }
    }

    pub fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.directory.path().join(name))
    }

    /// A server that has the certificate and wants one of its clients.
    pub fn acceptor(&self, client: bool) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match client {
            false => builder.with_no_client_auth(),
            true => {
                let mut roots = RootCertStore::empty();
                roots.add(self.authority.clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let config = builder.with_single_cert(vec![self.certificate.clone()], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
