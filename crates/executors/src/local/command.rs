//! Shell commands beside a task: COMMAND health checks.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::Child;
use waymark_model::Task;

use super::Inner;
use super::workplace::Workplace;
use crate::runner::End;
use crate::sys::{Confinement, confine};

/// How much of a command's output is kept for the message of its failure, in bytes. The rest is
/// read and dropped.
const OUTPUT_LIMIT: usize = 4096;

/// Runs `command` by the shell in the task's sandbox, environment, user and control group, as a
/// process group of its own. That group is killed at the end, whatever the end is; what has left
/// the group lives on until the task ends.
///
/// # Errors
/// One line: how the command ended and what it said.
pub async fn run(
    inner: &Arc<Inner>,
    task: Arc<Task>,
    command: &str,
    timeout: Duration,
) -> Result<(), String> {
    let finder = Arc::clone(inner);
    let place = tokio::task::spawn_blocking(move || finder.workplace(&task)).await;
    let place = place.map_err(|e| e.to_string())??;
    let (mut child, mut output) =
        spawn(&place, command).map_err(|e| format!("Command could not be started: {e}"))?;
    let group = Group::of(&child);

    let mut said = Vec::new();
    let ended = tokio::time::timeout(timeout, wait(&mut child, &mut output, &mut said)).await;
    drop(group);
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(with_output(End::of(status).message(), &said)),
        Ok(Err(e)) => Err(format!("Command could not be waited for: {e}")),
        Err(_) => {
            // Dead already; this reaps it.
            let _ = child.wait().await;
            Err(with_output(format!("Command timed out after {timeout:?}"), &said))
        }
    }
}

fn spawn(place: &Workplace, command: &str) -> io::Result<(Child, pipe::Receiver)> {
    let (output, input) = io::pipe()?;
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).env_clear().envs(&place.env).process_group(0);
    shell.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
    if place.credentials.is_some() || place.group.is_some() {
        let open_procs = |g: &super::cgroup::TaskGroup| {
            File::options().write(true).open(g.path().join("cgroup.procs"))
        };
        let confinement = Confinement {
            credentials: place.credentials.clone(),
            group: place.group.as_ref().map(open_procs).transpose()?,
            folder: Some(File::open(&place.sandbox)?),
            ..Confinement::default()
        };
        confine(&mut shell, confinement);
    } else {
        // Without anything between fork and exec, std need not copy the page tables.
        shell.current_dir(&place.sandbox);
    }
    let child = tokio::process::Command::from(shell).kill_on_drop(true).spawn()?;
    Ok((child, pipe::Receiver::from_owned_fd(OwnedFd::from(output))?))
}

/// Reads what the command says until it ends.
async fn wait(
    child: &mut Child,
    output: &mut pipe::Receiver,
    said: &mut Vec<u8>,
) -> io::Result<std::process::ExitStatus> {
    let mut chunk = [0; OUTPUT_LIMIT];
    let mut open = true;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            read = output.read(&mut chunk), if open => match read {
                Ok(n) if n > 0 => keep(said, &chunk, n),
                _ => open = false,
            }
        }
    };
    // A background process may hold the pipe open for ever; only what is there counts.
    if let Ok(n) = output.try_read(&mut chunk) {
        keep(said, &chunk, n);
    }
    Ok(status)
}

fn keep(said: &mut Vec<u8>, chunk: &[u8], n: usize) {
    let room = OUTPUT_LIMIT - said.len().min(OUTPUT_LIMIT);
    said.extend(chunk.iter().take(n.min(room)));
}

fn with_output(message: String, said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    if lines.is_empty() { message } else { format!("{message}: {}", lines.join("; ")) }
}

/// Kills a process group when it goes out of scope, also when the caller loses interest.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // ESRCH when nobody is left, which is the rule. The leader was reaped a moment ago at
            // most; its number is not given out again before all others have been.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_the_output() {
        let message = || "Command exited with status 1".to_owned();
        assert_eq!(with_output(message(), b" \n"), message());
        assert_eq!(with_output(message(), b"a\n b\n"), format!("{}: a; b", message()));
        let mut said = Vec::new();
        for _ in 0..3 {
            keep(&mut said, &[b'x'; 3000], 3000);
        }
        assert_eq!(said.len(), OUTPUT_LIMIT);
    }
}
