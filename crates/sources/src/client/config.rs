//! What a source is told about reaching its servers: TLS and what is proved to them.
//!
//! Filled in by whoever reads the settings. Secrets never show in `Debug`.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// How HTTPS to the servers, and to the IAM, is done.
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client certificate and its chain.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the client certificate's key.
    pub key_file: Option<PathBuf>,
    /// Accept any certificate when there is no `ca_file`, as Mesos-DNS does; logged as a warning.
    pub insecure_without_ca: bool,
}

/// What is proved to the servers.
#[derive(Clone, Default)]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// HTTP Basic with every request.
    Basic {
        /// The user.
        principal: String,
        /// The password.
        secret: String,
    },
    /// A token from DC/OS's identity service.
    Iam(IamConfig),
}

/// A service account of DC/OS.
#[derive(Clone, Deserialize)]
pub struct IamConfig {
    /// The account.
    pub uid: String,
    /// Its RSA key, PEM (PKCS#8 or PKCS#1).
    pub private_key: String,
    /// Where to log in (`https://leader.mesos/acs/api/v1/auth/login`).
    pub login_endpoint: String,
}

impl Auth {
    /// Basic credentials of a text `user:password`. The first colon ends the user; a password may
    /// hold more of them.
    pub fn basic(text: &str) -> Result<Auth, ClientError> {
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() => {
                Ok(Auth::Basic { principal: user.to_owned(), secret: password.to_owned() })
            }
            _ => Err(ClientError::Credentials("they are not user:password")),
        }
    }

    /// Basic credentials from the first line of a file.
    pub fn basic_from_file(file: &Path) -> Result<Auth, ClientError> {
        let refused = |reason: String| ClientError::File { file: file.to_owned(), reason };
        let text = std::fs::read_to_string(file).map_err(|e| refused(e.to_string()))?;
        let line = text.lines().next().unwrap_or_default();
        Auth::basic(line).map_err(|_| refused("its first line is not user:password".to_owned()))
    }

    /// A service account from its JSON, as DC/OS hands it out: `uid`, `private_key` and
    /// `login_endpoint`; whatever else is in it has no effect.
    pub fn dcos(json: &str) -> Result<Auth, ClientError> {
        // The parser's own words could show a piece of the key.
        serde_json::from_str(json).map(Auth::Iam).map_err(|_| {
            ClientError::Iam(
                "the credentials are not JSON with uid, private_key and login_endpoint".to_owned(),
            )
        })
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Auth::None => f.write_str("None"),
            Auth::Basic { principal, .. } => {
                f.debug_struct("Basic").field("principal", principal).finish_non_exhaustive()
            }
            Auth::Iam(iam) => f.debug_tuple("Iam").field(iam).finish(),
        }
    }
}

impl fmt::Debug for IamConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IamConfig")
            .field("uid", &self.uid)
            .field("login_endpoint", &self.login_endpoint)
            .finish_non_exhaustive()
    }
}

/// Why servers cannot be asked with these settings.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// One of certificate and key is missing.
    #[error("client certificate and key must be given together")]
    HalfCertificate,
    /// A file cannot be read or holds nothing usable.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A URL is not one of HTTP.
    #[error("{0:?} is not http[s]://host[:port][/path]")]
    Url(String),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
    /// Basic credentials are not usable.
    #[error("credentials: {0}")]
    Credentials(&'static str),
    /// Something of the IAM account is missing or unusable.
    #[error("IAM: {0}")]
    Iam(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_credentials_and_never_shows_them() {
        let Ok(Auth::Basic { principal, secret }) = Auth::basic("u:p:w:") else { panic!() };
        assert_eq!((principal.as_str(), secret.as_str()), ("u", "p:w:"));
        assert!(Auth::basic("secret").is_err() && Auth::basic(":secret").is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "u:sec:ret\r\nmore\n").unwrap();
        let Auth::Basic { secret, .. } = Auth::basic_from_file(file.path()).unwrap() else {
            panic!()
        };
        assert_eq!(secret, "sec:ret");
        std::fs::write(file.path(), "secret\n").unwrap();
        let refused = Auth::basic_from_file(file.path()).unwrap_err().to_string();
        assert!(!refused.contains("secret"), "{refused}");
        let json = r#"{"uid":"u","private_key":"secret","login_endpoint":"https://x","scheme":1}"#;
        let Auth::Iam(iam) = Auth::dcos(json).unwrap() else { panic!() };
        assert!(iam.uid == "u" && !format!("{iam:?}").contains("secret"));
        let refused = Auth::dcos(r#"{"private_key":"secret"}"#).unwrap_err().to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }
}
