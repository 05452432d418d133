//! Credentials: HTTP Basic, or a token of DC/OS's identity service.
//!
//! A login is a signed statement of who one is (a JWT, RS256); the answer is a token, used until a
//! server refuses it or its own time is up.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::failure::Failure;
use super::http::{Ask, Client, whole};
use super::origin::Origin;
use super::{Auth, ClientError, IamConfig};

/// How long a statement of who one is counts; as Mesos-DNS has it.
const STATEMENT_LIFE: Duration = Duration::from_secs(3600);

/// How long before its end a token is not used any more.
const EARLY: Duration = Duration::from_secs(60);

/// The longest that a login may take.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer to a login.
const MAX_ANSWER: usize = 1 << 20;

/// What is proved to the servers.
pub(crate) enum Credentials {
    /// Nothing.
    None,
    /// The same with every request.
    Basic(HeaderValue),
    /// A token.
    Iam(Box<Iam>),
}

/// A service account.
pub(crate) struct Iam {
    uid: String,
    key: RsaKeyPair,
    at: Origin,
    path: String,
    tls: Option<TlsConnector>,
    token: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    authorization: HeaderValue,
    /// When its time is up, when it says so.
    expires: Option<SystemTime>,
}

impl Credentials {
    /// From the settings; `tls` is for an `https` login endpoint.
    pub fn new(
        auth: &Auth,
        tls: impl FnOnce() -> Result<TlsConnector, ClientError>,
    ) -> Result<Credentials, ClientError> {
        match auth {
            Auth::None => Ok(Credentials::None),
            Auth::Basic { principal, secret } => {
                let text = format!("Basic {}", STANDARD.encode(format!("{principal}:{secret}")));
                let mut value = HeaderValue::from_str(&text)
                    .map_err(|_| ClientError::Credentials("they are no header value"))?;
                value.set_sensitive(true);
                Ok(Credentials::Basic(value))
            }
            Auth::Iam(iam) => Ok(Credentials::Iam(Box::new(Iam::new(iam, tls)?))),
        }
    }

    /// The value of `Authorization`, after a login where one is needed.
    pub async fn authorization(&self, client: &Client) -> Result<Option<HeaderValue>, Failure> {
        match self {
            Credentials::None => Ok(None),
            Credentials::Basic(value) => Ok(Some(value.clone())),
            Credentials::Iam(iam) => iam.authorization(client, SystemTime::now()).await.map(Some),
        }
    }

    /// A server refused the token; whether there was one, so that a new login may help.
    pub fn forget_token(&self) -> bool {
        match self {
            Credentials::Iam(iam) => iam.lock().take().is_some(),
            _ => false,
        }
    }
}

impl Iam {
    fn new(
        config: &IamConfig,
        tls: impl FnOnce() -> Result<TlsConnector, ClientError>,
    ) -> Result<Iam, ClientError> {
        let refused = |reason: &str| ClientError::Iam(reason.to_owned());
        if config.uid.is_empty() {
            return Err(refused("uid is empty"));
        }
        let key = key_pair(&config.private_key)
            .ok_or_else(|| refused("private_key is not an RSA key in PEM"))?;
        let (at, path) = Origin::of_url(&config.login_endpoint)
            .ok_or_else(|| refused("login_endpoint is not an http or https URL"))?;
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let tls = at.secure.then(tls).transpose()?;
        let uid = config.uid.clone();
        Ok(Iam { uid, key, at, path, tls, token: Mutex::default() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn authorization(
        &self,
        client: &Client,
        now: SystemTime,
    ) -> Result<HeaderValue, Failure> {
        let known = self.lock().clone();
        if let Some(token) = known.filter(|t| t.expires.is_none_or(|at| now + EARLY < at)) {
            return Ok(token.authorization);
        }
        let token = timeout(LOGIN_TIMEOUT, self.login(client, now))
            .await
            .unwrap_or(Err(Failure::Timeout(LOGIN_TIMEOUT)))
            .map_err(|e| Failure::Login(e.to_string()))?;
        *self.lock() = Some(token.clone());
        Ok(token.authorization)
    }

    async fn login(&self, client: &Client, now: SystemTime) -> Result<Token, Failure> {
        let broken = |what: &str| Failure::Login(what.to_owned());
        let statement = self.statement(now).ok_or_else(|| broken("the key cannot sign"))?;
        let body = serde_json::json!({ "uid": self.uid, "token": statement }).to_string();
        let ask = Ask::post(&self.path, Bytes::from(body));
        let tls = self.tls.as_ref();
        let response = client.exchange(&self.at, tls, &ask, HeaderMap::new()).await?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Status(response.status(), Vec::new()));
        }
        let body = whole(response, MAX_ANSWER).await?;
        let answer: LoginAnswer =
            serde_json::from_slice(&body).map_err(|_| broken("the answer has no token"))?;
        let mut authorization = HeaderValue::from_str(&format!("token={}", answer.token))
            .map_err(|_| broken("the token is no header value"))?;
        authorization.set_sensitive(true);
        Ok(Token { authorization, expires: expiry(&answer.token) })
    }

    /// Who one is, signed.
    fn statement(&self, now: SystemTime) -> Option<String> {
        let until = (now + STATEMENT_LIFE).duration_since(UNIX_EPOCH).ok()?.as_secs();
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let claims = serde_json::json!({ "exp": until, "uid": self.uid }).to_string();
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

#[derive(serde::Deserialize)]
struct LoginAnswer {
    token: String,
}

fn key_pair(pem: &str) -> Option<RsaKeyPair> {
    match PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()? {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).ok(),
        _ => None,
    }
}

/// When a token that is a JWT says that its time is up.
fn expiry(token: &str) -> Option<SystemTime> {
    #[derive(serde::Deserialize)]
    struct Claims {
        exp: u64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp))
}
