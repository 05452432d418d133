//! TLS without certificate check, for HTTPS health checks and nothing else.
//!
//! Marathon does not check certificates here and neither can Waymark: a probe goes to an address
//! and a port that were drawn a moment ago, for which nobody has a certificate. The probe asks
//! whether the task answers, not who it is; it sends no secret, and the answer's content is not
//! trusted beyond its status code. Someone in between could make an ill task look well, which they
//! could do to a plain HTTP check as well.
//!
//! Never use this for anything that carries users' data.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, Error};
use tokio_rustls::TlsConnector;
use waymark_tls::AnyCertificate;

/// A connector that accepts every certificate. Sessions are not resumed: tasks share host names,
/// so a ticket would mostly be shown to the wrong one.
pub(crate) fn connector() -> Result<TlsConnector, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}
