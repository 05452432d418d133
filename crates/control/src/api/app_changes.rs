//! Changes of apps: create, put, patch, remove, restart.
//!
//! Each is a closure over the root group that runs inside the core: whether an app exists, what a
//! partial definition is merged into and what the result must obey is decided there, on the root as
//! it is at that moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderValue, StatusCode, header};
use waymark_marathon_api::{ApiError, AppExtras, AppUpdate, AppView, Event, TaskCounts, Violation};
use waymark_model::{App, AppId, Root};

use super::answer::{self, Answer};
use super::{Api, ApiRequest, app_id};
use crate::{Accepted, Change, ChangeFn, Refusal, Request};

/// `POST /v2/apps`: one app, which must be new.
pub(super) async fn create(api: &Api, request: &ApiRequest) -> Result<Answer, ApiError> {
    let update = AppUpdate::from_json(&request.body)?;
    let id = update.need_id()?;
    let change = move |root: &Root| {
        if root.apps.contains_key(&id) {
            return Err(Refusal::Exists(ApiError::app_exists(&id).to_string()));
        }
        update.complete(id).map(put_app).map_err(refused)
    };
    let accepted = change_apps(api, request, Box::new(change), false).await?;
    let Some(app) = accepted.apps.first() else {
        return Err(ApiError::internal("The app was accepted but is not there"));
    };
    let deployments = accepted.deployment.iter().map(|id| id.to_string()).collect();
    let extras = AppExtras {
        counts: Some(TaskCounts::default()),
        tasks: Some(Vec::new()),
        deployments: Some(deployments),
        ..AppExtras::default()
    };
    let mut answer = answer::json(StatusCode::CREATED, &AppView::new(app, extras));
    add_location(&mut answer, &app.id);
    Ok(answer::announced(answer, &accepted))
}

/// `PUT /v2/apps/{app}` (`may_create`) and `PATCH /v2/apps/{app}`.
pub(super) async fn put(
    api: &Api,
    request: &ApiRequest,
    app: &str,
    may_create: bool,
) -> Result<Answer, ApiError> {
    let id = AppId::parse(app).map_err(|error| wrong_id(error.to_string()))?;
    let update = AppUpdate::from_json(&request.body)?;
    if update.id()?.is_some_and(|named| named != id) {
        return Err(wrong_id(format!("must be '{id}', the id in the path")));
    }
    let put = Put { partial: is_partial(request, may_create), may_create };
    let created = Arc::new(AtomicBool::new(false));
    let note = created.clone();
    let change = move |root: &Root| {
        note.store(!root.apps.contains_key(&id), Ordering::Relaxed);
        put.app(root, id, update).map(put_app)
    };
    let accepted = change_apps(api, request, Box::new(change), false).await?;
    if !created.load(Ordering::Relaxed) {
        return Ok(answer::deployment(StatusCode::OK, &accepted));
    }
    let mut answer = answer::deployment(StatusCode::CREATED, &accepted);
    if let Some(app) = accepted.apps.first() {
        add_location(&mut answer, &app.id);
    }
    Ok(answer)
}

/// `PUT /v2/apps` (`may_create`) and `PATCH /v2/apps`: several apps in one deployment.
pub(super) async fn put_all(
    api: &Api,
    request: &ApiRequest,
    may_create: bool,
) -> Result<Answer, ApiError> {
    let updates = AppUpdate::list_from_json(&request.body)?;
    let ids = updates.iter().map(AppUpdate::need_id).collect::<Result<Vec<_>, _>>()?;
    let put = Put { partial: is_partial(request, may_create), may_create };
    let change = move |root: &Root| {
        let mut change = Change::default();
        for (id, update) in ids.into_iter().zip(updates) {
            change.apps.insert(id.clone(), Some(put.app(root, id, update)?));
        }
        Ok(change)
    };
    let accepted = change_apps(api, request, Box::new(change), false).await?;
    Ok(answer::deployment(StatusCode::OK, &accepted))
}

/// `DELETE /v2/apps/{app}`
pub(super) async fn delete(api: &Api, request: &ApiRequest, app: &str) -> Result<Answer, ApiError> {
    let id = app_id(app)?;
    let change = move |root: &Root| {
        if !root.apps.contains_key(&id) {
            return Err(missing(&id));
        }
        Ok(Change { apps: [(id, None)].into(), ..Change::default() })
    };
    // Unlike all other changes, removing an app has always been forced.
    let accepted = change_apps(api, request, Box::new(change), true).await?;
    Ok(answer::deployment(StatusCode::OK, &accepted))
}

/// `POST /v2/apps/{app}/restart`
pub(super) async fn restart(
    api: &Api,
    request: &ApiRequest,
    app: &str,
) -> Result<Answer, ApiError> {
    let id = app_id(app)?;
    let change = move |root: &Root| {
        if !root.apps.contains_key(&id) {
            return Err(missing(&id));
        }
        Ok(Change { restart: [id].into(), ..Change::default() })
    };
    let accepted = change_apps(api, request, Box::new(change), false).await?;
    Ok(answer::deployment(StatusCode::OK, &accepted))
}

/// Submits a change and tells the event stream which apps it put.
pub(super) async fn change_apps(
    api: &Api,
    request: &ApiRequest,
    change: ChangeFn,
    force_by_default: bool,
) -> Result<Accepted, ApiError> {
    let force = request.query.flag("force", force_by_default);
    let accepted = api.submit(Request::Change { change, force }).await?;
    for app in &accepted.apps {
        api.handle.announce(Event::ApiPost {
            client_ip: request.peer.ip(),
            uri: request.uri.clone(),
            app: app.clone(),
        });
    }
    Ok(accepted)
}

/// How an app's definition is put.
#[derive(Clone, Copy)]
struct Put {
    /// Fields that are not given keep what is stored; otherwise they take their defaults.
    partial: bool,
    /// Whether an app that does not exist is made.
    may_create: bool,
}

impl Put {
    fn app(self, root: &Root, id: AppId, update: AppUpdate) -> Result<App, Refusal> {
        let stored = root.apps.get(&id);
        if let Some(version) = update.version().map_err(refused)? {
            // Older definitions are not kept: the only one to go back to is the present one.
            let present = stored.filter(|app| app.version == version);
            let missing = || Refusal::NotFound(ApiError::no_app_version(&id, version).to_string());
            return present.map(|app| App::clone(app)).ok_or_else(missing);
        }
        let app = match stored {
            None if !self.may_create => return Err(missing(&id)),
            Some(stored) if self.partial => update.apply_to(stored),
            _ => update.complete(id),
        };
        app.map_err(refused)
    }
}

fn is_partial(request: &ApiRequest, may_create: bool) -> bool {
    // PATCH has no other way.
    !may_create || request.query.flag("partialUpdate", true)
}

fn put_app(app: App) -> Change {
    Change { apps: [(app.id.clone(), Some(app))].into(), ..Change::default() }
}

fn missing(id: &AppId) -> Refusal {
    Refusal::NotFound(ApiError::no_app(id).to_string())
}

fn wrong_id(message: String) -> ApiError {
    ApiError::invalid(vec![Violation::new("/id", message)])
}

/// What the dialect refuses, as the core's refusal: found inside a change, it must not be lost.
pub(super) fn refused(error: ApiError) -> Refusal {
    match error.status() {
        422 => Refusal::Invalid(error.violations().to_vec()),
        404 => Refusal::NotFound(error.to_string()),
        409 => Refusal::Exists(error.to_string()),
        _ => Refusal::BadRequest(error.to_string()),
    }
}

fn add_location(answer: &mut Answer, id: &AppId) {
    if let Ok(location) = HeaderValue::from_str(&format!("/v2/apps{id}")) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
}
