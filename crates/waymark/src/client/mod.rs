//! Client commands: a Waymark that runs, asked over its REST API.
//!
//! ```text
//! arguments ──► which server (--api, WAYMARK_API, endpoints.json) ──► requests ──► tables or JSON
//! ```
//!
//! Results go to stdout, progress and warnings to stderr, and the exit code says which kind of
//! failure it was. Nothing here reads a server's files except `endpoints.json`.

mod api;
mod apps;
mod error;
mod explain;
mod lb_status;
mod logs;
pub mod routes;
mod status;
mod view;
mod wait;

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use serde_json::Value;

use crate::cli;
use crate::endpoints::{self, Endpoints};
use crate::exit::Exit;
use crate::settings::{self, API_VARIABLE, Role, Surroundings};
use crate::terminal;
use api::Api;
use error::ClientError;

/// The text that a command prints.
type Shown = Result<String, ClientError>;

/// How a command that starts a deployment ends.
pub struct Wait {
    /// Whether to wait for the deployment.
    pub wait: bool,
    /// For how long.
    pub timeout: Duration,
    /// Whether to take over from other deployments.
    pub force: bool,
    /// Whether to print JSON.
    pub json: bool,
}

/// Runs `status`, `tasks`, `explain` or a command of `app`.
pub fn run(name: &str, matches: &ArgMatches, around: &Surroundings) -> Exit {
    if name == "explain" {
        return explain_request(matches, around);
    }
    let shown = match (name, matches.subcommand()) {
        ("app", Some((name, matches))) => app(name, matches, around),
        _ => overview(name, matches, around),
    };
    match shown {
        Ok(text) => terminal::print(&text),
        Err(error) => terminal::fail(error.exit(), &error.to_string()),
    }
}

/// Shows where a request goes; the exit code tells whether a task would be picked.
fn explain_request(matches: &ArgMatches, around: &Surroundings) -> Exit {
    let explained = server(matches, around).and_then(|api| explain::explain(&api, matches));
    match explained {
        Ok((text, picked)) => match (terminal::print(&text), picked) {
            (Exit::Ok, false) => Exit::NotFound,
            (exit, _) => exit,
        },
        Err(error) => terminal::fail(error.exit(), &error.to_string()),
    }
}

fn overview(name: &str, matches: &ArgMatches, around: &Surroundings) -> Shown {
    let api = server(matches, around)?;
    match name {
        "status" => status::status(&api, matches.get_flag("json")),
        _ => status::tasks(&api, matches.get_flag("json")),
    }
}

fn app(name: &str, matches: &ArgMatches, around: &Surroundings) -> Shown {
    // A wrong file is told before it matters whether a server runs.
    let definitions = if name == "put" { definitions(matches)? } else { Vec::new() };
    let api = server(matches, around)?;
    let (id, json) = (|| apps::id(matches), matches.get_flag("json"));
    match name {
        "list" => apps::list(&api, json),
        "get" => apps::get(&api, id(), json),
        "put" => apps::put(&api, &definitions, &wait_options(matches)),
        "scale" => {
            let instances = matches.get_one::<u32>("instances").copied().unwrap_or_default();
            apps::scale(&api, id(), instances, &wait_options(matches))
        }
        "restart" => apps::restart(&api, id(), &wait_options(matches)),
        "remove" => apps::remove(&api, id(), &wait_options(matches)),
        _ => logs::logs(&api, matches).map(|()| String::new()),
    }
}

/// The complete definitions in the files, as JSON without version stamps.
fn definitions(matches: &ArgMatches) -> Result<Vec<Value>, ClientError> {
    let files = matches.get_many::<PathBuf>("files").into_iter().flatten();
    let read = crate::files::read(files).map_err(ClientError::Usage)?;
    read.apps.values().map(apps::definition).collect()
}

fn wait_options(matches: &ArgMatches) -> Wait {
    Wait {
        wait: !matches.get_flag("no-wait"),
        timeout: matches.get_one::<Duration>("timeout").copied().unwrap_or_default(),
        force: matches.get_flag("force"),
        json: matches.get_flag("json"),
    }
}

/// The server that the command line, the environment or the data folder names.
fn server(matches: &ArgMatches, around: &Surroundings) -> Result<Api, ClientError> {
    let named = matches.get_one::<String>("api").map(String::as_str);
    if let Some(url) = named.or_else(|| around.variable(API_VARIABLE)) {
        return Api::new(url);
    }
    let flags = cli::client_flags(matches);
    let folder = |role| settings::load(role, &flags, around).map(|loaded| loaded.settings.data_dir);
    let (run, lb) = (folder(Role::Run), folder(Role::Lb));
    // Where both run, `run` is the one that is meant.
    for folder in run.iter().chain(&lb) {
        if let Ok(endpoints) = Endpoints::read(folder) {
            return Api::new(&endpoints.api);
        }
    }
    let folder = run.or(lb).map_err(|e| ClientError::Usage(e.to_string()))?;
    Err(ClientError::NotRunning(format!(
        "no Waymark runs on the data folder {}: there is no {}; start one with `waymark run`, or \
         say --api URL or --data-dir DIR",
        folder.display(),
        endpoints::path(&folder).display(),
    )))
}

/// JSON for people and programs.
fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}
