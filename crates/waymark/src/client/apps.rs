//! `waymark app …`, apart from `logs` and `put`.

use clap::ArgMatches;
use serde_json::{Value, json};

use super::api::{Api, Reply, typed};
use super::error::ClientError;
use super::status::task_table;
use super::view::{App, Task, age};
use super::{Shown, Wait, pretty, wait};
use crate::table::{Align, Table};
use crate::terminal;

/// All apps.
pub fn list(api: &Api, as_json: bool) -> Shown {
    if as_json {
        return Ok(pretty(&api.get("/v2/apps")?["apps"]));
    }
    let mut apps: Vec<App> = api.list("/v2/apps", "apps")?;
    apps.sort_by(|a, b| a.id.cmp(&b.id));
    let mut table = Table::new(&[
        ("APP", Align::Left),
        ("TASKS", Align::Right),
        ("SERVICE PORTS", Align::Left),
        ("CPUS", Align::Right),
        ("MEM", Align::Right),
        ("STATE", Align::Left),
    ]);
    for app in &apps {
        table.row([
            app.id.clone(),
            app.good_of_wanted(),
            app.service_ports(),
            app.cpus.to_string(),
            app.mem.to_string(),
            app.condition().to_owned(),
        ]);
    }
    Ok(table.render())
}

/// One app and its tasks.
pub fn get(api: &Api, id: &str, as_json: bool) -> Shown {
    let mut document = api.get(&path(id)?)?;
    let document = document["app"].take();
    if as_json {
        return Ok(pretty(&document));
    }
    let tasks: Vec<Task> = typed(document["tasks"].clone())?;
    let app: App = typed(document)?;
    let command = app.cmd.clone().unwrap_or_else(|| app.args.join(" "));
    let deployments: Vec<&str> = app.deployments.iter().map(|d| d.id.as_str()).collect();
    let mut out = format!(
        "{}\n  command        {command}\n  tasks          {} ({})\n  service ports  {}\n  \
         resources      {} cpus, {} MiB\n  version        {}\n",
        app.id,
        app.good_of_wanted(),
        app.condition(),
        app.service_ports(),
        app.cpus,
        app.mem,
        app.version,
    );
    if !deployments.is_empty() {
        out.push_str(&format!("  deployments    {}\n", deployments.join(" ")));
    }
    if let Some(failure) = &app.last_task_failure {
        out.push_str(&format!(
            "  last failure   {} ago: {} ({}, {})\n",
            age(Some(&failure.timestamp)),
            failure.message,
            failure.state,
            failure.task_id,
        ));
    }
    if !tasks.is_empty() {
        out.push('\n');
        out.push_str(&task_table(&tasks));
    }
    Ok(out)
}

/// Changes how many tasks an app has.
pub fn scale(api: &Api, id: &str, instances: u32, options: &Wait) -> Shown {
    let body = json!({"instances": instances});
    let reply = api.send("PATCH", &changing(id, options.force)?, Some(&body))?;
    finish(api, reply, options, &format!("{id} has {instances} tasks"))
}

/// Replaces all tasks of an app.
pub fn restart(api: &Api, id: &str, options: &Wait) -> Shown {
    let path = format!("{}/restart?force={}", path(id)?, options.force);
    let reply = api.send("POST", &path, None)?;
    finish(api, reply, options, &format!("{id} has new tasks"))
}

/// Stops all tasks of an app and forgets it.
pub fn remove(api: &Api, id: &str, options: &Wait) -> Shown {
    let reply = api.send("DELETE", &changing(id, options.force)?, None)?;
    finish(api, reply, options, &format!("{id} is gone"))
}

/// Shows warnings, waits if asked to, and says what is now true.
pub fn finish(api: &Api, reply: Reply, options: &Wait, done: &str) -> Shown {
    for warning in &reply.warnings {
        terminal::note(&format!("warning: {warning}"));
    }
    let Some(deployment) = reply.deployment else { return Ok(pretty(&reply.body)) };
    if options.wait {
        wait::wait(api, &deployment, options.timeout)?;
    }
    if options.json {
        return Ok(pretty(&reply.body));
    }
    Ok(if options.wait {
        format!("{done}\n")
    } else {
        format!("deployment {deployment} started\n")
    })
}

fn changing(id: &str, force: bool) -> Result<String, ClientError> {
    Ok(format!("{}?force={force}", path(id)?))
}

/// The path of an app's resource.
pub fn path(id: &str) -> Result<String, ClientError> {
    match waymark_model::PathId::parse(id) {
        Ok(id) if !id.is_root() => Ok(format!("/v2/apps{id}")),
        Ok(_) => Err(ClientError::Usage("an app's id is needed, such as /shop/web".to_owned())),
        Err(e) => Err(ClientError::Usage(format!("{id:?} is not an app's id: {e}"))),
    }
}

/// The id argument.
pub fn id(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("id").map_or("", String::as_str)
}

/// Puts complete definitions.
pub fn put(api: &Api, apps: &[Value], options: &Wait) -> Shown {
    let path = format!("/v2/apps?partialUpdate=false&force={}", options.force);
    let ids: Vec<&str> = apps.iter().filter_map(|a| a["id"].as_str()).collect();
    let reply = api.send("PUT", &path, Some(&Value::Array(apps.to_vec())))?;
    let shown = finish(api, reply, options, &format!("applied: {}", ids.join(", ")))?;
    if options.wait {
        ids.iter().try_for_each(|id| warn_if_not_good(api, id))?;
    }
    Ok(shown)
}

/// A deployment is done when tasks run; one that ends at once is noticed only here.
fn warn_if_not_good(api: &Api, id: &str) -> Result<(), ClientError> {
    let app: App = match api.get(&path(id)?) {
        Ok(mut document) => typed(document["app"].take())?,
        // Somebody else has removed it meanwhile.
        Err(ClientError::NotFound(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    if app.good() < app.instances {
        let failure = app.last_task_failure.as_ref();
        let cause = failure.map(|f| format!(", last failure: {}", f.message)).unwrap_or_default();
        terminal::note(&format!("warning: {id} has {} tasks{cause}", app.good_of_wanted()));
    }
    Ok(())
}

/// An app as JSON, without what the server stamps on it.
pub fn definition(app: &waymark_model::App) -> Result<Value, ClientError> {
    let text = waymark_marathon_api::app::app_to_stored(app);
    let mut value: Value =
        serde_json::from_str(&text).map_err(|e| ClientError::Usage(format!("{}: {e}", app.id)))?;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| name != "version" && name != "versionInfo");
    }
    Ok(value)
}
