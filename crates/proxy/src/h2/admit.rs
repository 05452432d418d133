//! From a request's head to where it goes: who the client is, which route it meets, and what the
//! task will be told; or the answer that Waymark gives itself.

use std::cell::RefCell;

use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};

use super::grpc;
use super::head::{self, Fields, Malformed};
use super::job::{Job, Told};
use super::to_h1::Body;
use super::upgrade::Upgrade;
use crate::config::ProxyConfig;
use crate::http::access_log::{self, Begun};
use crate::http::admission::{self, Sender};
use crate::http::forwarding::{self, Hop, Said};
use crate::http::local::Answer;
use crate::http::rewrite;
use crate::listen::Conn;
use crate::route::{self, Headers};
use crate::worker::Worker;

/// What is the same for all requests of a connection.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The peer's word about the client counts.
    trusted: bool,
    /// What tasks were told last, and the host it is for: mostly the next request's too.
    told: RefCell<Option<(Box<str>, Told)>>,
}

/// Why a request does not go to a task.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It breaks a rule of HTTP/2: its stream is reset.
    Malformed(Malformed),
    /// Waymark answers it.
    Answer(Answer),
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Refusal {
        Refusal::Malformed(malformed)
    }
}

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Refusal {
        Refusal::Answer(answer)
    }
}

impl Admission {
    pub(crate) fn new(config: &ProxyConfig, conn: &Conn) -> Admission {
        let trusted = forwarding::is_trusted(&config.trusted_proxies, conn.source.ip());
        Admission { trusted, told: RefCell::default() }
    }

    /// The request as it goes to a task. `end`: no contents follow.
    pub(crate) fn admit(
        &self,
        worker: &Worker,
        conn: &Conn,
        parts: Parts,
        end: bool,
    ) -> Result<Job, Refusal> {
        let head = head::check(&parts)?;
        if !conn.covers(rewrite::without_port(head.authority)) {
            // A browser that keeps one connection for several names opens another for this one
            // (RFC 9110 §15.5.20).
            let why = "the certificate of this connection is not for this host";
            return Err(Answer::new(421, why).into());
        }
        let protocol = parts.extensions.get::<h2::ext::Protocol>();
        if parts.method == Method::CONNECT && protocol.is_none() {
            return Err(Answer::new(405, "CONNECT is not served").into());
        }
        if protocol.is_some_and(|protocol| protocol.as_str() != "websocket") {
            return Err(Answer::new(501, "this protocol is not served").into());
        }
        let fields = Fields(&parts.headers);
        let sender = self.sender(worker, conn, &fields);
        let asked = route::Request {
            front: conn.front,
            secure: sender.secure,
            // An extended CONNECT is what HTTP/1 says by GET (RFC 8441 §5).
            method: if protocol.is_some() { "GET" } else { parts.method.as_str() },
            host: head.authority,
            target: head.target,
            source: sender.source,
            headers: &fields,
        };
        let (pool, unproven) = admission::pool(worker, &asked, || authorization(&parts))?;
        let rules = &pool.rules;
        let target = rewrite::target(&rules.rewrite, head.target);
        let cookie = rules.sticky.as_ref().and_then(|sticky| fields.cookie(&sticky.cookie));
        Ok(Job {
            target: (*target != *head.target).then(|| target.into_owned()),
            told: self.told(conn, head.authority, &sender),
            body: body(&parts.method, protocol.is_some(), head.length, end),
            upgrade: protocol.map(|_| Upgrade::new(worker)),
            grpc: grpc::is_grpc(&parts.headers),
            secure: sender.secure,
            source: sender.source,
            cookie: cookie.map(Box::from),
            key: admission::hash_key(rules, &asked),
            authority: head.authority.to_owned(),
            status: 0,
            unproven,
            destination: conn.local,
            task: None,
            pool,
            parts,
        })
    }

    /// Begins the request's line in the access log, if there is one.
    pub(crate) fn begin_log(
        &self,
        worker: &Worker,
        conn: &Conn,
        parts: &Parts,
    ) -> Option<Box<Begun>> {
        let log = worker.shared.access_log.as_ref()?;
        let fields = Fields(&parts.headers);
        let host = parts.uri.authority().map_or("", |authority| authority.as_str());
        Some(log.begin(&access_log::Asked {
            source: self.sender(worker, conn, &fields).source.ip(),
            method: parts.method.as_str(),
            host: parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or(host),
            target: parts.uri.path_and_query().map_or("", PathAndQuery::as_str),
            protocol: "HTTP/2.0",
            referer: fields.get("referer"),
            user_agent: fields.get("user-agent"),
        }))
    }

    fn sender(&self, worker: &Worker, conn: &Conn, fields: &Fields<'_>) -> Sender {
        Sender::new(worker, conn, self.trusted.then(|| said(fields)))
    }

    fn told(&self, conn: &Conn, host: &str, sender: &Sender) -> Told {
        let hop = Hop { source: conn.source, port: conn.local.port(), secure: conn.secure, host };
        if sender.said.is_some() {
            return tell(&hop, sender.said.as_ref());
        }
        let last = &mut *self.told.borrow_mut();
        match last {
            Some((told_host, told)) if **told_host == *host => told.clone(),
            _ => {
                let told = tell(&hop, None);
                *last = Some((host.into(), told.clone()));
                told
            }
        }
    }
}

/// The value of the only `Authorization` header: two of them say two things.
fn authorization(parts: &Parts) -> Option<&[u8]> {
    let mut given = parts.headers.get_all(AUTHORIZATION).iter();
    given.next().filter(|_| given.next().is_none()).map(HeaderValue::as_bytes)
}

/// How the contents end in HTTP/1.1.
fn body(method: &Method, upgrade: bool, length: Option<u64>, end: bool) -> Body {
    match length {
        _ if upgrade => Body::Upgrade,
        None if !end => Body::Chunked,
        Some(length) if !end => Body::Length(length),
        None if !matches!(*method, Method::POST | Method::PUT | Method::PATCH) => Body::None,
        _ => Body::Empty,
    }
}

fn tell(hop: &Hop<'_>, said: Option<&Said>) -> Told {
    let mut told = Vec::with_capacity(forwarding::NAMES.len());
    forwarding::tell(hop, said, |name, value| {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            told.push((name, value));
        }
    });
    told.into()
}

/// What a trusted peer says.
fn said(fields: &Fields<'_>) -> Said {
    let all = |name: &str| {
        let values: Vec<&[u8]> = fields.0.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        values.join(&b", "[..])
    };
    Said {
        for_: all("x-forwarded-for"),
        port: all("x-forwarded-port"),
        proto: all("x-forwarded-proto"),
        host: all("x-forwarded-host"),
        forwarded: all("forwarded"),
    }
}
