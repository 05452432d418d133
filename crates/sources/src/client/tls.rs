//! TLS towards the servers and the identity service.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ConfigBuilder, client::WantsClientCert};
use tokio_rustls::TlsConnector;
use waymark_tls::{AnyCertificate, AuthorityError, authorities, certificates, system_authorities};

use super::{ClientError, TlsConfig};

/// The connector that the settings ask for.
pub(crate) fn connector(tls: &TlsConfig) -> Result<TlsConnector, ClientError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| ClientError::Tls(e.to_string()))?;
    let builder = match &tls.ca_file {
        Some(file) => builder.with_root_certificates(authorities(file)?),
        // As Mesos-DNS does when it has no CA file.
        None if tls.insecure_without_ca => {
            tracing::warn!(
                "HTTPS is not verified, since no CA file is given: whoever is in between can read \
                 the credentials and change every answer"
            );
            let any = Arc::new(AnyCertificate::new(provider));
            builder.dangerous().with_custom_certificate_verifier(any)
        }
        None => builder.with_root_certificates(system_authorities()),
    };
    Ok(TlsConnector::from(Arc::new(with_client(builder, tls)?)))
}

fn with_client(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    tls: &TlsConfig,
) -> Result<ClientConfig, ClientError> {
    match (&tls.cert_file, &tls.key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key_file)) => {
            let key = PrivateKeyDer::from_pem_file(key_file).map_err(|e| bad(key_file, e))?;
            builder.with_client_auth_cert(certificates(cert)?, key).map_err(|e| bad(cert, e))
        }
        _ => Err(ClientError::HalfCertificate),
    }
}

fn bad(file: &Path, reason: impl ToString) -> ClientError {
    ClientError::File { file: file.to_owned(), reason: reason.to_string() }
}

impl From<AuthorityError> for ClientError {
    fn from(error: AuthorityError) -> ClientError {
        ClientError::File { file: error.file, reason: error.reason }
    }
}
