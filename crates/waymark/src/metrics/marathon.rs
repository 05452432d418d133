//! Metrics of a Marathon that is followed.

use waymark_catalog::Standing;
use waymark_sources::marathon::{MarathonReport, Mode};

use super::family::Family;
use super::{seconds, standing_of};

/// How old its word is, and how it comes.
pub fn marathon(out: &mut String, word: &Standing, report: &MarathonReport) {
    standing_of(out, word, "Age of the last word of Marathon.");
    let mut family = Family::gauge(out, "waymark_source_mode", "1 for how the state comes.");
    for mode in [Mode::Stream, Mode::Poll, Mode::Lost] {
        let labels = format!("mode=\"{}\"", mode.as_str());
        family.sample(&labels, u64::from(report.mode == mode));
    }
    for (name, help, n) in [
        ("waymark_source_full_states", "Full states taken over.", report.full_reads),
        ("waymark_source_app_reads", "Apps taken over one by one.", report.app_reads),
        ("waymark_source_events", "Events taken.", report.events),
        ("waymark_source_failures", "Attempts that failed.", report.failures),
        ("waymark_source_reconnects", "Streams that had to be made anew.", report.reconnects),
    ] {
        Family::counter(out, name, help).sample("", n);
    }
    for (name, help, n) in [
        ("waymark_source_apps", "Apps known.", report.apps),
        (
            "waymark_source_doubted_apps",
            "Apps kept until it is sure they are gone.",
            report.doubted,
        ),
        ("waymark_source_problems", "Apps whose last word was of no use.", report.problem_count),
        (
            "waymark_source_unresolved_hosts",
            "Host names of agents whose addresses are not known.",
            report.unresolved_hosts,
        ),
    ] {
        Family::gauge(out, name, help).sample("", n);
    }
    let help = "How long the last full state took to come and be read.";
    let mut family = Family::gauge(out, "waymark_source_load_seconds", help);
    if let Some(took) = &report.last_load {
        family.sample("", seconds(took));
    }
}
