//! Marathon's error answers: status and body, one constructor a case.
//!
//! Clients match on these texts (PyPI `marathon` shows `message` and `details`, the dcos command
//! line prints `details[].errors`, shpkpr reads `deployments[0].id`), so they are exact.

use serde::ser::{Serialize, Serializer};
use waymark_model::{AppId, GroupId, Timestamp};

use crate::wire::{self, Members, Text};

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Marathon's path to the field: `/portDefinitions(0)/name`, or `/` for the whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl Violation {
    /// What is wrong with the field at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Violation {
        Violation { path: path.into(), message: message.into() }
    }
}

/// An error as the API answers it: an HTTP status and a JSON body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    status: u16,
    message: String,
    details: Details,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Details {
    None,
    Text(String),
    Fields(Vec<Violation>),
    Deployments(Vec<String>),
}

impl ApiError {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The fields that are wrong; empty for errors that are not about fields.
    pub fn violations(&self) -> &[Violation] {
        match &self.details {
            Details::Fields(violations) => violations,
            _ => &[],
        }
    }

    /// The body, JSON on one line.
    pub fn body(&self) -> String {
        wire::to_text(self)
    }

    fn new(status: u16, message: impl Into<String>) -> ApiError {
        ApiError { status, message: message.into(), details: Details::None }
    }

    /// 400: the body is not JSON; `details` is what the parser says.
    pub fn not_json(details: impl Into<String>) -> ApiError {
        ApiError { details: Details::Text(details.into()), ..ApiError::new(400, "Invalid JSON") }
    }

    /// 400: there is no body.
    pub fn no_body() -> ApiError {
        ApiError::new(400, "Please specify data in JSON format")
    }

    /// 400: contradictory or malformed request.
    pub fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(400, message)
    }

    /// 400: `scale` and `wipe` together.
    pub fn scale_and_wipe() -> ApiError {
        ApiError::new(400, "You cannot use scale and wipe at the same time.")
    }

    /// 400: a text that cannot be a task's id.
    pub fn bad_task_id(id: &str) -> ApiError {
        let form = "Task ids have the form '<app>.instance-<uuid>._app.<n>'.";
        ApiError::new(400, format!("Invalid task id '{id}'. {form}"))
    }

    /// 401: no or wrong credentials.
    pub fn unauthorized() -> ApiError {
        ApiError::new(401, "Authentication is required")
    }

    /// 403: known, but not allowed.
    pub fn forbidden() -> ApiError {
        ApiError::new(403, "Not authorized to perform this action")
    }

    /// 403: too many deployments run.
    pub fn too_many_deployments(limit: usize) -> ApiError {
        let advice = "Wait for one to finish or cancel one.";
        let text = format!("Max number ({limit}) of running deployments is achieved. {advice}");
        ApiError::new(403, text)
    }

    /// 404 with a message of the caller's.
    pub fn not_found(message: impl Into<String>) -> ApiError {
        ApiError::new(404, message)
    }

    /// 404: no such app.
    pub fn no_app(id: &AppId) -> ApiError {
        ApiError::new(404, format!("App '{id}' does not exist"))
    }

    /// 404: the app has no such version.
    pub fn no_app_version(id: &AppId, version: Timestamp) -> ApiError {
        ApiError::new(404, format!("App '{id}' does not exist in version {version}"))
    }

    /// 404: no such group.
    pub fn no_group(id: &GroupId) -> ApiError {
        ApiError::new(404, format!("Group '{id}' does not exist"))
    }

    /// 404: the group has no such version.
    pub fn no_group_version(id: &GroupId, version: Timestamp) -> ApiError {
        ApiError::new(404, format!("Group '{id}' does not exist in version {version}"))
    }

    /// 404: no such task.
    pub fn no_task(id: &str) -> ApiError {
        ApiError::new(404, format!("Task '{id}' does not exist"))
    }

    /// 404: no such pod.
    pub fn no_pod(id: &str) -> ApiError {
        ApiError::new(404, format!("Pod '{id}' does not exist"))
    }

    /// 404: no such deployment.
    pub fn no_deployment(id: &str) -> ApiError {
        ApiError::new(404, format!("DeploymentPlan {id} does not exist"))
    }

    /// 404: there is no leader.
    pub fn no_leader() -> ApiError {
        ApiError::new(404, "There is no leader")
    }

    /// 404: nothing waits for this app.
    pub fn not_queued(id: &AppId) -> ApiError {
        ApiError::new(404, format!("Application {id} not found in tasks queue."))
    }

    /// 404: unknown route. (Marathon 1.11 answers 500 with this text, older ones 404.)
    pub fn no_route() -> ApiError {
        ApiError::new(404, "URI not found")
    }

    /// 405: the route exists, the method does not.
    pub fn method_not_allowed() -> ApiError {
        ApiError::new(405, "Method Not Allowed")
    }

    /// 406: none of the accepted types can be made.
    pub fn not_acceptable() -> ApiError {
        ApiError::new(406, "Not Acceptable")
    }

    /// 409 with a message of the caller's.
    pub fn conflict(message: impl Into<String>) -> ApiError {
        ApiError::new(409, message)
    }

    /// 409: the app exists.
    pub fn app_exists(id: &AppId) -> ApiError {
        ApiError::new(409, format!("An app with id [{id}] already exists."))
    }

    /// 409: the group exists.
    pub fn group_exists(id: &GroupId) -> ApiError {
        let text = format!("Group {id} is already created. Use PUT to change this group.");
        ApiError::new(409, text)
    }

    /// 409: an app has the id that was meant for a group.
    pub fn app_has_path(id: &GroupId) -> ApiError {
        ApiError::new(409, format!("An app with the path {id} already exists."))
    }

    /// 409: running deployments hold the app. The placeholder in the text is literal.
    pub fn locked<I: Into<String>>(deployments: impl IntoIterator<Item = I>) -> ApiError {
        let deployments = deployments.into_iter().map(Into::into).collect();
        let text = "App is locked by one or more deployments. Override with the option '?force=true'. \
                    View details at '/v2/deployments/<DEPLOYMENT_ID>'.";
        ApiError { details: Details::Deployments(deployments), ..ApiError::new(409, text) }
    }

    /// 413: the body is longer than `limit` bytes.
    pub fn too_large(limit: usize) -> ApiError {
        ApiError::new(413, format!("The request body is larger than {limit} bytes"))
    }

    /// 422: fields of a wrong JSON type or outside their range; messages are codes such as
    /// `error.expected.jsstring`.
    pub fn invalid_json(violations: Vec<Violation>) -> ApiError {
        ApiError { details: Details::Fields(violations), ..ApiError::new(422, "Invalid JSON") }
    }

    /// 422: every field can be read, but together they are not valid.
    pub fn invalid(violations: Vec<Violation>) -> ApiError {
        let details = Details::Fields(violations);
        ApiError { details, ..ApiError::new(422, "Object is not valid") }
    }

    /// 500 with a message of the caller's.
    pub fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(500, message)
    }

    /// 500: no automatic service port is left (Marathon's text, whose bracket errs: `max` is
    /// included).
    pub fn ports_exhausted(min: u16, max: u16) -> ApiError {
        ApiError::new(500, format!("All ports in the range [{min}-{max}) are already in use"))
    }

    /// 502: no leader to pass the request on to.
    pub fn no_current_leader() -> ApiError {
        ApiError::new(502, "Could not determine the current leader")
    }

    /// 503: storage, overload, shutdown.
    pub fn unavailable(message: impl Into<String>) -> ApiError {
        ApiError::new(503, message)
    }

    /// 503: more requests at once than allowed.
    pub fn too_many_requests(limit: usize) -> ApiError {
        ApiError::new(503, format!("Too many concurrent requests! Allowed: {limit}."))
    }
}

impl Serialize for ApiError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| {
            o.put("message", &self.message)?;
            match &self.details {
                Details::None => Ok(()),
                Details::Text(text) => o.put("details", text),
                Details::Fields(violations) => o.put("details", by_path(violations)),
                Details::Deployments(ids) => o.put("deployments", ids_only(ids)),
            }
        })
    }
}

/// `{"path":…,"errors":[…]}`: all messages about one path.
struct PathErrors<'a> {
    path: &'a str,
    errors: Vec<&'a str>,
}

impl Serialize for PathErrors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o: &mut Members<_>| {
            o.put("path", self.path)?;
            o.put("errors", &self.errors)
        })
    }
}

fn by_path(violations: &[Violation]) -> Vec<PathErrors<'_>> {
    let mut grouped: Vec<PathErrors<'_>> = Vec::new();
    for violation in violations {
        match grouped.iter_mut().find(|g| g.path == violation.path) {
            Some(group) => group.errors.push(&violation.message),
            None => grouped.push(PathErrors {
                path: &violation.path,
                errors: vec![violation.message.as_str()],
            }),
        }
    }
    grouped
}

/// `{"id":…}`
pub(crate) struct IdOnly<'a>(&'a str);

impl Serialize for IdOnly<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| o.put("id", Text(self.0)))
    }
}

pub(crate) fn ids_only(ids: &[String]) -> Vec<IdOnly<'_>> {
    ids.iter().map(|id| IdOnly(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use waymark_model::PathId;

    #[test]
    fn bodies_are_marathons() {
        let id = PathId::parse("/x").unwrap();
        for (error, status, body) in [
            (
                ApiError::not_json("expected value at line 1 column 1"),
                400,
                r#"{"message":"Invalid JSON","details":"expected value at line 1 column 1"}"#,
            ),
            (ApiError::no_body(), 400, r#"{"message":"Please specify data in JSON format"}"#),
            (
                ApiError::scale_and_wipe(),
                400,
                r#"{"message":"You cannot use scale and wipe at the same time."}"#,
            ),
            (ApiError::no_app(&id), 404, r#"{"message":"App '/x' does not exist"}"#),
            (
                ApiError::no_app_version(&id, Timestamp(7)),
                404,
                r#"{"message":"App '/x' does not exist in version 1970-01-01T00:00:00.007Z"}"#,
            ),
            (ApiError::no_group(&id), 404, r#"{"message":"Group '/x' does not exist"}"#),
            (ApiError::no_task("t"), 404, r#"{"message":"Task 't' does not exist"}"#),
            (ApiError::no_pod("/p"), 404, r#"{"message":"Pod '/p' does not exist"}"#),
            (ApiError::no_deployment("d"), 404, r#"{"message":"DeploymentPlan d does not exist"}"#),
            (ApiError::no_leader(), 404, r#"{"message":"There is no leader"}"#),
            (
                ApiError::not_queued(&id),
                404,
                r#"{"message":"Application /x not found in tasks queue."}"#,
            ),
            (
                ApiError::app_exists(&id),
                409,
                r#"{"message":"An app with id [/x] already exists."}"#,
            ),
            (
                ApiError::group_exists(&id),
                409,
                r#"{"message":"Group /x is already created. Use PUT to change this group."}"#,
            ),
            (
                ApiError::app_has_path(&id),
                409,
                r#"{"message":"An app with the path /x already exists."}"#,
            ),
            (
                ApiError::locked(["b3f1"]),
                409,
                r#"{"message":"App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'.","deployments":[{"id":"b3f1"}]}"#,
            ),
            (
                ApiError::ports_exhausted(10000, 20000),
                500,
                r#"{"message":"All ports in the range [10000-20000) are already in use"}"#,
            ),
            (
                ApiError::too_many_requests(8),
                503,
                r#"{"message":"Too many concurrent requests! Allowed: 8."}"#,
            ),
        ] {
            assert_eq!((error.status(), error.body().as_str()), (status, body));
        }
    }

    #[test]
    fn messages_about_one_path_stand_together() {
        let violations = vec![
            Violation::new("/a", "one"),
            Violation::new("/", "whole"),
            Violation::new("/a", "two"),
        ];
        assert_eq!(
            ApiError::invalid(violations).body(),
            r#"{"message":"Object is not valid","details":[{"path":"/a","errors":["one","two"]},{"path":"/","errors":["whole"]}]}"#
        );
        assert_eq!(
            ApiError::invalid_json(vec![Violation::new("/id", "error.expected.jsstring")]).body(),
            r#"{"message":"Invalid JSON","details":[{"path":"/id","errors":["error.expected.jsstring"]}]}"#
        );
    }
}
