//! Tasks: `/v2/tasks`, `/v2/apps/{app}/tasks`, and killing them.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use waymark_marathon_api::{ApiError, TaskView, task_ids_from_json, tasks_text};
use waymark_model::{App, AppId, Task, TaskId, TaskState};

use super::answer::{self, Answer};
use super::query::Query;
use super::{Api, ApiRequest, accept, app_id, group_id};
use crate::{Accepted, Request, State};

/// What a list of tasks can be, best first: whoever takes both gets JSON, as in Marathon.
const FORMS: [&str; 2] = [answer::JSON, "text/plain"];

/// `GET /v2/tasks`
pub(super) fn list(api: &Api, request: &ApiRequest) -> Result<Answer, ApiError> {
    let state = api.handle.state();
    match accept::choose(request.accept.as_deref(), &FORMS) {
        Some(0) => {
            let states = states_asked(&request.query);
            let tasks = state.tasks.values().flat_map(|tasks| tasks.values());
            let tasks =
                tasks.filter(|task| states.is_empty() || states.contains(&task.told_state()));
            Ok(task_list(tasks.map(|task| TaskView::with_service_ports(task)).collect()))
        }
        Some(_) => Ok(text(&state, state.root.apps.values())),
        None => Err(ApiError::not_acceptable()),
    }
}

/// `GET /v2/apps/{app}/tasks`
pub(super) fn of_app(api: &Api, request: &ApiRequest, app: &str) -> Result<Answer, ApiError> {
    let state = api.handle.state();
    let id = app_id(app)?;
    let app = state.app(&id).ok_or_else(|| ApiError::no_app(&id))?;
    of_apps(&state, request, std::iter::once(app))
}

/// `GET /v2/apps/{group}/*/tasks`
pub(super) fn below(api: &Api, request: &ApiRequest, group: &str) -> Result<Answer, ApiError> {
    let state = api.handle.state();
    let group = group_id(group)?;
    of_apps(&state, request, state.root.apps_below(&group))
}

fn of_apps<'a>(
    state: &'a State,
    request: &ApiRequest,
    apps: impl Iterator<Item = &'a Arc<App>>,
) -> Result<Answer, ApiError> {
    match accept::choose(request.accept.as_deref(), &FORMS) {
        Some(0) => {
            let tasks = apps.flat_map(|app| state.tasks_of(&app.id));
            Ok(task_list(tasks.map(|task| TaskView::new(task)).collect()))
        }
        Some(_) => Ok(text(state, apps)),
        None => Err(ApiError::not_acceptable()),
    }
}

fn task_list(tasks: Vec<TaskView<'_>>) -> Answer {
    answer::json(StatusCode::OK, &BTreeMap::from([("tasks", tasks)]))
}

fn text<'a>(state: &'a State, apps: impl Iterator<Item = &'a Arc<App>>) -> Answer {
    let apps = apps.map(|app| (&**app, state.tasks_of(&app.id).map(|task| &**task)));
    answer::bytes(StatusCode::OK, answer::TEXT, tasks_text(apps))
}

/// The states asked for by `status` or `status[]`; unknown words are ignored.
fn states_asked(query: &Query) -> Vec<TaskState> {
    let state = |word: &str| match word {
        "running" => Some(TaskState::Running),
        "staging" => Some(TaskState::Staging),
        _ => None,
    };
    query.all("status").filter_map(state).collect()
}

/// `DELETE /v2/apps/{app}/tasks`: those on `host`, or all.
pub(super) async fn kill_of_app(
    api: &Api,
    request: &ApiRequest,
    app: &str,
) -> Result<Answer, ApiError> {
    let terms = KillTerms::from_query(&request.query)?;
    let id = app_id(app)?;
    let host = request.query.get("host").filter(|host| *host != "*");
    let tasks = {
        let state = api.handle.state();
        state.app(&id).ok_or_else(|| ApiError::no_app(&id))?;
        let on_host = |task: &&Arc<Task>| host.is_none_or(|host| task.agent.hostname == host);
        state.tasks_of(&id).filter(on_host).map(|task| task.id.clone()).collect()
    };
    let accepted = terms.kill(api, tasks).await?;
    Ok(terms.answer(&accepted, killed_list))
}

/// `DELETE /v2/apps/{app}/tasks/{task}`
pub(super) async fn kill_one(
    api: &Api,
    request: &ApiRequest,
    app: &str,
    task: &str,
) -> Result<Answer, ApiError> {
    let terms = KillTerms::from_query(&request.query)?;
    let id = app_id(app)?;
    let task = TaskId::from_text(task);
    let missing = || ApiError::no_task(task.as_str());
    {
        let state = api.handle.state();
        state.app(&id).ok_or_else(|| ApiError::no_app(&id))?;
        let owner: Option<&AppId> = state.task_apps.get(&task);
        owner.filter(|owner| **owner == id).ok_or_else(missing)?;
    }
    let accepted = terms.kill(api, vec![task.clone()]).await?;
    if !terms.scale && accepted.killed.is_empty() {
        // It ended by itself in the meantime.
        return Err(missing());
    }
    Ok(terms.answer(&accepted, |accepted| {
        let task = accepted.killed.first().map(|task| TaskView::new(task));
        answer::json(StatusCode::OK, &BTreeMap::from([("task", task)]))
    }))
}

/// `POST /v2/tasks/delete`: the ids in the body; unknown ones are skipped.
pub(super) async fn kill_listed(api: &Api, request: &ApiRequest) -> Result<Answer, ApiError> {
    let terms = KillTerms::from_query(&request.query)?;
    let ids = task_ids_from_json(&request.body)?;
    // No form of ids that Marathon has had is without a dot.
    if let Some(wrong) = ids.iter().find(|id| !id.contains('.')) {
        return Err(ApiError::bad_task_id(wrong));
    }
    let tasks = ids.iter().map(|id| TaskId::from_text(id)).collect();
    let accepted = terms.kill(api, tasks).await?;
    Ok(terms.answer(&accepted, killed_list))
}

fn killed_list(accepted: &Accepted) -> Answer {
    task_list(accepted.killed.iter().map(|task| TaskView::new(task)).collect())
}

/// How tasks are to be killed. `wipe` frees persistent volumes; there are none, so it asks for
/// nothing more.
struct KillTerms {
    scale: bool,
    force: bool,
}

impl KillTerms {
    fn from_query(query: &Query) -> Result<KillTerms, ApiError> {
        let scale = query.flag("scale", false);
        if scale && query.flag("wipe", false) {
            return Err(ApiError::scale_and_wipe());
        }
        Ok(KillTerms { scale, force: query.flag("force", false) })
    }

    async fn kill(&self, api: &Api, tasks: Vec<TaskId>) -> Result<Accepted, ApiError> {
        api.submit(Request::Kill { tasks, scale: self.scale, force: self.force }).await
    }

    /// With `scale` the answer is that of the deployment it started.
    fn answer(&self, accepted: &Accepted, killed: impl FnOnce(&Accepted) -> Answer) -> Answer {
        if self.scale {
            answer::deployment(StatusCode::OK, accepted)
        } else {
            answer::announced(killed(accepted), accepted)
        }
    }
}
