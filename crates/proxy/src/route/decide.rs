//! Which rule a request meets and what follows from it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::pool::Pool;
use crate::table::RouteTable;

/// Where a client came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Front {
    /// A service port.
    Service(u16),
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
    /// The answer is 401 for this realm.
    Authenticate(String),
    /// The answer is 403: the source may not ask.
    Forbidden,
    /// The answer is 503: nothing has this host and path.
    NoRoute,
    /// The answer is 503: the service exists and has no task at all.
    NoTask(Arc<Pool>),
}

/// What becomes of the request, by this table. `random` breaks ties between apps by their share.
pub fn decide(table: &RouteTable, request: &Request<'_>, random: u32) -> Decision {
    let _ = (table, request, random);
    Decision::NoRoute
}
