//! `waymark haproxy-marathon-bridge`: in place of the script of that name.
//!
//! ```text
//! host:port… ─► /v2/tasks of the first Marathon that answers ─► services ─► configuration ─► stdout
//!                                                                                   └► file, reload
//! ```
//!
//! The words are the script's, which ran any of its own functions by name. Nothing is kept but the
//! files that the script kept; nothing is written without being asked for.

mod configuration;
mod listing;
mod logged;
mod system;

use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use waymark_sources::client::{Auth, Rest, TlsConfig};

use crate::cli;
use crate::exit::Exit;
use crate::settings::Surroundings;
use crate::terminal;
use listing::Service;

/// One Marathon, from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);

const USAGE: &str = "\
Usage: waymark haproxy-marathon-bridge <host:port>…
       waymark haproxy-marathon-bridge install_haproxy_system <host:port>…
       waymark haproxy-marathon-bridge install_cronjob [--write] [<host:port>…]
       waymark haproxy-marathon-bridge refresh_system_haproxy [<host:port>…]
       waymark haproxy-marathon-bridge logged <one of these>

Prints a configuration of HAProxy with a TCP listener for every service port of the apps of a Marathon
(the first of those given that answers), in place of the script haproxy-marathon-bridge.

  install_haproxy_system  says how to install HAProxy, then the same as install_cronjob
  install_cronjob         says which files make the configuration follow Marathon every minute;
                          with --write, writes them and starts the timer
  refresh_system_haproxy  writes /etc/haproxy/haproxy.cfg and reloads HAProxy if anything changed;
                          without Marathons, those in /etc/haproxy-marathon-bridge/marathons
  logged                  runs a command with its output to syslog

Marathon 1.10 and later, which have no plain text any more, are asked for JSON; apps without tasks are
then not there. To follow Marathon by its events rather than every minute, see `waymark lb --help`.";

/// The words are read here and not by clap.
pub fn command() -> Command {
    Command::new("haproxy-marathon-bridge")
        .about("Print an HAProxy configuration from a Marathon's tasks, in place of the old script")
        .long_about(USAGE)
        .disable_help_flag(true)
        .arg(
            Arg::new("arguments")
                .value_name("MARATHON|COMMAND")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true),
        )
}

/// Runs it.
pub fn run(matches: &ArgMatches, around: &Surroundings) -> Exit {
    let words = cli::arguments(matches);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => terminal::fail(Exit::Failed, USAGE),
        ["-h" | "--help", ..] => terminal::print(&format!("{USAGE}\n")),
        ["install_haproxy_system", rest @ ..] => {
            terminal::print(system::INSTALL);
            system::install_cronjob(rest, around)
        }
        ["install_cronjob", rest @ ..] => system::install_cronjob(rest, around),
        ["refresh_system_haproxy", marathons @ ..] => system::refresh(marathons, around),
        ["logged", command @ ..] => logged::run(command),
        [flag, ..] if flag.starts_with('-') => {
            terminal::fail(Exit::Failed, &format!("unknown flag {flag}\n{USAGE}"))
        }
        marathons => print(marathons),
    }
}

/// Prints the configuration; of none that answers the head, as the script does, and fails.
fn print(marathons: &[&str]) -> Exit {
    let (text, found) = match services(marathons) {
        Ok(services) => (configuration(&services), None),
        Err(reason) => (configuration::HEAD.to_owned(), Some(reason)),
    };
    match (terminal::print(&text), found) {
        (Exit::Ok, Some(reason)) => terminal::fail(Exit::Failed, &reason),
        (exit, _) => exit,
    }
}

fn configuration(services: &[Service]) -> String {
    let sections = services.iter().map(configuration::section);
    std::iter::once(configuration::HEAD.to_owned()).chain(sections).collect()
}

/// The services of the first Marathon that answers.
fn services(marathons: &[&str]) -> Result<Vec<Service>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot start: {e}"))?;
    let mut reasons = Vec::new();
    for marathon in marathons {
        match runtime.block_on(ask(marathon)) {
            Ok(services) => return Ok(services),
            Err(reason) => reasons.push(format!("{marathon}: {reason}")),
        }
    }
    Err(format!("no Marathon answers: {}", reasons.join("; ")))
}

async fn ask(marathon: &str) -> Result<Vec<Service>, String> {
    let url = match marathon.contains("://") {
        true => marathon.to_owned(),
        false => format!("http://{marathon}"),
    };
    let rest =
        Rest::new(&url, &TlsConfig::default(), &Auth::None, TIMEOUT).map_err(|e| e.to_string())?;
    let reply = rest.text("/v2/tasks").await.map_err(|e| e.to_string())?;
    let is_json = reply.body.first() == Some(&b'{');
    match reply.status {
        200 if !is_json => Ok(listing::from_text(&String::from_utf8_lossy(&reply.body))),
        200 | 406 => {
            let reply = rest.get("/v2/tasks").await.map_err(|e| e.to_string())?;
            listing::from_json(&reply.body).map_err(|e| format!("the answer makes no sense: {e}"))
        }
        status => Err(format!("/v2/tasks was answered with {status}")),
    }
}
