//! `waymark status` and `waymark tasks`.

use serde::Deserialize;
use serde_json::json;

use super::api::{Api, typed};
use super::view::{App, Task, age};
use super::{Shown, lb_status, pretty};
use crate::table::{Align, Table};

/// `GET /v1/status`, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    version: String,
    catalog_version: u64,
    outputs: Vec<Output>,
    tasks: usize,
    warnings: Vec<String>,
    limitations: Vec<String>,
    service_ports: Vec<Listener>,
    since: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Output {
    name: String,
    applied: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Listener {
    port: u16,
    app: String,
    state: String,
    reason: Option<String>,
}

/// Whether everything runs, and what is wrong.
pub fn status(api: &Api, as_json: bool) -> Shown {
    let document = api.get("/v1/status")?;
    if lb_status::is_of(&document) {
        return lb_status::status(api, document, as_json);
    }
    let apps = api.get("/v2/apps")?;
    if as_json {
        let deployments = api.get("/v2/deployments")?;
        return Ok(pretty(&json!({
            "api": api.url(),
            "status": document,
            "apps": apps["apps"],
            "deployments": deployments,
        })));
    }
    let status: Status = typed(document)?;
    let mut apps: Vec<App> = typed(apps["apps"].clone())?;
    apps.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(text(api, &status, &apps))
}

fn text(api: &Api, status: &Status, apps: &[App]) -> String {
    let good = apps.iter().filter(|a| a.good() >= a.instances).count();
    let mut out = format!(
        "Waymark {} at {}, up {}\n\ncatalog  version {}\n",
        status.version,
        api.url(),
        age(Some(&status.since)),
        status.catalog_version,
    );
    for output in &status.outputs {
        let behind = status.catalog_version.saturating_sub(output.applied);
        let note = if behind == 0 { String::new() } else { format!(" ({behind} behind)") };
        out.push_str(&format!("{:<7}  serves {}{note}\n", output.name, output.applied));
    }
    out.push_str(&format!("apps     {good} of {} as wanted\n", apps.len()));
    out.push_str(&format!("tasks    {}\n", status.tasks));
    let missing: Vec<String> = apps
        .iter()
        .filter(|a| a.good() < a.instances)
        .map(|a| format!("{} {} {}", a.id, a.good_of_wanted(), a.condition()))
        .collect();
    let failing: Vec<String> = status
        .service_ports
        .iter()
        .filter(|l| l.state != "listening")
        .map(|l| format!("{} {} {}: {}", l.port, l.app, l.state, l.reason.as_deref().unwrap_or("")))
        .collect();
    for (title, lines) in [
        ("not as wanted", &missing),
        ("service ports without a listener", &failing),
        ("warnings", &status.warnings),
        ("limitations of this machine", &status.limitations),
    ] {
        if !lines.is_empty() {
            out.push_str(&format!("\n{title}\n"));
            lines.iter().for_each(|line| out.push_str(&format!("  {line}\n")));
        }
    }
    out
}

/// All tasks.
pub fn tasks(api: &Api, as_json: bool) -> Shown {
    if as_json {
        return Ok(pretty(&api.get("/v2/tasks")?));
    }
    let mut tasks: Vec<Task> = api.list("/v2/tasks", "tasks")?;
    tasks.sort_by(|a, b| (&a.app_id, &a.id).cmp(&(&b.app_id, &b.id)));
    Ok(task_table(&tasks))
}

/// Tasks as a table.
pub fn task_table(tasks: &[Task]) -> String {
    let left = |name| (name, Align::Left);
    let mut table = Table::new(&[
        left("TASK"),
        left("APP"),
        left("STATE"),
        left("HEALTH"),
        left("ADDRESS"),
        ("AGE", Align::Right),
    ]);
    for task in tasks {
        table.row([
            task.id.clone(),
            task.app_id.clone(),
            task.state(),
            task.health().to_owned(),
            task.addresses(),
            age(task.started_at.as_deref()),
        ]);
    }
    table.render()
}
