//! `waymark lb`: a load balancer for the apps of an existing Marathon, in place of marathon-lb.
//!
//! ```text
//! settings ─► checks ─► data folder ─► source, ports ─► services, until a signal
//!
//! Marathon ─► MarathonSource ─► catalog ─► Proxy ─► tasks
//!                                            └────► stats port
//! ```
//!
//! Whatever can be wrong is found before anything has started, and ends with exit code 2 and one
//! message. After that nothing ends the process but a signal, and a fault of ours in what follows
//! Marathon: an unreachable Marathon is waited for, with the routes as they were.

pub mod compat;
pub mod dry;
mod marathon;
mod services;
pub mod view;

use clap::ArgMatches;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};
use waymark_proxy::handover::Kind;
use waymark_sources::marathon::{MarathonConfig, MarathonSource};

use crate::balancer;
use crate::cli;
use crate::exit::Exit;
use crate::fronts::Fronts;
use crate::run::data_dir::DataDir;
use crate::run::{Signals, StartError, raise_open_files};
use crate::settings::{self, Loaded, Role, Surroundings};
use crate::takeover::{self, Takeover};
use crate::telemetry::{self, Screen};
use crate::terminal;
use services::{Ending, Services};

/// Threads for the source and the stats port; traffic has its own.
const THREADS: usize = 2;
/// How long blocking work may hold up the end.
const END_GRACE: std::time::Duration = std::time::Duration::from_secs(1);

/// Runs until it is told to stop, or prints what was asked for.
pub fn run(matches: &ArgMatches, around: &Surroundings) -> Exit {
    if matches.get_flag("longhelp") {
        return terminal::print(&waymark_routing::reference());
    }
    let started = Checked::new(matches, around).and_then(|checked| match matches.get_flag("dry") {
        true => {
            checked.warnings.iter().for_each(|warning| warn!("{warning}"));
            Ok(dry::run(&checked.loaded, checked.source()?))
        }
        false => checked.prepare().map(Prepared::run),
    });
    started.unwrap_or_else(|error| terminal::fail(Exit::Usage, &error.to_string()))
}

/// Settings that make sense, and log lines as they say.
struct Checked {
    loaded: Loaded,
    config: MarathonConfig,
    warnings: Vec<String>,
}

impl Checked {
    fn new(matches: &ArgMatches, around: &Surroundings) -> Result<Checked, StartError> {
        let mut flags = cli::flags(Role::Lb, matches);
        let log_format = compat::take_log_format(&mut flags);
        let loaded = settings::load(Role::Lb, &flags, around)?;
        let mut warnings = settings::check(&loaded)?;
        warnings.extend(log_format);
        warnings.extend(compat::warnings(matches));
        let config = marathon::config(&loaded, around)?;
        let filter = loaded.settings.log_level.as_ref().map_or("info", |filter| filter.0.as_str());
        telemetry::start(filter, loaded.settings.log_format, &Screen::plain());
        Ok(Checked { loaded, config, warnings })
    }

    /// What follows Marathon without keeping anything.
    fn source(&self) -> Result<MarathonSource, StartError> {
        let source = MarathonSource::new(self.config.clone());
        source.map_err(|error| marathon::refused(&self.loaded, &error))
    }

    /// Takes the data folder and looks for the ports.
    fn prepare(self) -> Result<Prepared, StartError> {
        let Checked { loaded, mut config, mut warnings } = self;
        let (data, mut before) = takeover::enter(&loaded, Kind::Traffic)?;
        if before.is_some() {
            data.lock_later().map_err(|e| StartError(format!("{}: {e}", data.path().display())))?;
        }
        config.data_dir = Some(data.path().to_owned());
        let source =
            MarathonSource::new(config).map_err(|error| marathon::refused(&loaded, &error))?;
        let fronts = Fronts::find(&loaded, &[], before.as_mut())?;
        raise_open_files();
        warnings.extend(balancer::too_few_files(&loaded));
        warnings.iter().for_each(|warning| warn!("{warning}"));
        Ok(Prepared { loaded, source, data, fronts, before })
    }
}

/// Everything that can be wrong has been looked at.
struct Prepared {
    loaded: Loaded,
    source: MarathonSource,
    data: DataDir,
    fronts: Fronts,
    /// The process that is taken over from.
    before: Option<Takeover>,
}

impl Prepared {
    fn run(self) -> Exit {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("lb")
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(e) => return terminal::fail(Exit::Failed, &format!("cannot start: {e}")),
        };
        let exit = runtime.block_on(self.serve());
        // Look-ups of host names may still wait for a resolver that does not answer.
        runtime.shutdown_timeout(END_GRACE);
        exit
    }

    async fn serve(self) -> Exit {
        let (mut signals, mut commands) = match (Signals::new(), Commands::new()) {
            (Ok(signals), Ok(commands)) => (signals, commands),
            (Err(e), _) | (_, Err(e)) => {
                return terminal::fail(Exit::Failed, &format!("cannot catch signals: {e}"));
            }
        };
        let Prepared { loaded, source, data, fronts, before } = self;
        let grace = loaded.settings.stop_timeout;
        let mut services = match Services::start(&loaded, source, data, fronts, before) {
            Ok(services) => services,
            Err(error) => return terminal::fail(Exit::Usage, &error.to_string()),
        };
        let exit = loop {
            tokio::select! {
                () = signals.next() => break Exit::Ok,
                command = commands.next() => services.obey(command),
                ending = services.ending() => match ending {
                    Ending::TakenOver(mut successor) => {
                        info!("another process has taken over; open connections go on");
                        services.stop(grace, || successor.released()).await;
                        return Exit::Ok;
                    }
                    // Routes would slowly become untrue; a restart serves the last state and
                    // follows anew.
                    Ending::SourceFailed => {
                        let reason = "what follows Marathon has failed; see the log above";
                        break terminal::fail(Exit::Failed, reason);
                    }
                },
            }
        };
        signals.end_at_the_second(&Screen::plain());
        services.stop(grace, || ()).await;
        info!("stopped");
        exit
    }
}

/// What a signal asks for, as with marathon-lb.
#[derive(Clone, Copy, Debug)]
enum Command {
    /// SIGHUP: fetch everything again, and open the access log anew.
    Refresh,
    /// SIGUSR1: read certificates again.
    ReloadCertificates,
}

struct Commands {
    hup: Signal,
    usr1: Signal,
}

impl Commands {
    fn new() -> std::io::Result<Commands> {
        Ok(Commands {
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Command {
        tokio::select! {
            _ = self.hup.recv() => Command::Refresh,
            _ = self.usr1.recv() => Command::ReloadCertificates,
        }
    }
}
