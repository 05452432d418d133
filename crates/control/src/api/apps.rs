//! `GET /v2/apps…`: app definitions with what answers add to them.

use std::collections::{BTreeMap, HashMap};

use http::StatusCode;
use waymark_marathon_api::deployment::ReadinessCheckResult;
use waymark_marathon_api::{
    ApiError, AppExtras, AppView, TaskCounts, TaskFailure, TaskView, Violation,
};
use waymark_model::{App, AppId};

use super::answer::{self, Answer};
use super::query::Query;
use super::selector::LabelSelector;
use super::{Api, ApiRequest, app_id, group_id, readiness};
use crate::{Failure, State};

/// What is added to a definition (`embed=…`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Embed {
    pub counts: bool,
    pub deployments: bool,
    pub tasks: bool,
    pub last_task_failure: bool,
    pub readiness: bool,
}

impl Embed {
    /// What a list of apps always has.
    pub const LIST: Embed = Embed {
        counts: true,
        deployments: true,
        tasks: false,
        last_task_failure: false,
        readiness: false,
    };
    /// What a single app always has.
    pub const ONE: Embed = Embed { tasks: true, last_task_failure: true, ..Embed::LIST };

    /// Adds what the query asks for. The names have the prefix `apps.`, `app.`, `group.apps.` or
    /// none; unknown ones are ignored, as in Marathon.
    pub fn or_asked(mut self, query: &Query) -> Embed {
        for name in query.all("embed") {
            let prefixes = ["group.apps.", "apps.", "app."];
            let name = prefixes.iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
            match name {
                "tasks" => {
                    self.tasks = true;
                    self.deployments = true;
                }
                "counts" => self.counts = true,
                "deployments" => self.deployments = true,
                "readiness" => self.readiness = true,
                "lastTaskFailure" | "failures" => self.last_task_failure = true,
                _ => {}
            }
        }
        self
    }
}

/// Makes the views of apps from one state.
pub(super) struct Views<'a> {
    state: &'a State,
    embed: Embed,
    deployments: HashMap<&'a AppId, Vec<String>>,
    readiness: HashMap<&'a AppId, Vec<ReadinessCheckResult>>,
}

impl<'a> Views<'a> {
    pub fn new(state: &'a State, embed: Embed) -> Views<'a> {
        let mut deployments: HashMap<&AppId, Vec<String>> = HashMap::new();
        for deployment in state.deployments.values().filter(|_| embed.deployments) {
            for app in &deployment.affected {
                deployments.entry(app).or_default().push(deployment.id.to_string());
            }
        }
        let checked = state.readiness.keys().filter(|_| embed.readiness);
        let readiness = checked
            .filter_map(|task| state.task_apps.get(task))
            .map(|app| (app, readiness::results(state, app)))
            .collect();
        Views { state, embed, deployments, readiness }
    }

    pub fn of<'v>(&'v self, app: &'v App) -> AppView<'v> {
        let tasks = || self.state.tasks_of(&app.id).map(|task| &**task);
        let Embed { counts, deployments, tasks: with_tasks, last_task_failure, readiness } =
            self.embed;
        let held = || self.deployments.get(&app.id).cloned().unwrap_or_default();
        let results = || self.readiness.get(&app.id).into_iter().flatten();
        let failure = || self.state.failures.get(&app.id).map(|f| failure_of(&app.id, f));
        let extras = AppExtras {
            counts: counts.then(|| TaskCounts::of(tasks())),
            tasks: with_tasks.then(|| tasks().map(TaskView::new).collect()),
            deployments: deployments.then(held),
            last_task_failure: last_task_failure.then(failure).flatten(),
            readiness: readiness.then(|| results().collect()),
        };
        AppView::new(app, extras)
    }
}

fn failure_of(app: &AppId, failure: &Failure) -> TaskFailure {
    TaskFailure {
        app: app.clone(),
        host: failure.host.clone(),
        message: failure.message.clone(),
        state: failure.state,
        task: failure.task.clone(),
        timestamp: failure.at,
        version: failure.version,
        agent_id: failure.agent.clone(),
    }
}

/// `GET /v2/apps`
pub(super) fn list(api: &Api, request: &ApiRequest) -> Result<Answer, ApiError> {
    let state = api.handle.state();
    let filter = Filter::from_query(&request.query)?;
    let views = Views::new(&state, Embed::LIST.or_asked(&request.query));
    let apps = state.root.apps.values().filter(|app| filter.passes(app));
    let apps: Vec<_> = apps.map(|app| views.of(app)).collect();
    Ok(answer::json(StatusCode::OK, &BTreeMap::from([("apps", apps)])))
}

/// `GET /v2/apps/{group}/*`
pub(super) fn below(api: &Api, request: &ApiRequest, group: &str) -> Result<Answer, ApiError> {
    let state = api.handle.state();
    let views = Views::new(&state, Embed::ONE.or_asked(&request.query));
    let group = group_id(group)?;
    let apps: Vec<_> = state.root.apps_below(&group).map(|app| views.of(app)).collect();
    Ok(answer::json(StatusCode::OK, &BTreeMap::from([("*", apps)])))
}

/// `GET /v2/apps/{app}`
pub(super) fn get(api: &Api, request: &ApiRequest, app: &str) -> Result<Answer, ApiError> {
    let state = api.handle.state();
    let id = app_id(app)?;
    let app = state.app(&id).ok_or_else(|| ApiError::no_app(&id))?;
    let views = Views::new(&state, Embed::ONE.or_asked(&request.query));
    Ok(answer::json(StatusCode::OK, &BTreeMap::from([("app", views.of(app))])))
}

/// `GET /v2/apps/{app}/versions`: the versions that are kept, which is the present one.
pub(super) fn versions(api: &Api, app: &str) -> Result<Answer, ApiError> {
    let state = api.handle.state();
    let id = app_id(app)?;
    let app = state.app(&id).ok_or_else(|| ApiError::no_app(&id))?;
    let versions = vec![app.version.to_string()];
    Ok(answer::json(StatusCode::OK, &BTreeMap::from([("versions", versions)])))
}

/// `GET /v2/apps/{app}/versions/{timestamp}`
pub(super) fn version(api: &Api, app: &str, version: &str) -> Result<Answer, ApiError> {
    let state = api.handle.state();
    let id = app_id(app)?;
    let app = state.app(&id).ok_or_else(|| ApiError::no_app(&id))?;
    if app.version.to_string() != version {
        let text = format!("App '{id}' does not exist in version {version}");
        return Err(ApiError::not_found(text));
    }
    Ok(answer::json(StatusCode::OK, &AppView::plain(app)))
}

/// The filters of a list; all that are given must pass.
struct Filter {
    cmd: Option<String>,
    id: Option<String>,
    label: Option<LabelSelector>,
}

impl Filter {
    fn from_query(query: &Query) -> Result<Filter, ApiError> {
        let lower = |name| query.get(name).map(str::to_lowercase);
        let label = query.get("label").map(LabelSelector::parse).transpose();
        let label = label.map_err(|error| {
            ApiError::invalid(vec![Violation::new("/label", error.to_string())])
        })?;
        Ok(Filter { cmd: lower("cmd"), id: lower("id"), label })
    }

    fn passes(&self, app: &App) -> bool {
        let contains = |text: Option<&str>, part: &Option<String>| match (text, part) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(text), Some(part)) => text.to_lowercase().contains(part),
        };
        contains(app.cmd.as_deref(), &self.cmd)
            && contains(Some(app.id.as_str()), &self.id)
            && self.label.as_ref().is_none_or(|label| label.matches(&app.labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedding() {
        let embed = |query: &str| Embed::default().or_asked(&Query::parse(query));
        let tasks = Embed { tasks: true, deployments: true, ..Embed::default() };
        for query in
            ["embed=tasks", "embed=apps.tasks", "embed=app.tasks", "embed=group.apps.tasks"]
        {
            assert_eq!(embed(query), tasks, "{query}");
        }
        assert_eq!(embed("embed=other.tasks&embed=x"), Embed::default());
        assert_eq!(
            embed("embed=apps.failures&embed=apps.readiness"),
            Embed { last_task_failure: true, readiness: true, ..Embed::default() }
        );
    }

    #[test]
    fn filters_must_all_pass() {
        let mut app = App::new(AppId::parse("/shop/web").unwrap());
        app.cmd = Some("Sleep 5".into());
        app.labels.insert("tier".into(), "front".into());
        for (query, want) in [
            ("", true),
            ("id=SHOP", true),
            ("id=shop&cmd=sleep", true),
            ("id=shop&cmd=run", false),
            ("label=tier", true),
            ("label=tier==back", false),
            ("id=%2Fshop%2Fweb&label=tier+in+(front)", true),
        ] {
            let filter = Filter::from_query(&Query::parse(query)).unwrap();
            assert_eq!(filter.passes(&app), want, "{query}");
        }
        app.cmd = None;
        assert!(!Filter::from_query(&Query::parse("cmd=sleep")).unwrap().passes(&app));
        assert!(Filter::from_query(&Query::parse("label=,")).is_err());
    }
}
