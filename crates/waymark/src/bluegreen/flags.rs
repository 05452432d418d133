//! The command lines of `waymark zdd` and `waymark bluegreen`: the same flags, with other defaults.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};
use waymark_bluegreen::{Growth, Wanted};

/// Which of the two commands runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In place of zdd.py: asks before each step, waits for Marathon for ever, undoes nothing.
    Zdd,
    /// For today: asks once and only a person, has patience with limits, undoes what fails.
    BlueGreen,
}

/// What a command line says.
#[derive(Debug)]
pub struct Flags {
    pub kind: Kind,
    pub marathon: String,
    pub balancers: String,
    pub document: PathBuf,
    pub force: bool,
    pub dry_run: bool,
    pub step_delay: Duration,
    pub wanted: Wanted,
    pub growth: Growth,
    pub max_wait: Duration,
    pub start_wait: Option<Duration>,
    pub rollback: bool,
    pub going: Going,
    pub hook: Option<PathBuf>,
    pub quiet: bool,
    pub credential_file: Option<PathBuf>,
    pub credentials: Option<String>,
    pub account: Option<String>,
    pub ca_file: Option<PathBuf>,
}

/// What to do when two colours are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// Nothing: a new deployment is wanted.
    Anew,
    /// Go on with the interrupted deployment.
    Resume,
    /// End a hybrid in favour of the newer colour.
    Current,
    /// End it, or an interrupted deployment, in favour of the older colour.
    Previous,
}

const EXITS: &str = "\
Exit codes, as zdd.py's:
  0  done
  1  refused at a question
  2  the command line is wrong, or the deployment cannot go on (new tasks never up, hook said no)
  3  flags that do not fit what is there
  4  the document lacks a field
  5  a balancer cannot be reached
  6  Marathon cannot be reached
  7  the app could not be created
  8  the old app could not be deleted
  9  an app could not be scaled
  10 the new app failed and was taken back: the old one serves as before
  130 interrupted; nothing is half done, --resume goes on";

const ZDD: &str = "\
Deploy an app without downtime as two alternating colours, in place of marathon-lb's zdd.py: the same \
flags, labels, questions and exit codes.

The document is an app's JSON with two labels: HAPROXY_DEPLOYMENT_GROUP, which all its deployments have \
in common, and HAPROXY_DEPLOYMENT_ALT_PORT, a second service port for every other deployment. The new \
app is created beside the old one with few tasks; as its tasks become healthy the balancers drain as \
many old ones; those are killed when every balancer has them drained and has enough others up; and so on \
until the old app is empty and deleted. The balancers are marathon-lb's HAProxys or Waymark's own.

A first deployment, a second, and one that stops half-way to look:

  waymark zdd -m http://marathon:8080 -l http://balancer:9090 -j web.json --force
  waymark zdd -m http://marathon:8080 -l http://balancer:9090 -j web.json --force
  waymark zdd -m http://marathon:8080 -l http://balancer:9090 -j web.json --force --new-instances 1
  waymark zdd -m http://marathon:8080 -l http://balancer:9090 -j web.json --force --complete-cur

Ctrl-C ends it after the request that is under way; --resume goes on from what is there.";

const BLUE_GREEN: &str = "\
Deploy an app without downtime as two alternating colours: the engine of `waymark zdd` with today's \
defaults. It asks once, and only a person at a terminal; shows progress; gives new tasks 10 minutes to \
come up; and when they do not, or the hook says no, takes them back and leaves the old app as it was.

The document is an app's JSON with two labels: HAPROXY_DEPLOYMENT_GROUP, which all its deployments have \
in common, and HAPROXY_DEPLOYMENT_ALT_PORT, a second service port for every other deployment.

  waymark bluegreen -m http://marathon:8080 -l http://balancer:9090 -j web.json --dry-run
  waymark bluegreen -m http://marathon:8080 -l http://balancer:9090 -j web.json

Ctrl-C ends it after the request that is under way; --resume goes on from what is there, \
--complete-prev takes it back.";

/// The command line of one of the two.
pub fn command(kind: Kind) -> Command {
    let (name, about, long) = match kind {
        Kind::Zdd => {
            ("zdd", "Deploy an app without downtime, in place of marathon-lb's zdd.py", ZDD)
        }
        Kind::BlueGreen => {
            ("bluegreen", "Deploy an app without downtime, and take back what fails", BLUE_GREEN)
        }
    };
    Command::new(name)
        .about(about)
        .long_about(long)
        // As Python's argparse does.
        .infer_long_args(true)
        .args_override_self(true)
        .after_help(EXITS)
        .args(places())
        .args(steps(kind))
        .args(endings())
        .args(access())
        .args(logging())
}

fn valued(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn switch(name: &'static str, short: char, help: &'static str) -> Arg {
    Arg::new(name).long(name).short(short).action(ArgAction::SetTrue).help(help)
}

fn places() -> [Arg; 5] {
    let needed = |arg: Arg| arg.required_unless_present("longhelp");
    [
        needed(valued("marathon", "URL", "Marathon, such as http://marathon:8080"))
            .short('m')
            .value_hint(ValueHint::Url),
        needed(valued(
            "marathon-lb",
            "URL",
            "Where the balancers show statistics, such as http://marathon-lb.marathon.mesos:9090; each \
             address of the name is one balancer, and commas part several names. Port 9090 unless said",
        ))
        .short('l')
        .value_hint(ValueHint::Url),
        needed(valued("json", "FILE", "The app's document"))
            .short('j')
            .value_hint(ValueHint::FilePath)
            .value_parser(value_parser!(PathBuf)),
        switch("force", 'f', "Ask no questions"),
        switch("dry-run", 'd', "Show the final document and what would be done; change nothing"),
    ]
}

fn steps(kind: Kind) -> [Arg; 8] {
    let number = |arg: Arg, default: &'static str| {
        arg.value_parser(value_parser!(u32)).default_value(default)
    };
    let (delay, start, rollback) = match kind {
        Kind::Zdd => ("5", "0", "off"),
        Kind::BlueGreen => ("1", "600", "on"),
    };
    [
        number(valued("step-delay", "SECONDS", "Pause between looks"), delay).short('s'),
        number(
            valued("initial-instances", "N", "Tasks of the new app at first; no more than the old one has"),
            "1",
        )
        .short('i'),
        number(
            valued("linear-increase", "N", "Grow by so many tasks a step; 0 is by half of what is there"),
            "0",
        ),
        number(
            valued(
                "max-wait",
                "SECONDS",
                "How long one step may wait for the balancers. Then sessions of drained tasks are cut; \
                 new tasks that are not up by then are a failure",
            ),
            "300",
        )
        .short('w'),
        number(
            valued(
                "new-instances",
                "N",
                "Stop with so many new tasks beside the rest of the old ones (a hybrid); 0 is all",
            ),
            "0",
        )
        .short('n'),
        number(
            valued("start-wait", "SECONDS", "How long new tasks may take to become healthy; 0 is for ever"),
            start,
        ),
        valued("rollback", "on|off", "Whether a deployment that fails is taken back")
            .value_parser(PossibleValuesParser::new(["on", "off"]))
            .default_value(rollback),
        valued(
            "pre-kill-hook",
            "PROGRAM",
            "Run before tasks are killed, with three arguments in JSON: the old app, the ids of the \
             tasks, the new app. Anything but exit 0 ends the deployment",
        )
        .value_hint(ValueHint::ExecutablePath)
        .value_parser(value_parser!(PathBuf)),
    ]
}

fn endings() -> [Arg; 3] {
    let one = |name, short, help, others: [&'static str; 2]| {
        switch(name, short, help).conflicts_with_all(others)
    };
    let names = ["resume", "complete-cur", "complete-prev"];
    let [resume, current, previous] = names;
    [
        one(resume, 'r', "Go on with an interrupted deployment", [current, previous]),
        one(current, 'c', "End a hybrid with the newer colour alone", [resume, previous]),
        one(
            previous,
            'p',
            "End a hybrid, or take back a deployment: the older colour alone",
            [resume, current],
        ),
    ]
}

fn access() -> [Arg; 4] {
    let heading = "Access to Marathon";
    [
        valued("marathon-auth-credential-file", "FILE", "A file whose first line is user:password")
            .value_hint(ValueHint::FilePath)
            .value_parser(value_parser!(PathBuf)),
        valued("auth-credentials", "USER:PASSWORD", "Basic credentials; better in a file"),
        valued(
            "dcos-auth-credentials",
            "JSON",
            "A service account of DC/OS [env: DCOS_SERVICE_ACCOUNT_CREDENTIAL]",
        ),
        valued("marathon-ca-cert", "FILE", "Authorities to trust instead of the system's")
            .value_hint(ValueHint::FilePath)
            .value_parser(value_parser!(PathBuf)),
    ]
    .map(|arg| arg.help_heading(heading))
}

fn logging() -> [Arg; 4] {
    [
        valued("log-level", "LEVEL", "WARNING and above leave progress out")
            .ignore_case(true)
            .value_parser(PossibleValuesParser::new([
                "CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET",
            ]))
            .default_value("DEBUG"),
        valued("log-format", "TEXT", "Accepted and without effect").hide(true),
        valued("syslog-socket", "PATH", "Accepted and without effect").hide(true),
        Arg::new("longhelp")
            .long("longhelp")
            .action(ArgAction::SetTrue)
            .hide(true)
            .help("The same as --help"),
    ]
}

/// The flags as plain values. What clap guarantees to be there has its own default here, too.
pub fn read(kind: Kind, matches: &ArgMatches) -> Flags {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let number = |name: &str| matches.get_one::<u32>(name).copied().unwrap_or_default();
    let seconds = |name: &str| Duration::from_secs(number(name).into());
    let level = text("log-level").unwrap_or_default().to_ascii_uppercase();
    Flags {
        kind,
        marathon: text("marathon").unwrap_or_default(),
        balancers: text("marathon-lb").unwrap_or_default(),
        document: path("json").unwrap_or_default(),
        force: matches.get_flag("force"),
        dry_run: matches.get_flag("dry-run"),
        step_delay: seconds("step-delay"),
        wanted: Wanted {
            initial: number("initial-instances"),
            new_instances: number("new-instances"),
        },
        growth: match number("linear-increase") {
            0 => Growth::Half,
            by => Growth::Linear(by),
        },
        max_wait: seconds("max-wait"),
        start_wait: Some(seconds("start-wait")).filter(|wait| !wait.is_zero()),
        rollback: text("rollback").as_deref() == Some("on"),
        going: match ["resume", "complete-cur", "complete-prev"].map(|n| matches.get_flag(n)) {
            [true, ..] => Going::Resume,
            [_, true, _] => Going::Current,
            [.., true] => Going::Previous,
            _ => Going::Anew,
        },
        hook: path("pre-kill-hook"),
        quiet: matches!(level.as_str(), "WARNING" | "ERROR" | "CRITICAL"),
        credential_file: path("marathon-auth-credential-file"),
        credentials: text("auth-credentials"),
        account: text("dcos-auth-credentials"),
        ca_file: path("marathon-ca-cert"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: Kind, line: &str) -> Result<Flags, clap::Error> {
        let words = std::iter::once("x").chain(line.split_whitespace());
        command(kind).try_get_matches_from(words).map(|matches| read(kind, &matches))
    }

    #[test]
    fn a_command_line_of_zdd_is_taken() {
        let line = "-m http://m:8080 -l http://lb:9090 -j /tmp/a.json -f -s 1 -i 2 -w 30 -n 3 \
                    --linear-increase 4 --pre-kill-hook /bin/true --auth-credentials u:p:w \
                    -w 40 --syslog-socket /dev/null --log-format x --log-level info --complete-c";
        let flags = parse(Kind::Zdd, line).unwrap();
        assert!(flags.force && !flags.dry_run && !flags.rollback && !flags.quiet);
        assert_eq!((flags.going, flags.growth), (Going::Current, Growth::Linear(4)));
        assert_eq!((flags.wanted.initial, flags.wanted.new_instances), (2, 3));
        assert_eq!((flags.step_delay.as_secs(), flags.max_wait.as_secs()), (1, 40));
        assert_eq!(flags.start_wait, None);
    }

    #[test]
    fn defaults_differ_by_command() {
        let line = "-m http://m -l http://lb -j a.json";
        let (zdd, new) = (parse(Kind::Zdd, line).unwrap(), parse(Kind::BlueGreen, line).unwrap());
        assert_eq!((zdd.step_delay.as_secs(), zdd.max_wait.as_secs()), (5, 300));
        assert_eq!((zdd.wanted.initial, zdd.growth, zdd.going), (1, Growth::Half, Going::Anew));
        assert_eq!((new.rollback, new.start_wait), (true, Some(Duration::from_secs(600))));
    }

    #[test]
    fn what_is_missing_or_does_not_fit_is_refused() {
        for line in ["", "-m http://m -l http://l", "-m a -l b -j c -r -p", "-m a -l b -j c -n -1"]
        {
            assert_eq!(parse(Kind::Zdd, line).unwrap_err().exit_code(), 2, "{line}");
        }
        assert!(parse(Kind::Zdd, "--longhelp").is_ok());
        command(Kind::BlueGreen).debug_assert();
    }
}
