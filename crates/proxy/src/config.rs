//! What can be set about the load balancer, and what is fixed.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::route::{Groups, HealthPolicy};

/// The settings of the load balancer.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// The address every port is listened on. `::` takes IPv4 too, any other IPv6 address does not.
    pub listen: IpAddr,
    /// The port of plain HTTP, by host name and path; `None` = not listened on.
    pub http_port: Option<u16>,
    /// The port of TLS: HTTP by host name and path, and what is passed through by server name.
    pub https_port: Option<u16>,
    /// The port of plain HTTP by the header `X-Marathon-App-Id`.
    pub appid_port: Option<u16>,
    /// Connections on the shared ports begin with a PROXY header; those without one are closed.
    pub accept_proxy: bool,
    /// Peers whose `X-Forwarded-*` and `Forwarded` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Files and folders with certificates and their keys (PEM), which are watched.
    pub certificates: Vec<PathBuf>,
    /// Where a line for every request goes; `None` = nowhere.
    pub access_log: Option<AccessLog>,
    /// The groups of services that are exposed (`HAPROXY_GROUP`).
    pub groups: Groups,
    /// Whether only services with `HAPROXY_n_ENABLED=true` are exposed.
    pub strict_mode: bool,
    /// What a task counts as that has a check and was never found healthy.
    pub health: HealthPolicy,
    /// How often a request or connection may go to yet another task after one failed.
    pub retry_attempts: u32,
    /// The share of a service's traffic that may be retries, in percent; a few a second are free.
    pub retry_percent: u32,
    /// Checks of tasks beside the source's own; `None` = none.
    pub active_checks: Option<ActiveChecks>,
    /// What clients can make the balancer hold, and for how long.
    pub limits: Limits,
    /// Threads that relay; 0 = one for every core.
    pub workers: usize,
    /// How long a client may wait, from being accepted, until a task has taken its connection.
    pub connect_timeout: Duration,
    /// How long one task may take to accept while another one is left to be tried.
    pub try_timeout: Duration,
    /// How long a connection may live without a byte in either direction. It ends between this and
    /// a quarter more. The default of one hour is Envoy's for TCP: long enough for pools of
    /// database connections, short enough to forget clients that vanished.
    pub idle_timeout: Duration,
    /// How long a client is held, rather than reset, while its service has no task that accepts.
    /// This bridges the moment between a task's end and its replacement. Zero turns it off.
    pub hold: Duration,
    /// How many clients may be held at once; one more is reset at once.
    pub max_held: usize,
    /// How many clients may be connected at once. At the limit every listener keeps at most one
    /// more client waiting and accepts no further; the kernel's backlog holds the rest. Less when
    /// the limit of open files is too low for it: seven eighths of that limit are for the balancer.
    pub max_connections: usize,
    /// Ports of [`ProxyConfig::listen`] that Waymark itself listens on; a service port among them
    /// is refused, with its reason in the statistics.
    pub reserved_ports: BTreeSet<u16>,
}

impl Default for ProxyConfig {
    fn default() -> ProxyConfig {
        ProxyConfig {
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            http_port: None,
            https_port: None,
            appid_port: None,
            accept_proxy: false,
            trusted_proxies: Vec::new(),
            certificates: Vec::new(),
            access_log: None,
            groups: Groups::All,
            strict_mode: false,
            health: HealthPolicy::Strict,
            retry_attempts: 10,
            retry_percent: 20,
            active_checks: None,
            limits: Limits::default(),
            workers: 0,
            connect_timeout: Duration::from_secs(5),
            try_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(3600),
            hold: Duration::from_secs(1),
            max_held: 1024,
            max_connections: 100_000,
            reserved_ports: BTreeSet::new(),
        }
    }
}

/// A line for every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The file it is appended to; `None` = standard output.
    pub file: Option<PathBuf>,
    /// What a line looks like.
    pub format: AccessLogFormat,
}

/// What a line of the access log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// The Common Log Format of web servers, with the service, the task and milliseconds behind.
    #[default]
    Common,
    /// The Combined Log Format: `Referer` and `User-Agent` behind the common one, nothing else.
    Combined,
    /// One JSON object a line.
    Json,
}

/// How tasks are checked by the balancer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveChecks {
    /// From one check of a task to the next.
    pub interval: Duration,
    /// How long a task may take to answer one.
    pub timeout: Duration,
    /// Failures in a row after which a task gets nothing new.
    pub fall: u32,
    /// Successes in a row after which it does again.
    pub rise: u32,
}

impl Default for ActiveChecks {
    fn default() -> ActiveChecks {
        ActiveChecks {
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(2),
            fall: 3,
            rise: 2,
        }
    }
}

/// What clients and tasks can make the balancer hold, and for how long. Labels of a service can
/// say otherwise where the reference says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest head of a request or an answer: first line and headers, in bytes. More: 431 or
    /// 502.
    pub head_bytes: usize,
    /// The most headers in one head. More: 431 or 502.
    pub headers: usize,
    /// How long a client may take to send a head, from its first byte (of the first one: from the
    /// connection's start). Then: 408 and the end.
    pub head_timeout: Duration,
    /// How long a kept client connection may be without a request.
    pub keep_alive: Duration,
    /// The most requests on one client connection; then it ends in order.
    pub requests_per_connection: u32,
    /// How long a body, in either direction, may stand still.
    pub body_idle: Duration,
    /// How long a task may take to begin its answer. Then: 504.
    pub response_timeout: Duration,
    /// How long a request may wait while every task of its service has its most. Then: 503.
    pub queue_timeout: Duration,
    /// The most requests that wait for one service. One more: 503 at once.
    pub queue_length: usize,
    /// The most passwords of a worker that wait to be checked or are being checked. One more: 503.
    pub waiting_passwords: usize,
    /// How long an unused connection to a task is kept.
    pub upstream_idle: Duration,
    /// The most unused connections that a worker keeps to one task.
    pub upstream_idle_connections: usize,
    /// The most streams of one HTTP/2 connection at a time.
    pub h2_streams: u32,
    /// How long a client may take for a PROXY header or the first message of TLS.
    pub hello_timeout: Duration,
    /// The longest first message of TLS (ClientHello), in bytes.
    pub hello_bytes: usize,
    /// How long a client may take for TLS as a whole until requests can come.
    pub tls_timeout: Duration,
    /// The most connections from one address (IPv6: from one /64); 0 = no limit of its own. One
    /// more is reset at once.
    pub connections_per_source: usize,
    /// How long a client's or task's connection may be silent until the kernel asks whether the peer
    /// is still there; after the same time without an answer it counts as gone. Whole seconds, four at
    /// least.
    pub peer_timeout: Duration,
    /// How long a UDP session lives without a datagram.
    pub udp_timeout: Duration,
    /// The most UDP sessions of all services together, and at most half of the descriptors that
    /// the balancer may have. One more takes the place of another one of its service, or is dropped
    /// if that has none.
    pub udp_sessions: usize,
    /// The most UDP sessions of one service; less in the same measure as the one above. One more
    /// takes the place of the one that is idle for longest, of a client that has not sent again
    /// after an answer if there is one.
    pub udp_service_sessions: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: 64 * 1024,
            headers: 128,
            head_timeout: Duration::from_secs(15),
            keep_alive: Duration::from_secs(60),
            requests_per_connection: 1_000_000,
            body_idle: Duration::from_secs(60),
            response_timeout: Duration::from_secs(60),
            queue_timeout: Duration::from_secs(30),
            queue_length: 1024,
            waiting_passwords: 256,
            upstream_idle: Duration::from_secs(30),
            upstream_idle_connections: 256,
            h2_streams: 128,
            hello_timeout: Duration::from_secs(5),
            hello_bytes: 16 * 1024,
            tls_timeout: Duration::from_secs(10),
            connections_per_source: 0,
            peer_timeout: Duration::from_secs(60),
            udp_timeout: Duration::from_secs(30),
            udp_sessions: 65_536,
            udp_service_sessions: 16_384,
        }
    }
}

/// Where `HAPROXY_n_REDIRECT_TO_HTTPS` sends clients when no https port is listened on here.
pub(crate) const HTTPS_PORT: u16 = 443;

/// Connections that the kernel completes before they are accepted, for each service port; more are
/// left to the client's own retransmission. The kernel's `somaxconn` may cut it.
pub(crate) const LISTEN_BACKLOG: i32 = 4096;

/// The most read at once, and so the most that waits in memory for a slow receiver, in bytes a
/// direction. Each worker has one such buffer for all of its connections.
pub(crate) const BUFFER_LEN: usize = 32 * 1024;

/// Accepted connections on their way to another worker; when full they stay where they are.
pub(crate) const HANDOVER_QUEUE: usize = 256;

/// How often a held client's service is tried again while its tasks refuse.
pub(crate) const HOLD_RETRY: Duration = Duration::from_millis(50);

/// The first and the longest wait before a port that could not be bound is tried again.
pub(crate) const REBIND: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How long a listener rests when the system has no file descriptor or memory left.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Pause after a connection that could not be accepted for a reason of its own.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(1);

/// The shortest time between two equal warnings about a system limit.
pub(crate) const WARN_EVERY: Duration = Duration::from_secs(10);
