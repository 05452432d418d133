//! The colours that are there already: which apps belong to a deployment group, and their order.

use serde_json::Value;

use crate::document::group;

/// The apps of a deployment group, the oldest deployment first. One that does not say when it started
/// is older than all others, as in zdd.py.
pub fn members(apps: Vec<Value>, of: &str) -> Vec<Value> {
    let mut members: Vec<Value> = apps.into_iter().filter(|app| group(app) == Some(of)).collect();
    members.sort_by(|a, b| started_at(a).cmp(started_at(b)));
    members
}

/// The deployment before this one.
pub fn last(members: &[Value]) -> Option<&Value> {
    members.last()
}

/// The newer and the older of the last two deployments.
pub fn last_two(members: &[Value]) -> Option<(&Value, &Value)> {
    match members {
        [.., older, newer] => Some((newer, older)),
        _ => None,
    }
}

/// `HAPROXY_DEPLOYMENT_STARTED_AT`, which sorts as text.
pub(crate) fn started_at(app: &Value) -> &str {
    label(app, "HAPROXY_DEPLOYMENT_STARTED_AT").unwrap_or("0")
}

/// A label.
pub(crate) fn label<'a>(app: &'a Value, name: &str) -> Option<&'a str> {
    app.get("labels")?.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_two_of_the_group() {
        let app = |id: &str, group: &str, at: Option<&str>| {
            let mut app = json!({"id": id, "labels": {"HAPROXY_DEPLOYMENT_GROUP": group}});
            if let Some(at) = at {
                app["labels"]["HAPROXY_DEPLOYMENT_STARTED_AT"] = at.into();
            }
            app
        };
        let apps = vec![
            app("/c", "web", Some("2026-01-02T10:00:00")),
            app("/other", "other", Some("2027-01-01T00:00:00")),
            app("/a", "web", None),
            app("/b", "web", Some("2026-01-02T09:00:00.5")),
            json!({"id": "/none"}),
        ];
        let members = members(apps, "web");
        let ids: Vec<&Value> = members.iter().map(|app| &app["id"]).collect();
        assert_eq!(ids, ["/a", "/b", "/c"]);
        assert_eq!(last(&members).unwrap()["id"], "/c");
        let (newer, older) = last_two(&members).unwrap();
        assert_eq!((&newer["id"], &older["id"]), (&json!("/c"), &json!("/b")));
        assert!(last_two(&members[..1]).is_none() && last(&[]).is_none());
    }
}
