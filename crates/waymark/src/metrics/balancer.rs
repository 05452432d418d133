//! The load balancer's metrics: its ports, its services, its certificates.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use waymark_proxy::route::{Front, Pool, PoolCounters, RouteTable};
use waymark_proxy::tls::{CertificateState, TlsStats};
use waymark_proxy::{BOUNDS_US, Http2Counters, HttpTotals, ListenerState, PortStats, Proxy};

use super::family::Family;

/// One counter: name, help, and where it stands.
type Counter<T> = (&'static str, &'static str, fn(&T) -> u64);

const PORT_COUNTERS: [Counter<PortStats>; 14] = [
    ("waymark_proxy_accepted", "Connections accepted.", |p| p.accepted),
    ("waymark_proxy_received_bytes", "Bytes from clients.", |p| p.bytes_in),
    ("waymark_proxy_sent_bytes", "Bytes to clients.", |p| p.bytes_out),
    ("waymark_proxy_connect_errors", "Attempts to connect to a task that failed.", |p| {
        p.connect_errors
    }),
    ("waymark_proxy_retries", "Attempts on another task, or again, after one failed.", |p| {
        p.retries
    }),
    ("waymark_proxy_no_endpoint", "Clients reset because no task was ready.", |p| p.no_endpoint),
    ("waymark_proxy_failed", "Clients reset because no ready task accepted.", |p| p.failed),
    ("waymark_proxy_resets", "Connections that one of the two sides reset.", |p| p.resets),
    ("waymark_proxy_idle_closed", "Connections closed by the idle time-out.", |p| p.idle_closed),
    ("waymark_proxy_denied", "Clients closed because of where they came from.", |p| p.denied),
    ("waymark_proxy_bad_proxy_headers", "Clients closed for want of a PROXY header.", |p| {
        p.bad_proxy_headers
    }),
    ("waymark_proxy_udp_dropped", "Datagrams dropped.", |p| p.udp_dropped),
    ("waymark_proxy_udp_evicted", "UDP sessions ended to make room.", |p| p.udp_evicted),
    ("waymark_proxy_hello_timeouts", "Clients that did not begin TLS in time.", |p| {
        p.hello_timeouts
    }),
];

const SERVICE_COUNTERS: [Counter<PoolCounters>; 12] = [
    ("waymark_service_sessions", "Requests (http) or connections (tcp) that got a task.", |c| {
        c.seats.load(Relaxed)
    }),
    ("waymark_service_received_bytes", "Bytes from clients.", |c| c.bytes_in.load(Relaxed)),
    ("waymark_service_sent_bytes", "Bytes to clients.", |c| c.bytes_out.load(Relaxed)),
    ("waymark_service_retries", "Attempts on another task after one failed.", |c| {
        c.retries.load(Relaxed)
    }),
    ("waymark_service_retries_denied", "Retries that the budget did not allow.", |c| {
        c.retries_denied.load(Relaxed)
    }),
    ("waymark_service_connect_errors", "Attempts to connect to a task that failed.", |c| {
        c.connect_errors.load(Relaxed)
    }),
    ("waymark_service_response_errors", "Requests that a task did not answer to the end.", |c| {
        c.response_errors.load(Relaxed)
    }),
    (
        "waymark_service_ejections",
        "Times a task was tried last from then on, because it failed.",
        |c| c.ejections.load(Relaxed),
    ),
    ("waymark_service_queued", "Waited because every task had its most.", |c| {
        c.queued.load(Relaxed)
    }),
    ("waymark_service_queue_refused", "Waited too long, or found too many waiting.", |c| {
        c.queue_refused.load(Relaxed)
    }),
    ("waymark_service_held", "Held until a task was ready.", |c| c.held.load(Relaxed)),
    ("waymark_service_refused", "Got no task.", |c| c.refused.load(Relaxed)),
];

/// Everything about one load balancer.
pub fn proxy(out: &mut String, proxy: &Proxy) {
    let (table, fronts) = (proxy.table(), proxy.fronts());
    ports(out, &[proxy.stats(), proxy.udp_stats()].concat(), &fronts);
    totals(out, proxy);
    http(out, &proxy.http_totals());
    http2(out, proxy.http2());
    services(out, &table);
    configuration(out, &table);
    certificates(out, proxy);
}

fn ports(out: &mut String, stats: &[PortStats], fronts: &[(Front, PortStats)]) {
    let all = || fronts.iter().map(|(_, stats)| stats).chain(stats);
    for (name, help, value) in PORT_COUNTERS {
        let mut family = Family::counter(out, name, help);
        all().for_each(|port| family.sample(&port_labels(port), value(port)));
    }
    let mut family = Family::gauge(out, "waymark_proxy_active", "Connections open.");
    all().for_each(|port| family.sample(&port_labels(port), port.active as u64));
    let mut family = Family::gauge(out, "waymark_proxy_listening", "1 where it is listened on.");
    all().for_each(|port| {
        let listening = port.listener == ListenerState::Listening;
        family.sample(&port_labels(port), u64::from(listening));
    });
}

fn port_labels(port: &PortStats) -> String {
    let app = port.apps.first().map_or("", |app| app.as_str());
    // A service can have one number for both, and at several addresses.
    let protocol = if port.udp { ",protocol=\"udp\"" } else { "" };
    let address = port.address.map_or(String::new(), |ip| format!(",address=\"{ip}\""));
    format!("port=\"{}\",app=\"{app}\"{protocol}{address}", port.port)
}

fn totals(out: &mut String, proxy: &Proxy) {
    let totals = proxy.totals();
    for (name, help, n) in [
        ("waymark_proxy_connections", "Connections open over all ports.", totals.connections),
        ("waymark_proxy_max_connections", "The most that may be open.", totals.max_connections),
        ("waymark_proxy_udp_sessions", "UDP sessions.", totals.udp_sessions),
        ("waymark_proxy_max_udp_sessions", "The most that may be.", totals.max_udp_sessions),
        (
            "waymark_proxy_max_udp_service_sessions",
            "UDP sessions that one service may have.",
            totals.max_udp_service_sessions,
        ),
    ] {
        Family::gauge(out, name, help).sample("", n);
    }
    for (name, help, n) in [
        ("waymark_proxy_limit_hits", "Waits at the limit of connections.", totals.limit_hits),
        ("waymark_proxy_accept_pauses", "Rests for lack of descriptors.", totals.accept_pauses),
        ("waymark_proxy_handed_over", "Connections handed to another worker.", totals.handed_over),
        (
            "waymark_proxy_source_refusals",
            "Connections reset because their source had its most.",
            totals.source_refusals,
        ),
    ] {
        Family::counter(out, name, help).sample("", n);
    }
}

fn http(out: &mut String, totals: &HttpTotals) {
    let help = "Requests answered by Waymark itself or cut off, and why.";
    let mut family = Family::counter(out, "waymark_http_refused", help);
    for (reason, n) in [
        ("malformed", totals.malformed),
        ("slow-head", totals.slow_heads),
        ("slow-body", totals.slow_bodies),
        ("slow-client", totals.slow_clients),
        ("no-route", totals.no_route),
        ("denied", totals.denied),
        ("unchecked-password", totals.unchecked),
        ("slow-answer", totals.slow_answers),
        ("bad-answer", totals.bad_answers),
    ] {
        family.sample(&format!("reason=\"{reason}\""), n);
    }
    for (name, help, n) in [
        ("waymark_http_repeated", "Requests sent again to another task.", totals.repeated),
        (
            "waymark_access_log_dropped",
            "Lines of the access log that were not written.",
            totals.log_lines_dropped,
        ),
    ] {
        Family::counter(out, name, help).sample("", n);
    }
}

fn http2(out: &mut String, counters: &Http2Counters) {
    let help = "HTTP/2 connections and streams that were ended for breaking a limit, and which.";
    let mut family = Family::counter(out, "waymark_http2_refused", help);
    for (reason, counter) in [
        ("malformed", &counters.malformed),
        ("reset-flood", &counters.reset_floods),
        ("control-flood", &counters.control_floods),
        ("protocol-error", &counters.protocol_errors),
        ("stalled", &counters.stalled),
    ] {
        family.sample(&format!("reason=\"{reason}\""), counter.load(Relaxed));
    }
    for (name, help, counter) in [
        ("waymark_http2_connections", "Clients that spoke HTTP/2.", &counters.connections),
        ("waymark_http2_streams", "Requests by HTTP/2.", &counters.streams),
        ("waymark_http2_cancelled", "Requests that their client took back.", &counters.cancelled),
        ("waymark_http2_idle_closed", "Clients told to go for being idle.", &counters.idle_closed),
        (
            "waymark_http2_task_connections",
            "Connections opened to tasks that speak HTTP/2.",
            &counters.task_connections,
        ),
    ] {
        Family::counter(out, name, help).sample("", counter.load(Relaxed));
    }
}

fn services(out: &mut String, table: &RouteTable) {
    let pools: Vec<(String, &Arc<Pool>)> = table
        .pools
        .values()
        .filter(|pool| pool.id.shared.is_none())
        .map(|pool| (format!("app=\"{}\",index=\"{}\"", pool.id.app, pool.id.index), pool))
        .collect();
    for (name, help, value) in SERVICE_COUNTERS {
        let mut family = Family::counter(out, name, help);
        pools.iter().for_each(|(labels, pool)| family.sample(labels, value(&pool.counters)));
    }
    let help = "Requests by the class of their answer; none where there was no answer.";
    let mut family = Family::counter(out, "waymark_service_requests", help);
    for (labels, pool) in pools.iter().filter(|(_, pool)| is_http(pool)) {
        for (class, count) in
            ["none", "1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(&pool.counters.requests)
        {
            family.sample(&format!("{labels},code=\"{class}\""), count.load(Relaxed));
        }
    }
    let ends = BOUNDS_US.map(|us| us as f64 / 1e6);
    let help = "Seconds from a request to the end of its answer.";
    let mut family = Family::histogram(out, "waymark_service_latency_seconds", help);
    for (labels, pool) in pools.iter().filter(|(_, pool)| is_http(pool)) {
        let latency = &pool.counters.latency;
        family.buckets(labels, &latency.buckets(), &ends, latency.sum_seconds());
    }
    gauges(out, &pools);
}

fn gauges(out: &mut String, pools: &[(String, &Arc<Pool>)]) {
    let gauges: [Counter<Pool>; 4] = [
        ("waymark_service_active", "Requests or connections open.", |pool| {
            pool.candidates.iter().map(|c| u64::from(c.endpoint.active())).sum()
        }),
        ("waymark_service_queue", "Waiting for a task to have room.", |pool| {
            u64::from(pool.queue_len())
        }),
        ("waymark_service_tasks", "Tasks known.", |pool| pool.candidates.len() as u64),
        ("waymark_service_ready_tasks", "Tasks that the source calls ready.", |pool| {
            pool.candidates.iter().filter(|c| c.withheld.is_none()).count() as u64
        }),
    ];
    for (name, help, value) in gauges {
        let mut family = Family::gauge(out, name, help);
        pools.iter().for_each(|(labels, pool)| family.sample(labels, value(pool)));
    }
}

fn is_http(pool: &Pool) -> bool {
    pool.rules.mode == waymark_routing::Mode::Http
}

fn configuration(out: &mut String, table: &RouteTable) {
    let help = "The catalog version that routes are made from.";
    Family::gauge(out, "waymark_proxy_table_version", help).sample("", table.version);
    let help = "Host names on the shared ports, wildcards included.";
    Family::gauge(out, "waymark_proxy_hosts", help).sample("", table.hosts.len());
    let help = "1 for apps whose labels cannot be read; kept tells whether earlier routes stay.";
    let mut family = Family::gauge(out, "waymark_proxy_quarantined", help);
    for (app, quarantined) in &table.quarantined {
        family.sample(&format!("app=\"{app}\",kept=\"{}\"", quarantined.kept), 1);
    }
    let help = "Labels of apps that have no effect here.";
    let mut family = Family::gauge(out, "waymark_proxy_unapplied_labels", help);
    for (app, labels) in &table.unapplied {
        family.sample(&format!("app=\"{app}\""), labels.len());
    }
}

fn certificates(out: &mut String, proxy: &Proxy) {
    let help = "When a certificate's time is over, in Unix seconds.";
    let mut family = Family::gauge(out, "waymark_certificate_not_after_seconds", help);
    let certificates = proxy.certificates();
    let files = certificates.status();
    for file in files.iter() {
        if let Some(end) = file.not_after {
            family.sample(&file_label(&file.file), end);
        }
    }
    let help = "1 for a certificate file that is served as it is.";
    let mut family = Family::gauge(out, "waymark_certificate_served", help);
    for file in files.iter() {
        let served = matches!(file.state, CertificateState::Served | CertificateState::SelfSigned);
        family.sample(&file_label(&file.file), u64::from(served));
    }
    let help = "1 for a file of authorities that tasks are verified by as it is.";
    let mut family = Family::gauge(out, "waymark_task_authorities_served", help);
    for file in proxy.authorities() {
        let served = u64::from(file.state == CertificateState::Served);
        family.sample(&file_label(&file.file), served);
    }
    handshakes(out, &certificates.stats());
}

fn handshakes(out: &mut String, stats: &TlsStats) {
    let help = "TLS handshakes with clients, by how they ended.";
    let mut family = Family::counter(out, "waymark_tls_handshakes", help);
    for (outcome, n) in [
        ("full", stats.full),
        ("resumed", stats.resumed),
        ("timeout", stats.timeout),
        ("gone", stats.gone),
        ("refused", stats.refused),
        ("incompatible", stats.incompatible),
        ("invalid", stats.invalid),
    ] {
        family.sample(&format!("outcome=\"{outcome}\""), n);
    }
}

/// Paths may have anything in them (OpenMetrics: a backslash before quotes and itself).
fn file_label(file: &std::path::Path) -> String {
    let text = file.display().to_string();
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("file=\"{text}\"")
}
