//! marathon-lb's labels about traffic.

use crate::draft::{AppDraft, Draft};
use crate::value::{access, balance, bind, host, plain, target};
use crate::{Mode, Sticky};

use super::{Effect, Family, Label, Need, Scope};

const fn app(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    effect: Effect,
    doc: &'static str,
) -> Label {
    let (family, scope, need) = (Family::Haproxy, Scope::App, Need::Nothing);
    Label { family, scope, name, value, default, doc, need, effect }
}

const fn port(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    need: Need,
    read: fn(&mut Draft, &str) -> Result<(), String>,
    doc: &'static str,
) -> Label {
    let (family, scope, effect) = (Family::Haproxy, Scope::Port, Effect::Port(read));
    Label { family, scope, name, value, default, doc, need, effect }
}

pub(super) const APP: &[Label] = &[
    app(
        "GROUP",
        "list of groups, split at commas, blanks kept",
        "no group",
        Effect::App(group),
        "The groups of every port that has no own `HAPROXY_n_GROUP`. A balancer serves the ports of the groups \
         it was given; `*` stands for every port, also those without a group.",
    ),
    app(
        "DEPLOYMENT_GROUP",
        "name",
        "none",
        Effect::App(AppDraft::deployment_group),
        "Apps with the same name are one service, whose id is this name: a blue/green pair. As many old tasks \
         are drained as there are healthy new ones beyond the target.",
    ),
    app(
        "DEPLOYMENT_STARTED_AT",
        "ISO 8601 date and time, with or without a zone",
        "the beginning of time",
        Effect::App(AppDraft::started_at),
        "Which of the pair is the newer one. Without a zone it is taken as UTC.",
    ),
    app(
        "DEPLOYMENT_TARGET_INSTANCES",
        "number",
        "1",
        Effect::App(AppDraft::target_instances),
        "How many tasks the pair should have together.",
    ),
    app(
        "DEPLOYMENT_NEW_INSTANCES",
        "number",
        "none",
        Effect::App(AppDraft::new_instances),
        "The pair is to stay mixed with this many new tasks; the app that was scaled last counts as the newer.",
    ),
    app("DEPLOYMENT_ALT_PORT", "port", "none", Effect::Elsewhere, "Read by zdd.py alone."),
    app("DEPLOYMENT_COLOUR", "name", "none", Effect::Elsewhere, "Read by zdd.py alone."),
    app("APP_ID", "app id", "none", Effect::Elsewhere, "Written by zdd.py, read by nobody."),
];

pub(super) const PORT: &[Label] = &[
    port(
        "GROUP",
        "list of groups, split at commas, blanks kept",
        "`HAPROXY_GROUP`",
        Need::Nothing,
        |d, v| {
            d.rules.groups = plain::groups(v, &mut d.notes);
            d.own_groups = true;
            Ok(())
        },
        "The groups of this port, in place of `HAPROXY_GROUP`.",
    ),
    port(
        "ENABLED",
        "yes or no",
        "yes; with `--strict-mode` no",
        Need::Nothing,
        |d, v| {
            d.rules.enabled = Some(d.flag(v));
            Ok(())
        },
        "Whether the port is served at all: its service port, its host names and the app on the app-id port.",
    ),
    port(
        "VHOST",
        "list of host names, split at commas",
        "none",
        Need::Stream,
        |d, v| host::list(v).map(|hosts| d.rules.hosts = hosts),
        "The host names under which the port is reached on the http and https ports, without regard to case and \
         to a port in the request's `Host`. `*.example.com` is every name below `example.com`; `*` is every \
         name. An exact name is preferred to a wildcard, a longer wildcard to a shorter one. Makes the mode http \
         unless `HAPROXY_n_MODE` says tcp: then TLS connections with this server name are passed through as they are.",
    ),
    port(
        "PATH",
        "beginnings of paths, split at blanks; `-i` = without regard to case",
        "every path",
        Need::HttpHost,
        |d, v| target::haproxy_paths(v).map(|paths| d.rules.paths = paths),
        "Limits the host names to paths that begin with one of these texts (`/api` takes `/apix` as well, see \
         `WAYMARK_n_PATH`). Sets a `BACKEND_WEIGHT` of 0 to 1. `-m beg`, `-m str` and `-m reg` are understood.",
    ),
    port(
        "BACKEND_WEIGHT",
        "number, also negative",
        "0; with a path 1",
        Need::HttpHost,
        |d, v| plain::number(v, i32::MIN, i32::MAX).map(|weight| d.rules.priority = weight),
        "Order among the rules of one host name: the greater is asked first. Among equals an exact path comes \
         first, then the longest prefix, then expressions, then the app's id and the port decide. It is no share \
         of the traffic; that is `WAYMARK_n_WEIGHT`.",
    ),
    port(
        "REDIRECT_TO_HTTPS",
        "yes or no",
        "no",
        Need::HttpHost,
        |d, v| {
            d.rules.redirect_to_https = d.flag(v);
            Ok(())
        },
        "Requests for its host names (and paths) that come without TLS are answered with 301 to https.",
    ),
    port(
        "AUTH",
        "`realm:user:hash`",
        "everybody may ask",
        Need::HttpHost,
        |d, v| access::auth(v).map(|auth| d.rules.auth = auth),
        "Basic authentication for its host names on the http and https ports. **Nobody is asked for it on the \
         service port and on the app-id port (9091)**, as with marathon-lb: whoever reaches those goes past it, so \
         keep them from strangers by a firewall, `BIND_ADDR` or `BACKEND_NETWORK_ALLOWED_ACL`, which holds \
         everywhere. A path that servers read in different ways (escapes decoded up to twice, `//`, `..`, `;`, `\\`) \
         is the guarded service's if one of the readings is; if those of several guarded services are, or it is \
         longer than 4096 bytes, the answer is 400. The hash is in one of crypt(3)'s forms: `$6$`, `$5$`, `$1$`, \
         `$2a$`, `$2b$`, `$2y$`, `$sha1$`, or DES (`openssl passwd -6` makes one).",
    ),
    port(
        "USE_HSTS",
        "yes or no",
        "no",
        Need::Http,
        |d, v| {
            d.rules.hsts = d.flag(v);
            Ok(())
        },
        "Answers over TLS carry `Strict-Transport-Security: max-age=15768000` (without TLS RFC 6797 §7.2 forbids it).",
    ),
    port(
        "SSL_CERT",
        "paths of PEM files; several as `a.pem crt b.pem`",
        "no TLS on the service port",
        Need::Stream,
        bind::certificates,
        "The service port itself speaks TLS with these certificates. The https port is not affected.",
    ),
    port(
        "BIND_OPTIONS",
        "options of HAProxy's `bind` line",
        "none",
        Need::Stream,
        bind::options,
        "Options of the service port's listener. Read: `accept-proxy`, `alpn`, `no-alpn`, `ssl-min-ver`, `no-tlsv12`, \
         `force-tlsv13`, `ssl crt FILE`. Held already: `no-sslv3`, `no-tlsv10`, `no-tlsv11`, `verify none`. \
         `verify required` is refused: the port would be open to everybody. Others have no effect and are \
         listed as such.",
    ),
    port(
        "BIND_ADDR",
        "IP address, or `*`",
        "`--listen`",
        Need::Nothing,
        |d, v| bind::address(v).map(|address| d.rules.bind = address),
        "The address on which the service port is listened on.",
    ),
    port(
        "PORT",
        "port number",
        "the service port",
        Need::Nothing,
        |d, v| plain::number(v, 1, u16::MAX).map(|port| d.rules.port = Some(port)),
        "Listens on this number in place of the service port; names of backends carry it too.",
    ),
    port(
        "MODE",
        "`http` or `tcp`",
        "`http` if the port's health check is HTTP or it has a host name, else `tcp`",
        Need::Stream,
        mode,
        "Whether requests or connections are balanced. Goes before everything that the mode would follow from.",
    ),
    port(
        "BALANCE",
        "one of HAProxy's algorithms",
        "`roundrobin`",
        Need::Nothing,
        |d, v| balance::haproxy(v, &mut d.notes).map(|balance| d.rules.balance = balance),
        "How a task is chosen: `roundrobin`, `static-rr`, `leastconn`, `first`, `source`, `uri`, `hdr(NAME)`, \
         `random` (the better of two), `random(1)`, `hash` of `src`, `path`, `req.hdr(NAME)` or `req.cook(NAME)`. \
         `url_param` and `rdp-cookie` are taken as `roundrobin`, and listed.",
    ),
    port(
        "STICKY",
        "yes or no",
        "no",
        Need::Http,
        |d, v| {
            let sticky = Sticky { cookie: String::from("mesosphere_server_id") };
            d.rules.sticky = d.flag(v).then_some(sticky);
            Ok(())
        },
        "A client comes back to the task that answered it first, by the cookie `mesosphere_server_id`, whose values \
         are marathon-lb's.",
    ),
    port(
        "BACKEND_NETWORK_ALLOWED_ACL",
        "addresses and networks, split at blanks",
        "everybody may ask",
        Need::Nothing,
        |d, v| access::networks(v).map(|allowed| d.rules.allowed = allowed),
        "Only these sources are served, on every port: others are answered 403, in mode tcp their connections are \
         closed.",
    ),
    port(
        "HTTP_BACKEND_PROXYPASS_PATH",
        "path",
        "the path stays",
        Need::Http,
        |d, v| target::optional_path(v).map(|path| d.proxypass = path),
        "This prefix is taken off the path before the task sees it, and `Host` becomes the first of the port's host \
         names.",
    ),
    port(
        "HTTP_BACKEND_REVPROXY_PATH",
        "path",
        "`Location` stays",
        Need::Http,
        |d, v| target::optional_path(v).map(|path| d.rules.location_prefix = path),
        "`Location` headers of its answers that point to `/…` or to one of its host names get this path in front.",
    ),
    port(
        "HTTP_BACKEND_REDIR",
        "URL or path",
        "none",
        Need::HttpHost,
        |d, v| target::location(v).map(|location| d.rules.redirect_root = location),
        "Requests for `/` of its host names are answered with 301 to this place.",
    ),
    port(
        "BACKEND_HEALTHCHECK_PORT_INDEX",
        "index of a port, in order of port numbers; negative from the end",
        "the port itself",
        Need::Nothing,
        |d, v| plain::number(v, -65_536, 65_536).map(|index: i64| d.check_port = Some(index)),
        "Active health checks go to that port of the same task. A port without a check of its own gets that port's, \
         and mode http if it is an HTTP or HTTPS one.",
    ),
];

fn group(app: &mut AppDraft, value: &str) -> Result<(), String> {
    app.groups = plain::groups(value, &mut app.notes);
    Ok(())
}

fn mode(draft: &mut Draft, value: &str) -> Result<(), String> {
    draft.mode = match value.trim().to_ascii_lowercase().as_str() {
        "" => None,
        "http" => Some(Mode::Http),
        "tcp" => Some(Mode::Tcp),
        other => return Err(format!("{other:?} is no mode; http and tcp are")),
    };
    Ok(())
}
