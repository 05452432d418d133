//! The types that labels are read into.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use regex::Regex;

/// Everything an app's labels say about its traffic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routing {
    /// One entry for each of the app's services, in their order.
    pub ports: Vec<Arc<PortRouting>>,
    /// Blue/green (`HAPROXY_DEPLOYMENT_*`).
    pub deployment: Option<Deployment>,
    /// Labels with no effect here, and why: they patch HAProxy's text, or name no port of the app.
    pub unapplied: Vec<Unapplied>,
}

/// A label with no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unapplied {
    /// The label's name.
    pub label: String,
    /// Why it has none, and what to use in its place.
    pub reason: String,
}

/// What the labels say about one service port.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PortRouting {
    /// The groups it belongs to (`HAPROXY_n_GROUP`, else `HAPROXY_GROUP`).
    pub groups: Vec<String>,
    /// `HAPROXY_n_ENABLED`; `None` = not said (then on, or off in strict mode).
    pub enabled: Option<bool>,
    /// The number to listen on in place of the service port (`HAPROXY_n_PORT`).
    pub port: Option<u16>,
    /// The address to listen on in place of the configured one (`HAPROXY_n_BIND_ADDR`).
    pub bind: Option<IpAddr>,
    /// What was read of `HAPROXY_n_BIND_OPTIONS`.
    pub bind_options: BindOptions,
    /// Certificates of the service port itself (`HAPROXY_n_SSL_CERT`); empty = no TLS there.
    pub certificates: Vec<PathBuf>,
    /// `HAPROXY_n_MODE`, or what follows from the check and the hosts.
    pub mode: Mode,
    /// Host names on the shared ports (`HAPROXY_n_VHOST`); empty = none.
    pub hosts: Vec<HostPattern>,
    /// Paths that the hosts are limited to; empty = every path.
    pub paths: Vec<PathPattern>,
    /// Order among rules of one host, greater first (`HAPROXY_n_BACKEND_WEIGHT`).
    pub priority: i32,
    /// Share among apps with the very same host, path and priority (`WAYMARK_n_WEIGHT`; 100 when
    /// only others of them say it). `None` of all = the first app gets everything.
    pub share: Option<u32>,
    /// Plain requests for its hosts are sent to https (`HAPROXY_n_REDIRECT_TO_HTTPS`).
    pub redirect_to_https: bool,
    /// Who may ask, on the shared ports (`HAPROXY_n_AUTH`).
    pub auth: Option<Auth>,
    /// Answers carry Strict-Transport-Security (`HAPROXY_n_USE_HSTS`).
    pub hsts: bool,
    /// Sources that may ask (`HAPROXY_n_BACKEND_NETWORK_ALLOWED_ACL`); empty = everybody.
    pub allowed: Vec<IpNet>,
    /// Requests for `/` of its hosts are sent there (`HAPROXY_n_HTTP_BACKEND_REDIR`).
    pub redirect_root: Option<String>,
    /// What becomes of the path before the task sees it.
    pub rewrite: Rewrite,
    /// `HAPROXY_n_HTTP_BACKEND_PROXYPASS_PATH`: the task sees this host name. `None` = the client's.
    pub host_rewrite: Option<String>,
    /// `HAPROXY_n_HTTP_BACKEND_REVPROXY_PATH`: what Location headers of its answers begin with.
    pub location_prefix: Option<String>,
    /// How a task is chosen.
    pub balance: Balance,
    /// The cookie by which a client comes back to its task.
    pub sticky: Option<Sticky>,
    /// The health check that is this port's, by marathon-lb's rules.
    pub check: Option<Check>,
    /// How the balancer itself checks the tasks.
    pub probe: Probe,
    /// Time-outs; `None` = the configured ones.
    pub timeouts: Timeouts,
    /// How often and under what budget a failed request goes to another task; `None` = configured.
    pub retries: Retries,
    /// Requests (http) or connections (tcp) that one task gets at once; `None` = no limit.
    pub max_connections: Option<u32>,
    /// How many may wait while every task has its most; `None` = configured.
    pub queue: Option<u32>,
    /// How tasks are spoken to.
    pub backend: Backend,
}

/// Which of the app's health checks tells of a port: the first that names a literal port or this
/// port; with `HAPROXY_n_BACKEND_HEALTHCHECK_PORT_INDEX`, for want of one, the other port's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    /// Position in the app's health checks.
    pub check: usize,
    /// Position of the service whose port it goes to, unless the check names a literal one.
    pub service: usize,
}

/// What a service says of the balancer's own checks of its tasks, where there are such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// From one check of a task to the next; `None` = as configured.
    pub interval: Option<Duration>,
    /// How long a task may take to answer one; `None` = as configured.
    pub timeout: Option<Duration>,
    /// What an HTTP check asks for; `None` = what the app's check does.
    pub path: Option<String>,
}

/// What a port carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Requests, each routed by itself.
    Http,
    /// Connections as they are. With hosts: TLS, passed through by its server name.
    #[default]
    Tcp,
}

/// Options of a service port's listener that mean something here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindOptions {
    /// `accept-proxy`: connections begin with a PROXY header.
    pub accept_proxy: bool,
    /// `alpn h2,http/1.1`: the protocols offered; empty = both.
    pub alpn: Vec<String>,
    /// `ssl-min-ver TLSv1.3` or `no-tlsv12`.
    pub tls13_only: bool,
}

/// A host name that requests are matched with; lower case, without port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This name.
    Exact(String),
    /// `*.example.com`: every name under this one (here without `*.`).
    Under(String),
    /// `*`: every name.
    Any,
}

impl HostPattern {
    /// The name, unless it is a wildcard.
    pub fn exact(&self) -> Option<&str> {
        match self {
            HostPattern::Exact(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Under(parent) => write!(f, "*.{parent}"),
            HostPattern::Any => f.write_str("*"),
        }
    }
}

/// A path that requests are matched with.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// Begins with this text, as `path_beg` of HAProxy has it: `/api` matches `/apix`.
    Prefix {
        /// The text; lower case when `ignore_case`.
        text: String,
        /// `-i`
        ignore_case: bool,
    },
    /// Begins with these segments: `/api` matches `/api` and `/api/x`, not `/apix`. Without a slash
    /// at its end; `/` matches every path.
    Segments(String),
    /// Is this text.
    Exact(String),
    /// Has a match of this expression (which is anchored where the label means whole paths).
    Regex(Regex),
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &PathPattern) -> bool {
        use PathPattern::{Exact, Prefix, Regex, Segments};
        match (self, other) {
            (Prefix { text: a, ignore_case: ai }, Prefix { text: b, ignore_case: bi }) => {
                a == b && ai == bi
            }
            (Segments(a), Segments(b)) | (Exact(a), Exact(b)) => a == b,
            (Regex(a), Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

/// Basic authentication with one user.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// What is protected, as browsers show it.
    pub realm: String,
    /// The user.
    pub user: String,
    /// The password's crypt(3) form.
    pub hash: String,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The hash is a secret of sorts: it stays out of logs and dumps.
        f.debug_struct("Auth").field("realm", &self.realm).field("user", &self.user).finish()
    }
}

/// What becomes of a request's path.
#[derive(Clone, Debug, Default)]
pub enum Rewrite {
    /// Nothing.
    #[default]
    Keep,
    /// These segments go (`/p/x` → `/x`, `/p` → `/`); other paths, as `/px`, stay. Without a slash
    /// at its end, never empty.
    Strip(String),
    /// What the expression matches is replaced (`$1` refers to a group).
    Replace {
        /// What is looked for, in the path without its query.
        pattern: Regex,
        /// What it becomes.
        with: String,
    },
}

impl Rewrite {
    /// Takes a prefix off; `/` and the slashes at its end mean nothing.
    pub(crate) fn strip(prefix: String) -> Rewrite {
        match prefix.trim_end_matches('/') {
            "" => Rewrite::Keep,
            prefix => Rewrite::Strip(prefix.to_owned()),
        }
    }
}

impl PartialEq for Rewrite {
    fn eq(&self, other: &Rewrite) -> bool {
        match (self, other) {
            (Rewrite::Keep, Rewrite::Keep) => true,
            (Rewrite::Strip(a), Rewrite::Strip(b)) => a == b,
            (
                Rewrite::Replace { pattern: a, with: aw },
                Rewrite::Replace { pattern: b, with: bw },
            ) => a.as_str() == b.as_str() && aw == bw,
            _ => false,
        }
    }
}

/// How a task is chosen among those that may get a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn (`roundrobin`; marathon-lb's default).
    #[default]
    RoundRobin,
    /// The one with the fewest open requests or connections (`leastconn`).
    LeastConnections,
    /// The better of two random ones, by open requests and latency.
    TwoChoices,
    /// Always the same one for the same key, as long as it is there (`source`, `hdr(x)`…).
    Hash(HashKey),
    /// Any (`random`).
    Random,
    /// The first that is not full, in order of address (`first`).
    First,
}

/// What consistent hashing goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    Source,
    /// The path without its query (`uri`).
    Path,
    /// This header, in lower case; the client's address where it is missing.
    Header(String),
    /// This cookie; the client's address where it is missing.
    Cookie(String),
}

/// The cookie by which a client comes back to its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// The cookie's name (`mesosphere_server_id`).
    pub cookie: String,
}

/// Time-outs of one service; `None` = the configured one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a task has taken the connection.
    pub connect: Option<Duration>,
    /// Until the first byte of an answer, and between two reads of it.
    pub response: Option<Duration>,
    /// Without a byte in either direction, for connections and upgraded requests.
    pub idle: Option<Duration>,
    /// In the queue.
    pub queue: Option<Duration>,
    /// A UDP session without a datagram.
    pub udp: Option<Duration>,
}

/// How often a failed request goes to another task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// At most this often for one request.
    pub attempts: Option<u32>,
    /// At most this share of all requests, in percent.
    pub budget_percent: Option<u32>,
}

/// How tasks are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// The protocol of mode http.
    pub protocol: BackendProtocol,
    /// TLS towards the task; `None` = plain.
    pub tls: Option<BackendTls>,
    /// A PROXY header precedes each connection.
    pub send_proxy: Option<ProxyVersion>,
}

/// The protocol that tasks speak in mode http.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackendProtocol {
    /// HTTP/1.1; over TLS whichever of the two is agreed on.
    #[default]
    Http1,
    /// HTTP/2, also without TLS (gRPC).
    Http2,
}

/// TLS towards tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct BackendTls {
    /// Any certificate will do.
    pub insecure: bool,
    /// Who must have signed it; `None` = the system's authorities.
    pub ca: Option<PathBuf>,
    /// The name it must have; `None` = the host that Marathon names for the task.
    pub server_name: Option<String>,
}

/// Version of the PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Blue/green: apps with one group are one service, and old tasks drain as new ones come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// `HAPROXY_DEPLOYMENT_GROUP`, with a leading slash: the id of the merged app.
    pub group: String,
    /// `HAPROXY_DEPLOYMENT_STARTED_AT` as nanoseconds since 1970; `None` = the beginning of time.
    pub started_at: Option<i128>,
    /// `HAPROXY_DEPLOYMENT_TARGET_INSTANCES`
    pub target_instances: Option<u32>,
    /// `HAPROXY_DEPLOYMENT_NEW_INSTANCES`
    pub new_instances: Option<u32>,
}
