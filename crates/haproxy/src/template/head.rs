//! The default `HEAD`: `global`, `defaults` and the statistics port.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::{Endpoints, Head};

/// Suites of TLS up to 1.2, for both sides.
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
                       ECDHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:\
                       ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384:\
                       ECDHE-RSA-AES256-SHA384:DHE-RSA-AES128-SHA256:DHE-RSA-AES256-SHA256:AES128-GCM-SHA256:\
                       AES256-GCM-SHA384:AES128-SHA256:AES256-SHA256:!aNULL:!MD5:!DSS";
const TLS_OPTIONS: &str = "no-sslv3 no-tlsv10 no-tls-tickets";

/// The timeouts of `defaults`.
const TIMEOUTS: &[(&str, &str)] = &[
    ("connect", "3s"),
    ("client", "30s"),
    ("server", "30s"),
    ("tunnel", "3600s"),
    ("http-keep-alive", "1s"),
    ("http-request", "15s"),
    ("queue", "30s"),
    ("tarpit", "60s"),
];

/// The endpoints: the path, and the Lua service that answers it in marathon-lb.
const ENDPOINTS: &[(&str, &str)] = &[
    ("/_haproxy_getpids", "getpids"),
    ("/_haproxy_getvhostmap", "getvhostmap"),
    ("/_haproxy_getappmap", "getappmap"),
    ("/_haproxy_getconfig", "getconfig"),
    ("/_mlb_signal/hup", "signalmlbhup"),
    ("/_mlb_signal/usr1", "signalmlbusr1"),
];

/// The text.
pub(crate) fn text(head: &Head) -> String {
    let mut out = String::with_capacity(4096);
    global(head, &mut out);
    defaults(head, &mut out);
    stats(head, &mut out);
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "  {text}");
}

fn global(head: &Head, out: &mut String) {
    out.push_str("global\n  log /dev/log local0\n  log /dev/log local1 notice\n");
    out.push_str("  spread-checks 5\n  max-spread-checks 15000\n  maxconn 50000\n");
    out.push_str("  tune.ssl.default-dh-param 2048\n");
    for side in ["bind", "server"] {
        line(out, format_args!("ssl-default-{side}-ciphers {CIPHERS}"));
        line(out, format_args!("ssl-default-{side}-options {TLS_OPTIONS}"));
    }
    let level = if head.socket_admin { " level admin" } else { "" };
    line(out, format_args!("stats socket {} expose-fd listeners{level}", head.socket));
    if let Some(seconds) = head.hard_stop_after {
        line(out, format_args!("hard-stop-after {seconds}s"));
    }
    if let Some(dir) = &head.state_dir {
        line(out, format_args!("server-state-file global"));
        line(out, format_args!("server-state-base {dir}"));
    }
    if let Endpoints::Lua(dir) = &head.endpoints {
        for file in ["getpids", "getconfig", "getmaps", "signalmlb"] {
            line(out, format_args!("lua-load {dir}/{file}.lua"));
        }
    }
}

fn defaults(head: &Head, out: &mut String) {
    out.push_str("\ndefaults\n");
    if head.state_dir.is_some() {
        line(out, format_args!("load-server-state-from-file global"));
    }
    out.push_str("  log global\n  retries 3\n  backlog 10000\n  maxconn 10000\n");
    for (name, time) in TIMEOUTS {
        line(out, format_args!("timeout {name} {time}"));
    }
    let options: BTreeSet<&str> = head.default_options.split(',').map(str::trim).collect();
    for option in options.into_iter().filter(|option| !option.is_empty()) {
        line(out, format_args!("option {option}"));
    }
}

fn stats(head: &Head, out: &mut String) {
    out.push_str("\nlisten stats\n");
    line(out, format_args!("bind {}", head.stats_bind));
    out.push_str("  balance\n  mode http\n  stats enable\n");
    if head.prometheus {
        line(
            out,
            format_args!("http-request use-service prometheus-exporter if {{ path /metrics }}"),
        );
    }
    line(out, format_args!("monitor-uri /_haproxy_health_check"));
    match &head.endpoints {
        Endpoints::Lua(_) => {
            for (path, service) in ENDPOINTS {
                line(
                    out,
                    format_args!("http-request use-service lua.{service} if {{ path {path} }}"),
                );
            }
        }
        Endpoints::Forward(to) => {
            let paths: Vec<&str> = ENDPOINTS.iter().map(|(path, _)| *path).collect();
            let paths = paths.join(" ");
            line(out, format_args!("use_backend waymark_endpoints if {{ path {paths} }}"));
            out.push_str("\nbackend waymark_endpoints\n  mode http\n");
            line(out, format_args!("server waymark {to}"));
        }
        Endpoints::None => {}
    }
}
