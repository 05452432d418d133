//! Asking HAProxy's program whether it would take a configuration (`haproxy -c -f`), and its version. The only place that
//! starts it for an answer: bounded in time and in what is read.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::version::Version;

/// What is kept of the program's output; the rest is read and dropped.
const LONGEST_OUTPUT: u64 = 64 * 1024;

/// Why there is no verdict, or a bad one.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// The program cannot be started.
    #[error("cannot start {program}: {source}", program = .program.display())]
    Missing {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It did not end in time; it was killed.
    #[error("{program} gave no verdict within {limit:?}", program = .program.display())]
    Hangs {
        /// The program.
        program: PathBuf,
        /// The limit.
        limit: Duration,
    },
    /// It would not take the configuration.
    #[error("HAProxy refuses the configuration: {}", first_alert(.output))]
    Refused {
        /// What it said.
        output: String,
    },
}

/// HAProxy's program.
#[derive(Clone, Debug)]
pub struct Validator {
    /// The program: a path, or a name to be looked for.
    pub program: PathBuf,
    /// How long it may think.
    pub limit: Duration,
}

impl Validator {
    /// Asks whether it would take this file. Warnings are no refusal.
    ///
    /// # Errors
    /// It would not, or there is no verdict.
    pub async fn check(&self, config: &Path) -> Result<(), ValidateError> {
        let (success, output) =
            self.run(&["-c".as_ref(), "-f".as_ref(), config.as_os_str()]).await?;
        if success { Ok(()) } else { Err(ValidateError::Refused { output }) }
    }

    /// The program's version. None when it says none that is understood.
    ///
    /// # Errors
    /// The program is missing or hangs.
    pub async fn version(&self) -> Result<Option<Version>, ValidateError> {
        let (_, output) = self.run(&["-v".as_ref()]).await?;
        Ok(Version::read(&output))
    }

    async fn run(&self, arguments: &[&std::ffi::OsStr]) -> Result<(bool, String), ValidateError> {
        let missing = |source| ValidateError::Missing { program: self.program.clone(), source };
        let mut child = Command::new(&self.program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(missing)?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let all = async { tokio::join!(child.wait(), read_some(out), read_some(err)) };
        match tokio::time::timeout(self.limit, all).await {
            Ok((status, out, err)) => Ok((status.map_err(missing)?.success(), out + &err)),
            Err(_) => {
                Err(ValidateError::Hangs { program: self.program.clone(), limit: self.limit })
            }
        }
    }
}

/// The beginning of what comes; the rest is taken, so that the program never waits for a reader.
async fn read_some(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let mut kept = Vec::new();
    let read = (&mut from).take(LONGEST_OUTPUT).read_to_end(&mut kept).await;
    if read.is_ok() {
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The line that says what is wrong.
fn first_alert(output: &str) -> &str {
    let mut lines = output.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .clone()
        .find(|line| line.contains("[ALERT]"))
        .or_else(|| lines.next())
        .unwrap_or("it does not say why")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_first_alert() {
        let output = "[NOTICE]   (1) : haproxy version is 2.6\n[WARNING]  (1) : x\n[ALERT]    (1) : config : parsing [a:2] : no\n";
        assert_eq!(first_alert(output), "[ALERT]    (1) : config : parsing [a:2] : no");
        assert_eq!(first_alert("\n"), "it does not say why");
    }
}
