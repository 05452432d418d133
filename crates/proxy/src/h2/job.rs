//! One request on its way to a task: its head as the task gets it, and what changes of the answer.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, COOKIE, HOST, LOCATION, SEC_WEBSOCKET_ACCEPT, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use waymark_routing::BackendProtocol;

use super::to_h1::{Ask, Body};
use super::upgrade::Upgrade;
use crate::h1::{HSTS, Known};
use crate::http::admission::Unproven;
use crate::http::{rewrite, sticky};
use crate::route::Pool;

/// What a task is told about the client, ready to be added to any head.
pub(crate) type Told = Rc<[(HeaderName, HeaderValue)]>;

/// A request that goes to a task of a pool.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) pool: Arc<Pool>,
    /// The head as it came.
    pub(crate) parts: Parts,
    /// Host and port as they came.
    pub(crate) authority: String,
    /// Path and query as the task sees them, when that differs from how they came.
    pub(crate) target: Option<String>,
    pub(crate) told: Told,
    /// How the contents end.
    pub(crate) body: Body,
    /// What is asked to go on with (extended CONNECT).
    pub(crate) upgrade: Option<Upgrade>,
    /// From a gRPC client.
    pub(crate) grpc: bool,
    /// It came over TLS.
    pub(crate) secure: bool,
    /// The client.
    pub(crate) source: SocketAddr,
    /// The value of the sticky cookie that came.
    pub(crate) cookie: Option<Box<[u8]>>,
    /// What a consistent hash goes by.
    pub(crate) key: Option<Box<[u8]>>,
    /// Where it connected to.
    pub(crate) destination: SocketAddr,
    /// A password that has to be checked first.
    pub(crate) unproven: Option<Unproven>,
    /// The task that got it last.
    pub(crate) task: Option<SocketAddr>,
    /// The status of the answer; 0 = none yet.
    pub(crate) status: u16,
}

impl Job {
    /// Whether sending it twice does no harm (RFC 9110 §9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        matches!(
            self.parts.method,
            Method::GET
                | Method::HEAD
                | Method::OPTIONS
                | Method::TRACE
                | Method::PUT
                | Method::DELETE
        ) && self.upgrade.is_none()
    }

    /// Whether both sides may be silent for long once the task has agreed (2xx): what is a
    /// conversation, not an answer. A client cannot make one of any request by a field alone: a
    /// task that speaks HTTP/1.1 has no gRPC.
    pub(crate) fn is_conversation(&self) -> bool {
        let grpc = self.grpc && self.pool.rules.backend.protocol == BackendProtocol::Http2;
        grpc || self.upgrade.is_some()
    }

    fn target(&self) -> &str {
        let came = || self.parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        self.target.as_deref().unwrap_or_else(came)
    }

    fn host(&self) -> &str {
        self.pool.rules.host_rewrite.as_deref().unwrap_or(&self.authority)
    }

    fn sticky_cookie(&self) -> Option<&str> {
        self.pool.rules.sticky.as_ref().map(|sticky| sticky.cookie.as_str())
    }

    /// The head for a task that speaks HTTP/1.1.
    pub(crate) fn for_h1(&self) -> Ask<'_> {
        Ask {
            method: self.parts.method.as_str(),
            target: self.target(),
            authority: self.host(),
            headers: &self.parts.headers,
            told: &self.told,
            cookie: self.sticky_cookie(),
            body: self.body,
            upgrade: self.upgrade.as_ref(),
        }
    }

    /// The head for a task that speaks HTTP/2. `None`: a part of it cannot be said in HTTP/2.
    pub(crate) fn for_h2(&self, tls: bool) -> Option<Request<()>> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(Authority::try_from(self.host()).ok()?);
        parts.path_and_query = Some(PathAndQuery::try_from(self.target()).ok()?);
        let mut request = Request::new(());
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
        let mut headers = self.parts.headers.clone();
        strip_request(&mut headers);
        if let Some(name) = self.sticky_cookie() {
            strip_cookie(&mut headers, name);
        }
        for (name, value) in self.told.iter() {
            headers.insert(name.clone(), value.clone());
        }
        *request.headers_mut() = headers;
        if let Some(protocol) = self.parts.extensions.get::<h2::ext::Protocol>() {
            request.extensions_mut().insert(protocol.clone());
        }
        Some(request)
    }

    /// Changes the head of an answer on its way to the client. `task_cookie`: the value of the
    /// sticky cookie that leads to the task.
    pub(crate) fn edit(&mut self, head: &mut Response<()>, task_cookie: Option<&str>) {
        if head.status() == StatusCode::SWITCHING_PROTOCOLS {
            // What HTTP/2 says in its place (RFC 8441 §5).
            *head.status_mut() = StatusCode::OK;
            head.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
        }
        if head.status().is_informational() {
            return;
        }
        self.status = head.status().as_u16();
        let rules = &self.pool.rules;
        let headers = head.headers_mut();
        if let Some(prefix) = &rules.location_prefix {
            prefix_location(headers, prefix, &self.authority);
        }
        if let Some(sticky) = &rules.sticky {
            let news = task_cookie.filter(|task| self.cookie.as_deref() != Some(task.as_bytes()));
            stick(headers, &sticky.cookie, news);
        }
        if rules.hsts && self.secure {
            headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
        }
    }

    /// Counts it at its pool.
    pub(crate) fn count(&self, bytes_in: u64, bytes_out: u64, duration: Duration) {
        let counters = &self.pool.counters;
        counters.latency.count(duration);
        if let Some(class) = counters.requests.get(usize::from(self.status / 100)) {
            class.fetch_add(1, Relaxed);
        }
        counters.bytes_in.fetch_add(bytes_in, Relaxed);
        counters.bytes_out.fetch_add(bytes_out, Relaxed);
    }
}

/// Whether a field of a request ends here: it belongs to the connection, or it is ours to say.
pub(crate) fn stays_here(name: &HeaderName) -> bool {
    is_ours(Known::of(name.as_str().as_bytes()))
}

/// As [`stays_here`], of a name whose meaning is known already.
pub(crate) fn is_ours(known: Known) -> bool {
    known.is_forwarding()
        || matches!(known, Known::Host | Known::TransferEncoding)
        || (known.is_hop_by_hop() && known != Known::Te)
}

/// Removes what ends here.
fn strip_request(headers: &mut HeaderMap) {
    let gone: Vec<HeaderName> = headers.keys().filter(|name| stays_here(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
    // One of several equal ones is enough.
    if let Some(length) = headers.remove(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, length);
    }
    headers.remove(HOST);
}

fn strip_cookie(headers: &mut HeaderMap, name: &str) {
    let mut left = Vec::new();
    for crumb in headers.get_all(COOKIE) {
        let mut out = Vec::new();
        if sticky::strip(crumb.as_bytes(), name, &mut out) {
            left.extend(HeaderValue::from_bytes(&out).ok());
        }
    }
    headers.remove(COOKIE);
    for crumb in left {
        headers.append(COOKIE, crumb);
    }
}

fn prefix_location(headers: &mut HeaderMap, prefix: &str, host: &str) {
    let came = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let location = came.and_then(|came| rewrite::location(prefix, &[host], came));
    if let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) {
        headers.insert(LOCATION, location);
    }
}

/// Only Waymark sets the cookie; it does so when the client has another value, or none.
fn stick(headers: &mut HeaderMap, name: &str, news: Option<&str>) {
    if headers.get_all(SET_COOKIE).iter().any(|cookie| sticky::sets(cookie.as_bytes(), name)) {
        let others = headers.get_all(SET_COOKIE).iter();
        let others: Vec<HeaderValue> =
            others.filter(|cookie| !sticky::sets(cookie.as_bytes(), name)).cloned().collect();
        headers.remove(SET_COOKIE);
        for cookie in others {
            headers.append(SET_COOKIE, cookie);
        }
    }
    if let Some(Ok(cookie)) = news.map(|task| HeaderValue::try_from(sticky::set_cookie(name, task)))
    {
        headers.append(SET_COOKIE, cookie);
        headers.append(CACHE_CONTROL, HeaderValue::from_static(sticky::CACHE_CONTROL));
    }
}
