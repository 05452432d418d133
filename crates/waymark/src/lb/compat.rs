//! marathon-lb's flags that have nothing to do here: accepted, so that a command line can stay as it
//! is, and told, one sentence each.

use clap::{Arg, ArgAction, ArgMatches};

use crate::settings::Flags;

/// A flag: its name, its letter, whether a value follows, and what it comes to here.
type Flag = (&'static str, Option<char>, bool, &'static str);

const FLAGS: [Flag; 13] = [
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
];
const NO_HAPROXY: &str = "this load balancer runs no HAProxy and writes no file for one";
const NO_RELOADS: &str = "this load balancer runs no HAProxy, and changes need no reload";

/// The setting that marathon-lb has with other values.
const LOG_FORMAT: &str = "log-format";

/// The flags for clap, hidden from the help but for the one that prints something.
pub fn args() -> impl Iterator<Item = Arg> {
    let ignored = FLAGS.iter().map(|(name, letter, value, _)| {
        let arg = Arg::new(*name).long(*name).hide(true);
        let arg = if let Some(letter) = letter { arg.short(*letter) } else { arg };
        match value {
            true => arg.action(ArgAction::Append).num_args(1).allow_hyphen_values(true),
            false => arg.action(ArgAction::Count),
        }
    });
    let longhelp = Arg::new("longhelp")
        .long("longhelp")
        .action(ArgAction::SetTrue)
        .help("Print what labels there are (docs/labels.md), and end");
    ignored.chain([longhelp])
}

/// Takes out of the flags what is written as marathon-lb wants it and means nothing here: a log
/// format in the notation of Python's logging. Returns a sentence if there was one.
pub fn take_log_format(flags: &mut Flags) -> Option<String> {
    let python = flags.values.get(LOG_FORMAT).is_some_and(|text| text.contains('%'));
    python.then(|| {
        flags.values.remove(LOG_FORMAT);
        "--log-format is one of Python's, which changes nothing: write text or json".to_owned()
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
    use crate::cli::{command, flags};
    use crate::settings::{Role, Surroundings, load};

    /// What becomes of one of marathon-lb's flags.
    enum Here {
        /// It is a setting with the same meaning.
        Same,
        /// It is told that it changes nothing.
        Told,
        /// It prints something and ends.
        Prints,
    }

    /// Every flag of marathon-lb 1.15 as its users write them, and their letters.
    const EACH: [(&[&str], Here); 39] = [
        (&["--longhelp"], Here::Prints),
        (&["--marathon", "http://a:8080", "http://b:8080"], Here::Same),
        (&["-m", "http://a:8080"], Here::Same),
        (&["--haproxy-config", "/marathon-lb/haproxy.cfg"], Here::Told),
        (&["--group", "external"], Here::Same),
        (&["--command", "/marathon-lb/reload_haproxy.sh"], Here::Told),
        (&["-c", "sv reload /marathon-lb/service/haproxy"], Here::Told),
        (&["--max-reload-retries", "-1"], Here::Told),
        (&["--max-reload-retries=0"], Here::Told),
        (&["--reload-interval", "10"], Here::Told),
        (&["--strict-mode"], Here::Same),
        (&["--sse"], Here::Told),
        (&["-s"], Here::Told),
        (&["--archive-versions", "5"], Here::Told),
        (&["--health-check"], Here::Same),
        (&["-H"], Here::Same),
        (&["--lru-cache-capacity", "1000"], Here::Told),
        (&["--haproxy-map"], Here::Told),
        (&["--dont-bind-http-https"], Here::Same),
        (&["--group-https-by-vhost"], Here::Told),
        (&["--ssl-certs", "/etc/ssl/cert.pem,/etc/ssl/mesosphere.com.pem"], Here::Same),
        (&["--ssl-certs", ""], Here::Same),
        (&["--skip-validation"], Here::Told),
        (&["--skip-config-cleanup"], Here::Told),
        (&["--dry"], Here::Prints),
        (&["-d"], Here::Prints),
        (
            &["--min-serv-port-ip-per-task", "10050", "--max-serv-port-ip-per-task", "10100"],
            Here::Same,
        ),
        (&["--max-serv-port-ip-per-task", "10100"], Here::Same),
        (&["--max-backoff", "300"], Here::Told),
        (&["--syslog-socket", "/dev/null"], Here::Told),
        (&["--log-format", "%(asctime)-15s %(name)s: %(message)s"], Here::Told),
        (&["--log-level", "DEBUG"], Here::Same),
        (&["--log-level", "notset"], Here::Same),
        (&["--marathon-auth-credential-file", "/etc/marathon"], Here::Same),
        (&["--auth-credentials", "user:pass"], Here::Same),
        (&["--dcos-auth-credentials", "{\"uid\": \"a\"}"], Here::Same),
        (&["--dcos-auth-credentials", "/run/account.json"], Here::Same),
        (&["--marathon-ca-cert", "/etc/ssl/ca.pem"], Here::Same),
        (&["--log-level", "CRITICAL"], Here::Same),
    ];

    #[test]
    fn every_flag_of_marathon_lb_is_taken() {
        let around = Surroundings { root: true, ..Surroundings::default() };
        for (words, here) in EACH {
            let line = ["waymark", "lb"].iter().chain(words);
            let matches = command().try_get_matches_from(line);
            let matches = matches.unwrap_or_else(|error| panic!("{words:?}: {error}"));
            let matches = matches.subcommand_matches("lb").unwrap();
            let mut flags = flags(Role::Lb, matches);
            let mut told = warnings(matches);
            told.extend(take_log_format(&mut flags));
            assert!(load(Role::Lb, &flags, &around).is_ok(), "{words:?}");
            match here {
                Here::Same => assert!(told.is_empty() && !flags.values.is_empty(), "{words:?}"),
                Here::Told => assert_eq!(told.len(), 1, "{words:?}"),
                Here::Prints => {
                    assert!(matches.get_flag("dry") || matches.get_flag("longhelp"), "{words:?}");
                }
            }
        }
    }

    #[test]
    fn what_changes_nothing_is_told() {
        let line = "waymark lb --sse -m http://a:8080 --group external -H --haproxy-config /tmp/x \
                    -c reload --max-reload-retries -1 --haproxy-map --ssl-certs /a.pem,/b.pem";
        let matches = command().try_get_matches_from(line.split_whitespace()).unwrap();
        let warnings = warnings(matches.subcommand_matches("lb").unwrap());
        assert_eq!(warnings.len(), 5, "{warnings:?}");
        assert_eq!(
            warnings[2],
            "--command changes nothing: this load balancer runs no HAProxy, and changes need no \
             reload"
        );
    }
}
