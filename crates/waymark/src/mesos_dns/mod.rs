//! `waymark mesos-dns`: what Mesos-DNS does, with its command line, its configuration file, its
//! names and its HTTP API.
//!
//! ```text
//! flags ─► file ─► config (checked) ─► parts ─► sockets ─► services, until a signal
//! ```
//!
//! Whatever can be wrong with the configuration is found before anything is bound and ends with
//! exit code 2; what the machine refuses (a taken port) ends with 1. After that nothing ends the
//! process but a signal, and a fault of ours in what follows the cluster.

mod config;
mod flags;
mod machine;
mod parts;
pub mod reference;
mod services;

use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use tracing::{info, warn};

use crate::exit::Exit;
use crate::run::Signals;
use crate::settings::Surroundings;
use crate::settings::value::LogFormat;
use crate::telemetry::{self, Screen};
use crate::terminal;
pub use config::TABLE;
use config::kind::LogForm;
use config::{Loaded, Outside};
use flags::{Command, Flags};
use machine::Machine;
use services::Services;

/// Threads for the source, the HTTP API and forwarded queries; DNS answers have their own.
const THREADS: usize = 2;
/// How long blocking work may hold up the end.
const END_GRACE: Duration = Duration::from_secs(1);

/// Why it does not start, as a whole message.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(String),
    /// The machine refuses something.
    #[error("{0}")]
    Refused(String),
}

impl StartError {
    fn exit(&self) -> Exit {
        match self {
            StartError::Configuration(_) => Exit::Usage,
            StartError::Refused(_) => Exit::Failed,
        }
    }
}

/// Runs the command with the arguments behind its name.
pub fn run(arguments: &[String], around: &Surroundings) -> Exit {
    match flags::parse(arguments) {
        Ok(Command::Help) => terminal::print(flags::USAGE),
        Ok(Command::Version) => terminal::print(concat!(env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Serve(flags)) => match serve(&flags, around) {
            Ok(()) => Exit::Ok,
            Err(error) => terminal::fail(error.exit(), &error.to_string()),
        },
        Err(error) => {
            terminal::note(&format!("{error}\n{}", flags::USAGE));
            Exit::Usage
        }
    }
}

fn serve(flags: &Flags, around: &Surroundings) -> Result<(), StartError> {
    let path = config_path(flags, around)?;
    let loaded = load(&path)?;
    let format = match loaded.config.log_format {
        LogForm::Text => LogFormat::Text,
        LogForm::Json => LogFormat::Json,
    };
    telemetry::start(flags.log_filter(), format, &Screen::plain());
    for flag in &flags.without_effect {
        warn!("-{flag} changes nothing: log lines go to standard error");
    }
    loaded.warnings.iter().for_each(|warning| warn!("{}: {warning}", path.display()));
    info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "starting");
    let wrong = |reason: String| StartError::Configuration(format!("{}: {reason}", path.display()));
    let prepared = services::prepare(&loaded, &path, around).map_err(|error| match error {
        StartError::Configuration(reason) => wrong(reason),
        refused => refused,
    })?;
    // Connections and forwarded queries have a descriptor each.
    crate::run::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("mesos-dns")
        .enable_all()
        .build()
        .map_err(|e| StartError::Refused(format!("cannot start: {e}")))?;
    let result = runtime.block_on(async {
        let mut signals = Signals::new()
            .map_err(|e| StartError::Refused(format!("cannot catch signals: {e}")))?;
        let mut services = Services::start(prepared)?;
        tokio::select! {
            _ = signals.next() => {}
            () = services.source_ended() => {
                // A restart serves the last state and follows anew; going on would serve it for
                // ever as if it were fresh.
                services.stop().await;
                let reason = "what follows the Mesos cluster has failed; see the log above";
                return Err(StartError::Refused(reason.to_owned()));
            }
        }
        signals.end_at_the_second(&Screen::plain());
        services.stop().await;
        info!("stopped");
        Ok(())
    });
    // Look-ups of host names may still wait for a resolver that does not answer.
    runtime.shutdown_timeout(END_GRACE);
    result
}

fn config_path(flags: &Flags, around: &Surroundings) -> Result<std::path::PathBuf, StartError> {
    let here = std::env::current_dir()
        .map_err(|e| StartError::Refused(format!("the working directory is not there: {e}")))?;
    Ok(flags.config_path(|name| around.variable(name).map(str::to_owned), &here))
}

fn load(path: &Path) -> Result<Loaded, StartError> {
    let wrong = |reason: &str| StartError::Configuration(format!("{}: {reason}", path.display()));
    let content = Machine.file(&path.to_string_lossy()).map_err(|reason| {
        wrong(&format!("{reason}; name the configuration file with -config FILE"))
    })?;
    let text = String::from_utf8(content).map_err(|_| wrong("the file is not UTF-8"))?;
    config::load(path, &text, &Machine).map_err(|error| match error.line {
        // `file:line:` as compilers write it.
        Some(line) => {
            let text = error.to_string();
            let rest = text.strip_prefix(&format!("line {line}: ")).unwrap_or(&text);
            StartError::Configuration(format!("{}:{line}: {rest}", path.display()))
        }
        None => wrong(&error.to_string()),
    })
}
