//! The load balancer as settings describe it, for `run` and `lb` alike.

use waymark_proxy::{AccessLogFormat, ActiveChecks, Groups, HealthPolicy, Limits, ProxyConfig};

use crate::fronts::Fronts;
use crate::settings::traffic::{self, AccessLog};
use crate::settings::{Loaded, Role, Settings};

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
        traffic::AccessLogFormat::Json => AccessLogFormat::Json,
    };
    Some(waymark_proxy::AccessLog { file, format })
}

/// The kinds of these settings keep them in this range.
fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Two file descriptors go with each connection.
const FILES_EACH: u64 = 2;

/// A warning when the limit of open files is too low for the connections that are wanted.
pub fn too_few_files(loaded: &Loaded) -> Option<String> {
    use nix::sys::resource::{Resource, getrlimit};
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let wanted = loaded.settings.max_connections.0;
    // An eighth is left to everything else.
    let possible = (soft - soft / 8) / FILES_EACH;
    (possible < wanted as u64).then(|| {
        format!(
            "{} is {wanted}, but the limit of open files (ulimit -n), {soft}, allows {possible}; \
             raise it, as LimitNOFILE= does with systemd",
            loaded.cite("max-connections"),
        )
    })
}
