//! The command line of `waymark marathon-lb`: that of `marathon_lb.py`, as Python's argparse reads
//! it, with a few flags of Waymark's own.
//!
//! Long flags may be shortened while they stay unambiguous, the last of several counts, `--group`
//! adds up. What a value means is read in `config`.

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::exit;

/// How a flag takes values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// None: it is a switch.
    Nothing,
    /// One; given again, the last counts.
    One(&'static str),
    /// At least one; given again, the last list counts.
    Some(&'static str),
    /// One; given again, they add up.
    Each(&'static str),
}

struct Flag {
    name: &'static str,
    letter: Option<char>,
    takes: Takes,
    heading: &'static str,
    help: &'static str,
}

const MARATHON: &str = "Which Marathon";
const SERVICES: &str = "Which services";
const TEXT: &str = "What is written";
const APPLYING: &str = "How it is applied";
const LOGGING: &str = "Logging";

const fn flag(
    name: &'static str,
    letter: Option<char>,
    takes: Takes,
    heading: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, letter, takes, heading, help }
}

use Takes::{Each, Nothing, One};

const FLAGS: &[Flag] = &[
    flag(
        "marathon",
        Some('m'),
        Takes::Some("URL"),
        MARATHON,
        "Endpoints of one Marathon cluster [default: http://master.mesos:8080]",
    ),
    flag(
        "auth-credentials",
        None,
        One("USER:PASSWORD"),
        MARATHON,
        "Password for Marathon; better in a file, where `ps` does not show it",
    ),
    flag(
        "marathon-auth-credential-file",
        None,
        One("FILE"),
        MARATHON,
        "File whose first line is USER:PASSWORD",
    ),
    flag(
        "dcos-auth-credentials",
        None,
        One("JSON"),
        MARATHON,
        "Service account of DC/OS [env: DCOS_SERVICE_ACCOUNT_CREDENTIAL]",
    ),
    flag(
        "marathon-ca-cert",
        None,
        One("FILE"),
        MARATHON,
        "Authorities that sign Marathon's certificate [default: the machine's]",
    ),
    flag(
        "max-backoff",
        None,
        One("SECONDS"),
        MARATHON,
        "Longest pause between attempts to reach Marathon [default: 300]",
    ),
    flag(
        "group",
        None,
        Each("GROUP"),
        SERVICES,
        "Only services of this group (label HAPROXY_GROUP); '*' takes all; may be repeated; required",
    ),
    flag(
        "strict-mode",
        None,
        Nothing,
        SERVICES,
        "Only services whose label HAPROXY_n_ENABLED says true",
    ),
    flag(
        "health-check",
        Some('H'),
        Nothing,
        SERVICES,
        "Leave out tasks that Marathon does not report as healthy",
    ),
    flag(
        "min-serv-port-ip-per-task",
        None,
        One("PORT"),
        SERVICES,
        "First of the service ports for apps that have none [default: 10050]",
    ),
    flag(
        "max-serv-port-ip-per-task",
        None,
        One("PORT"),
        SERVICES,
        "Last of them; both 0 = such apps get none [default: 10100]",
    ),
    flag(
        "haproxy-config",
        None,
        One("FILE"),
        TEXT,
        "File to write; map files go beside it [default: /etc/haproxy/haproxy.cfg]",
    ),
    flag("haproxy-map", None, Nothing, TEXT, "Look host names and app ids up in map files"),
    flag(
        "group-https-by-vhost",
        None,
        Nothing,
        TEXT,
        "A TLS frontend of its own for each host name",
    ),
    flag("dont-bind-http-https", None, Nothing, TEXT, "No frontends on 80 and 443"),
    flag(
        "ssl-certs",
        None,
        One("FILE[,FILE…]"),
        TEXT,
        "Certificates on 443 [default: /etc/ssl/cert.pem]",
    ),
    flag(
        "haproxy-version",
        None,
        One("VERSION"),
        TEXT,
        "Write for this HAProxy, such as 2.8 [default: the installed one, else 2.0]",
    ),
    flag(
        "hard-stop-after",
        None,
        One("SECONDS"),
        TEXT,
        "End what an old HAProxy still carries this long after a reload [default: never]",
    ),
    flag(
        "sse",
        Some('s'),
        Nothing,
        APPLYING,
        "Stay and follow Marathon; without it: once, and exit",
    ),
    flag(
        "command",
        Some('c'),
        One("COMMAND"),
        APPLYING,
        "Reloads HAProxy; run without a shell [default: as the init system does]",
    ),
    flag("dry", Some('d'), Nothing, APPLYING, "Print what would be written, and exit"),
    flag("skip-validation", None, Nothing, APPLYING, "Do not have `haproxy -c` check it first"),
    flag(
        "skip-config-cleanup",
        None,
        Nothing,
        APPLYING,
        "When HAProxy refuses it, keep the old file and do not look for the app to blame",
    ),
    flag("archive-versions", None, One("N"), APPLYING, "Earlier files to keep [default: 5]"),
    flag(
        "max-reload-retries",
        None,
        One("N"),
        APPLYING,
        "How often the reload command is tried again; -1 = for ever [default: 10]",
    ),
    flag("reload-interval", None, One("SECONDS"), APPLYING, "Pause between these [default: 10]"),
    flag(
        "haproxy-binary",
        None,
        One("FILE"),
        APPLYING,
        "The HAProxy that checks [default: haproxy]",
    ),
    flag(
        "haproxy-socket",
        None,
        One("FILE"),
        APPLYING,
        "HAProxy's control socket [default: /var/run/haproxy/socket]",
    ),
    flag(
        "listen",
        None,
        One("ADDR:PORT"),
        APPLYING,
        "Where Waymark answers marathon-lb's endpoints, metrics and /v1/quarantine; HAProxy's \
         statistics port forwards to it [default: 127.0.0.1:9092]",
    ),
    flag(
        "log-level",
        None,
        One("LEVEL"),
        LOGGING,
        "CRITICAL, ERROR, WARNING, INFO, DEBUG or NOTSET [default: INFO]",
    ),
    flag(
        "log-format",
        None,
        One("FORMAT"),
        LOGGING,
        "Python's format of log lines: accepted, without effect",
    ),
    flag(
        "syslog-socket",
        None,
        One("FILE"),
        LOGGING,
        "Accepted, without effect: log lines go to standard error",
    ),
    flag(
        "lru-cache-capacity",
        None,
        One("N"),
        LOGGING,
        "Accepted, without effect: nothing is cached that could be evicted",
    ),
    flag(
        "longhelp",
        None,
        Nothing,
        LOGGING,
        "Print the reference of labels and templates, and exit",
    ),
];

/// The command for clap.
pub fn command() -> Command {
    Command::new("waymark marathon-lb")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Keep an HAProxy in step with a Marathon's apps, in place of marathon_lb.py")
        .long_about(
            "Keep an HAProxy in step with a Marathon's apps, in place of marathon_lb.py: the same \
             flags, labels, templates, files and names.\n\nA look at what it would write:\n\n  \
             waymark marathon-lb --marathon http://10.0.0.1:8080 --group external --dry",
        )
        .infer_long_args(true)
        .args_override_self(true)
        .max_term_width(100)
        .args(FLAGS.iter().map(arg))
        .after_help(exit::HELP)
}

fn arg(flag: &Flag) -> Arg {
    let arg = Arg::new(flag.name).long(flag.name).help_heading(flag.heading).help(flag.help);
    let arg = match flag.letter {
        Some(letter) => arg.short(letter),
        None => arg,
    };
    match flag.takes {
        Takes::Nothing => arg.action(ArgAction::SetTrue),
        Takes::One(value) => arg.value_name(value).action(ArgAction::Set).allow_hyphen_values(true),
        Takes::Some(value) => arg.value_name(value).action(ArgAction::Set).num_args(1..),
        Takes::Each(value) => arg.value_name(value).action(ArgAction::Append),
    }
}

/// What was given, by flag.
pub struct Given(ArgMatches);

impl Given {
    /// Reads the arguments behind the command's name.
    pub fn read(arguments: &[String]) -> Result<Given, clap::Error> {
        let name = "waymark marathon-lb".to_owned();
        let all = std::iter::once(&name).chain(arguments);
        command().try_get_matches_from(all).map(Given)
    }

    /// Whether a switch was given.
    pub fn has(&self, switch: &str) -> bool {
        self.0.get_flag(switch)
    }

    /// The value of a flag.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.0.get_one::<String>(name).map(String::as_str)
    }

    /// The values of a flag that may have several.
    pub fn several(&self, name: &str) -> Vec<String> {
        self.0.get_many::<String>(name).into_iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Given {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Given::read(&arguments).unwrap()
    }

    #[test]
    fn a_command_line_of_marathon_lb() {
        let given = read(
            "-m http://a:8080 http://b:8080 --group external --group internal -H --sse \
             --max-reload-retries -1 --haproxy-c /tmp/x.cfg --dry --archive-versions 3 \
             --archive-versions 4",
        );
        assert_eq!(given.several("marathon"), ["http://a:8080", "http://b:8080"]);
        assert_eq!(given.several("group"), ["external", "internal"]);
        assert!(given.has("health-check") && given.has("sse") && given.has("dry"));
        assert_eq!(given.one("max-reload-retries"), Some("-1"));
        assert_eq!(given.one("haproxy-config"), Some("/tmp/x.cfg"));
        assert_eq!(given.one("archive-versions"), Some("4"));
    }

    #[test]
    fn the_last_list_of_marathons_counts() {
        let given = read("--marathon http://a http://b --group x -m http://c");
        assert_eq!(given.several("marathon"), ["http://c"]);
    }

    #[test]
    fn clap_finds_no_fault_with_the_table() {
        command().debug_assert();
    }
}
