//! What an event says about who has changed. Events carry no data here: they only name the apps that
//! are worth asking for.

use serde_json::Value;
use waymark_model::{AppId, PathId};

/// The apps that an event names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// These may have changed; none where the event is about something else.
    Apps(Vec<AppId>),
    /// The event cannot be read, so anything may have changed.
    Anything,
}

impl Notice {
    /// The types of event that name apps, for the filter of the stream.
    pub const EVENT_TYPES: [&str; 14] = [
        "api_post_event",
        "app_terminated_event",
        "add_health_check_event",
        "deployment_failed",
        "deployment_info",
        "deployment_step_failure",
        "deployment_step_success",
        "deployment_success",
        "health_status_changed_event",
        "instance_changed_event",
        "instance_health_changed_event",
        "remove_health_check_event",
        "status_update_event",
        "unhealthy_task_kill_event",
    ];

    /// Reads an event: its name on the stream, and its data.
    pub fn read(name: &str, data: &[u8]) -> Notice {
        let Ok(Value::Object(event)) = serde_json::from_slice(data) else {
            return Notice::Anything;
        };
        let kind = event.get("eventType").and_then(Value::as_str).unwrap_or(name);
        if !Notice::EVENT_TYPES.contains(&kind) {
            return Notice::Apps(Vec::new());
        }
        let named = match kind {
            "api_post_event" => event.get("appDefinition").and_then(|app| id(app.get("id")?)),
            "instance_changed_event" | "instance_health_changed_event" => {
                event.get("runSpecId").and_then(id)
            }
            kind if kind.starts_with("deployment_") => {
                let mut apps = Vec::new();
                of_step(event.get("currentStep"), &mut apps);
                let steps = event.get("plan").and_then(|plan| plan.get("steps")?.as_array());
                steps.into_iter().flatten().for_each(|step| of_step(Some(step), &mut apps));
                apps.sort_unstable();
                apps.dedup();
                return Notice::Apps(apps);
            }
            _ => event.get("appId").and_then(id),
        };
        named.map_or(Notice::Anything, |app| Notice::Apps(vec![app]))
    }
}

fn of_step(step: Option<&Value>, apps: &mut Vec<AppId>) {
    let actions = step.and_then(|step| step.get("actions")?.as_array());
    apps.extend(actions.into_iter().flatten().filter_map(|action| id(action.get("app")?)));
}

fn id(value: &Value) -> Option<AppId> {
    PathId::parse(value.as_str()?).ok().filter(|id| !id.is_root())
}
