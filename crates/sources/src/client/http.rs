//! Requests: connecting, credentials, redirects, bodies.
//!
//! A connection is used again when the question says so; a stream has one of its own. Credentials
//! go to the servers that are known from the settings and to nobody else, wherever a redirect may
//! point.

use std::io::Write;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::write::GzDecoder;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::failure::Failure;
use super::login::Credentials;
use super::origin::Origin;

/// The longest body of an answer, unpacked: a state of more than a million tasks.
pub(crate) const MAX_BODY: usize = 1 << 30;

/// What is read of the body of an answer that is of no use.
const MAX_REFUSAL: usize = 16 * 1024;

/// The longest that the body of an answer that is of no use is waited for.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// How often one request is sent on to another server.
const MAX_REDIRECTS: usize = 5;

/// The longest that connecting to one server may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is reserved for a body at most because its length was announced.
const RESERVED: usize = 64 << 20;

/// The most connections that are kept for further questions.
const MAX_IDLE: usize = 8;

/// How long a connection is kept: something in between may forget those that are quiet for long.
const IDLE_LIFE: Duration = Duration::from_secs(20);

/// `Accept` of documents.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Sends requests.
pub(crate) struct Client {
    /// For HTTPS; without it only HTTP is possible.
    tls: Option<TlsConnector>,
    /// What is proved to the servers.
    credentials: Credentials,
    /// Connections that may serve further questions, and since when they are not used.
    idle: Mutex<Vec<Idle>>,
}

type Sender = SendRequest<Full<Bytes>>;

struct Idle {
    to: Origin,
    sender: Sender,
    since: Instant,
}

/// What is asked.
#[derive(Clone)]
pub(crate) struct Ask {
    pub method: Method,
    pub path: String,
    /// JSON.
    pub body: Option<Bytes>,
    pub accept: HeaderValue,
    pub gzip: bool,
    /// Whether a connection may serve this question after others, and others after it.
    pub reuse: bool,
}

impl Ask {
    /// For a document, which may come packed.
    pub fn get(path: &str) -> Ask {
        let (path, accept) = (path.to_owned(), JSON);
        Ask { method: Method::GET, path, body: None, accept, gzip: true, reuse: false }
    }

    /// On a connection that may have served others before.
    pub fn reusing(self) -> Ask {
        Ask { reuse: true, ..self }
    }

    /// To have something done or said about a JSON document.
    pub fn post(path: &str, body: Bytes) -> Ask {
        let (path, body) = (path.to_owned(), Some(body));
        Ask { method: Method::POST, path, body, accept: JSON, gzip: false, reuse: false }
    }
}

/// An answer and the server that gave it.
pub(crate) struct Answer {
    pub from: Origin,
    pub response: Response<Incoming>,
}

impl Client {
    /// One that uses `tls` for HTTPS and proves who it is by `credentials`.
    pub fn new(tls: Option<TlsConnector>, credentials: Credentials) -> Client {
        Client { tls, credentials, idle: Mutex::default() }
    }

    /// Asks `server`, and those to whom it sends on. Only answers with status 200 come back.
    /// `known` are the servers that may see the credentials, beside the first.
    pub async fn ask(
        &self,
        server: &Origin,
        ask: &Ask,
        known: &[Origin],
    ) -> Result<Answer, Failure> {
        let (mut at, mut ask) = (server.clone(), ask.clone());
        let mut logins = 0;
        for _ in 0..=MAX_REDIRECTS {
            let trusted = at == *server || known.contains(&at);
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
                        return Err(Failure::BadRedirect(location.to_owned()));
                    };
                    (at, ask.path) = (self.recognized(to, server, known).await, path);
                }
                status => return Err(Failure::Status(status, refusal(response).await)),
            }
        }
        Err(Failure::Redirects(MAX_REDIRECTS))
    }

    /// Servers send on to the leader's host name; where that has an address of a known server, this
    /// is the one that is asked, and that may see the credentials.
    async fn recognized(&self, to: Origin, first: &Origin, known: &[Origin]) -> Origin {
        if matches!(self.credentials, Credentials::None) || known.contains(&to) || to == *first {
            return to;
        }
        let found = addresses(&to).await;
        for server in known.iter().chain([first]) {
            let alike = server.secure == to.secure && server.at.port == to.at.port;
            if alike && addresses(server).await.iter().any(|address| found.contains(address)) {
                return server.clone();
            }
        }
        to
    }

    /// The answer to a request for a document, whole.
    pub async fn fetch(
        &self,
        server: &Origin,
        ask: &Ask,
        known: &[Origin],
        within: Duration,
    ) -> Result<(Origin, Vec<u8>), Failure> {
        let all = async {
            let answer = self.ask(server, ask, known).await?;
            Ok((answer.from, whole(answer.response, MAX_BODY).await?))
        };
        timeout(within, all).await.unwrap_or(Err(Failure::Timeout(within)))
    }

    /// Where a `Location` points; `//host:port/path` keeps the scheme. Never from HTTPS to HTTP.
    fn follow(&self, from: &Origin, location: &str) -> Option<(Origin, String)> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Some((from.clone(), location.to_owned()));
        }
        let scheme = if from.secure { "https:" } else { "http:" };
        let (to, path) = match location.starts_with("//") {
            true => Origin::of_url(&format!("{scheme}{location}"))?,
            false => Origin::of_url(location)?,
        };
        let sound = if to.secure { self.tls.is_some() } else { !from.secure };
        let path = if path.is_empty() { "/".to_owned() } else { path };
        sound.then_some((to, path))
    }

    async fn send(
        &self,
        to: &Origin,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut headers = HeaderMap::new();
        if ask.gzip {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(authorization) = authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        self.exchange(to, self.tls.as_ref(), ask, headers).await
    }

    /// One request and its answer.
    pub async fn exchange(
        &self,
        to: &Origin,
        tls: Option<&TlsConnector>,
        ask: &Ask,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, Failure> {
        if ask.reuse
            && let Some(mut sender) = self.idle_to(to)
        {
            // The server may have closed it meanwhile: the question is asked anew then.
            if let Ok(response) = sender.send_request(request(to, ask, headers.clone())?).await {
                self.keep(to, sender);
                return Ok(response);
            }
        }
        let failed = |reason: String| Failure::Connect { server: to.at.to_string(), reason };
        let tls = if to.secure { Some(tls.ok_or_else(|| failed("no TLS".into()))?) } else { None };
        let connecting = timeout(CONNECT_TIMEOUT, connect(to, tls)).await;
        let stream = connecting
            .unwrap_or_else(|_| Err(format!("no connection within {CONNECT_TIMEOUT:?}")))
            .map_err(failed)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the response has been read or dropped; its error shows in the response.
        tokio::spawn(connection);
        let response = sender.send_request(request(to, ask, headers)?).await?;
        if ask.reuse {
            self.keep(to, sender);
        }
        Ok(response)
    }

    /// A connection whose last answer has been read.
    fn idle_to(&self, to: &Origin) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < IDLE_LIFE);
        let at = idle.iter().position(|idle| idle.to == *to && idle.sender.is_ready())?;
        Some(idle.swap_remove(at).sender)
    }

    fn keep(&self, to: &Origin, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= MAX_IDLE {
            idle.remove(0);
        }
        idle.push(Idle { to: to.clone(), sender, since: Instant::now() });
    }
}

fn request(
    to: &Origin,
    ask: &Ask,
    mut headers: HeaderMap,
) -> Result<Request<Full<Bytes>>, Failure> {
    if let Ok(host) = HeaderValue::from_str(&to.at.to_string()) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::ACCEPT, ask.accept.clone());
    let agent = HeaderValue::from_static(concat!("Waymark/", env!("CARGO_PKG_VERSION")));
    headers.insert(header::USER_AGENT, agent);
    if ask.body.is_some() {
        headers.insert(header::CONTENT_TYPE, JSON);
    }
    let mut request = Request::new(Full::new(ask.body.clone().unwrap_or_default()));
    *request.method_mut() = ask.method.clone();
    *request.uri_mut() = ask.path.parse().map_err(|_| Failure::BadRedirect(ask.path.clone()))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The addresses of a server; none when they cannot be found.
async fn addresses(of: &Origin) -> Vec<IpAddr> {
    let looking = tokio::net::lookup_host((&*of.at.host, of.at.port));
    let Ok(Ok(found)) = timeout(CONNECT_TIMEOUT, looking).await else { return Vec::new() };
    found.map(|address| address.ip().to_canonical()).collect()
}

/// What comes with an answer of no use, as far as it comes quickly and is short.
async fn refusal(response: Response<Incoming>) -> Vec<u8> {
    let body = Limited::new(response.into_body(), MAX_REFUSAL).collect();
    match timeout(REFUSAL_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes().to_vec(),
        _ => Vec::new(),
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn connect(to: &Origin, tls: Option<&TlsConnector>) -> Result<Box<dyn Stream>, String> {
    let tcp = TcpStream::connect((&*to.at.host, to.at.port)).await.map_err(|e| e.to_string())?;
    // A lost option costs latency only.
    let _ = tcp.set_nodelay(true);
    let Some(tls) = tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(to.at.host.to_string()).map_err(|e| e.to_string())?;
    let stream = tls.connect(name, tcp).await.map_err(|e| format!("TLS: {e}"))?;
    Ok(Box::new(stream))
}

/// Collects a body of up to `limit` bytes, unpacked.
pub(crate) async fn whole(response: Response<Incoming>, limit: usize) -> Result<Vec<u8>, Failure> {
    let encoding = response.headers().get(header::CONTENT_ENCODING);
    let packed = encoding.is_some_and(|e| e.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let length = response.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|l| l.to_str().ok()?.parse::<usize>().ok()).unwrap_or(0);
    let mut sink = Bounded { bytes: Vec::with_capacity(length.min(RESERVED)), limit };
    let mut body = response.into_body();
    if !packed {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            sink.write_all(&data).map_err(|_| Failure::TooLong(limit))?;
        }
        return Ok(sink.bytes);
    }
    let mut unpack = GzDecoder::new(sink);
    let error = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::FileTooLarge => Failure::TooLong(limit),
        _ => Failure::Encoding(e),
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
