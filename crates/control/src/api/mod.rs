//! The REST API: Marathon's `/v2`, and Waymark's own `/v1`.
//!
//! ```text
//! connection ──► request (read whole) ──► route ──► one handler ──► answer
//!                                                      │   ▲
//!                                     Handle::state (reads)
//!                                     Handle::submit (changes) ──► core
//! ```
//!
//! Reads come from the latest state and never wait for the core. A change is a closure that the
//! core runs on the root as it is then, so what it checks cannot be stale. Marathon's JSON is read
//! and written by `waymark_marathon_api`; here is what HTTP adds: paths, methods, headers, limits.
//!
//! Nothing here keeps state of its own, and no handler may hold a client up for longer than
//! [`ApiLimits::request_timeout`].

pub(crate) mod accept;
pub(crate) mod answer;
mod app_changes;
mod apps;
mod config;
mod deployments;
mod info;
mod logs;
mod metrics;
mod queue;
mod readiness;
mod request;
mod route;
mod selector;
mod server;
mod status;
mod tasks;

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{Semaphore, watch};
use waymark_marathon_api::ApiError;
use waymark_model::{AppId, GroupId, PathId, Timestamp};

pub use config::{
    ApiConfig, ApiLimits, ListenerSource, ListenerStatus, MetricsSource, View, ViewSource,
    WarningSource,
};
pub use logs::{MAX_BYTES as MAX_LOG_BYTES, SIZE_HEADER as LOG_SIZE_HEADER};
pub use server::{Server, serve};
pub(crate) use waymark_http::stop_asked;
use waymark_http::{origin, query};

use crate::{Accepted, Handle, Request};
use answer::Answer;
use metrics::ApiMetrics;
pub(crate) use request::ApiRequest;
use route::Resource;

/// Whether nothing says that a page of another site made the request. A page says where it is from;
/// then, on loopback, the host must be named in a way that DNS cannot forge.
fn is_own(head: &http::request::Parts, peer: SocketAddr) -> bool {
    let page = head.headers.contains_key(header::ORIGIN);
    // Who comes from loopback has reached loopback.
    origin::is_own(head) && (!page || origin::names_this_machine(head, peer.ip()))
}

/// What all handlers share.
pub(crate) struct Api {
    pub(crate) config: ApiConfig,
    pub(crate) handle: Handle,
    /// Turns true when the API stops.
    pub(crate) stopped: watch::Receiver<bool>,
    /// Places for event streams.
    pub(crate) subscribers: Arc<Semaphore>,
    pub(crate) metrics: ApiMetrics,
    /// Places for making long answers.
    lists: Semaphore,
    started: Timestamp,
}

impl Api {
    fn new(config: ApiConfig, handle: Handle, stopped: watch::Receiver<bool>) -> Api {
        Api {
            subscribers: Arc::new(Semaphore::new(config.limits.subscribers)),
            metrics: ApiMetrics::default(),
            lists: Semaphore::new(config.limits.lists),
            started: now(),
            config,
            handle,
            stopped,
        }
    }

    /// Answers one request.
    async fn answer(self: &Arc<Api>, request: http::Request<Incoming>, peer: SocketAddr) -> Answer {
        let method = request.method().clone();
        let limit = self.config.limits.request_timeout;
        let result = match tokio::time::timeout(limit, self.respond(request, peer)).await {
            Ok(result) => result,
            Err(_) => Err(ApiError::unavailable("The request took too long")),
        };
        let mut answer = result.unwrap_or_else(|error| answer::error(&error));
        self.metrics.count(&method, answer.status());
        self.add_headers(&mut answer);
        answer
    }

    async fn respond(
        self: &Arc<Api>,
        request: http::Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Answer, ApiError> {
        let Some(resource) = Resource::find(request.uri().path()) else {
            return self.view(&request).await.ok_or_else(ApiError::no_route);
        };
        let method = request.method().clone();
        let mut answer = if method == Method::OPTIONS {
            answer::empty(StatusCode::OK)
        } else if resource.allows(&method) {
            let reads = matches!(method, Method::GET | Method::HEAD);
            let (head, body) = request.into_parts();
            // There is no password yet: a page open in somebody's browser must not be their hand.
            if !reads && !is_own(&head, peer) {
                return Err(ApiError::forbidden());
            }
            let request = http::Request::from_parts(head, body);
            let request = ApiRequest::read(request, peer, self.config.limits.body_bytes).await?;
            let result = match reads {
                true => self.read(&resource, request).await,
                false => self.change(&resource, &request).await,
            };
            result.unwrap_or_else(|error| answer::error(&error))
        } else {
            answer::error(&ApiError::method_not_allowed())
        };
        if method == Method::OPTIONS || answer.status() == StatusCode::METHOD_NOT_ALLOWED {
            let allow = HeaderValue::from_static(resource.allow());
            answer.headers_mut().insert(header::ALLOW, allow);
        }
        Ok(answer)
    }

    /// Another part's answer to what is not known here.
    async fn view(&self, request: &http::Request<Incoming>) -> Option<Answer> {
        let views = self.config.views.as_ref();
        let views = views.filter(|_| matches!(*request.method(), Method::GET | Method::HEAD))?;
        let answer = views(request.uri().path(), request.uri().query()).await?;
        Some(answer.map(BodyExt::boxed_unsync))
    }

    /// `GET` and `HEAD`.
    async fn read(
        self: &Arc<Api>,
        resource: &Resource,
        request: ApiRequest,
    ) -> Result<Answer, ApiError> {
        match resource.clone() {
            Resource::Apps => self.aside(move |api| apps::list(api, &request)).await,
            Resource::AppsBelow(group) => {
                self.aside(move |api| apps::below(api, &request, &group)).await
            }
            Resource::Tasks => self.aside(move |api| tasks::list(api, &request)).await,
            Resource::AppTasksBelow(group) => {
                self.aside(move |api| tasks::below(api, &request, &group)).await
            }
            Resource::App(app) => apps::get(self, &request, &app),
            Resource::AppTasks(app) => tasks::of_app(self, &request, &app),
            Resource::AppVersions(app) => apps::versions(self, &app),
            Resource::AppVersion(app, version) => apps::version(self, &app, &version),
            Resource::Deployments => deployments::list(self),
            Resource::Queue => queue::list(self),
            Resource::Info => info::info(self),
            Resource::Leader => info::leader(self),
            Resource::Ping => info::ping(&request),
            Resource::Metrics => metrics::scrape(self),
            Resource::Events => crate::events::attach(self, &request),
            Resource::Status => status::status(self),
            Resource::TaskLogs(task) => logs::read(self, &request, &task).await,
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    /// Makes an answer that may be long (the lists of all apps and tasks) on a thread where it
    /// holds nothing else up.
    async fn aside(
        self: &Arc<Api>,
        make: impl FnOnce(&Api) -> Result<Answer, ApiError> + Send + 'static,
    ) -> Result<Answer, ApiError> {
        let slot = self.lists.acquire().await;
        let api = self.clone();
        let made = tokio::task::spawn_blocking(move || make(&api)).await;
        drop(slot);
        made.unwrap_or_else(|error| {
            tracing::error!(%error, "an answer could not be made");
            Err(ApiError::internal("The answer could not be made"))
        })
    }

    /// Every other method.
    async fn change(
        self: &Arc<Api>,
        resource: &Resource,
        request: &ApiRequest,
    ) -> Result<Answer, ApiError> {
        match (resource, request.method.as_str()) {
            (Resource::Apps, "POST") => app_changes::create(self, request).await,
            (Resource::Apps, "PUT") => app_changes::put_all(self, request, true).await,
            (Resource::Apps, "PATCH") => app_changes::put_all(self, request, false).await,
            (Resource::App(app), "PUT") => app_changes::put(self, request, app, true).await,
            (Resource::App(app), "PATCH") => app_changes::put(self, request, app, false).await,
            (Resource::App(app), "DELETE") => app_changes::delete(self, request, app).await,
            (Resource::AppRestart(app), "POST") => app_changes::restart(self, request, app).await,
            (Resource::AppTasks(app), "DELETE") => tasks::kill_of_app(self, request, app).await,
            (Resource::AppTask(app, task), "DELETE") => {
                tasks::kill_one(self, request, app, task).await
            }
            (Resource::TasksDelete, "POST") => tasks::kill_listed(self, request).await,
            (Resource::QueueDelay(app), "DELETE") => queue::reset_delay(self, app).await,
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    /// Asks the core and waits until it is stored or refused.
    pub(crate) async fn submit(&self, request: Request) -> Result<Accepted, ApiError> {
        self.handle.submit(request).await.map_err(answer::refusal)
    }

    fn add_headers(&self, answer: &mut Answer) {
        let headers = answer.headers_mut();
        answer::add_common_headers(headers);
        let leader = format!("http://{}", self.config.advertised);
        if let Ok(leader) = HeaderValue::from_str(&leader) {
            headers.insert(answer::LEADER, leader);
        }
        let version = self.handle.state().catalog_version;
        headers.insert(answer::CATALOG_VERSION, HeaderValue::from(version));
    }
}

/// Now.
pub(crate) fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::ZERO + since_epoch.unwrap_or_default()
}

/// The group's id in a path; an id that cannot be one names no group.
pub(crate) fn group_id(text: &str) -> Result<GroupId, ApiError> {
    PathId::parse(text).map_err(|_| ApiError::not_found(format!("Group '{text}' does not exist")))
}

/// The app's id in a path; an id that cannot be one names no app.
pub(crate) fn app_id(text: &str) -> Result<AppId, ApiError> {
    PathId::parse(text).map_err(|_| ApiError::not_found(format!("App '{text}' does not exist")))
}

#[cfg(test)]
mod tests;
