//! Certificates for tests.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
use time::OffsetDateTime;

use super::bundle::Certificate;

/// The time of tests that bring their own, in seconds since 1970.
pub(crate) const NOW: i64 = 1_800_000_000;

/// Chain (of one) and key in PEM.
pub(crate) struct Made {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Made {
    pub(crate) fn pem(&self) -> String {
        format!("{}{}", self.chain, self.key)
    }
}

/// Signed by itself, for these names, until then.
pub(crate) fn make(names: &[&str], algorithm: &'static SignatureAlgorithm, until: i64) -> Made {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = OffsetDateTime::UNIX_EPOCH;
    params.not_after = OffsetDateTime::from_unix_timestamp(until).unwrap();
    Made { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// [`make`], read.
pub(crate) fn certificate(
    names: &[&str],
    algorithm: &'static SignatureAlgorithm,
    until: i64,
) -> Arc<Certificate> {
    let made = make(names, algorithm, until);
    Arc::new(Certificate::read(made.pem().as_bytes(), None).unwrap())
}
