//! From a request's head to where it goes: who the client is, which route it meets, and the head as
//! the task will see it.

use std::sync::Arc;

use tokio::time::Instant;

use super::body::Progress;
use super::field::Known;
use super::job::Job;
use super::patch::{self, RequestChanges};
use super::request::{Request, Version};
use super::response::Asked;
use crate::config::ProxyConfig;
use crate::http::access_log::{self, Begun};
use crate::http::admission::{self, Sender};
use crate::http::forwarding::{self, Hop, Said};
use crate::http::local::Answer;
use crate::http::rewrite;
use crate::listen::Conn;
use crate::route::{self, Headers, Pool};
use crate::worker::Worker;

/// What is the same for all requests of a connection.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The peer's word about the client counts.
    trusted: bool,
    /// The forwarding headers of the last request, and the host they are for: mostly the next one's
    /// too.
    told: Option<(Box<str>, Box<[u8]>)>,
}

impl Admission {
    pub(crate) fn new(config: &ProxyConfig, conn: &Conn) -> Admission {
        let trusted = forwarding::is_trusted(&config.trusted_proxies, conn.source.ip());
        Admission { trusted, told: None }
    }

    /// The request as it goes to a task, without its body; or the answer that Waymark gives.
    pub(crate) fn admit(
        &mut self,
        worker: &Worker,
        conn: &Conn,
        request: &Request<'_>,
    ) -> Result<Box<Job>, Answer> {
        if !conn.covers(rewrite::without_port(request.host)) {
            // A browser that keeps one connection for several names opens another for this one
            // (RFC 9110 §15.5.20).
            return Err(Answer::new(
                421,
                "the certificate of this connection is not for this host",
            ));
        }
        let sender = self.sender(worker, conn, request);
        let asked = route::Request {
            front: conn.front,
            secure: sender.secure,
            method: request.method,
            host: request.host,
            target: request.target,
            source: sender.source,
            headers: request,
        };
        let (pool, unproven) = admission::pool(worker, &asked, || authorization(request))?;
        let key = admission::hash_key(&pool.rules, &asked);
        let mut job = self.job(conn, request, &sender, pool);
        job.key = key;
        job.unproven = unproven;
        Ok(job)
    }

    /// Begins the request's line in the access log, if there is one.
    pub(crate) fn begin_log(
        &self,
        worker: &Worker,
        conn: &Conn,
        request: &Request<'_>,
    ) -> Option<Box<Begun>> {
        let log = worker.shared.access_log.as_ref()?;
        let value = |known| {
            let field = request.fields.iter().find(|field| field.known == known);
            field.map(|field| field.value(request.head))
        };
        Some(log.begin(&access_log::Asked {
            source: self.sender(worker, conn, request).source.ip(),
            method: request.method,
            host: request.host,
            target: request.target,
            protocol: match request.version {
                Version::Http10 => "HTTP/1.0",
                Version::Http11 => "HTTP/1.1",
            },
            referer: value(Known::Referer),
            user_agent: value(Known::UserAgent),
        }))
    }

    fn sender(&self, worker: &Worker, conn: &Conn, request: &Request<'_>) -> Sender {
        Sender::new(worker, conn, self.trusted.then(|| said(request)))
    }

    fn job(
        &mut self,
        conn: &Conn,
        request: &Request<'_>,
        sender: &Sender,
        pool: Arc<Pool>,
    ) -> Box<Job> {
        let rules = &pool.rules;
        let target = rewrite::target(&rules.rewrite, request.target);
        let changes = RequestChanges {
            target: &target,
            host: rules.host_rewrite.as_deref().unwrap_or(request.host),
            cookie: rules.sticky.as_ref().map(|sticky| sticky.cookie.as_str()),
        };
        let mut out = Vec::with_capacity(request.head.len() + 320);
        patch::write_request(&mut out, request, &changes);
        self.tell(&mut out, conn, request.host, sender);
        out.extend_from_slice(b"\r\n");
        let cookie = changes.cookie.and_then(|name| request.cookie(name)).map(Box::from);
        Box::new(Job {
            out,
            sent: 0,
            body: Progress::new(request.body),
            replayable: true,
            idempotent: request.is_idempotent(),
            asked: Asked { head: request.method == "HEAD", upgrade: request.upgrade.is_some() },
            http10: request.version == Version::Http10,
            keep_alive: request.keep_alive,
            secure: sender.secure,
            source: sender.source,
            cookie,
            key: None,
            host: rules.location_prefix.as_ref().map(|_| request.host.into()),
            response_timeout: rules.timeouts.response,
            unproven: None,
            log: None,
            task: None,
            started: Instant::now(),
            latency: None,
            status: 0,
            begun: false,
            bytes_in: 0,
            bytes_out: 0,
            pool,
        })
    }

    /// Adds the forwarding headers.
    fn tell(&mut self, out: &mut Vec<u8>, conn: &Conn, host: &str, sender: &Sender) {
        let hop = Hop { source: conn.source, port: conn.local.port(), secure: conn.secure, host };
        if sender.said.is_some() {
            let sink = |name: &str, value: &[u8]| patch::write_line(out, name, value);
            return forwarding::tell(&hop, sender.said.as_ref(), sink);
        }
        if let Some((_, told)) = self.told.as_ref().filter(|(told, _)| **told == *host) {
            return out.extend_from_slice(told);
        }
        let start = out.len();
        forwarding::tell(&hop, None, |name, value| patch::write_line(out, name, value));
        let told = out.get(start..).unwrap_or_default();
        self.told = Some((host.into(), told.into()));
    }
}

/// The value of the only `Authorization` header: two of them say two things.
fn authorization<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    let mut given = request.fields.iter().filter(|field| field.known == Known::Authorization);
    let only = given.next().filter(|_| given.next().is_none());
    only.map(|field| field.value(request.head))
}

/// What a trusted peer says.
fn said(request: &Request<'_>) -> Said {
    let mut said = Said::default();
    for field in request.fields {
        let into = match field.known {
            Known::XForwardedFor => &mut said.for_,
            Known::XForwardedPort => &mut said.port,
            Known::XForwardedProto => &mut said.proto,
            Known::XForwardedHost => &mut said.host,
            Known::Forwarded => &mut said.forwarded,
            _ => continue,
        };
        if field.name(request.head).contains(&b'_') {
            continue;
        }
        if !into.is_empty() {
            into.extend_from_slice(b", ");
        }
        into.extend_from_slice(field.value(request.head));
    }
    said
}
