//! TLS towards masters and the identity service.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::WantsClientCert,
};
use tokio_rustls::TlsConnector;

use super::{MesosConfigError, MesosTls};

/// The connector that the settings ask for.
pub(crate) fn connector(tls: &MesosTls) -> Result<TlsConnector, MesosConfigError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| MesosConfigError::Tls(e.to_string()))?;
    let builder = match &tls.ca_file {
        Some(file) => builder.with_root_certificates(authorities(file)?),
        None if tls.insecure_without_ca => {
            tracing::warn!(
                "HTTPS to the masters is not verified, since no CA file is given: whoever is in \
                 between can read the credentials and change every name"
            );
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        }
        None => builder.with_root_certificates(system_authorities()),
    };
    Ok(TlsConnector::from(Arc::new(with_client(builder, tls)?)))
}

fn with_client(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    tls: &MesosTls,
) -> Result<ClientConfig, MesosConfigError> {
    match (&tls.cert_file, &tls.key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key_file)) => {
            let key = PrivateKeyDer::from_pem_file(key_file).map_err(|e| bad(key_file, e))?;
            builder.with_client_auth_cert(certificates(cert)?, key).map_err(|e| bad(cert, e))
        }
        _ => Err(MesosConfigError::HalfCertificate),
    }
}

fn bad(file: &Path, reason: impl ToString) -> MesosConfigError {
    MesosConfigError::File { file: file.to_owned(), reason: reason.to_string() }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, MesosConfigError> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|e| bad(file, e))?;
    if found.is_empty() {
        return Err(bad(file, "no certificate in it"));
    }
    Ok(found)
}

fn authorities(file: &Path) -> Result<RootCertStore, MesosConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|e| bad(file, e))?;
    }
    Ok(roots)
}

fn system_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(%error, "some of the system's certificate authorities cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

/// Accepts every certificate, as Mesos-DNS does when it has no CA file.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
