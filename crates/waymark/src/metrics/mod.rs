//! Metrics of DNS, sources and load balancer in OpenMetrics text, for `/metrics`.

mod balancer;
mod family;
mod haproxy;
mod marathon;

use std::time::Duration;

use waymark_catalog::{Output, Standing};
use waymark_dns::forward::ForwardStats;
use waymark_dns::stats::{RCODES, Stats, TRANSPORTS, TYPES};
use waymark_dns::{Dns, TransferStats};
use waymark_sources::mesos::{MesosReport, Mode};

pub use balancer::proxy;
use family::Family;
pub use haproxy::haproxy;
pub use marathon::marathon;

/// The DNS server: its zone and its counters.
pub fn dns(out: &mut String, dns: &Dns) {
    let help = "The catalog version that names are made from; the zone's serial.";
    Family::gauge(out, "waymark_dns_zone_version", help).sample("", dns.applied());
    let help = "Names with records, once for each app or group of tasks that has them.";
    Family::gauge(out, "waymark_dns_zone_names", help).sample("", dns.names());
    queries(out, &dns.stats());
    transfers(out, &dns.transfer_stats());
}

/// What secondaries have got.
fn transfers(out: &mut String, stats: &TransferStats) {
    let mut family = Family::counter(out, "waymark_dns_transfers", "Answers to AXFR and IXFR.");
    for (kind, n) in [
        ("whole", stats.whole),
        ("changes", stats.changes),
        ("unchanged", stats.unchanged),
        ("refused", stats.refused),
    ] {
        family.sample(&format!("kind=\"{kind}\""), n);
    }
    let help = "Bytes of changes kept for IXFR.";
    Family::gauge(out, "waymark_dns_journal_bytes", help).sample("", stats.journal_bytes);
}

/// The DNS server's counters.
fn queries(out: &mut String, stats: &Stats) {
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
        ("waymark_dns_forwarded", "Queries handed to the forwarder.", stats.forwarded),
        ("waymark_dns_limited", "Replies not sent because of the rate limit.", stats.limited),
        ("waymark_dns_slipped", "Small replies sent because of the rate limit.", stats.slipped),
        ("waymark_dns_unsent", "Replies over UDP that the system did not take.", stats.unsent),
        ("waymark_dns_tcp_accepted", "TCP connections served.", stats.tcp_accepted),
        ("waymark_dns_tcp_refused", "TCP connections closed at the limit.", stats.tcp_refused),
    ] {
        Family::counter(out, name, help).sample("", n);
    }
}

fn seconds(time: &Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

/// How old a source's word is.
fn standing_of(out: &mut String, standing: &Standing, help: &str) {
    let (fresh, age) = match standing {
        Standing::Silent { .. } => (false, None),
        Standing::Fresh(age) => (true, Some(age)),
        Standing::Stale { age, .. } => (false, Some(age)),
    };
    let fresh_help = "1 while the source's state is known to be up to date.";
    Family::gauge(out, "waymark_source_fresh", fresh_help).sample("", u64::from(fresh));
    // Without any word there is no age.
    let mut family = Family::gauge(out, "waymark_source_age_seconds", help);
    if let Some(age) = age {
        family.sample("", seconds(age));
    }
}

/// The control plane of this very process as a source: its word is never old.
pub fn own_word(out: &mut String) {
    let word = Standing::Fresh(Duration::ZERO);
    standing_of(out, &word, "Age of the last word of the built-in control plane.");
}

/// A Mesos source: how old its word is, and how it comes.
pub fn source(out: &mut String, standing: &Standing, report: &MesosReport) {
    standing_of(out, standing, "Age of the last word of the cluster.");
    let mut family = Family::gauge(out, "waymark_source_mode", "1 for how the state comes.");
    for mode in [Mode::Stream, Mode::Poll, Mode::Lost] {
        let labels = format!("mode=\"{}\"", mode.as_str());
        family.sample(&labels, u64::from(report.mode == mode));
    }
    for (name, help, n) in [
        ("waymark_source_full_states", "Full states taken over.", report.full_states),
        ("waymark_source_events", "Events applied.", report.events),
        ("waymark_source_failures", "Attempts that failed.", report.failures),
        ("waymark_source_reconnects", "Streams that had to be made anew.", report.reconnects),
    ] {
        Family::counter(out, name, help).sample("", n);
    }
    let help = "Elements of the last full state that were left out.";
    let mut family = Family::gauge(out, "waymark_source_skipped", help);
    for (reason, n) in &report.skipped {
        family.sample(&format!("reason=\"{reason}\""), *n);
    }
    let help = "Host names of the cluster whose addresses are not known.";
    Family::gauge(out, "waymark_source_unresolved_hosts", help).sample("", report.unresolved_hosts);
    let help = "How long the last full state took to come and be read.";
    let mut family = Family::gauge(out, "waymark_source_load_seconds", help);
    if let Some(took) = &report.last_load {
        family.sample("", seconds(took));
    }
}

/// Forwarding.
pub fn forward(out: &mut String, stats: &ForwardStats) {
    for (name, help, n) in [
        ("queries", "Queries for names outside the domain.", stats.queries),
        ("cache_hits", "Answered from the cache within their time.", stats.cache_hits),
        ("stale", "Answered from the cache after their time.", stats.stale),
        ("joined", "Waited for another client's same question.", stats.joined),
        ("lookups", "Questions that went to other servers.", stats.lookups),
        ("failed", "Lookups that no server had an answer to.", stats.failed),
        ("refused", "Refused without asking anybody.", stats.refused),
        ("overload", "SERVFAIL since too many were waiting.", stats.overload),
        ("loops", "Queries that had been here before.", stats.loops),
    ] {
        Family::counter(out, &format!("waymark_forward_{name}"), help).sample("", n);
    }
    for (name, help, n) in [
        ("cache_entries", "Answers in the cache.", stats.cache_entries),
        ("cache_bytes", "Room that they take.", stats.cache_bytes),
        ("in_flight", "Questions that are open at other servers.", stats.in_flight),
    ] {
        Family::gauge(out, &format!("waymark_forward_{name}"), help).sample("", n);
    }
    let help = "1 while the server answers, as far as known.";
    let mut family = Family::gauge(out, "waymark_forward_upstream_up", help);
    for server in &stats.upstreams {
        family.sample(&format!("server=\"{}\"", server.address), u64::from(server.up));
    }
    let mut family =
        Family::counter(out, "waymark_forward_tries", "Questions sent, by server and outcome.");
    for server in &stats.upstreams {
        for (outcome, n) in
            [("answer", server.answers), ("timeout", server.timeouts), ("error", server.errors)]
        {
            let labels = format!("server=\"{}\",outcome=\"{outcome}\"", server.address);
            family.sample(&labels, n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_source_is_always_fresh() {
        let mut out = String::new();
        own_word(&mut out);
        assert!(out.contains("waymark_source_fresh 1\n"), "{out}");
        assert!(out.contains("waymark_source_age_seconds 0.000\n"), "{out}");
    }

    #[test]
    fn families_have_heads_and_counters_their_suffix() {
        let mut out = String::new();
        queries(&mut out, &Stats { truncated: 3, ..Stats::default() });
        assert!(
            out.contains("# TYPE waymark_dns_truncated counter\nwaymark_dns_truncated_total 3\n")
        );
        assert!(out.contains("waymark_dns_queries_total{transport=\"udp\",type=\"srv\"} 0\n"));
    }
}
