//! `waymark run`: everything in one process.
//!
//! ```text
//! settings ─► checks ─► files ─► data folder ─► listeners ─► store ─► services ─► endpoints.json
//!                                                               │
//!                       until a signal: progress, then a table ◄┴─ apply the files
//! ```
//!
//! Whatever can be wrong is found before anything has started, and ends with exit code 2 and one
//! message. After that only what cannot be known beforehand can fail.

mod api_server;
pub mod data_dir;
mod display;
pub mod dns_threads;
mod identity;
mod listeners;
mod names;
mod progress;
mod services;
mod summary;
mod upgrade;

use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};
use waymark_control::{Accepted, Change, ControlPlane, Refusal, Request};
use waymark_dns::Sockets;
use waymark_proxy::handover::{Inherited, Kind, Predecessor};

use crate::endpoints::{Endpoints, here};
use crate::exit::Exit;
use crate::files::{self, Definitions};
use crate::settings::{self, Loaded, Role, Surroundings};
use crate::takeover::{self, Takeover, Waiting};
use crate::telemetry::{self, Screen};
use crate::terminal;
use crate::{balancer, cli};
use data_dir::DataDir;
use display::Display;
use listeners::Listeners;
use services::{Parts, Services};
use summary::Places;
use upgrade::{Ending, hand_over};

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// After this long, what is not as wanted is told, and no longer waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Threads of the control plane: API, executor and probes; DNS and load balancer have their own.
const MAX_CONTROL_THREADS: usize = 4;

/// Why Waymark does not start, as a whole message.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// Errors of other rooms are whole messages already.
macro_rules! from_errors {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for StartError {
            fn from(error: $error) -> StartError {
                StartError(error.to_string())
            }
        })+
    };
}
from_errors!(
    crate::settings::SettingError,
    waymark_dns::ConfigError,
    waymark_dns::forward::ForwardConfigError,
    waymark_executors::ExecutorError,
    waymark_proxy::StartError,
);

/// Runs until it is told to stop.
pub fn run(matches: &ArgMatches, around: &Surroundings) -> Exit {
    match prepare(matches, around) {
        Ok(prepared) => prepared.run(),
        Err(NotStarted(exit, error)) => terminal::fail(exit, &error.to_string()),
    }
}

/// Nothing was started, and what the process ends with.
pub struct NotStarted(pub Exit, pub StartError);

impl<E: Into<StartError>> From<E> for NotStarted {
    fn from(error: E) -> NotStarted {
        NotStarted(Exit::Usage, error.into())
    }
}

/// Everything that can be wrong has been looked at.
struct Prepared {
    loaded: Loaded,
    definitions: Definitions,
    data: DataDir,
    listeners: Listeners,
    control: ControlPlane,
    /// The process that is taken over from. It has stopped acting.
    before: Option<Takeover>,
    screen: Screen,
    /// The limit of open files as it was found; tasks get this one.
    open_files: Option<u64>,
}

fn prepare(matches: &ArgMatches, around: &Surroundings) -> Result<Prepared, NotStarted> {
    let loaded = settings::load(Role::Run, &cli::flags(Role::Run, matches), around)?;
    let warnings = settings::check(&loaded)?;
    let paths = matches.get_many::<PathBuf>("files").into_iter().flatten();
    let definitions = files::read(paths).map_err(StartError)?;
    let screen = Screen::new();
    let quiet = if screen.live().is_some() { "warn" } else { "info" };
    let filter = loaded.settings.log_level.as_ref().map_or(quiet, |filter| filter.0.as_str());
    telemetry::start(filter, loaded.settings.log_format, &screen);
    let (data, mut before) = takeover::enter(&loaded, Kind::Control)?;
    let workers = match loaded.settings.dns_workers.0 {
        0 => available_parallelism().map_or(1, usize::from),
        n => n,
    };
    let listeners = Listeners::bind(&loaded, workers, before.as_mut())?;
    let given_way = &listeners.fronts.warnings;
    warnings.iter().chain(given_way).for_each(|warning| warn!("{warning}"));
    let open_files = raise_open_files();
    if let Some(warning) = balancer::too_few_files(&loaded).filter(|_| !loaded.settings.no_proxy) {
        warn!("{warning}");
    }
    if let Some(before) = &mut before {
        upgrade::yield_control(&mut before.predecessor, &data)?;
    }
    let control = services::read_store(&loaded, &data)?;
    Ok(Prepared { loaded, definitions, data, listeners, control, before, screen, open_files })
}

/// Every connection takes two descriptors. Returns the limit as it was.
pub(crate) fn raise_open_files() -> Option<u64> {
    let before = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    if let Err(error) = waymark_proxy::raise_nofile_limit() {
        warn!(%error, "going on with the limit as it is");
    }
    before.ok().map(|(soft, _)| soft)
}

impl Prepared {
    fn run(self) -> Exit {
        let threads = available_parallelism().map_or(1, usize::from).min(MAX_CONTROL_THREADS);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("control")
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.serve()),
            Err(e) => terminal::fail(Exit::Failed, &format!("cannot start: {e}")),
        }
    }

    async fn serve(self) -> Exit {
        // Before any task exists, so that no signal is missed.
        let signals = match Signals::new() {
            Ok(signals) => signals,
            Err(e) => return terminal::fail(Exit::Failed, &format!("cannot catch signals: {e}")),
        };
        let Prepared { loaded, definitions, data, listeners, control, before, screen, open_files } =
            self;
        let places = places(&loaded, &listeners);
        let mut endpoints = Endpoints {
            dns: places.dns.map(|address| address.to_string()),
            mesos_dns: mesos_dns_url(&listeners),
            ..Endpoints::of_this_process(places.api.clone())
        };
        listeners.fronts.tell(loaded.settings.listen, &mut endpoints);
        let started = start(&loaded, &data, listeners, control, before, open_files).await;
        let (services, before) = match started {
            Ok(started) => started,
            Err(NotStarted(exit, error)) => return terminal::fail(exit, &error.to_string()),
        };
        let keep_tasks = loaded.settings.keep_tasks;
        // Before any other process is told that this one serves: it takes its own file away then.
        let ended = match endpoints.write(data.path()) {
            Err(error) => {
                let message = format!("{}: {error}", data.path().display());
                Ended::Stopped(terminal::fail(Exit::Failed, &message))
            }
            Ok(()) => {
                let (proxy, sockets) = (services.proxy.clone(), services.sockets.clone());
                let waiting = Waiting::after(before, data.path(), proxy, sockets, Kind::Control);
                let work = work(&services, definitions, &endpoints, &places, &screen, signals);
                tokio::select! {
                    exit = work => Ended::Stopped(exit),
                    ending = hand_over(&services, &data, waiting) => Ended::HandedOver(ending),
                }
            }
        };
        // From here on nobody should be sent here.
        if let Err(error) = Endpoints::remove_own(data.path()) {
            warn!(%error, "endpoints.json is left behind");
        }
        end(ended, services, loaded.settings.stop_timeout, keep_tasks).await
    }
}

/// Ends everything, in the way that fits.
async fn end(ended: Ended, services: Services, grace: Duration, keep_tasks: bool) -> Exit {
    let exit = match ended {
        Ended::Stopped(exit) => exit,
        Ended::HandedOver(Ending::TakenOver(mut successor)) => {
            services.leave(grace, || successor.released()).await;
            return Exit::Ok;
        }
        Ended::HandedOver(Ending::Orphaned) => {
            let reason = "the process that took over is gone; start Waymark again";
            terminal::fail(Exit::Failed, reason)
        }
    };
    // Only a stop that was asked for ends tasks: a refused file or a full disk at a restart must
    // not take down what was running well.
    let stopped = services.stop(keep_tasks || exit != Exit::Ok).await;
    info!("stopped");
    match stopped {
        Ok(()) => exit,
        Err(error) => terminal::fail(Exit::Failed, &error.to_string()),
    }
}

enum Ended {
    Stopped(Exit),
    HandedOver(Ending),
}

/// Makes everything, then starts it: if there is a process before, from here on in its place. That
/// one goes on carrying traffic until it is told that this one does.
async fn start(
    loaded: &Loaded,
    data: &DataDir,
    listeners: Listeners,
    control: ControlPlane,
    before: Option<Takeover>,
    open_files: Option<u64>,
) -> Result<(Services, Option<Predecessor>), NotStarted> {
    let (inherited, mut before) = match before {
        Some(Takeover { sockets, predecessor, .. }) => (sockets, Some(predecessor)),
        None => (Inherited::default(), None),
    };
    let parts = Parts::make(loaded, data, control, listeners, inherited, open_files)?;
    let presence = before.as_ref().map(Predecessor::presence).transpose();
    let presence = presence.map_err(|e| StartError(e.to_string()))?;
    if let Some(before) = &mut before {
        upgrade::commit(before, data)?;
    }
    let services = parts.start(loaded, presence).await?;
    Ok((services, before))
}

fn mesos_dns_url(listeners: &Listeners) -> Option<String> {
    let address = listeners.mesos_dns.as_ref()?.local_addr().ok()?;
    Some(format!("http://{}", here(address)))
}

/// Where things are reached from this machine.
fn places(loaded: &Loaded, listeners: &Listeners) -> Places {
    let s = &loaded.settings;
    Places {
        api: format!("http://{}", here(listeners.api_address)),
        dns: listeners.dns.iter().flat_map(Sockets::addresses).next().map(|address| here(*address)),
        services: (!s.no_proxy).then(|| here((s.listen, 0).into()).ip()),
        domain: s.domain.0.clone(),
        keep_tasks: s.keep_tasks,
    }
}

/// From the first moment to the signal.
async fn work(
    services: &Services,
    definitions: Definitions,
    endpoints: &Endpoints,
    places: &Places,
    screen: &Screen,
    mut signals: Signals,
) -> Exit {
    info!(api = %endpoints.api, dns = endpoints.dns.as_deref().unwrap_or("off"), "serving");
    let exit = tokio::select! {
        exit = apply_and_show(services, definitions, places, screen) => exit,
        () = signals.next() => Exit::Ok,
        // Names and traffic would slowly become untrue. Tasks go on; the next start takes them.
        () = services.handle.ended() => {
            terminal::fail(Exit::Failed, "the control plane has failed; start Waymark again")
        }
    };
    signals.end_at_the_second(screen);
    exit
}

/// Applies the files, shows progress until all is as wanted or patience ends, prints the table. A
/// refusal ends Waymark; everything else is told and goes on.
async fn apply_and_show(
    services: &Services,
    definitions: Definitions,
    places: &Places,
    screen: &Screen,
) -> Exit {
    match apply(services, definitions).await {
        Ok(accepted) => {
            accepted.warnings.iter().for_each(|warning| warn!("{warning}"));
        }
        Err(refusal) => {
            return terminal::fail(
                Exit::Failed,
                &format!("the files are refused: {}", say(&refusal)),
            );
        }
    }
    let mut display = Display::new(screen);
    let started = Instant::now();
    let done = loop {
        let state = services.handle.state();
        let rows = progress::rows(&state);
        display.show(&rows);
        let served = services.outputs.have_applied(state.catalog_version);
        if served && rows.iter().all(|row| row.ready) {
            break true;
        }
        if started.elapsed() >= PATIENCE {
            break false;
        }
        tokio::time::sleep(LOOK).await;
    };
    drop(display);
    let state = services.handle.state();
    let mut text = String::new();
    if state.root.apps.is_empty() {
        text.push_str("No apps yet; `waymark app put FILE` adds some.\n");
    } else {
        text.push_str(&summary::table(&state, places));
    }
    let stop = if places.keep_tasks { "Waymark, not the tasks" } else { "everything" };
    text.push_str(&format!("\nAPI {}, Ctrl-C stops {stop}.\n", places.api));
    terminal::print(&text);
    if !done {
        let troubles = summary::troubles(&state, &*services.executor);
        let message = format!(
            "\nnot as wanted after {PATIENCE:?}; Waymark goes on trying, `waymark status` shows how \
             it is:\n{troubles}"
        );
        screen.write(message.as_bytes());
    }
    // The signal ends it.
    std::future::pending().await
}

async fn apply(services: &Services, definitions: Definitions) -> Result<Accepted, Refusal> {
    if definitions == Definitions::default() {
        return Ok(Accepted::default());
    }
    let change = move |_: &waymark_model::Root| {
        Ok(Change {
            apps: definitions.apps.into_iter().map(|(id, app)| (id, Some(app))).collect(),
            groups: definitions.groups.into_iter().map(|(id, group)| (id, Some(group))).collect(),
            ..Change::default()
        })
    };
    // A deployment that was running when Waymark was last stopped must not keep it from starting.
    services.handle.submit(Request::Change { change: Box::new(change), force: true }).await
}

/// A refusal with every field it names.
fn say(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Invalid(violations) => {
            let each = violations.iter().map(|v| format!("\n  {}: {}", v.path, v.message));
            format!("{refusal}{}", each.collect::<String>())
        }
        other => other.to_string(),
    }
}

/// The signals that stop Waymark.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches them from now on.
    pub fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// From now on, another Ctrl-C ends the process at once. Tasks that still run then go on, as
    /// after a crash.
    pub fn end_at_the_second(mut self, screen: &Screen) {
        screen.write(b"stopping; Ctrl-C again stops at once\n");
        tokio::spawn(async move {
            let _ = self.interrupt.recv().await;
            // 128 + SIGINT, as shells count it.
            std::process::exit(130);
        });
    }
}
