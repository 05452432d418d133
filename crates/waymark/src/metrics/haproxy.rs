//! Metrics of an HAProxy that is driven.

use std::time::Instant;

use waymark_haproxy::Rendered;
use waymark_haproxy::apply::Status;

use super::family::Family;
use super::seconds;

/// How far it follows, and by what means.
pub fn haproxy(out: &mut String, status: &Status, rendered: &Rendered, now: Instant) {
    for (name, help, n) in [
        (
            "waymark_haproxy_version_applied",
            "The catalog version that HAProxy runs.",
            status.version,
        ),
        ("waymark_haproxy_version_wanted", "The catalog version that it shall run.", status.wanted),
    ] {
        Family::gauge(out, name, help).sample("", n);
    }
    let help = "For how long HAProxy has not run what it shall run.";
    Family::gauge(out, "waymark_haproxy_age_seconds", help).sample("", seconds(&status.age(now)));
    for (name, help, n) in [
        ("waymark_haproxy_reloads", "Reloads.", status.reloads),
        (
            "waymark_haproxy_reloads_avoided",
            "Changes made by commands where marathon-lb reloads.",
            status.reloads_avoided,
        ),
        ("waymark_haproxy_commands", "Commands that HAProxy took.", status.commands),
        (
            "waymark_haproxy_commands_refused",
            "Commands that HAProxy refused or did not answer; each led to a reload.",
            status.commands_refused,
        ),
        ("waymark_haproxy_failures", "Failed attempts to apply.", status.failures),
    ] {
        Family::counter(out, name, help).sample("", n);
    }
    for (name, help, n) in [
        ("waymark_haproxy_backends", "Services in the configuration.", rendered.backends.len()),
        (
            "waymark_haproxy_servers",
            "Servers in the configuration.",
            rendered.backends.values().map(|backend| backend.servers.len()).sum(),
        ),
        (
            "waymark_haproxy_refused_apps",
            "Apps whose latest definition is not in the configuration.",
            rendered.refused.len(),
        ),
        ("waymark_haproxy_leaving_servers", "Servers that finish connections.", status.leaving),
        (
            "waymark_haproxy_old_workers",
            "HAProxy's processes from before a reload that still have connections.",
            status.lingering.workers,
        ),
    ] {
        Family::gauge(out, name, help).sample("", n);
    }
}
