//! Flags of marathon-lb that have nothing to do here: accepted, so that a command line can stay as
//! it is, and told.

use clap::{Arg, ArgAction, ArgMatches};

/// A flag: its name, its letter, whether a value follows, and why it changes nothing.
type Flag = (&'static str, Option<char>, bool, &'static str);

const FLAGS: [Flag; 14] = [
    ("sse", Some('s'), false, "the event stream is always followed"),
    ("haproxy-config", None, true, NO_HAPROXY),
    ("command", Some('c'), true, NO_RELOADS),
    ("max-reload-retries", None, true, NO_RELOADS),
    ("reload-interval", None, true, NO_RELOADS),
    ("archive-versions", None, true, NO_HAPROXY),
    ("haproxy-map", None, false, "host names are always looked up in a table"),
    ("group-https-by-vhost", None, false, "certificates always follow the host name"),
    ("skip-validation", None, false, NO_HAPROXY),
    ("skip-config-cleanup", None, false, "a label that is wrong concerns its own app only"),
    ("lru-cache-capacity", None, true, "nothing is cached that could be evicted"),
    ("max-backoff", None, true, "Marathon is asked again after a few seconds at most"),
    ("syslog-socket", None, true, "log lines go to standard error"),
    ("longhelp", None, false, "`waymark lb --help` and docs/labels.md say what there is"),
];
const NO_HAPROXY: &str = "there is no HAProxy and no file of its";
const NO_RELOADS: &str = "changes need no reload";

/// The flags for clap, hidden from the help.
pub fn args() -> impl Iterator<Item = Arg> {
    FLAGS.iter().map(|(name, letter, value, _)| {
        let arg = Arg::new(*name).long(*name).hide(true);
        let arg = if let Some(letter) = letter { arg.short(*letter) } else { arg };
        match value {
            true => arg.action(ArgAction::Append).num_args(1).allow_hyphen_values(true),
            false => arg.action(ArgAction::Count),
        }
    })
}

/// One sentence for each that was given.
pub fn warnings(matches: &ArgMatches) -> Vec<String> {
    let given = |(name, _, value, _): &&Flag| match value {
        true => matches.contains_id(name),
        false => matches.get_count(name) > 0,
    };
    FLAGS
        .iter()
        .filter(given)
        .map(|(name, _, _, why)| format!("--{name} changes nothing: {why}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    #[test]
    fn a_command_line_of_marathon_lb_is_taken() {
        let line = "waymark lb --sse -m http://a:8080 --group external -H --haproxy-config /tmp/x \
                    -c reload --max-reload-retries -1 --haproxy-map --ssl-certs /a.pem,/b.pem \
                    --auth-credentials u:p --strict-mode --dont-bind-http-https";
        let matches = command().try_get_matches_from(line.split_whitespace()).unwrap();
        let warnings = warnings(matches.subcommand_matches("lb").unwrap());
        assert_eq!(warnings.len(), 5, "{warnings:?}");
        assert_eq!(warnings[2], "--command changes nothing: changes need no reload");
    }
}
