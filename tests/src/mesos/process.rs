//! Processes that never outlive the test, however it ends.

use std::ffi::OsStr;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A process, killed when the value is dropped; the kernel kills it when the thread that started
/// it is gone without that.
pub(crate) struct Process {
    child: Child,
}

/// Where a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Beside the test.
    Here,
    /// In a PID namespace of its own: all that it starts dies with it, as on a machine that dies.
    OwnMachine,
}

impl Process {
    /// Starts it; what it writes is added to `log`.
    pub(crate) fn start(command: &Command, place: Place, log: &PathBuf, stdin: Stdio) -> Process {
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL", "--"]);
        if place == Place::OwnMachine {
            wrapped.args(["unshare", "--pid", "--mount-proc", "--fork", "--kill-child", "--"]);
        }
        wrapped.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        let output = File::options().create(true).append(true).open(log).expect("the log opens");
        let errors = output.try_clone().expect("the log's handle can be copied");
        wrapped.stdin(stdin).stdout(output).stderr(errors);
        let program = command.get_program().display();
        let child = wrapped.spawn().unwrap_or_else(|e| panic!("{program} does not start: {e}"));
        Process { child }
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command with these arguments, without what the test's environment would tell Mesos: it takes
/// `SSL_CERT_FILE` and the like for its own settings.
pub(crate) fn command(program: impl AsRef<OsStr>, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
    command
}
