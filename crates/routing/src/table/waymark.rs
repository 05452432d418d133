//! Labels for what marathon-lb has none for.

use crate::BackendProtocol;
use crate::draft::Draft;
use crate::value::{balance, host, plain, target, upstream};

use super::{Effect, Family, Label, Need, Scope};

pub(super) const APP: &[Label] = &[Label {
    family: Family::Waymark,
    scope: Scope::App,
    name: "DNS_TTL",
    value: "seconds",
    default: "`--dns-ttl`",
    doc: "How long DNS answers about the app may be kept.",
    need: Need::Nothing,
    effect: Effect::Elsewhere,
}];

const fn port(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    need: Need,
    read: fn(&mut Draft, &str) -> Result<(), String>,
    doc: &'static str,
) -> Label {
    let (family, scope, effect) = (Family::Waymark, Scope::Port, Effect::Port(read));
    Label { family, scope, name, value, default, doc, need, effect }
}

const DURATION: &str = "time: `250ms`, `30s`, `5m`, `1h`";

pub(super) const PORT: &[Label] = &[
    port(
        "HOST",
        "list of host names, split at commas",
        "`HAPROXY_n_VHOST`",
        Need::Stream,
        |d, v| host::list(v).map(|hosts| d.rules.hosts = hosts),
        "The same as `HAPROXY_n_VHOST`, and goes before it.",
    ),
    port(
        "PATH",
        "paths, split at blanks",
        "`HAPROXY_n_PATH`",
        Need::HttpHost,
        |d, v| target::segments(v).map(|paths| d.paths.extend(paths)),
        "Limits the host names to paths that begin with these segments: `/api` takes `/api` and `/api/v2`, not \
         `/apix`. The longest one that fits is preferred, among rules of one `HAPROXY_n_BACKEND_WEIGHT`.",
    ),
    port(
        "PATH_EXACT",
        "paths, split at blanks",
        "none",
        Need::HttpHost,
        |d, v| target::exact(v).map(|paths| d.paths.extend(paths)),
        "Limits the host names to these very paths, besides those of `WAYMARK_n_PATH` and `WAYMARK_n_PATH_REGEX`.",
    ),
    port(
        "PATH_REGEX",
        "regular expression",
        "none",
        Need::HttpHost,
        |d, v| target::expression(v).map(|path| d.paths.extend(path)),
        "Limits the host names to paths that this expression matches as a whole, besides those of `WAYMARK_n_PATH` \
         and `WAYMARK_n_PATH_EXACT`. The syntax is that of Rust's crate `regex`, which takes time linear in the path.",
    ),
    port(
        "STRIP_PREFIX",
        "path",
        "the path stays",
        Need::Http,
        |d, v| target::optional_path(v).map(|path| d.strip = path),
        "This prefix is taken off the path before the task sees it: `/api` makes `/api/x` `/x` and `/api` `/`.",
    ),
    port(
        "REWRITE",
        "regular expression and what it becomes, split at a blank",
        "the path stays",
        Need::Http,
        |d, v| target::rewrite(v).map(|rewrite| d.replace = rewrite),
        "What the expression matches in the path becomes the second text, in which `$1` is its first group: \
         `^/old/(.*) /new/$1`. The query stays. Not together with `WAYMARK_n_STRIP_PREFIX`.",
    ),
    port(
        "WEIGHT",
        "number from 0 to 1,000,000",
        "the first app gets everything; 100 if another app says one",
        Need::HttpHost,
        |d, v| plain::number(v, 0, 1_000_000).map(|share| d.rules.share = Some(share)),
        "The app's share of the requests among the apps with the very same host name, path and \
         `HAPROXY_n_BACKEND_WEIGHT`: a canary. 0 = none.",
    ),
    port(
        "TIMEOUT_CONNECT",
        DURATION,
        "`--connect-timeout`",
        Need::Nothing,
        |d, v| plain::duration(v).map(|time| d.rules.timeouts.connect = time),
        "How long a client waits until a task has taken its connection. One task may take `--try-timeout` of it while another is left to be tried.",
    ),
    port(
        "TIMEOUT_RESPONSE",
        DURATION,
        "`--response-timeout`",
        Need::Http,
        |d, v| plain::duration(v).map(|time| d.rules.timeouts.response = time),
        "Until the first byte of an answer, and between two pieces of it; then 504.",
    ),
    port(
        "TIMEOUT_IDLE",
        DURATION,
        "`--idle-timeout`",
        Need::Nothing,
        |d, v| plain::duration(v).map(|time| d.rules.timeouts.idle = time),
        "A connection in mode tcp, or a WebSocket, over which nothing comes either way this long is closed.",
    ),
    port(
        "TIMEOUT_QUEUE",
        DURATION,
        "`--queue-timeout`",
        Need::Nothing,
        |d, v| plain::duration(v).map(|time| d.rules.timeouts.queue = time),
        "How long a request may wait for a task that may take one more; then 503.",
    ),
    port(
        "TIMEOUT_UDP",
        DURATION,
        "`--udp-timeout`",
        Need::Datagram,
        |d, v| plain::duration(v).map(|time| d.rules.timeouts.udp = time),
        "A client of a udp port that sends nothing this long may get another task.",
    ),
    port(
        "RETRIES",
        "number from 0 to 10",
        "`--retries`",
        Need::Nothing,
        |d, v| plain::number(v, 0, 10).map(|attempts| d.rules.retries.attempts = Some(attempts)),
        "How many more tasks are tried when one cannot be connected to, or fails an idempotent request before \
         anything of the answer went to the client.",
    ),
    port(
        "RETRY_BUDGET",
        "percent from 0 to 100",
        "`--retry-budget`",
        Need::Nothing,
        |d, v| plain::percent(v).map(|share| d.rules.retries.budget_percent = Some(share)),
        "Retries are at most this share of all requests, so that they do not add to an overload.",
    ),
    port(
        "MAX_CONNECTIONS",
        "number from 1",
        "no limit",
        Need::Nothing,
        |d, v| plain::number(v, 1, u32::MAX).map(|most| d.rules.max_connections = Some(most)),
        "Requests (mode http) or connections (mode tcp) that one task gets at once; others wait.",
    ),
    port(
        "QUEUE",
        "number from 0",
        "`--queue-length`",
        Need::Nothing,
        |d, v| plain::number(v, 0, u32::MAX).map(|most| d.rules.queue = Some(most)),
        "How many may wait while every task has its most; more are answered 503 at once.",
    ),
    port(
        "BALANCE",
        "`round-robin`, `least-connections`, `two-choices`, `random`, `first`, or `hash` of `source`, \
         `header:NAME`, `cookie:NAME`, `path`",
        "`HAPROXY_n_BALANCE`",
        Need::Nothing,
        |d, v| balance::waymark(v).map(|balance| d.rules.balance = balance),
        "How a task is chosen: in turn; the one with the fewest open requests; the better of two random ones by \
         open requests and latency; any; the first that is not full; or the same one for the same key (`hash \
         header:x-user`), of which few move when tasks come and go.",
    ),
    port(
        "STICKY",
        "name of a cookie, or `off`",
        "`HAPROXY_n_STICKY`",
        Need::Http,
        |d, v| plain::sticky(v).map(|sticky| d.rules.sticky = sticky),
        "A client comes back to the task that answered it first, by a cookie of this name.",
    ),
    port(
        "CHECK_INTERVAL",
        "time, `100ms` at least",
        "`--check-interval`",
        Need::Check,
        |d, v| plain::interval(v).map(|time| d.rules.probe.interval = time),
        "With `--active-checks`: the time from one check of a task by the balancer to the next.",
    ),
    port(
        "CHECK_TIMEOUT",
        DURATION,
        "`--check-timeout`",
        Need::Check,
        |d, v| plain::duration(v).map(|time| d.rules.probe.timeout = time),
        "With `--active-checks`: how long a task may take to answer a check by the balancer.",
    ),
    port(
        "CHECK_PATH",
        "path",
        "that of the app's health check",
        Need::Check,
        |d, v| target::optional_path(v).map(|path| d.rules.probe.path = path),
        "With `--active-checks`: what the balancer asks for where the app's health check is one of HTTP.",
    ),
    port(
        "BACKEND_PROTOCOL",
        "`http1`, `http2` or `grpc`",
        "`http1`",
        Need::Http,
        |d, v| protocol(v).map(|protocol| d.rules.backend.protocol = protocol),
        "What tasks speak. `grpc` is the same as `http2`, which is spoken without TLS too.",
    ),
    port(
        "BACKEND_TLS",
        "`on`, `insecure` or `off`",
        "`off`",
        Need::Stream,
        |d, v| upstream::tls(v).map(|tls| d.tls = tls),
        "Tasks are spoken to over TLS. Their certificates are verified, unless `insecure`: they must be for the host \
         that Marathon names for the task (for its address, if the task or the host has no other name), or for \
         `WAYMARK_n_BACKEND_SERVER_NAME`.",
    ),
    port(
        "BACKEND_CA",
        "path of a PEM file",
        "the system's authorities",
        Need::BackendTls,
        |d, v| upstream::file(v).map(|ca| d.ca = Some(ca)),
        "Who must have signed the tasks' certificates. The file is watched; without one that can be read requests are \
         answered 503.",
    ),
    port(
        "BACKEND_SERVER_NAME",
        "host name",
        "the task's host, as Marathon names it",
        Need::BackendTls,
        |d, v| upstream::server_name(v).map(|name| d.server_name = Some(name)),
        "The name that is asked for, and that the tasks' certificates must have.",
    ),
    port(
        "SEND_PROXY",
        "`v1`, `v2` or `off`",
        "`off`",
        Need::Stream,
        |d, v| upstream::proxy_version(v).map(|version| d.rules.backend.send_proxy = version),
        "A PROXY header with the client's address precedes each connection to a task.",
    ),
    port(
        "ACCEPT_PROXY",
        "`on` or `off`",
        "`off`, or what `HAPROXY_n_BIND_OPTIONS` says",
        Need::Stream,
        |d, v| plain::switch(v).map(|on| d.rules.bind_options.accept_proxy = on),
        "Connections to the service port begin with a PROXY header, which tells the client's address.",
    ),
];

fn protocol(text: &str) -> Result<BackendProtocol, String> {
    match text.trim() {
        "http1" => Ok(BackendProtocol::Http1),
        "http2" | "grpc" => Ok(BackendProtocol::Http2),
        other => Err(format!("{other:?} is no protocol; http1, http2 and grpc are")),
    }
}
