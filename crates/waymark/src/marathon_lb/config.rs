//! What the flags and variables of marathon-lb say, checked.
//!
//! Every fault is a sentence that names the flag; nothing has started by then.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use waymark_haproxy::apply::{Patience, Version, split};
use waymark_haproxy::{Endpoints, Settings};
use waymark_sources::client::{Auth, ClientError, TlsConfig};
use waymark_sources::marathon::MarathonConfig;

use super::flags::Given;
use crate::settings::Surroundings;

/// marathon-lb's Marathon where none is named.
const USUAL_MARATHON: &str = "http://master.mesos:8080";
/// marathon-lb's Lua files are used where they are.
const LUA_FOLDER: &str = "/marathon-lb";
const ACCOUNT_VARIABLE: &str = "DCOS_SERVICE_ACCOUNT_CREDENTIAL";

/// A flag or variable that makes no sense.
#[derive(Debug, Error)]
pub enum Wrong {
    /// A compulsory flag is missing.
    #[error("--group is required: name the groups to serve, or '*' for all")]
    NoGroup,
    /// A value that is none.
    #[error("--{flag} {value}: {wanted}")]
    Value {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is wanted.
        wanted: String,
    },
    /// What a file or variable says cannot be used.
    #[error("{0}: {1}")]
    Content(String, String),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Print what would be written.
    Dry,
    /// Write and apply it once.
    Once,
    /// Follow Marathon.
    Follow,
}

/// Everything that the command line says.
#[derive(Debug)]
pub struct Config {
    /// What is to be done.
    pub mode: Mode,
    /// The Marathon that is followed.
    pub marathon: MarathonConfig,
    /// What the text depends on.
    pub settings: Settings,
    /// The file that is written.
    pub file: PathBuf,
    /// The reload command, its words.
    pub command: Option<Vec<String>>,
    /// When it fails.
    pub patience: Patience,
    /// Earlier files that are kept.
    pub archive: usize,
    /// Whether HAProxy checks the text first.
    pub validate: bool,
    /// Whether the app to blame is looked for.
    pub search: bool,
    /// The HAProxy that checks.
    pub binary: PathBuf,
    /// HAProxy's control socket.
    pub socket: PathBuf,
    /// Where endpoints are answered.
    pub listen: SocketAddr,
    /// The log filter.
    pub log: &'static str,
}

/// Reads everything; `version` is that of the installed HAProxy, if there is one.
pub fn read(
    given: &Given,
    around: &Surroundings,
    version: impl FnOnce(&Path) -> Option<Version>,
) -> Result<Config, Wrong> {
    let groups: BTreeSet<String> = given.several("group").into_iter().collect();
    if groups.is_empty() {
        return Err(Wrong::NoGroup);
    }
    let binary = PathBuf::from(given.one("haproxy-binary").unwrap_or("haproxy"));
    let file = PathBuf::from(given.one("haproxy-config").unwrap_or("/etc/haproxy/haproxy.cfg"));
    let listen = parsed(given, "listen", "an address and a port, such as 127.0.0.1:9092")?
        .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9092)));
    let socket = given.one("haproxy-socket").unwrap_or("/var/run/haproxy/socket");
    let haproxy = match given.one("haproxy-version") {
        Some(text) => Version::read(text).ok_or_else(|| Wrong::Value {
            flag: "haproxy-version",
            value: text.to_owned(),
            wanted: "a version, such as 2.8".into(),
        })?,
        None => version(&binary).unwrap_or(Version::MARATHON_LB),
    };
    let mut settings = Settings::new(groups);
    settings.strict = given.has("strict-mode");
    settings.health_check = given.has("health-check");
    settings.bind_http_https = !given.has("dont-bind-http-https");
    settings.ssl_certs = list(given.one("ssl-certs").unwrap_or(""));
    settings.maps = given.has("haproxy-map");
    settings.group_https_by_vhost = given.has("group-https-by-vhost");
    settings.config_dir = folder(&file);
    settings.haproxy = haproxy;
    settings.framework_name = around.variable("FRAMEWORK_NAME").map(str::to_owned);
    settings.head.socket = socket.to_owned();
    settings.head.endpoints = match Path::new(LUA_FOLDER).join("getpids.lua").exists() {
        true => Endpoints::Lua(LUA_FOLDER.to_owned()),
        false => Endpoints::Forward(listen.to_string()),
    };
    settings.head.hard_stop_after = parsed(given, "hard-stop-after", SECONDS)?;
    if let Some(options) = around.variable("HAPROXY_GLOBAL_DEFAULT_OPTIONS") {
        options.clone_into(&mut settings.head.default_options);
    }
    Ok(Config {
        mode: match (given.has("dry"), given.has("sse")) {
            (true, _) => Mode::Dry,
            (_, true) => Mode::Follow,
            _ => Mode::Once,
        },
        marathon: marathon(given, around)?,
        settings,
        file,
        command: command(given)?,
        patience: patience(given)?,
        archive: parsed(given, "archive-versions", "a number of files")?.unwrap_or(5),
        validate: !given.has("skip-validation"),
        search: !given.has("skip-config-cleanup"),
        binary,
        socket: PathBuf::from(socket),
        listen,
        log: log_filter(given)?,
    })
}

const SECONDS: &str = "a number of seconds";

fn parsed<T: std::str::FromStr>(
    given: &Given,
    flag: &'static str,
    wanted: &str,
) -> Result<Option<T>, Wrong> {
    let Some(text) = given.one(flag) else { return Ok(None) };
    let wrong = |_| Wrong::Value { flag, value: text.to_owned(), wanted: wanted.to_owned() };
    text.trim().parse().map(Some).map_err(wrong)
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn folder(file: &Path) -> String {
    let folder = file.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    match folder.as_str() {
        "" => String::from("."),
        folder => folder.trim_end_matches('/').to_owned(),
    }
}

fn marathon(given: &Given, around: &Surroundings) -> Result<MarathonConfig, Wrong> {
    let urls = given.several("marathon");
    let seconds = parsed::<u64>(given, "max-backoff", SECONDS)?.unwrap_or(300);
    let port = |flag, usual| {
        parsed::<u16>(given, flag, "a port, 0 to 65535").map(|port| port.unwrap_or(usual))
    };
    let (first, last) =
        (port("min-serv-port-ip-per-task", 10050)?, port("max-serv-port-ip-per-task", 10100)?);
    if first > last || (first == 0) != (last == 0) {
        return Err(Wrong::Value {
            flag: "min-serv-port-ip-per-task",
            value: first.to_string(),
            wanted: format!("not greater than --max-serv-port-ip-per-task ({last}); both 0 = off"),
        });
    }
    Ok(MarathonConfig {
        urls: if urls.is_empty() { vec![USUAL_MARATHON.to_owned()] } else { urls },
        tls: TlsConfig {
            ca_file: given.one("marathon-ca-cert").map(PathBuf::from),
            ..TlsConfig::default()
        },
        auth: auth(given, around)?,
        // Marathon's return is noticed within seconds; marathon-lb waits up to its limit.
        max_backoff: Duration::from_secs(seconds.clamp(1, 5)),
        invented_ports: (first > 0).then_some(first..=last),
        ..MarathonConfig::default()
    })
}

/// The first found counts: the file, `--auth-credentials`, then those of DC/OS.
fn auth(given: &Given, around: &Surroundings) -> Result<Auth, Wrong> {
    let wrong = |flag: &str, error: ClientError| Wrong::Content(flag.into(), error.to_string());
    if let Some(file) = given.one("marathon-auth-credential-file") {
        let flag = "--marathon-auth-credential-file";
        return Auth::basic_from_file(Path::new(file)).map_err(|e| wrong(flag, e));
    }
    if let Some(text) = given.one("auth-credentials") {
        let Some((user, password)) = text.split_once(':') else {
            let why = "must be USER:PASSWORD".to_owned();
            return Err(Wrong::Content("--auth-credentials".into(), why));
        };
        return Ok(Auth::Basic { principal: user.to_owned(), secret: password.to_owned() });
    }
    match (given.one("dcos-auth-credentials"), around.variable(ACCOUNT_VARIABLE)) {
        (Some(json), _) => Auth::dcos(json).map_err(|e| wrong("--dcos-auth-credentials", e)),
        (None, Some(json)) => Auth::dcos(json).map_err(|e| wrong(ACCOUNT_VARIABLE, e)),
        (None, None) => Ok(Auth::None),
    }
}

fn command(given: &Given) -> Result<Option<Vec<String>>, Wrong> {
    let Some(text) = given.one("command") else { return Ok(None) };
    match split(text).filter(|words| !words.is_empty()) {
        Some(words) => Ok(Some(words)),
        None => Err(Wrong::Value {
            flag: "command",
            value: text.to_owned(),
            wanted: "words as a shell reads them: a quote is not closed, or there is no word"
                .into(),
        }),
    }
}

fn patience(given: &Given) -> Result<Patience, Wrong> {
    let wanted = "a number; -1 = for ever";
    let retries = parsed::<i64>(given, "max-reload-retries", wanted)?.unwrap_or(10);
    let pause = parsed::<u64>(given, "reload-interval", SECONDS)?.unwrap_or(10);
    Ok(Patience::new(retries, Duration::from_secs(pause)))
}

/// Python's levels, in any case.
fn log_filter(given: &Given) -> Result<&'static str, Wrong> {
    let text = given.one("log-level").unwrap_or("INFO");
    Ok(match text.to_ascii_uppercase().as_str() {
        "CRITICAL" | "ERROR" => "error",
        "WARNING" => "warn",
        "INFO" => "info",
        "DEBUG" | "NOTSET" => "info,waymark=debug,waymark_haproxy=debug,waymark_sources=debug",
        _ => {
            return Err(Wrong::Value {
                flag: "log-level",
                value: text.to_owned(),
                wanted: "CRITICAL, ERROR, WARNING, INFO, DEBUG or NOTSET".into(),
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(line: &str) -> Result<Config, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let given = Given::read(&arguments).unwrap();
        let around = Surroundings { root: false, environment: Default::default() };
        read(&given, &around, |_| Some(Version { major: 2, minor: 6 })).map_err(|e| e.to_string())
    }

    #[test]
    fn marathon_lbs_defaults() {
        let config = config("--group external").unwrap();
        assert_eq!(config.mode, Mode::Once);
        assert_eq!(config.marathon.urls, ["http://master.mesos:8080"]);
        assert_eq!(config.marathon.invented_ports, Some(10050..=10100));
        assert_eq!(config.file, Path::new("/etc/haproxy/haproxy.cfg"));
        assert_eq!(config.settings.config_dir, "/etc/haproxy");
        assert_eq!(config.settings.haproxy, Version { major: 2, minor: 6 });
        assert_eq!((config.archive, config.validate, config.search), (5, true, true));
        assert_eq!(config.patience.retries, Some(10));
    }

    #[test]
    fn what_flags_say() {
        let line = "--group a --sse --ssl-certs /a.pem,,/b.pem --haproxy-version 2.0 \
                    --min-serv-port-ip-per-task 0 --max-serv-port-ip-per-task 0 \
                    --haproxy-config haproxy.cfg --auth-credentials u:p:q --max-reload-retries -1";
        let config = config(line).unwrap();
        assert_eq!(config.mode, Mode::Follow);
        assert_eq!(config.settings.ssl_certs, ["/a.pem", "/b.pem"]);
        assert_eq!(config.settings.haproxy, Version::MARATHON_LB);
        assert_eq!(config.marathon.invented_ports, None);
        assert_eq!(config.settings.config_dir, ".");
        assert_eq!(config.patience.retries, None);
        let Auth::Basic { secret, .. } = config.marathon.auth else { panic!() };
        assert_eq!(secret, "p:q");
    }

    #[test]
    fn what_makes_no_sense_names_its_flag() {
        for (line, want) in [
            ("--sse", "--group is required"),
            ("--group a --log-level loud", "--log-level loud: CRITICAL"),
            ("--group a --archive-versions many", "--archive-versions many: a number of files"),
            ("--group a --min-serv-port-ip-per-task 0", "--min-serv-port-ip-per-task 0: not"),
            ("--group a --auth-credentials nobody", "--auth-credentials: must be USER:PASSWORD"),
            ("--group a --command 'open", "--command 'open: words"),
            ("--group a --haproxy-version new", "--haproxy-version new: a version"),
            ("--group a --listen 9092", "--listen 9092: an address and a port"),
        ] {
            let error = config(line).unwrap_err();
            assert!(error.starts_with(want), "{line}: {error}");
        }
    }
}
