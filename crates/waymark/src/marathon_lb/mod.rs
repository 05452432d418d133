//! `waymark marathon-lb`: keeps a real HAProxy in step with a Marathon's apps, in place of
//! `marathon_lb.py`.
//!
//! ```text
//! flags, variables ─► config ─► MarathonSource ─► catalog ─► Renderer ─► Applier ─► HAProxy
//!                                                               └──────────┴──► endpoints
//! ```
//!
//! Whatever can be wrong with flags and templates is found before anything starts, and ends with
//! exit code 2. Following, nothing ends it but a signal; an unreachable Marathon or HAProxy is
//! waited for. It never carries traffic itself.

mod config;
mod endpoints;
mod flags;
mod follow;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use waymark_catalog::{Reader, Standing, Writer};
use waymark_haproxy::apply::{
    Address, Applier, Archive, Method, Options, Socket, Validator, Version, Wanted, detect,
};
use waymark_haproxy::{Renderer, TemplateError, Templates};
use waymark_sources::marathon::MarathonSource;

use crate::exit::Exit;
use crate::run::Signals;
use crate::settings::Surroundings;
use crate::settings::value::LogFormat;
use crate::telemetry::{self, Screen};
use crate::terminal;
use config::{Config, Mode};
use flags::Given;

/// Threads for the source and the endpoints; the applier has its own.
const THREADS: usize = 2;
/// How long HAProxy's program may take to tell its version, and to check a text.
const HAPROXY_LIMIT: Duration = Duration::from_secs(60);
/// How long HAProxy's socket may take to answer.
const SOCKET_LIMIT: Duration = Duration::from_secs(5);
/// How long blocking work may hold up the end.
const END_GRACE: Duration = Duration::from_secs(1);
/// How often it is looked whether Marathon has answered.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the command with the arguments behind its name.
pub fn run(arguments: &[String], around: &Surroundings) -> Exit {
    let given = match Given::read(arguments) {
        Ok(given) => given,
        Err(error) => {
            // Help and version are no errors.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // Without a terminal there is nobody to tell.
            let _ = error.print();
            return exit;
        }
    };
    if given.has("longhelp") {
        return terminal::print(&waymark_haproxy::reference());
    }
    let usage = |message: String| terminal::fail(Exit::Usage, &message);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("marathon-lb")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => return terminal::fail(Exit::Failed, &format!("cannot start: {e}")),
    };
    let config = match config::read(&given, around, |binary| runtime.block_on(installed(binary))) {
        Ok(config) => config,
        Err(wrong) => return usage(wrong.to_string()),
    };
    telemetry::start(config.log, LogFormat::Text, &Screen::plain());
    for flag in ["log-format", "syslog-socket", "lru-cache-capacity"] {
        if given.one(flag).is_some() {
            warn!("--{flag} changes nothing; log lines go to standard error");
        }
    }
    let renderer = match templates(&config, around) {
        Ok(templates) => Renderer::new(config.settings.clone(), templates),
        Err(error) => return usage(error.to_string()),
    };
    let source = match MarathonSource::new(config.marathon.clone()) {
        Ok(source) => source,
        Err(error) => return usage(format!("--marathon: {error}")),
    };
    let exit = runtime.block_on(work(config, renderer, source));
    // Look-ups of host names may still wait for a resolver that does not answer.
    runtime.shutdown_timeout(END_GRACE);
    exit
}

/// The version of a HAProxy program, if there is one.
async fn installed(binary: &Path) -> Option<Version> {
    let program = Validator { program: binary.to_owned(), limit: HAPROXY_LIMIT };
    program.version().await.ok().flatten()
}

/// Each from the environment, else from `templates/` in the working directory, else the default.
fn templates(config: &Config, around: &Surroundings) -> Result<Templates, TemplateError> {
    let variable = |name: &str| around.variable(name).map(str::to_owned);
    let file = |name: &str| std::fs::read_to_string(Path::new("templates").join(name)).ok();
    Templates::new(&config.settings, variable, file)
}

async fn work(config: Config, mut renderer: Renderer, source: MarathonSource) -> Exit {
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(e) => return terminal::fail(Exit::Failed, &format!("cannot catch signals: {e}")),
    };
    if config.mode == Mode::Follow {
        return follow(config, renderer, source, signals).await;
    }
    let (writer, reader) = Writer::new(source.last_version());
    let mut heard = Heard { reader, status: source.status(), freshness: source.freshness() };
    let places = config.marathon.urls.len() as u64;
    let following = tokio::spawn(source.run(writer));
    let result = heard.first(places).await;
    following.abort();
    if let Err(reason) = result {
        let message = format!("no Marathon has told of its apps: {reason}");
        return terminal::fail(Exit::Failed, &message);
    }
    let rendered = match renderer.render(&heard.reader.latest(), follow::now()) {
        Ok(rendered) => rendered,
        Err(error) => return terminal::fail(Exit::Failed, &error.to_string()),
    };
    for refused in &rendered.refused {
        warn!(app = %refused.app, reason = %refused.reason, "left out");
    }
    if config.mode == Mode::Dry {
        return terminal::print(&rendered.config);
    }
    once(&config, renderer, heard.reader, rendered).await
}

async fn once(
    config: &Config,
    renderer: Renderer,
    reader: Reader,
    rendered: waymark_haproxy::Rendered,
) -> Exit {
    let mut applier = match Applier::new(options(config)) {
        Ok(applier) => applier,
        Err(error) => return terminal::fail(Exit::Failed, &format!("--haproxy-config: {error}")),
    };
    let renderer = Arc::new(std::sync::Mutex::new(renderer));
    let wanted = follow::wanted(&renderer, &reader.latest(), Arc::new(rendered));
    loop {
        match applier.apply(&wanted).await {
            Ok(waymark_haproxy::apply::Outcome::Postponed(until)) => {
                tokio::time::sleep_until(until.into()).await;
            }
            Ok(outcome) => {
                info!(?outcome, file = %config.file.display(), "done");
                return Exit::Ok;
            }
            Err(error) => return terminal::fail(Exit::Failed, &error.to_string()),
        }
    }
}

/// Whether Marathon has been heard.
struct Heard {
    reader: Reader,
    status: waymark_sources::marathon::MarathonStatus,
    freshness: waymark_catalog::Freshness,
}

impl Heard {
    /// Waits for the first word; the reason when each of the `places` has been asked in vain.
    async fn first(&mut self, places: u64) -> Result<(), String> {
        loop {
            if let Standing::Fresh(_) = self.freshness.standing(Instant::now()) {
                return Ok(());
            }
            let report = self.status.report();
            if report.failures >= places {
                return Err(report.last_failure.unwrap_or_default());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// How HAProxy is checked, told and reloaded.
fn options(config: &Config) -> Options {
    let mut options = Options::new(config.file.clone());
    options.archive = Archive { versions: config.archive, ..options.archive };
    options.validator =
        config.validate.then(|| Validator { program: config.binary.clone(), limit: HAPROXY_LIMIT });
    options.clean_up = config.search;
    options.worker = Some(Socket::new(Address::Unix(config.socket.clone()), SOCKET_LIMIT));
    let command = config.command.clone().or_else(|| detect(Path::new("/")));
    options.method = command.map(Method::Command);
    options.patience = config.patience;
    options
}

async fn follow(
    config: Config,
    renderer: Renderer,
    source: MarathonSource,
    mut signals: Signals,
) -> Exit {
    let failed = |message: String| terminal::fail(Exit::Failed, &message);
    let applier = match Applier::new(options(&config)) {
        Ok(applier) => applier,
        Err(error) => return failed(format!("--haproxy-config: {error}")),
    };
    let listener = match tokio::net::TcpListener::bind(config.listen).await {
        Ok(listener) => listener,
        Err(e) => {
            return terminal::fail(
                Exit::Usage,
                &format!("--listen {}: {e}; name another address", config.listen),
            );
        }
    };
    let hup = signal(SignalKind::hangup());
    let usr1 = signal(SignalKind::user_defined1());
    let (Ok(mut hup), Ok(mut usr1)) = (hup, usr1) else {
        return failed("cannot catch signals".to_owned());
    };
    let (writer, reader) = Writer::new(source.last_version());
    let (freshness, status) = (source.freshness(), source.status());
    let refresh = source.refresher();
    let mut following = tokio::spawn(source.run(writer));
    let (sender, wanted) = tokio::sync::watch::channel::<Option<Arc<Wanted>>>(None);
    let handle = match waymark_haproxy::apply::start(applier, wanted) {
        Ok(handle) => Arc::new(handle),
        Err(e) => return failed(format!("cannot start: {e}")),
    };
    let follower = follow::Follower::new(renderer, reader, sender, handle.status());
    let page = endpoints::Page {
        config: config.file.clone(),
        source: Box::new(move || (freshness.standing(Instant::now()), status.report())),
        shown: follower.shown(),
        applied: handle.status(),
        refresh: refresh.clone(),
        reload: handle.clone(),
    };
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let serving = tokio::spawn(endpoints::serve(Arc::new(page), listener, stopped));
    let rendering = tokio::spawn(follower.run());
    info!(marathon = %config.marathon.urls.join(", "), file = %config.file.display(),
        endpoints = %config.listen, "following");
    let exit = loop {
        tokio::select! {
            () = signals.next() => break Exit::Ok,
            _ = hup.recv() => refresh.notify_one(),
            _ = usr1.recv() => handle.reload(),
            // The reason of a panic has been written where it happened.
            _ = &mut following => break failed(
                "what follows Marathon has failed; see the log above".to_owned()),
        }
    };
    signals.end_at_the_second(&Screen::plain());
    following.abort();
    rendering.abort();
    // Whoever has gone needs no word.
    let _ = stop.send(true);
    let _ = serving.await;
    let _ = rendering.await;
    info!("stopped; HAProxy runs on");
    exit
}
