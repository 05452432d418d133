//! Certificates for a Mesos that speaks TLS.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256,
};

/// Files in PEM for a cluster whose peers all show certificates of one authority.
#[derive(Clone, Debug)]
pub struct MesosTls {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// What masters and agents show.
    pub server: Identity,
    /// What clients show.
    pub client: Identity,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Both in one file.
    pub both: PathBuf,
}

impl MesosTls {
    /// Makes them in `folder`.
    pub(super) fn new(folder: &Path) -> MesosTls {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "story authority");
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("a certificate");
        let authority = folder.join("authority.pem");
        std::fs::write(&authority, issuer.pem()).expect("the folder can be written");
        let identity = |name: &str| Identity::new(folder, name, &issuer);
        MesosTls { authority, server: identity("server"), client: identity("client") }
    }

    /// The environment that makes Mesos use them, and ask its clients for theirs if so wanted.
    pub(super) fn settings(&self, asking: bool) -> Vec<(String, String)> {
        let path = |p: &Path| p.display().to_string();
        [
            ("ENABLED", "1".to_owned()),
            ("KEY_FILE", path(&self.server.key)),
            ("CERT_FILE", path(&self.server.certificate)),
            ("CA_FILE", path(&self.authority)),
            ("REQUIRE_CLIENT_CERT", u8::from(asking).to_string()),
            ("VERIFY_IPADD", "1".to_owned()),
            ("HOSTNAME_VALIDATION_SCHEME", "openssl".to_owned()),
            ("CIPHERS", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384".to_owned()),
        ]
        .map(|(name, value)| (format!("LIBPROCESS_SSL_{name}"), value))
        .to_vec()
    }
}

impl Identity {
    fn new(folder: &Path, name: &str, issuer: &CertifiedIssuer<'_, KeyPair>) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        // A certificate for every address that a master or an agent of any story may have.
        for third in 1..=250_u8 {
            for last in (1..=3).chain(11..=13) {
                let address = std::net::Ipv4Addr::new(127, 77, third, last);
                params.subject_alt_names.push(rcgen::SanType::IpAddress(address.into()));
            }
        }
        let key = key();
        let certificate = params.signed_by(&key, issuer).expect("a certificate").pem();
        let write = |what: &str, text: &str| {
            let path = folder.join(format!("{name}-{what}.pem"));
            std::fs::write(&path, text).expect("the folder can be written");
            path
        };
        Identity {
            certificate: write("certificate", &certificate),
            key: write("key", &key.serialize_pem()),
            both: write("both", &format!("{certificate}{}", key.serialize_pem())),
        }
    }
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key")
}
