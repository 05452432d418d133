//! Which rule a request meets and what follows from it.
//!
//! On the shared ports, by the most specific pattern of the host first (the name itself, the longest
//! wildcard, every name), and within one pattern by priority, kind and length of the path. A pattern
//! of which no rule has the path leaves the request to the next pattern. Paths are compared as they
//! came; one that any server may read as a guarded service's is that service's, and one that may be
//! read as that of several guarded services is refused.
//!
//! Then, in the order in which HAProxy runs the rules that marathon-lb writes: to https, who is it,
//! may it come from there, `/` elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;

use waymark_routing::HostPattern;

use super::hosts::{HostName, HostRules, Rule};
use super::pool::Pool;
use super::spelling::{self, readings};
use super::table::{ListenKey, RouteTable, ServiceRoute};

/// Where a client came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Front {
    /// A service port.
    Service(ListenKey),
    /// `http-port`: by host name and path.
    Http,
    /// `https-port`: by host name and path, after TLS.
    Https,
    /// `appid-port`: by the header `X-Marathon-App-Id`.
    AppId,
}

/// A request as far as its route depends on it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Where it came in.
    pub front: Front,
    /// Whether it came over TLS (or a trusted proxy says so).
    pub secure: bool,
    /// Its method.
    pub method: &'a str,
    /// `Host` or `:authority` as it came, port included; empty when there is none.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The client (as a trusted proxy tells it).
    pub source: SocketAddr,
    /// Its other headers.
    pub headers: &'a dyn Headers,
}

/// Headers, whatever they are kept in.
pub trait Headers {
    /// The value of the first header of this name, which is in lower case.
    fn get(&self, name: &str) -> Option<&[u8]>;
    /// The value of a cookie, over all `Cookie` headers.
    fn cookie(&self, name: &str) -> Option<&[u8]>;
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It goes to a task of this pool; the pool's rules say what is changed on the way.
    Forward(Arc<Pool>),
    /// The answer is a redirect with this status and place.
    Redirect(u16, String),
    /// The request must prove by Basic authentication that it may use this pool (its
    /// `rules.auth`); then it goes on as [`admit`] says.
    Authenticate(Arc<Pool>),
    /// The answer is 403: the source may not ask.
    Forbidden,
    /// The answer is 400: the path may be read as that of several guarded services, or is too long
    /// to be read in every way.
    Ambiguous,
    /// The answer is 503: nothing has this host and path.
    NoRoute,
    /// The answer is 503: the service exists and has no task at all.
    NoTask(Arc<Pool>),
}

/// Told of everything that is looked at on the way to a decision; in the data path nothing listens.
pub(crate) trait Trace {
    /// A rule of a host pattern was looked at: whether the path is its, and whether it decides.
    fn rule(&mut self, _host: &HostPattern, _rule: &Rule, _path_met: bool, _met: bool) {}
    /// The listener was found.
    fn listener(&mut self, _route: &ServiceRoute) {}
}

/// Nobody is told.
pub(crate) struct Silent;

impl Trace for Silent {}

/// What becomes of the request, by this table. `random` breaks ties between apps by their share.
/// Allocates for redirects only.
pub fn decide(table: &RouteTable, request: &Request<'_>, random: u32) -> Decision {
    decide_traced(table, request, random, &mut Silent)
}

pub(crate) fn decide_traced(
    table: &RouteTable,
    request: &Request<'_>,
    random: u32,
    trace: &mut impl Trace,
) -> Decision {
    let pool = match request.front {
        Front::Service(key) => match table.listeners.get(&key) {
            Some(route) => {
                trace.listener(route);
                return admit(&route.pool, request);
            }
            None => return Decision::NoRoute,
        },
        Front::AppId => {
            let id = request.headers.get("x-marathon-app-id").map(std::str::from_utf8);
            match id.and_then(Result::ok).and_then(|id| table.app(id)) {
                Some(pool) => return admit(pool, request),
                None => return Decision::NoRoute,
            }
        }
        Front::Http | Front::Https => {
            let Some(host) = HostName::read(request.host) else { return Decision::NoRoute };
            let path = path_of(request.target);
            match find(table, host.as_str(), path, random, trace) {
                Some(pool) => match guard(table, host.as_str(), path, random, trace) {
                    Guard::None => pool,
                    Guard::One(guarded) => guarded,
                    Guard::Several => return Decision::Ambiguous,
                },
                None => return Decision::NoRoute,
            }
        }
    };
    if pool.rules.redirect_to_https && !request.secure && request.front == Front::Http {
        return Decision::Redirect(301, https_location(table.https_port, request));
    }
    if pool.rules.auth.is_some() {
        return Decision::Authenticate(pool.clone());
    }
    admit(pool, request)
}

/// What becomes of a request for a pool, once it is known who asks.
pub fn admit(pool: &Arc<Pool>, request: &Request<'_>) -> Decision {
    if !pool.allows(request.source.ip()) {
        return Decision::Forbidden;
    }
    if let Some(place) = &pool.rules.redirect_root
        && path_of(request.target) == "/"
        && has_host(pool, request)
    {
        return Decision::Redirect(301, place.clone());
    }
    // A service port's clients are held for a while instead: that a task is missing may be the
    // moment between the end of one and the start of the next.
    if pool.candidates.is_empty() && !matches!(request.front, Front::Service(_)) {
        return Decision::NoTask(pool.clone());
    }
    Decision::Forward(pool.clone())
}

/// The pool of the first rule that the host and path meet.
fn find<'t>(
    table: &'t RouteTable,
    host: &str,
    path: &str,
    random: u32,
    trace: &mut impl Trace,
) -> Option<&'t Arc<Pool>> {
    table.hosts.matching(host).find_map(|rules| Some(first_met(rules, path, random, trace)?.1))
}

/// The services that guard what an oddly spelled path may come to.
enum Guard<'t> {
    None,
    One(&'t Arc<Pool>),
    Several,
}

/// Who guards what the path may come to, by a password or by the source, if it is oddly spelled. A
/// task behind an unguarded rule might read it as the rules did not, and one behind a guarded rule
/// might read it as another guard's: of several no one is right.
fn guard<'t>(
    table: &'t RouteTable,
    host: &str,
    path: &str,
    random: u32,
    trace: &mut impl Trace,
) -> Guard<'t> {
    if !spelling::is_odd(path) || !table.hosts.matching(host).any(|rules| rules.has_guards()) {
        return Guard::None;
    }
    if path.len() > spelling::MAX_LEN {
        return Guard::Several;
    }
    let mut found: Option<(&Arc<Pool>, String)> = None;
    for read in readings(path) {
        let Some(pool) = guarding(table, host, &read, random, &mut Silent) else { continue };
        match &found {
            None => found = Some((pool, read)),
            Some((first, _)) if Arc::ptr_eq(first, pool) => {}
            Some(_) => return Guard::Several,
        }
    }
    let Some((pool, read)) = found else { return Guard::None };
    guarding(table, host, &read, random, trace);
    Guard::One(pool)
}

/// The guarded pool that a reading of a path meets. Rules with escapes are met plainly spelled too.
fn guarding<'t>(
    table: &'t RouteTable,
    host: &str,
    read: &str,
    random: u32,
    trace: &mut impl Trace,
) -> Option<&'t Arc<Pool>> {
    let met = table.hosts.matching(host).find_map(|rules| {
        let letters = first_met(rules, read, random, trace);
        let escaped = rules.escaped(read).and_then(|rule| Some((rule, rule.share(random)?)));
        match (letters, escaped) {
            (Some((first, pool)), Some((rule, _))) if !rule.is_before(first) => Some(pool),
            (_, Some((rule, pool))) => {
                trace.rule(&rules.host, rule, true, true);
                Some(pool)
            }
            (letters, None) => letters.map(|(_, pool)| pool),
        }
    });
    met.filter(|pool| pool.has_guard())
}

fn first_met<'t>(
    host: &'t HostRules,
    path: &str,
    random: u32,
    trace: &mut impl Trace,
) -> Option<(&'t Arc<Rule>, &'t Arc<Pool>)> {
    host.candidates(path).find_map(|rule| {
        let path_met = rule.matches(path);
        let pool = if path_met { rule.share(random) } else { None };
        trace.rule(&host.host, rule, path_met, pool.is_some());
        Some((rule, pool?))
    })
}

/// Whether the request is for one of the pool's hosts; one that came through a shared port is.
fn has_host(pool: &Pool, request: &Request<'_>) -> bool {
    if matches!(request.front, Front::Http | Front::Https) {
        return true;
    }
    let Some(name) = HostName::read(request.host) else { return false };
    pool.rules.hosts.iter().any(|host| match host {
        HostPattern::Exact(exact) => exact == name.as_str(),
        HostPattern::Under(parent) => {
            name.as_str().strip_suffix(parent.as_str()).is_some_and(|head| head.ends_with('.'))
        }
        HostPattern::Any => true,
    })
}

/// A target without its query.
pub(crate) fn path_of(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

fn https_location(port: u16, request: &Request<'_>) -> String {
    let host = super::hosts::without_port(request.host);
    match port {
        443 => format!("https://{host}{}", request.target),
        port => format!("https://{host}:{port}{}", request.target),
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
