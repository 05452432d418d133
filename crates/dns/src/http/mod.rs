//! The HTTP API of Mesos-DNS, and what Waymark adds to it.
//!
//! ```text
//! connection ──► route ──► who asks ──► one handler ──► answer
//!                                          │
//!                     Dns: lookups, lists of the zone, leases, changes
//! ```
//!
//! Paths, JSON (members, order, indentation), status codes and texts are Mesos-DNS's. Two answers
//! differ on purpose: secrets are stars, and before anything is known lookups say 503 instead of
//! "nothing found". Nothing here changes anything.

mod answer;
mod config;
mod json;
mod lease;
mod lists;
mod lookup;
mod route;
mod status;
mod watch;

use std::future::Future;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, header};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use waymark_catalog::Reader;
use waymark_http::Tls;
use waymark_http::query::Query;

pub use config::{ConfigView, CredentialsView, HttpConfig, HttpLimits, MetricsSource, SourceView};

use crate::output::Dns;
use answer::Answer;
use config::Shared;
use route::Resource;

/// Serves the API on `listener` until `shutdown` completes and open requests have ended.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    config: HttpConfig,
    dns: Arc<Dns>,
    catalog: Reader,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let limits = config.limits.connections.clone();
    let shared = Arc::new(Shared {
        watchers: Arc::new(Semaphore::new(config.limits.watchers)),
        lists: Arc::new(Semaphore::new(config.limits.lists)),
        stopped: stopped.clone(),
        config,
        dns,
        catalog,
    });
    let handler = move |request, _peer| {
        let shared = shared.clone();
        async move { respond(shared, request).await }
    };
    let serving = waymark_http::serve(listener, limits, tls, stopped, handler);
    let stopping = async {
        shutdown.await;
        // Whoever does not listen any more has stopped.
        let _ = stop.send(true);
    };
    tokio::join!(serving, stopping);
}

async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let resource = Resource::find(request.uri().path())
        .filter(|resource| shared.config.enumeration_on || !resource.is_a_list());
    let Some(resource) = resource else { return answer::not_found() };
    if request.method() != Method::GET {
        return answer::method_not_allowed();
    }
    // Whether it is ready may be asked by what cannot be given a password.
    let open = resource == Resource::Ready;
    if !open && shared.config.auth.as_ref().is_some_and(|auth| !auth.allows(request.headers())) {
        return answer::unauthorized();
    }
    let accepts = Accepts::read(request.headers());
    let as_events = accepts.events && resource == Resource::Watch;
    if !(accepts.json || as_events || resource.is_text()) {
        return answer::not_acceptable();
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    match resource {
        Resource::Version => status::version(&shared),
        Resource::Config => status::config(&shared),
        Resource::Ready => status::ready(&shared),
        Resource::Metrics => status::metrics(&shared),
        Resource::Host(name) => lookup::host(&shared.dns, &name),
        Resource::HostPorts => lookup::ports(),
        Resource::Service(name) => lookup::service(&shared.dns, &name),
        Resource::Enumerate => lists::enumerate(shared).await,
        Resource::Axfr => lists::axfr(shared).await,
        Resource::Lease => lease::lease(&shared.dns, &query),
        Resource::Watch => watch::watch(shared, &query, request.headers(), accepts.events).await,
    }
}

/// What a client takes.
struct Accepts {
    json: bool,
    /// A stream of events, asked for by its name.
    events: bool,
}

impl Accepts {
    /// As Mesos-DNS reads the header: a list of exact types; `application/*` is not understood. No
    /// header takes everything.
    fn read(headers: &HeaderMap) -> Accepts {
        let mut types = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|one| one.split(';').next().unwrap_or_default().trim())
            .filter(|one| !one.is_empty())
            .peekable();
        if types.peek().is_none() {
            return Accepts { json: true, events: false };
        }
        let (mut json, mut events) = (false, false);
        for one in types {
            json |= one == "application/json" || one == "*/*";
            events |= one == "text/event-stream";
        }
        Accepts { json, events }
    }
}

impl Resource {
    /// Whether it is a list of everything.
    fn is_a_list(&self) -> bool {
        matches!(self, Resource::Enumerate | Resource::Axfr)
    }

    /// Whether its answer is no JSON.
    fn is_text(&self) -> bool {
        matches!(self, Resource::Metrics)
    }
}

#[cfg(test)]
mod tests;
