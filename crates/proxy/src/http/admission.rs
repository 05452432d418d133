//! Whether a request goes to a task, and to which pool: the same for both versions of HTTP, which
//! bring what their heads say.
//!
//! In: the worker's table and passwords, a [`route::Request`]. Out: a pool, or Waymark's answer.

use std::net::SocketAddr;
use std::sync::Arc;

use waymark_routing::{Balance, HashKey, PortRouting};

use super::auth::{Checked, Unchecked, Verdict};
use super::forwarding::Said;
use super::local::Answer;
use crate::listen::Conn;
use crate::port::count;
use crate::route::{self, Decision, Pool, decide};
use crate::worker::Worker;

/// Who sent a request.
pub(crate) struct Sender {
    pub(crate) source: SocketAddr,
    pub(crate) secure: bool,
    /// What a trusted peer says; `None` = the peer is not trusted.
    pub(crate) said: Option<Said>,
}

impl Sender {
    /// The client of a connection, or whom its trusted peer names.
    pub(crate) fn new(worker: &Worker, conn: &Conn, said: Option<Said>) -> Sender {
        match said {
            None => Sender { source: conn.source, secure: conn.secure, said: None },
            Some(said) => Sender {
                source: said.client(&worker.shared.config.trusted_proxies, conn.source),
                secure: conn.secure || said.is_secure(),
                said: Some(said),
            },
        }
    }
}

/// A password that has to be checked before anything is said about the service.
#[derive(Debug)]
pub(crate) struct Unproven {
    unchecked: Unchecked,
    /// What becomes of the request then, if it goes to no task.
    then: Option<Box<Decision>>,
}

/// The pool that the request goes to, and the password that has to be checked first.
/// `authorization` is the value of its only such header.
pub(crate) fn pool<'a>(
    worker: &Worker,
    asked: &route::Request<'_>,
    authorization: impl FnOnce() -> Option<&'a [u8]>,
) -> Result<(Arc<Pool>, Option<Unproven>), Answer> {
    let decision = decide(&worker.table(), asked, worker.random_below(u32::MAX));
    let Decision::Authenticate(pool) = decision else { return forwarded(worker, decision) };
    let unchecked = authenticate(worker, &pool, authorization())?;
    let then = route::admit(&pool, asked);
    let Some(unchecked) = unchecked else { return forwarded(worker, then) };
    let then = (!matches!(then, Decision::Forward(_))).then(|| Box::new(then));
    Ok((pool, Some(Unproven { unchecked, then })))
}

fn forwarded(worker: &Worker, decision: Decision) -> Result<(Arc<Pool>, Option<Unproven>), Answer> {
    match decision {
        Decision::Forward(pool) => Ok((pool, None)),
        other => Err(local(worker, other)),
    }
}

/// What Waymark answers itself.
fn local(worker: &Worker, decision: Decision) -> Answer {
    let counters = &worker.shared.http_counters;
    match decision {
        Decision::Redirect(status, location) => Answer::redirect(status, location),
        Decision::Forbidden => {
            count(&counters.denied);
            Answer::new(403, "this source may not ask")
        }
        Decision::Ambiguous => {
            count(&counters.denied);
            Answer::new(400, "the path can be read in several ways")
        }
        Decision::NoTask(_) => Answer::unavailable("the service has no task"),
        Decision::NoRoute | Decision::Forward(_) | Decision::Authenticate(_) => {
            count(&counters.no_route);
            Answer::unavailable("no service has this host and path")
        }
    }
}

/// Whether the request carries the right name and password; `Some` = that has to be checked first.
fn authenticate(
    worker: &Worker,
    pool: &Pool,
    authorization: Option<&[u8]>,
) -> Result<Option<Unchecked>, Answer> {
    let Some(auth) = &pool.rules.auth else { return Ok(None) };
    match worker.http.passwords.verdict(auth, authorization) {
        Verdict::Granted => Ok(None),
        Verdict::Unknown(unchecked) => Ok(Some(unchecked)),
        Verdict::Denied => {
            count(&worker.shared.http_counters.denied);
            Err(Answer::authenticate(&auth.realm))
        }
    }
}

/// Checks a password that is not known yet; `Some` = the answer in place of the task's.
pub(crate) async fn check(worker: &Worker, pool: &Pool, unproven: Unproven) -> Option<Answer> {
    let counters = &worker.shared.http_counters;
    match worker.http.passwords.check(unproven.unchecked).await {
        Checked::Right => unproven.then.map(|decision| local(worker, *decision)),
        Checked::Wrong => {
            count(&counters.denied);
            let realm = pool.rules.auth.as_ref().map_or("", |auth| &auth.realm);
            Some(Answer::authenticate(realm))
        }
        Checked::Busy => {
            count(&counters.unchecked);
            Some(Answer::unavailable("too many passwords wait to be checked"))
        }
    }
}

/// What a consistent hash goes by, where it is not the client's address.
pub(crate) fn hash_key(rules: &PortRouting, asked: &route::Request<'_>) -> Option<Box<[u8]>> {
    let Balance::Hash(by) = &rules.balance else { return None };
    let key = match by {
        HashKey::Source => None,
        HashKey::Path => asked.target.split('?').next().map(str::as_bytes),
        HashKey::Header(name) => asked.headers.get(name),
        HashKey::Cookie(name) => asked.headers.cookie(name),
    };
    key.map(Box::from)
}
