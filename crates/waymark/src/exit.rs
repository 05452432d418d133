//! The exit codes of all commands.

use std::process::ExitCode;

/// Why a command ended. The numbers are promised in `--help` and in the reference page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// The server refused or failed, or the command itself failed.
    Failed = 1,
    /// The command line, the configuration or a given file is wrong; nothing was started.
    Usage = 2,
    /// No server answers.
    Unreachable = 3,
    /// The app or task does not exist.
    NotFound = 4,
    /// The wait was over before the thing waited for.
    TimedOut = 5,
}

/// The exit codes as `--help` tells them.
pub const HELP: &str = "\
Exit codes:
  0  done
  1  the server refused or failed
  2  the command line, the configuration or a file is wrong; nothing was started
  3  no server answers
  4  the app or task does not exist
  5  timed out while waiting";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
