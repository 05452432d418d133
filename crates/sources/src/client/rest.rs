//! One server's documents over HTTP, for commands that ask and order rather than follow.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};

use super::failure::Failure;
use super::http::{Ask, Client, JSON};
use super::login::Credentials;
use super::origin::Origin;
use super::{Auth, ClientError, TlsConfig, connector};

/// A server that is asked, with what is proved to it.
pub struct Rest {
    client: Client,
    origin: Origin,
    /// What its paths begin with, without a slash at the end.
    base: String,
    timeout: Duration,
}

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body; with another status than 200 its beginning.
    pub body: Vec<u8>,
}

/// Why there is no answer: nobody is there, or what came makes no sense as HTTP.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(String);

impl Rest {
    /// The server at `http[s]://host[:port][/path]`. `timeout` bounds one request, from connecting to
    /// the last byte.
    pub fn new(
        url: &str,
        tls: &TlsConfig,
        auth: &Auth,
        timeout: Duration,
    ) -> Result<Rest, ClientError> {
        let place = Origin::of_url(url).filter(|(_, path)| is_plain(path));
        let (origin, path) = place.ok_or_else(|| ClientError::Url(url.to_owned()))?;
        let credentials = Credentials::new(auth, || connector(tls))?;
        let tls = if origin.secure { Some(connector(tls)?) } else { None };
        let base = path.trim_end_matches('/').to_owned();
        Ok(Rest { client: Client::new(tls, credentials), origin, base, timeout })
    }

    /// Asks for what is at `path`, which may have a query.
    pub async fn get(&self, path: &str) -> Result<Reply, NoAnswer> {
        self.send(Method::GET, path, None).await
    }

    /// Makes a request with JSON in its body. Sent once: whoever gets no answer cannot know whether
    /// it was carried out.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Reply, NoAnswer> {
        let gzip = method == Method::GET;
        let path = format!("{}{path}", self.base);
        let body = body.map(Bytes::from);
        self.reply(&Ask { method, path, body, accept: JSON, gzip, reuse: false }).await
    }

    /// Asks for what is at `path` as plain text.
    pub async fn text(&self, path: &str) -> Result<Reply, NoAnswer> {
        let accept = HeaderValue::from_static("text/plain");
        self.reply(&Ask { accept, ..Ask::get(&format!("{}{path}", self.base)) }).await
    }

    async fn reply(&self, ask: &Ask) -> Result<Reply, NoAnswer> {
        match self.client.fetch(&self.origin, ask, &[], self.timeout).await {
            Ok((_, body)) => Ok(Reply { status: 200, body }),
            Err(Failure::Status(status, body)) => Ok(Reply { status: status.as_u16(), body }),
            Err(failure) => Err(NoAnswer(failure.to_string())),
        }
    }
}

/// A path goes into the first line of requests.
fn is_plain(path: &str) -> bool {
    path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'))
}
