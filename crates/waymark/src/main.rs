//! The binary: command line, configuration, wiring, telemetry.

mod balancer;
mod bind;
mod bluegreen;
mod bridge;
mod cli;
mod client;
mod endpoints;
mod exit;
mod files;
mod fronts;
mod lb;
mod marathon_lb;
mod mesos_dns;
mod metrics;
mod reference;
mod run;
mod settings;
mod table;
mod takeover;
mod telemetry;
mod terminal;
mod whoami;

use std::path::Path;
use std::process::ExitCode;

use clap::ArgMatches;

use exit::Exit;
use settings::Surroundings;

fn main() -> ExitCode {
    // A task's runner is this same program. It must stay small, so nothing else is set up for it.
    if let Some(code) = waymark_executors::task_runner_main(std::env::args_os()) {
        return code;
    }
    let around = Surroundings::of_this_process();
    // Whoever replaces the binary of Mesos-DNS keeps its name.
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|name| Path::new(&name).ends_with("mesos-dns")) {
        let arguments: Vec<String> =
            arguments.map(|text| text.to_string_lossy().into_owned()).collect();
        return mesos_dns::run(&arguments, &around).into();
    }
    let matches = cli::command().get_matches();
    let Some((name, matches)) = matches.subcommand() else { return Exit::Usage.into() };
    match name {
        // Their exit codes are zdd.py's.
        "zdd" => bluegreen::run(bluegreen::Kind::Zdd, matches, &around),
        "bluegreen" => bluegreen::run(bluegreen::Kind::BlueGreen, matches, &around),
        _ => dispatch(name, matches, &around).into(),
    }
}

fn dispatch(name: &str, matches: &ArgMatches, around: &Surroundings) -> Exit {
    match name {
        "run" => run::run(matches, around),
        "lb" => lb::run(matches, around),
        "marathon-lb" => marathon_lb::run(&cli::arguments(matches), around),
        "mesos-dns" => mesos_dns::run(&cli::arguments(matches), around),
        "haproxy-marathon-bridge" => bridge::run(matches, around),
        "whoami" => whoami::run(matches, around),
        "status" | "tasks" | "app" | "explain" => client::run(name, matches, around),
        "completions" => completions(matches),
        "reference" if matches.get_flag("mesos-dns") => {
            terminal::print(&mesos_dns::reference::reference())
        }
        "reference" if matches.get_flag("labels") => terminal::print(&waymark_routing::reference()),
        "reference" => terminal::print(&reference::reference()),
        _ => Exit::Usage,
    }
}

fn completions(matches: &ArgMatches) -> Exit {
    let Some(shell) = matches.get_one::<clap_complete::Shell>("shell") else { return Exit::Usage };
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut cli::command(), "waymark", &mut script);
    terminal::print(&String::from_utf8_lossy(&script))
}
