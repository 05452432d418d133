//! The command line: what can be said, and how it becomes plain values.
//!
//! The flags of `run` come from the settings table; the other commands have few flags of their own.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};

use crate::bluegreen;
use crate::bridge;
use crate::exit;
use crate::lb::{compat, dry};
use crate::settings::{API_VARIABLE, Flags, Role, Setting, table, value::Value};

/// How long client commands wait for a deployment unless told otherwise.
const DEFAULT_WAIT: &str = "5m";

/// The whole command line.
pub fn command() -> Command {
    Command::new("waymark")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Service discovery and load balancing for apps that come and go")
        .long_about(
            "Service discovery and load balancing for apps that come and go.\n\n\
             `waymark run app.json` starts everything on this machine: the apps in the file, DNS \
             names for their tasks, and a load balancer. `waymark lb` is a load balancer for the \
             apps of an existing Marathon. The other commands talk to a running Waymark.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100)
        .after_help(exit::HELP)
        .subcommands([
            run(),
            lb(),
            marathon_lb(),
            mesos_dns(),
            bluegreen::command(bluegreen::Kind::Zdd),
            bluegreen::command(bluegreen::Kind::BlueGreen),
            bridge::command(),
            status(),
            app(),
            tasks(),
            explain(),
            whoami(),
            completions(),
            reference(),
        ])
}

fn run() -> Command {
    Command::new("run")
        .about("Run Waymark on this machine, and apps from files")
        .long_about(
            "Run Waymark on this machine: the API, DNS and the load balancer in one process, until \
             Ctrl-C or SIGTERM.\n\nEach FILE holds a Marathon app, an array of apps, or a group, as \
             JSON; of a DIR, all files named *.json are taken in the order of their names. Apps \
             that are new or differ are started or changed; apps that no file names any more stay. \
             All files are checked before anything starts.\n\nEvery flag below can also be set in \
             the file given by --config (as `api-port = 8080`) and by an environment variable (as \
             `WAYMARK_API_PORT=8080`); a variable wins over the file, a flag over both. Port 0 \
             means any free port; the ports in use are in endpoints.json in the data folder.",
        )
        .arg(
            Arg::new("files")
                .value_name("FILE|DIR")
                .help("App definitions to apply")
                .num_args(0..)
                .value_hint(ValueHint::AnyPath)
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(config_arg())
        .args(setting_args(Role::Run))
        .after_help(exit::HELP)
}

fn lb() -> Command {
    Command::new("lb")
        .about("Run a load balancer for the apps of an existing Marathon, in place of marathon-lb")
        .long_about(
            "Run a load balancer for the apps of an existing Marathon, in place of marathon-lb: \
             what is routed where follows from the same labels (HAPROXY_GROUP, HAPROXY_0_VHOST, …), \
             and changes within milliseconds, without reloads.\n\n\
             A first try, on any machine that reaches Marathon:\n\n  \
             waymark lb --marathon http://10.0.0.1:8080 --group '*' --http-port 8000 \
             --https-port 8443\n\n\
             Each app is then reached on its service ports, by its host names (label \
             HAPROXY_0_VHOST) on http-port and https-port, and by the header X-Marathon-App-Id on \
             appid-port. `curl localhost:9090/v1/routes` shows what is routed, `waymark explain GET \
             http://host/path` where one request goes and why.\n\n\
             Every flag below can also be set in the file given by --config (as `http-port = \
             8000`) and by an environment variable (as `WAYMARK_HTTP_PORT=8000`); a variable wins \
             over the file, a flag over both. Passwords are better given by a file or a variable. \
             Flags of marathon-lb that concern HAProxy's files and reloads are accepted and change \
             nothing.",
        )
        .arg(config_arg())
        .args(setting_args(Role::Lb))
        .arg(dry::arg())
        .args(compat::args())
        .after_help(exit::HELP)
}

/// The flags are those of `marathon_lb.py`, and read by a command of its own.
fn marathon_lb() -> Command {
    Command::new("marathon-lb")
        .about("Keep a real HAProxy in step with a Marathon, in place of marathon_lb.py")
        .long_about(
            "Keep a real HAProxy in step with a Marathon, in place of marathon_lb.py, with its \
             flags, labels and templates. `waymark marathon-lb --help` describes the flags, \
             `--longhelp` the labels and templates.",
        )
        .disable_help_flag(true)
        .arg(
            Arg::new("arguments")
                .value_name("FLAGS")
                .help("As of marathon_lb.py: `--marathon URL --group GROUP --sse`, …")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true),
        )
}

/// The flags are Mesos-DNS's and read as Go programs read theirs, not by clap.
fn mesos_dns() -> Command {
    Command::new("mesos-dns")
        .about("Serve DNS for a Mesos cluster, in place of Mesos-DNS")
        .long_about(
            "Serve DNS for a Mesos cluster, in place of Mesos-DNS: with its flags, its \
             configuration file, its names and its HTTP API. `waymark mesos-dns -help` describes \
             the flags.",
        )
        .disable_help_flag(true)
        .arg(
            Arg::new("arguments")
                .value_name("FLAGS")
                .help("`-config FILE`, `-v N`, `-version`, `-help`")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true),
        )
}

fn config_arg() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("File with settings (TOML) [env: WAYMARK_CONFIG]")
        .value_hint(ValueHint::FilePath)
        .value_parser(value_parser!(PathBuf))
}

fn setting_args(role: Role) -> impl Iterator<Item = Arg> {
    table().into_iter().filter(move |s| s.of.has(role)).map(move |s| setting_arg(&s, role))
}

fn setting_arg(setting: &Setting, role: Role) -> Arg {
    let default = setting.default.describe(Some(role)).replace('`', "");
    let lines: Vec<&str> = setting.help.iter().map(|line| line.trim()).collect();
    let notes = format!("[default: {default}] [env: {}]", setting.variable);
    let short = lines.first().map_or("", |line| line.trim_end_matches('.'));
    let arg = Arg::new(setting.name.clone())
        .long(setting.name.clone())
        .value_name(setting.value_name)
        .help_heading(setting.section)
        .help(format!("{short} {notes}"))
        .long_help(format!("{}\n\n{notes}", paragraphs(&lines)));
    // As marathon-lb has them.
    let arg = match (role, setting.name.as_str()) {
        (Role::Lb, "marathon") => arg.short('m'),
        (Role::Lb, "health-check") => arg.short('H'),
        _ => arg,
    };
    match (setting.switch, setting.list, role) {
        // `--keep-tasks` alone means yes; `--keep-tasks=false` takes back what the file says.
        (true, ..) => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        (_, true, Role::Lb) if setting.name == "marathon" => {
            arg.action(ArgAction::Append).num_args(1..)
        }
        // What follows may be a file, or a slip.
        (_, true, _) => arg.action(ArgAction::Append),
        _ => arg,
    }
}

/// Joins the lines of each paragraph; empty lines part paragraphs.
pub fn paragraphs(lines: &[&str]) -> String {
    let paragraphs: Vec<String> =
        lines.split(|line| line.is_empty()).map(|p| p.join(" ")).collect();
    paragraphs.join("\n\n")
}

fn status() -> Command {
    client(Command::new("status").about("Show whether everything runs, and what is wrong"))
}

fn tasks() -> Command {
    client(Command::new("tasks").about("List all tasks"))
}

fn explain() -> Command {
    client(
        Command::new("explain")
            .about("Show where a request goes and why, by the code that decides it")
            .long_about(
                "Show where a request goes and why: the listener, the rules that were looked at, the \
                 service, each of its tasks with the reason if it is left out, and the one that \
                 would be picked. Nothing is sent.\n\nWithout a port, the URL's scheme chooses \
                 http-port or https-port; with one, what listens there. The exit code is 0 when a \
                 task would be picked, and 4 when not.",
            )
            .arg(Arg::new("method").value_name("METHOD").required(true).help("Such as GET"))
            .arg(
                Arg::new("url")
                    .value_name("URL")
                    .required(true)
                    .value_hint(ValueHint::Url)
                    .help("Such as http://shop.example.com/cart"),
            )
            .arg(
                Arg::new("from")
                    .long("from")
                    .value_name("IP")
                    .help("The client's address [default: 127.0.0.1]"),
            )
            .arg(
                Arg::new("header")
                    .long("header")
                    .short('H')
                    .value_name("NAME: VALUE")
                    .action(ArgAction::Append)
                    .help("A header of the request; may be repeated"),
            ),
    )
}

fn app() -> Command {
    Command::new("app")
        .about("List, change and remove apps")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(exit::HELP)
        .subcommands([
            client(Command::new("list").about("List all apps")),
            client(Command::new("get").about("Show one app and its tasks").arg(id_arg())),
            waiting(
                Command::new("put")
                    .about("Create or replace the apps in files")
                    .long_about(
                        "Create or replace the apps in files (an app, an array of apps, or a \
                         group). What a file leaves out gets its default; a service port 0 keeps \
                         the number that the app has. `-` is standard input.",
                    )
                    .arg(
                        Arg::new("files")
                            .value_name("FILE|DIR")
                            .required(true)
                            .num_args(1..)
                            .value_hint(ValueHint::AnyPath)
                            .value_parser(value_parser!(PathBuf)),
                    ),
            ),
            waiting(
                Command::new("scale").about("Change how many tasks an app has").arg(id_arg()).arg(
                    Arg::new("instances")
                        .value_name("N")
                        .help("Tasks wanted; 0 suspends the app")
                        .required(true)
                        .value_parser(value_parser!(u32)),
                ),
            ),
            waiting(
                Command::new("restart")
                    .about("Replace all tasks of an app, without dropping below its minimum")
                    .arg(id_arg()),
            ),
            waiting(
                Command::new("remove")
                    .about("Stop all tasks of an app and forget it")
                    .arg(id_arg()),
            ),
            logs(),
        ])
}

fn logs() -> Command {
    client(
        Command::new("logs")
            .about("Show what an app's tasks have written")
            .arg(id_arg())
            .arg(Arg::new("task").long("task").value_name("TASK").help(
                "Only this task, which may have ended; its id, or a part of it that no other has",
            ))
            .arg(switch("stderr").help("Standard error instead of standard output"))
            .arg(switch("follow").short('f').help("Go on showing what is written, until Ctrl-C"))
            .arg(switch("all").help("From the beginning, not only the last 64 KiB of each task")),
    )
    .mut_arg("json", |arg| arg.hide(true))
}

fn id_arg() -> Arg {
    Arg::new("id").value_name("ID").required(true).help("The app's id, such as /shop/web")
}

fn switch(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

/// Adds what all commands have that talk to a server.
fn client(command: Command) -> Command {
    command
        .arg(
            Arg::new("api")
                .long("api")
                .value_name("URL")
                .help_heading("Which Waymark")
                .help(format!(
                    "Where the API is [default: as endpoints.json in the data folder says] \
                     [env: {API_VARIABLE}]"
                ))
                .value_hint(ValueHint::Url),
        )
        .arg(
            Arg::new("data-dir")
                .long("data-dir")
                .value_name("DIR")
                .help_heading("Which Waymark")
                .help("Its data folder [env: WAYMARK_DATA_DIR]")
                .value_hint(ValueHint::DirPath),
        )
        .arg(config_arg().help_heading("Which Waymark"))
        .arg(switch("json").help("Print JSON instead of tables"))
        .after_help(exit::HELP)
}

/// Adds what all commands have that start a deployment.
fn waiting(command: Command) -> Command {
    client(command)
        .arg(switch("no-wait").help("Do not wait until the change has been carried out"))
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("TIME")
                .default_value(DEFAULT_WAIT)
                .help("How long to wait; the change goes on when the wait is over")
                .value_parser(|text: &str| Duration::parse(text)),
        )
        .arg(switch("force").help("Take over from deployments that hold the app"))
}

fn whoami() -> Command {
    Command::new("whoami")
        .about("A tiny HTTP server to try things with: answers who it is and what it was asked")
        .long_about(
            "A tiny HTTP server to try things with.\n\n\
             /              who this is, and the request, as text; as JSON for `Accept: \
             application/json` or ?json; ?env=all shows the whole environment\n\
             /health        200, or 503 after /health/down, until /health/up\n\
             /slow?ms=N     answers after N milliseconds\n\
             /bytes?n=N     answers with N bytes\n\
             /echo          answers with the body it got\n\
             /exit?code=N   ends the process\n\n\
             On SIGTERM it finishes what it has begun and ends.",
        )
        .arg(
            Arg::new("port")
                .long("port")
                .value_name("PORT")
                .help("Port to listen on, 0 = any free one [default: $PORT0, else $PORT]")
                .value_parser(value_parser!(u16)),
        )
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDR")
                .help("Address to listen on [default: $HOST if it is an address; 127.0.0.1 without $HOST, else 0.0.0.0]")
                .value_parser(value_parser!(std::net::IpAddr)),
        )
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .help("What it calls itself [default: $MARATHON_APP_ID, else whoami]"),
        )
}

fn completions() -> Command {
    Command::new("completions").about("Print a shell's completion script").arg(
        Arg::new("shell")
            .value_name("SHELL")
            .required(true)
            .value_parser(value_parser!(clap_complete::Shell)),
    )
}

fn reference() -> Command {
    Command::new("reference")
        .about("Print docs/reference.md")
        .hide(true)
        .arg(switch("mesos-dns").help("Print docs/mesos-dns.md instead"))
        .arg(switch("labels").help("Print docs/labels.md instead"))
}

/// The settings that a command line sets. Values of a repeated flag are joined by commas.
pub fn flags(role: Role, matches: &ArgMatches) -> Flags {
    let given = |name: &str| -> Option<String> {
        let values = matches.get_many::<String>(name)?;
        Some(values.map(String::as_str).collect::<Vec<_>>().join(","))
    };
    let values = table()
        .into_iter()
        .filter(|s| s.of.has(role))
        .filter_map(|s| Some((s.name.clone(), given(&s.name)?)))
        .collect();
    Flags { config: matches.get_one("config").cloned(), values }
}

/// The arguments of `mesos-dns` and of the bridge, as written.
pub fn arguments(matches: &ArgMatches) -> Vec<String> {
    matches.get_many::<String>("arguments").into_iter().flatten().cloned().collect()
}

/// The settings by which a client command finds its server.
pub fn client_flags(matches: &ArgMatches) -> Flags {
    let data_dir = matches.get_one::<String>("data-dir").cloned();
    let values = data_dir.map(|dir| ("data-dir".to_owned(), dir)).into_iter().collect();
    Flags { config: matches.get_one("config").cloned(), values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn switches_stand_alone_or_with_a_value() {
        let parse = |args: &[&str]| {
            let matches = command().try_get_matches_from(args).unwrap();
            flags(Role::Run, matches.subcommand_matches("run").unwrap()).values
        };
        let alone = parse(&["waymark", "run", "--keep-tasks", "a.json", "--api-port", "0"]);
        assert_eq!(alone.get("keep-tasks").map(String::as_str), Some("true"));
        assert_eq!(alone.get("api-port").map(String::as_str), Some("0"));
        let off = parse(&["waymark", "run", "--keep-tasks=false"]);
        assert_eq!(off.get("keep-tasks").map(String::as_str), Some("false"));
    }

    #[test]
    fn lists_add_up() {
        let parse = |args: &[&str]| {
            let args = ["waymark", "lb"].iter().chain(args);
            let matches = command().try_get_matches_from(args).unwrap();
            flags(Role::Lb, matches.subcommand_matches("lb").unwrap()).values
        };
        let values = parse(&["-m", "http://a", "http://b", "--group", "x", "--group=y,z", "-H"]);
        assert_eq!(values["marathon"], "http://a,http://b");
        assert_eq!(values["group"], "x,y,z");
        assert_eq!(values["health-check"], "true");
        let line = ["waymark", "run", "--group", "x", "a.json", "--group", "y"];
        let matches = command().try_get_matches_from(line).unwrap();
        let matches = matches.subcommand_matches("run").unwrap();
        assert_eq!(flags(Role::Run, matches).values["group"], "x,y");
        assert_eq!(matches.get_many::<PathBuf>("files").unwrap().count(), 1);
    }

    #[test]
    fn flags_of_mesos_dns_are_left_to_it() {
        let line = ["waymark", "mesos-dns", "-config", "a.json", "--v=1", "-version", "--help"];
        let matches = command().try_get_matches_from(line).unwrap();
        let matches = matches.subcommand_matches("mesos-dns").unwrap();
        assert_eq!(arguments(matches), line[2..]);
        let matches = command().try_get_matches_from(&line[..2]).unwrap();
        assert!(arguments(matches.subcommand_matches("mesos-dns").unwrap()).is_empty());
    }

    #[test]
    fn a_wrong_flag_is_named_with_the_right_one() {
        let error =
            command().try_get_matches_from(["waymark", "run", "--api-prot", "1"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--api-port"), "{error}");
    }
}
