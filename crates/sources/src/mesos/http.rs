//! Requests to masters: connecting, credentials, redirects, bodies.
//!
//! One connection per request: requests are rare and long, or a stream. Credentials go to masters
//! that are known from the settings or from ZooKeeper and to nobody else, wherever a redirect may
//! point.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzDecoder;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use waymark_mesos_api::{HostPort, host_port};

use super::error::Trouble;
use super::login::Credentials;

/// The longest body of an answer, unpacked: a state of more than a million tasks.
pub(crate) const MAX_BODY: usize = 1 << 30;

/// How often one request is sent on to another master.
const MAX_REDIRECTS: usize = 5;

/// The longest that connecting to one master may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is reserved for a body at most because its length was announced.
const RESERVED: usize = 64 << 20;

/// Sends requests.
pub(crate) struct Client {
    /// For HTTPS; `None` is HTTP.
    pub tls: Option<TlsConnector>,
    /// What is proved to the masters.
    pub credentials: Credentials,
}

/// What is asked.
#[derive(Clone)]
pub(crate) struct Ask {
    pub method: Method,
    pub path: String,
    /// JSON.
    pub body: Option<Bytes>,
    pub gzip: bool,
}

impl Ask {
    /// For a document, which may come packed.
    pub fn get(path: &str) -> Ask {
        Ask { method: Method::GET, path: path.to_owned(), body: None, gzip: true }
    }

    /// A call of the v1 operator API.
    pub fn call(body: &'static str) -> Ask {
        let (path, body) = ("/api/v1".to_owned(), Some(Bytes::from_static(body.as_bytes())));
        Ask { method: Method::POST, path, body, gzip: false }
    }
}

/// An answer and the master that gave it.
pub(crate) struct Answer {
    pub from: HostPort,
    pub response: Response<Incoming>,
}

impl Client {
    /// Asks `master`, and those to whom it sends on. Only answers with status 200 come back.
    /// `known` are the masters that may see the credentials.
    pub async fn ask(
        &self,
        master: &HostPort,
        ask: &Ask,
        known: &[HostPort],
    ) -> Result<Answer, Trouble> {
        let (mut at, mut ask) = (master.clone(), ask.clone());
        let mut logins = 0;
        for _ in 0..=MAX_REDIRECTS {
            let trusted = at == *master || known.contains(&at);
            let authorization = match trusted {
                true => self.credentials.authorization(self).await?,
                false => None,
            };
            let response = self.send(&at, &ask, authorization.as_ref()).await?;
            match response.status() {
                StatusCode::OK => return Ok(Answer { from: at, response }),
                StatusCode::UNAUTHORIZED if logins == 0 && self.credentials.forget_token() => {
                    logins += 1;
                }
                status if status.is_redirection() => {
                    let location = response.headers().get(header::LOCATION);
                    let location = location.and_then(|l| l.to_str().ok()).unwrap_or_default();
                    let Some((to, path)) = self.follow(&at, location) else {
                        return Err(Trouble::BadRedirect(location.to_owned()));
                    };
                    (at, ask.path) = (self.recognized(to, known).await, path);
                }
                status => return Err(Trouble::Status(status)),
            }
        }
        Err(Trouble::Redirects(MAX_REDIRECTS))
    }

    /// Masters send on to the leader's host name; where that is the address of a known master, this
    /// is the one that is asked, and that may see the credentials.
    async fn recognized(&self, to: HostPort, known: &[HostPort]) -> HostPort {
        if matches!(self.credentials, Credentials::None) || known.contains(&to) {
            return to;
        }
        let looking = timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((&*to.host, to.port)));
        let Ok(Ok(found)) = looking.await else { return to };
        let found: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).collect();
        let is_it = |master: &&HostPort| {
            let address = master.host.parse::<IpAddr>();
            master.port == to.port && address.is_ok_and(|address| found.contains(&address))
        };
        known.iter().find(is_it).cloned().unwrap_or(to)
    }

    /// The answer to a request for a document, whole.
    pub async fn fetch(
        &self,
        master: &HostPort,
        ask: &Ask,
        known: &[HostPort],
        within: Duration,
    ) -> Result<(HostPort, Vec<u8>), Trouble> {
        let all = async {
            let answer = self.ask(master, ask, known).await?;
            Ok((answer.from, whole(answer.response, MAX_BODY).await?))
        };
        timeout(within, all).await.unwrap_or(Err(Trouble::Timeout(within)))
    }

    /// Where a `Location` points: Mesos writes `//host:port/path`.
    fn follow(&self, from: &HostPort, location: &str) -> Option<(HostPort, String)> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Some((from.clone(), location.to_owned()));
        }
        let (rest, port) = match (&self.tls, location.strip_prefix("//")) {
            (Some(_), Some(rest)) => (rest, 443),
            (None, Some(rest)) => (rest, 80),
            // Never from HTTPS to HTTP, and HTTP is what was asked for otherwise.
            (Some(_), None) => (location.strip_prefix("https://")?, 443),
            (None, None) => (location.strip_prefix("http://")?, 80),
        };
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, format!("/{path}")),
            None => (rest, "/".to_owned()),
        };
        let to = host_port(authority).or_else(|| host_port(&format!("{authority}:{port}")))?;
        Some((to, path))
    }

    async fn send(
        &self,
        to: &HostPort,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, Trouble> {
        let mut headers = HeaderMap::new();
        if let Ok(host) = HeaderValue::from_str(&to.to_string()) {
            headers.insert(header::HOST, host);
        }
        if ask.gzip {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::ACCEPT, json);
        if let Some(authorization) = authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        self.exchange(to, self.tls.as_ref(), ask, headers).await
    }

    /// One request on a connection of its own.
    pub async fn exchange(
        &self,
        to: &HostPort,
        tls: Option<&TlsConnector>,
        ask: &Ask,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, Trouble> {
        let body = ask.body.clone().unwrap_or_default();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = ask.method.clone();
        let path = ask.path.parse().map_err(|_| Trouble::BadRedirect(ask.path.clone()))?;
        *request.uri_mut() = path;
        *request.headers_mut() = headers;
        let agent = HeaderValue::from_static(concat!("Waymark/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        if ask.body.is_some() {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        let failed = |reason: String| Trouble::Connect { master: to.to_string(), reason };
        let connecting = timeout(CONNECT_TIMEOUT, connect(to, tls)).await;
        let stream = connecting
            .unwrap_or_else(|_| Err(format!("no connection within {CONNECT_TIMEOUT:?}")))
            .map_err(failed)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the response has been read or dropped; its error shows in the response.
        tokio::spawn(connection);
        Ok(sender.send_request(request).await?)
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn connect(to: &HostPort, tls: Option<&TlsConnector>) -> Result<Box<dyn Stream>, String> {
    let tcp = TcpStream::connect((&*to.host, to.port)).await.map_err(|e| e.to_string())?;
    // A lost option costs latency only.
    let _ = tcp.set_nodelay(true);
    let Some(tls) = tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(to.host.to_string()).map_err(|e| e.to_string())?;
    let stream = tls.connect(name, tcp).await.map_err(|e| format!("TLS: {e}"))?;
    Ok(Box::new(stream))
}

/// Collects a body of up to `limit` bytes, unpacked.
pub(crate) async fn whole(response: Response<Incoming>, limit: usize) -> Result<Vec<u8>, Trouble> {
    let encoding = response.headers().get(header::CONTENT_ENCODING);
    let packed = encoding.is_some_and(|e| e.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let length = response.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|l| l.to_str().ok()?.parse::<usize>().ok()).unwrap_or(0);
    let mut sink = Bounded { bytes: Vec::with_capacity(length.min(RESERVED)), limit };
    let mut body = response.into_body();
    if !packed {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            sink.write_all(&data).map_err(|_| Trouble::TooLong(limit))?;
        }
        return Ok(sink.bytes);
    }
    let mut unpack = GzDecoder::new(sink);
    let error = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::FileTooLarge => Trouble::TooLong(limit),
        _ => Trouble::Encoding(e),
    };
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        unpack.write_all(&data).map_err(error)?;
    }
    Ok(unpack.finish().map_err(error)?.bytes)
}

/// Bytes up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + part.len() > self.limit {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
