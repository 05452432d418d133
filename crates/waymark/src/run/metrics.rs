//! Metrics of DNS and load balancer in OpenMetrics text, for `/metrics`.

use std::fmt::Write;

use waymark_dns::stats::{RCODES, Stats, TRANSPORTS, TYPES};
use waymark_proxy::{ListenerState, PortStats, Totals};

/// Writes one family: its head, then a line for each sample.
struct Family<'a> {
    out: &'a mut String,
    name: &'a str,
    suffix: &'a str,
}

impl<'a> Family<'a> {
    fn counter(out: &'a mut String, name: &'a str, help: &str) -> Family<'a> {
        Family::new(out, name, "counter", "_total", help)
    }

    fn gauge(out: &'a mut String, name: &'a str, help: &str) -> Family<'a> {
        Family::new(out, name, "gauge", "", help)
    }

    fn new(
        out: &'a mut String,
        name: &'a str,
        kind: &str,
        suffix: &'a str,
        help: &str,
    ) -> Family<'a> {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { out, name, suffix }
    }

    /// Labels are `key="value"` pairs joined by commas; no value here needs escaping.
    fn sample(&mut self, labels: &str, value: u64) {
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.out, "{}{}{braces} {value}", self.name, self.suffix);
    }
}

/// The DNS server's counters.
pub fn dns(out: &mut String, stats: &Stats) {
    let mut family = Family::counter(out, "waymark_dns_queries", "Readable queries.");
    for (transport, by_type) in TRANSPORTS.iter().zip(&stats.queries) {
        for (qtype, n) in TYPES.iter().zip(by_type) {
            family.sample(&format!("transport=\"{transport}\",type=\"{qtype}\""), *n);
        }
    }
    let mut family = Family::counter(out, "waymark_dns_replies", "Replies.");
    for (transport, by_code) in TRANSPORTS.iter().zip(&stats.replies) {
        for (rcode, n) in RCODES.iter().zip(by_code) {
            family.sample(&format!("transport=\"{transport}\",rcode=\"{rcode}\""), *n);
        }
    }
    for (name, help, n) in [
        ("waymark_dns_truncated", "Replies over UDP that had to be cut.", stats.truncated),
        ("waymark_dns_ignored", "Packets that got no reply.", stats.ignored),
        ("waymark_dns_unsent", "Replies over UDP that the system did not take.", stats.unsent),
        ("waymark_dns_tcp_accepted", "TCP connections served.", stats.tcp_accepted),
        ("waymark_dns_tcp_refused", "TCP connections closed at the limit.", stats.tcp_refused),
    ] {
        Family::counter(out, name, help).sample("", n);
    }
}

/// One counter of a service port: name, help, and where it stands.
type PortCounter = (&'static str, &'static str, fn(&PortStats) -> u64);

const PORT_COUNTERS: [PortCounter; 10] = [
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
    ("waymark_proxy_held", "Clients held until a task accepted.", |p| p.held),
];

/// The load balancer's counters, by service port.
pub fn proxy(out: &mut String, ports: &[PortStats], totals: Totals) {
    for (name, help, value) in PORT_COUNTERS {
        let mut family = Family::counter(out, name, help);
        for port in ports {
            family.sample(&labels(port), value(port));
        }
    }
    let mut family = Family::gauge(out, "waymark_proxy_active", "Connections open.");
    for port in ports {
        family.sample(&labels(port), port.active as u64);
    }
    let mut family = Family::gauge(out, "waymark_proxy_listening", "1 where it is listened on.");
    for port in ports {
        family.sample(&labels(port), u64::from(port.listener == ListenerState::Listening));
    }
    let help = "Connections open over all service ports.";
    Family::gauge(out, "waymark_proxy_connections", help).sample("", totals.connections as u64);
    for (name, help, n) in [
        ("waymark_proxy_limit_hits", "Waits at the limit of connections.", totals.limit_hits),
        ("waymark_proxy_accept_pauses", "Rests for lack of descriptors.", totals.accept_pauses),
        ("waymark_proxy_handed_over", "Connections handed to another worker.", totals.handed_over),
    ] {
        Family::counter(out, name, help).sample("", n);
    }
}

fn labels(port: &PortStats) -> String {
    let app = port.apps.first().map_or("", |app| app.as_str());
    format!("port=\"{}\",app=\"{app}\"", port.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_heads_and_counters_their_suffix() {
        let mut out = String::new();
        dns(&mut out, &Stats { truncated: 3, ..Stats::default() });
        assert!(
            out.contains("# TYPE waymark_dns_truncated counter\nwaymark_dns_truncated_total 3\n")
        );
        assert!(out.contains("waymark_dns_queries_total{transport=\"udp\",type=\"srv\"} 0\n"));
        proxy(&mut out, &[], Totals { connections: 2, ..Totals::default() });
        assert!(out.ends_with("waymark_proxy_handed_over_total 0\n"));
        assert!(out.contains("waymark_proxy_connections 2\n"));
    }
}
