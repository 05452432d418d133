//! Which resource a path names. Pure: path in, [`Resource`] out.
//!
//! Marathon's paths do not fit a table of templates: an app's id is itself a path, may begin with a
//! second slash (`/v2/apps//shop/web`), and is followed by reserved last segments. So they are
//! matched by hand, segment by segment. Ids are handed on as text in normal form (`/shop/web`),
//! not yet checked: what a wrong id means differs from resource to resource.

use http::Method;

/// DC/OS clients call the same API below this path.
const PREFIX: &str = "/service/marathon";

/// Something that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `/v2/apps`
    Apps,
    /// `/v2/apps/{group}/*`
    AppsBelow(String),
    /// `/v2/apps/{app}`
    App(String),
    /// `/v2/apps/{app}/restart`
    AppRestart(String),
    /// `/v2/apps/{app}/tasks`
    AppTasks(String),
    /// `/v2/apps/{group}/*/tasks`
    AppTasksBelow(String),
    /// `/v2/apps/{app}/tasks/{task}`
    AppTask(String, String),
    /// `/v2/apps/{app}/versions`
    AppVersions(String),
    /// `/v2/apps/{app}/versions/{timestamp}`
    AppVersion(String, String),
    /// `/v2/tasks`
    Tasks,
    /// `/v2/tasks/delete`
    TasksDelete,
    /// `/v2/deployments`
    Deployments,
    /// `/v2/queue`
    Queue,
    /// `/v2/queue/{app}/delay`
    QueueDelay(String),
    /// `/v2/info`
    Info,
    /// `/v2/leader`
    Leader,
    /// `/v2/events`
    Events,
    /// `/ping`
    Ping,
    /// `/metrics` and `/metrics/prometheus`
    Metrics,
    /// `/v1/status`: Waymark's own.
    Status,
    /// `/v1/tasks/{task}/logs`: Waymark's own.
    TaskLogs(String),
}

impl Resource {
    /// The resource that a request's path names, percent-encoding included; `None` if there is none.
    pub fn find(path: &str) -> Option<Resource> {
        let path = super::query::percent_decode(path)?;
        let path = match path.strip_prefix(PREFIX) {
            Some(rest) if rest.starts_with('/') => rest,
            _ => &path,
        };
        let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
        match segments.as_slice() {
            ["ping"] => Some(Resource::Ping),
            ["metrics"] | ["metrics", "prometheus"] => Some(Resource::Metrics),
            ["v1", "status"] => Some(Resource::Status),
            ["v1", "tasks", task, "logs"] => Some(Resource::TaskLogs((*task).to_owned())),
            ["v2", "apps", rest @ ..] => Some(app_resource(rest)),
            ["v2", "tasks"] => Some(Resource::Tasks),
            ["v2", "tasks", "delete"] => Some(Resource::TasksDelete),
            ["v2", "deployments"] => Some(Resource::Deployments),
            ["v2", "queue"] => Some(Resource::Queue),
            ["v2", "queue", app @ .., "delay"] if !app.is_empty() => {
                Some(Resource::QueueDelay(id(app)))
            }
            ["v2", "info"] => Some(Resource::Info),
            ["v2", "leader"] => Some(Resource::Leader),
            ["v2", "events"] => Some(Resource::Events),
            _ => None,
        }
    }

    /// The methods it knows, as the `Allow` header lists them. `HEAD` goes wherever `GET` goes.
    pub fn allow(&self) -> &'static str {
        use Resource::*;
        match self {
            Apps => "GET, HEAD, POST, PUT, PATCH, OPTIONS",
            App(_) => "GET, HEAD, PUT, PATCH, DELETE, OPTIONS",
            AppTasks(_) => "GET, HEAD, DELETE, OPTIONS",
            AppTask(..) | QueueDelay(_) => "DELETE, OPTIONS",
            AppRestart(_) | TasksDelete => "POST, OPTIONS",
            AppsBelow(_) | AppTasksBelow(_) | AppVersions(_) | AppVersion(..) | Tasks
            | Deployments | Queue | Info | Leader | Events | Ping | Metrics | Status
            | TaskLogs(_) => "GET, HEAD, OPTIONS",
        }
    }

    /// Whether it knows the method.
    pub fn allows(&self, method: &Method) -> bool {
        self.allow().split(", ").any(|m| m == method.as_str())
    }
}

fn app_resource(segments: &[&str]) -> Resource {
    match segments {
        [] => Resource::Apps,
        [app @ .., "restart"] if !app.is_empty() => Resource::AppRestart(id(app)),
        [group @ .., "*", "tasks"] => Resource::AppTasksBelow(id(group)),
        [app @ .., "tasks"] if !app.is_empty() => Resource::AppTasks(id(app)),
        [app @ .., "tasks", task] if !app.is_empty() => {
            Resource::AppTask(id(app), (*task).to_owned())
        }
        [app @ .., "versions"] if !app.is_empty() => Resource::AppVersions(id(app)),
        [app @ .., "versions", version] if !app.is_empty() => {
            Resource::AppVersion(id(app), (*version).to_owned())
        }
        [group @ .., "*"] => Resource::AppsBelow(id(group)),
        app => Resource::App(id(app)),
    }
}

fn id(segments: &[&str]) -> String {
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::Resource::*;
    use super::*;

    fn s(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn paths_name_resources() {
        let id = "shop_web.instance-2f6c._app.1";
        for (path, want) in [
            ("/v2/apps", Some(Apps)),
            ("/v2/apps/", Some(Apps)),
            ("/v2/apps//", Some(Apps)),
            ("/v2//apps", Some(Apps)),
            ("/v2/apps/web", Some(App(s("/web")))),
            ("/v2/apps//web", Some(App(s("/web")))),
            ("/v2/apps/shop/web", Some(App(s("/shop/web")))),
            ("/v2/apps//shop/web/", Some(App(s("/shop/web")))),
            ("/v2/apps/%2Fshop%2Fweb", Some(App(s("/shop/web")))),
            ("/service/marathon/v2/apps/shop/web", Some(App(s("/shop/web")))),
            ("/service/marathon/ping", Some(Ping)),
            ("/service/marathonx/ping", None),
            ("/v2/apps/shop/*", Some(AppsBelow(s("/shop")))),
            ("/v2/apps/*", Some(AppsBelow(s("/")))),
            ("/v2/apps/shop/*/tasks", Some(AppTasksBelow(s("/shop")))),
            ("/v2/apps/shop/web/restart", Some(AppRestart(s("/shop/web")))),
            ("/v2/apps/restart", Some(App(s("/restart")))),
            ("/v2/apps/tasks", Some(App(s("/tasks")))),
            ("/v2/apps/tasks/x", Some(App(s("/tasks/x")))),
            ("/v2/apps//shop/web/tasks", Some(AppTasks(s("/shop/web")))),
            ("/v2/apps/web/versions", Some(AppVersions(s("/web")))),
            (
                "/v2/apps/web/versions/2026-01-05T09:59:59.871Z",
                Some(AppVersion(s("/web"), s("2026-01-05T09:59:59.871Z"))),
            ),
            ("/v2/tasks", Some(Tasks)),
            ("/v2/tasks/delete", Some(TasksDelete)),
            ("/v2/tasks/other", None),
            ("/v2/groups", None),
            ("/v2/deployments", Some(Deployments)),
            ("/v2/deployments/b3f1", None),
            ("/v2/queue", Some(Queue)),
            ("/v2/queue//shop/web/delay", Some(QueueDelay(s("/shop/web")))),
            ("/v2/queue/delay", None),
            ("/v2/info", Some(Info)),
            ("/v2/leader", Some(Leader)),
            ("/v2/events", Some(Events)),
            ("/metrics", Some(Metrics)),
            ("/metrics/prometheus", Some(Metrics)),
            ("/v1/status", Some(Status)),
            ("/", None),
            ("/v2", None),
            ("/v2/pods", None),
            ("/v2/apps/%ff", None),
            ("/v2/apps/%4", None),
        ] {
            assert_eq!(Resource::find(path), want, "{path}");
        }
        assert_eq!(
            Resource::find(&format!("/v2/apps/shop/web/tasks/{id}")),
            Some(AppTask(s("/shop/web"), s(id)))
        );
        assert_eq!(Resource::find(&format!("/v1/tasks/{id}/logs")), Some(TaskLogs(s(id))));
    }

    #[test]
    fn methods() {
        assert!(Apps.allows(&Method::PATCH) && !Apps.allows(&Method::DELETE));
        assert!(App(s("/a")).allows(&Method::DELETE) && !App(s("/a")).allows(&Method::POST));
        assert!(Info.allows(&Method::HEAD) && !TasksDelete.allows(&Method::GET));
        assert!(!Apps.allows(&Method::from_bytes(b"GE").unwrap()));
    }
}
