//! The load balancer as settings describe it, for `run` and `lb` alike.

use std::net::TcpListener;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use waymark_proxy::admin::Admin;
use waymark_proxy::{
    AccessLogFormat, ActiveChecks, Groups, HealthPolicy, Limits, ProxyConfig, RouteTable,
};

use crate::fronts::Fronts;
use crate::run::StartError;
use crate::settings::traffic::{self, AccessLog};
use crate::settings::{Loaded, Role, Settings, Source};

/// What the load balancer is told. `taken` are all ports that Waymark itself listens on.
pub fn proxy_config(loaded: &Loaded, fronts: &Fronts, taken: Vec<u16>) -> ProxyConfig {
    let s = &loaded.settings;
    ProxyConfig {
        listen: s.listen,
        http_port: fronts.http,
        https_port: fronts.https,
        appid_port: fronts.appid,
        accept_proxy: s.accept_proxy,
        trusted_proxies: s.trusted_proxies.0.clone(),
        certificates: s.ssl_certs.0.clone(),
        access_log: access_log(s),
        groups: Groups::Named(s.group.0.clone()),
        strict_mode: s.strict_mode,
        health: match loaded.role == Role::Run || s.health_check {
            true => HealthPolicy::Strict,
            false => HealthPolicy::Lenient,
        },
        retry_attempts: number(s.retries.0),
        retry_percent: number(s.retry_budget.0),
        active_checks: s.active_checks.then_some(ActiveChecks {
            interval: s.check_interval,
            timeout: s.check_timeout,
            fall: number(s.check_fall.0),
            rise: number(s.check_rise.0),
        }),
        limits: limits(s),
        workers: s.workers.0,
        connect_timeout: s.connect_timeout,
        try_timeout: s.try_timeout,
        idle_timeout: s.idle_timeout,
        hold: s.hold,
        max_held: s.max_held.0,
        max_connections: s.max_connections.0,
        reserved_ports: taken.into_iter().collect(),
    }
}

fn limits(s: &Settings) -> Limits {
    Limits {
        head_bytes: usize::try_from(s.head_size.0).unwrap_or(usize::MAX),
        headers: s.max_headers.0,
        head_timeout: s.head_timeout,
        keep_alive: s.keep_alive_timeout,
        requests_per_connection: number(s.requests_per_connection.0),
        body_idle: s.body_timeout,
        response_timeout: s.response_timeout,
        queue_timeout: s.queue_timeout,
        queue_length: s.queue_length.0,
        upstream_idle: s.task_idle_timeout,
        upstream_idle_connections: s.task_idle_connections.0,
        h2_streams: number(s.http2_streams.0),
        hello_timeout: s.hello_timeout,
        tls_timeout: s.tls_timeout,
        connections_per_source: s.connections_per_source.0,
        peer_timeout: s.peer_timeout,
        udp_timeout: s.udp_timeout,
        udp_sessions: s.udp_sessions.0,
        udp_service_sessions: s.udp_service_sessions.0,
        ..Limits::default()
    }
}

fn access_log(s: &Settings) -> Option<waymark_proxy::AccessLog> {
    let file = match &s.access_log {
        AccessLog::Off => return None,
        AccessLog::Stdout => None,
        AccessLog::File(path) => Some(path.clone()),
    };
    let format = match s.access_log_format {
        traffic::AccessLogFormat::Common => AccessLogFormat::Common,
        traffic::AccessLogFormat::Combined => AccessLogFormat::Combined,
        traffic::AccessLogFormat::Json => AccessLogFormat::Json,
    };
    Some(waymark_proxy::AccessLog { file, format })
}

/// The kinds of these settings keep them in this range.
fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The settings that apply, one a line, secrets left out.
pub fn describe(loaded: &Loaded) -> String {
    let mut text = format!(
        "# waymark {}\n# There is no haproxy.cfg: routes follow from the apps' labels and stand in \
         /v1/routes.\n",
        loaded.role.name()
    );
    for (name, value) in &loaded.shown {
        let source = loaded.sources.get(name).filter(|source| **source != Source::Default);
        let source = source.map_or(String::new(), |source| format!("  # {source}"));
        text.push_str(&format!("{name} = {value:?}{source}\n"));
    }
    text
}

/// The stats port, served.
pub struct StatsServer {
    serving: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl StatsServer {
    /// Serves it on the current runtime.
    pub fn start(admin: Arc<Admin>, listener: TcpListener) -> Result<StatsServer, StartError> {
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|e| StartError(format!("stats-port: {e}")))?;
        let (stop, stopping) = oneshot::channel();
        let serving = tokio::spawn(admin.serve(listener, async {
            // A dropped sender means the same.
            let _ = stopping.await;
        }));
        Ok(StatsServer { serving, stop })
    }

    /// Ends it: what is being answered is answered.
    pub async fn stop(self) {
        // It may have ended by itself.
        let _ = self.stop.send(());
        let _ = self.serving.await;
    }
}

/// What users should know of the routes: labels that are wrong or have no effect, one sentence an
/// app.
pub fn warnings(table: &RouteTable) -> Vec<String> {
    let quarantined = table.quarantined.iter().map(|(app, quarantined)| {
        let errors: Vec<String> = quarantined.errors.iter().map(ToString::to_string).collect();
        let effect =
            if quarantined.kept { "its last good routes stay" } else { "it has no routes" };
        format!("{app}: {}; {effect}", errors.join("; "))
    });
    let unapplied = table.unapplied.iter().map(|(app, labels)| {
        let labels: Vec<&str> = labels.iter().map(|unapplied| unapplied.label.as_str()).collect();
        format!("{app}: labels without effect: {}", labels.join(", "))
    });
    quarantined.chain(unapplied).take(MAX_WARNINGS).collect()
}

/// The most of these that are told at once; `/v1/quarantine` has all.
const MAX_WARNINGS: usize = 100;

/// Two file descriptors go with each connection.
const FILES_EACH: u64 = 2;

/// A limit of open files that allows fewer connections than this is told even to who wanted no
/// certain number.
const FEW_CONNECTIONS: u64 = 4096;

/// A warning when the limit of open files is too low for the connections that are wanted.
pub fn too_few_files(loaded: &Loaded) -> Option<String> {
    use nix::sys::resource::{Resource, getrlimit};
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let wanted = loaded.settings.max_connections.0;
    // An eighth is left to everything else.
    let possible = (soft - soft / 8) / FILES_EACH;
    let asked_for = !loaded.is_default("max-connections") || loaded.role == Role::Lb;
    let short = possible < wanted as u64 && (asked_for || possible < FEW_CONNECTIONS);
    short.then(|| {
        format!(
            "{} is {wanted}, but the limit of open files (ulimit -n), {soft}, allows {possible}; \
             raise it, as LimitNOFILE= does with systemd",
            loaded.cite("max-connections"),
        )
    })
}
