//! What the load balancer tells about itself over HTTP: the stats port (9090).
//!
//! ```text
//! connection ──► who may ask (origin) ──► resource ──► one view of the route table ──► answer
//!                                             └──────► a signal: refresh, reload certificates
//! ```
//!
//! The paths are marathon-lb's (`/haproxy?stats;csv`, `/_haproxy_…`, `/_mlb_signal/…`, `/metrics`)
//! and Waymark's own below `/v1`. Everything is made when it is asked for, from the table that the
//! workers have; nothing here is on the way of a request or shows a secret, and all that is kept is
//! what rates in the statistics are made of. Lists of
//! everything are made one or two at a time, on a thread of their own: no worker waits for them.

mod answer;
mod csv;
mod explain;
mod haproxy;
mod rates;
mod resource;
mod routes;
mod services;
mod status;

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, Request};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use waymark_http::Limits;
use waymark_http::query::Query;

use crate::Proxy;
pub use answer::Answer;
use rates::Rates;
use resource::Resource;
pub use routes::{preview, quarantine};

/// Writes metrics in OpenMetrics text, whole families, without the closing `# EOF`.
pub type MetricsSource = Box<dyn Fn(&mut String) + Send + Sync>;

/// What the stats port is told by the program.
pub struct AdminConfig {
    /// Waymark's version.
    pub version: String,
    /// How old the source's word is and how it comes, as JSON.
    pub source: Box<dyn Fn() -> Value + Send + Sync>,
    /// Metrics of all parts.
    pub metrics: Vec<MetricsSource>,
    /// The settings that apply, as text without secrets.
    pub configuration: String,
    /// Asks the source for its whole state again; false where there is none to ask.
    pub refresh: Box<dyn Fn() -> bool + Send + Sync>,
    /// Lists of everything that are made at once; further requests for them wait.
    pub lists: usize,
    /// What bounds connections.
    pub connections: Limits,
}

impl AdminConfig {
    /// Without source and metrics, with default limits.
    pub fn new(version: &str) -> AdminConfig {
        AdminConfig {
            version: version.to_owned(),
            source: Box::new(|| Value::Null),
            metrics: Vec::new(),
            configuration: String::new(),
            refresh: Box::new(|| false),
            lists: 2,
            connections: Limits {
                connections: 1024,
                header_bytes: 64 * 1024,
                headers: 100,
                header_timeout: Duration::from_secs(30),
                write_timeout: Duration::from_secs(30),
                stop_timeout: Duration::from_secs(2),
            },
        }
    }
}

/// Answers questions about one load balancer.
pub struct Admin {
    config: AdminConfig,
    proxy: Arc<Proxy>,
    lists: Arc<Semaphore>,
    started: Instant,
    rates: Mutex<Rates>,
}

impl Admin {
    /// For this load balancer.
    pub fn new(config: AdminConfig, proxy: Arc<Proxy>) -> Admin {
        Admin {
            lists: Arc::new(Semaphore::new(config.lists)),
            config,
            proxy,
            started: Instant::now(),
            rates: Mutex::default(),
        }
    }

    /// Serves everything on `listener` until `shutdown` completes and open requests have ended.
    pub async fn serve(
        self: Arc<Admin>,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) {
        let (stop, stopped) = watch::channel(false);
        let limits = self.config.connections.clone();
        let local = listener.local_addr().map_or(IpAddr::from([0; 4]), |address| address.ip());
        let handler = move |request: Request<Incoming>, _peer| {
            let admin = self.clone();
            async move { admin.respond(&request.into_parts().0, local).await }
        };
        let stopping = async {
            shutdown.await;
            // Whoever does not listen any more has stopped.
            let _ = stop.send(true);
        };
        tokio::join!(waymark_http::serve(listener, limits, None, stopped, handler), stopping);
    }

    /// Answers a request that came to an address of this machine.
    async fn respond(self: &Arc<Admin>, request: &Parts, local: IpAddr) -> Answer {
        if !waymark_http::origin::names_this_machine(request, local) {
            return answer::forbidden("the stats port of this machine alone is asked by address");
        }
        let Some(resource) = Resource::find(request.uri.path(), request.uri.query()) else {
            return answer::not_found(no_such_page(request.uri.path()));
        };
        if let Resource::Signal(_) = resource {
            if ![Method::GET, Method::POST].contains(&request.method) {
                return answer::method_not_allowed("GET, POST");
            }
            if !waymark_http::origin::is_own(request) {
                return answer::forbidden("another site's page may not ask for this");
            }
        } else if ![Method::GET, Method::HEAD].contains(&request.method) {
            return answer::method_not_allowed("GET, HEAD");
        }
        self.answer(resource, request.uri.query()).await
    }

    /// Answers for a path below `/v1` on another server of this program; `None` when the path is
    /// none of these.
    pub async fn view(self: &Arc<Admin>, path: &str, query: Option<&str>) -> Option<Answer> {
        let resource = Resource::find(path, query).filter(Resource::is_view)?;
        Some(self.answer(resource, query).await)
    }

    async fn answer(self: &Arc<Admin>, resource: Resource, query: Option<&str>) -> Answer {
        let query = Query::parse(query.unwrap_or_default());
        match resource {
            Resource::Signal(signal) => self.signal(&signal),
            Resource::HealthCheck => answer::html(haproxy::HEALTHY),
            Resource::Pids => answer::text(format!("{}\n", std::process::id())),
            Resource::Config => answer::text(self.config.configuration.clone()),
            Resource::Source => answer::json(&(self.config.source)()),
            _ => {
                // Two of them at a time; the others wait here.
                let slot = self.lists.clone().acquire_owned().await;
                let admin = self.clone();
                let made = tokio::task::spawn_blocking(move || {
                    let made = admin.list(&resource, &query);
                    // Not before: this goes on when nobody waits for it any more.
                    drop(slot);
                    made
                });
                let made = made.await;
                made.unwrap_or_else(|error| {
                    tracing::error!(%error, "an answer could not be made");
                    answer::failed("The answer could not be made")
                })
            }
        }
    }

    /// What may be long.
    fn list(&self, resource: &Resource, query: &Query) -> Answer {
        let proxy = &self.proxy;
        match resource {
            Resource::StatsCsv => {
                let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
                answer::csv(csv::csv(&proxy.table(), &proxy.fronts(), proxy.clock_ms(), &mut rates))
            }
            Resource::Stats => {
                let source = (self.config.source)();
                answer::html(&haproxy::page(proxy, &self.config.version, &source))
            }
            Resource::Status => {
                let (version, source) = (&self.config.version, (self.config.source)());
                answer::json(&status::status(proxy, version, self.started.elapsed(), source))
            }
            Resource::VhostMap => answer::text(haproxy::vhost_map(&proxy.table())),
            Resource::AppMap => answer::text(haproxy::app_map(&proxy.table())),
            Resource::Metrics => answer::metrics(self.metrics()),
            Resource::Routes => answer::json(&routes::list(proxy, query)),
            Resource::Services => answer::json(&services::list(proxy, query)),
            Resource::Service(id) => match services::one(proxy, id) {
                Ok(service) => answer::json(&service),
                Err(reason) => answer::not_found(&reason),
            },
            Resource::Quarantine => answer::json(&routes::quarantine(&proxy.table())),
            Resource::Certificates => answer::json(&routes::certificates(proxy)),
            Resource::Explain => match explain::explain(proxy, query) {
                Ok(explanation) => answer::json(&explanation),
                Err(reason) => answer::bad_request(&reason),
            },
            _ => answer::not_found("There is no such page"),
        }
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        self.config.metrics.iter().for_each(|write| write(&mut text));
        text + "# EOF\n"
    }

    /// What marathon-lb does at these signals, as far as it means something here.
    fn signal(&self, signal: &str) -> Answer {
        match signal {
            "hup" if (self.config.refresh)() => {
                tracing::info!("asked to fetch everything again");
                answer::text("Marathon is asked for everything again\n".to_owned())
            }
            "hup" => answer::text("Routes follow by themselves; nothing to fetch\n".to_owned()),
            "usr1" => {
                tracing::info!("asked to read certificates again");
                self.proxy.certificates().reload();
                answer::text("Certificates are read again\n".to_owned())
            }
            _ => answer::not_found("There are the signals hup and usr1"),
        }
    }
}

/// What to say of a path that is none here.
fn no_such_page(path: &str) -> &'static str {
    match path.starts_with("/v2/") {
        true => {
            "This is a load balancer's port for statistics; apps and tasks are asked of Marathon's \
             API, or of the API of `waymark run`"
        }
        false => "There is no such page",
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Poll;

    use tokio::task::spawn_blocking;
    use waymark_catalog::Writer;

    use super::*;
    use crate::ProxyConfig;

    #[test]
    fn an_answer_counts_until_it_is_made_though_its_client_has_gone() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (_writer, reader) = Writer::new(0);
            let config = ProxyConfig { workers: 1, ..ProxyConfig::default() };
            let proxy = Arc::new(Proxy::start(config, reader).unwrap());
            let admin = Arc::new(Admin::new(AdminConfig::new("test"), proxy));
            // The only thread that could make it has something else to do.
            let (done, doing) = mpsc::channel::<()>();
            let busy = spawn_blocking(move || doing.recv());
            {
                let mut asked = pin!(admin.answer(Resource::Routes, None));
                poll_fn(|cx| {
                    assert!(asked.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
            }
            assert_eq!(admin.lists.available_permits(), admin.config.lists - 1);
            done.send(()).unwrap();
            busy.await.unwrap().unwrap();
            spawn_blocking(|| ()).await.unwrap();
            assert_eq!(admin.lists.available_permits(), admin.config.lists);
        });
    }
}
