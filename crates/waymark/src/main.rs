//! The binary: command line, configuration, wiring, telemetry.

mod cli;
mod client;
mod endpoints;
mod exit;
mod files;
mod reference;
mod run;
mod settings;
mod table;
mod telemetry;
mod terminal;
mod whoami;

use std::process::ExitCode;

use clap::ArgMatches;

use exit::Exit;
use settings::Surroundings;

fn main() -> ExitCode {
    // A task's runner is this same program. It must stay small, so nothing else is set up for it.
    if let Some(code) = waymark_executors::task_runner_main(std::env::args_os()) {
        return code;
    }
    let matches = cli::command().get_matches();
    let around = Surroundings::of_this_process();
    let Some((name, matches)) = matches.subcommand() else { return Exit::Usage.into() };
    dispatch(name, matches, &around).into()
}

fn dispatch(name: &str, matches: &ArgMatches, around: &Surroundings) -> Exit {
    match name {
        "run" => run::run(matches, around),
        "whoami" => whoami::run(matches, around),
        "status" | "tasks" | "app" => client::run(name, matches, around),
        "completions" => completions(matches),
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
