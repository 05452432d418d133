//! The command line of `waymark mesos-dns`: that of Mesos-DNS, as Go programs read theirs.
//!
//! One or two dashes, `-name value` or `-name=value`; a switch takes a value only after `=`. The
//! first argument that is no flag ends them, and what follows is ignored, as Mesos-DNS does.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// What the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `-help`: print the help.
    Help,
    /// `-version`: print the version.
    Version,
    /// Serve.
    Serve(Flags),
}

/// The flags of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `-config`, as written.
    pub config: Option<String>,
    /// `-v`: 0 says what matters, 1 more, 2 everything.
    pub verbosity: i64,
    /// Flags that were given and change nothing here, without dashes.
    pub without_effect: Vec<&'static str>,
}

/// A command line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FlagError {
    /// There is no such flag.
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    /// A flag without its value.
    #[error("flag needs an argument: -{0}")]
    Missing(String),
    /// A value that is none.
    #[error("invalid value {value:?} for flag -{name}: write {wanted}")]
    Value {
        /// The flag.
        name: String,
        /// What was given.
        value: String,
        /// How a value looks.
        wanted: &'static str,
    },
    /// `-=x`, `---x`.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
}

/// The file that is read when `-config` is absent, as Mesos-DNS does.
pub const DEFAULT_CONFIG: &str = "config.json";

/// What `-help` prints, and an unreadable command line.
pub const USAGE: &str = "\
Usage: waymark mesos-dns [-config FILE] [-v N]

DNS and the HTTP API of Mesos-DNS for a Mesos cluster. FILE is the configuration file of Mesos-DNS
as it is (JSON), or a waymark.toml whose table [mesos-dns] has the same settings with their names in
kebab-case. docs/mesos-dns.md describes every setting. A smallest file:

  {\"masters\": [\"10.0.0.1:5050\"], \"resolvers\": [\"9.9.9.9\"]}

Installed under the name mesos-dns, the program needs no `mesos-dns` argument.

  -config FILE   configuration file (default config.json in the working directory; a leading ~/ is
                 the home directory)
  -v N           0: what matters; 1: also every change; 2: everything (default 0)
  -version       print the version
  -help          print this

Each flag may have one or two dashes, and its value after a space or an equals sign. The flags of
Mesos-DNS's logging library (-logtostderr, -alsologtostderr, -stderrthreshold, -vmodule, -log_dir,
-log_backtrace_at) are accepted and change nothing: log lines go to standard error.

Exit codes: 0 stopped by a signal; 1 it cannot run (a port is taken); 2 the command line or the
configuration is wrong, nothing was started.
";

/// Flags of Mesos-DNS's logging library: name, and whether it is a switch.
const WITHOUT_EFFECT: [(&str, bool); 6] = [
    ("logtostderr", true),
    ("alsologtostderr", true),
    ("stderrthreshold", false),
    ("vmodule", false),
    ("log_dir", false),
    ("log_backtrace_at", false),
];

/// Reads the arguments behind the command's name.
pub fn parse(arguments: &[String]) -> Result<Command, FlagError> {
    let mut flags = Flags::default();
    let mut version = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some((name, mut value)) = split(argument)? else { break };
        // A switch stands alone; any other flag takes the next argument.
        let mut next = || match value.take().or_else(|| rest.next().cloned()) {
            Some(value) => Ok(value),
            None => Err(FlagError::Missing(name.to_owned())),
        };
        match name {
            "help" | "h" => return Ok(Command::Help),
            "version" => version = switch(name, value)?,
            "config" => flags.config = Some(next()?),
            "v" => flags.verbosity = number(name, next()?)?,
            _ => {
                let known = WITHOUT_EFFECT.iter().find(|(known, _)| *known == name);
                let (known, is_switch) = known.ok_or_else(|| FlagError::Unknown(name.into()))?;
                if *is_switch {
                    switch(name, value)?;
                } else {
                    next()?;
                }
                flags.without_effect.push(*known);
            }
        }
    }
    Ok(if version { Command::Version } else { Command::Serve(flags) })
}

/// A flag's name and value; `None` where the flags end.
fn split(argument: &str) -> Result<Option<(&str, Option<String>)>, FlagError> {
    let Some(text) = argument.strip_prefix('-').filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let text = text.strip_prefix('-').unwrap_or(text);
    if text.is_empty() {
        return Ok(None);
    }
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() || name.starts_with('-') {
        return Err(FlagError::Syntax(argument.to_owned()));
    }
    Ok(Some((name, value)))
}

/// The spellings that Go's `strconv.ParseBool` knows.
fn switch(name: &str, value: Option<String>) -> Result<bool, FlagError> {
    match value.as_deref() {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(value) => Err(FlagError::Value {
            name: name.to_owned(),
            value: value.to_owned(),
            wanted: "true or false",
        }),
    }
}

fn number(name: &str, value: String) -> Result<i64, FlagError> {
    value.parse().map_err(|_| FlagError::Value {
        name: name.to_owned(),
        value,
        wanted: "a whole number",
    })
}

impl Flags {
    /// The configuration file, absolute. The first `~/` in the text is the home directory:
    /// `$USERPROFILE`, else `$HOME`, else `.`, as in Mesos-DNS.
    pub fn config_path(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        working_directory: &Path,
    ) -> PathBuf {
        let text = self.config.as_deref().unwrap_or(DEFAULT_CONFIG);
        let home = variable("USERPROFILE").or_else(|| variable("HOME")).unwrap_or(".".to_owned());
        working_directory.join(text.replacen("~/", &format!("{home}/"), 1))
    }

    /// The log filter that `-v` asks for.
    pub fn log_filter(&self) -> &'static str {
        match self.verbosity {
            ..=0 => "info",
            1 => "info,waymark=debug,waymark_dns=debug,waymark_sources=debug",
            _ => "info,waymark=trace,waymark_dns=trace,waymark_sources=trace",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, FlagError> {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(if line.is_empty() { &[] } else { &arguments })
    }

    #[test]
    fn as_go_reads_flags() {
        let serve = |config: Option<&str>, verbosity| {
            let config = config.map(str::to_owned);
            Ok(Command::Serve(Flags { config, verbosity, ..Flags::default() }))
        };
        for (line, want) in [
            ("", serve(None, 0)),
            ("-config a.json", serve(Some("a.json"), 0)),
            ("--config=a.json -v=2", serve(Some("a.json"), 2)),
            ("-config= --v 1", serve(Some(""), 1)),
            ("-config a -config b", serve(Some("b"), 0)),
            ("-config -v", serve(Some("-v"), 0)),
            ("run -v 2", serve(None, 0)),
            ("-v 1 -- -v 2", serve(None, 1)),
            ("-v 1 - -v 2", serve(None, 1)),
            ("-version", Ok(Command::Version)),
            ("-version=T -v 1", Ok(Command::Version)),
            ("-version=0", serve(None, 0)),
            ("-version false", Ok(Command::Version)),
            ("--help", Ok(Command::Help)),
            ("-h", Ok(Command::Help)),
        ] {
            assert_eq!(read(line), want, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read() {
        for (line, want) in [
            ("-confg a.json", "flag provided but not defined: -confg"),
            ("-v 1 -zk=x", "flag provided but not defined: -zk"),
            ("-config", "flag needs an argument: -config"),
            ("-v one", "invalid value \"one\" for flag -v: write a whole number"),
            ("-version=yes", "invalid value \"yes\" for flag -version: write true or false"),
            ("---v 1", "bad flag syntax: ---v"),
            ("-=1", "bad flag syntax: -=1"),
        ] {
            assert_eq!(read(line).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn flags_of_the_logging_library_are_taken_with_their_values() {
        let line = "-logtostderr -stderrthreshold INFO -log_dir=/tmp -v=1";
        let Ok(Command::Serve(flags)) = read(line) else { panic!() };
        assert_eq!(flags.without_effect, ["logtostderr", "stderrthreshold", "log_dir"]);
        assert_eq!(flags.verbosity, 1);
    }

    #[test]
    fn the_file() {
        let path = |text: Option<&str>, variables: &'static [(&str, &str)]| {
            let variable = move |name: &str| {
                variables.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned())
            };
            let flags = Flags { config: text.map(str::to_owned), ..Flags::default() };
            flags.config_path(variable, Path::new("/w")).display().to_string()
        };
        assert_eq!(path(None, &[]), "/w/config.json");
        assert_eq!(path(Some("etc/a.json"), &[]), "/w/etc/a.json");
        assert_eq!(path(Some("/etc/a.json"), &[]), "/etc/a.json");
        assert_eq!(path(Some("~/a.json"), &[("HOME", "/home/ann")]), "/home/ann/a.json");
        let both = &[("HOME", "/home/ann"), ("USERPROFILE", "/u")];
        assert_eq!(path(Some("~/a.json"), both), "/u/a.json");
        assert_eq!(path(Some("~/a.json"), &[]), "/w/./a.json");
    }
}
