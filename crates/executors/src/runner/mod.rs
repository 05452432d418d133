//! The runner: one small process for each task, between the control plane and the task.
//!
//! ```text
//! executor ── spec (stdin) ─────────► runner ──fork, exec──► the task and its descendants
//! executor ◄─ "started" (stdout) ──── runner ◄─ stdout, stderr (pipes) ──┘
//! executor ── SIGTERM (grace) ──────► runner ──► sandbox/stdout, sandbox/stderr, the record
//! ```
//!
//! It makes the task independent of the control plane: when that dies, the task, its output files
//! and the knowledge how it ended live on. It is the reaper of all the task's descendants
//! (`PR_SET_CHILD_SUBREAPER`), so whatever they do to leave their group or session, it finds and
//! ends them. When the runner itself is killed, the kernel kills the task's main process, and the
//! executor sweeps up the rest.
//!
//! The life of a runner, in phases:
//! 1. *start*: read the spec, open the output files, write the record, start the task, report.
//! 2. *running*: copy output, reap; until the main process ends or SIGTERM comes.
//! 3. *terminating*: TERM has gone to the task's process group; until the group is empty or the
//!    grace period is over.
//! 4. *killing*: KILL to every descendant, again and again, until none is left.
//! 5. *end*: copy what is left in the pipes, write the end into the record.
//!
//! It must never: use threads or an asynchronous runtime, hold what the control plane has open,
//! decide to start anything again, or end while a descendant lives.

mod log;
mod output;
mod record;
mod spec;
mod start;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SignalFd, siginfo};
use nix::unistd::{Pid, getpid};

use crate::{procfs, sys};
pub use output::Output;
pub use record::{End, Record, RecordFile};
pub use spec::Spec;

/// The hidden sub-command by which a program becomes a runner.
pub const TASK_RUNNER: &str = "task-runner";
/// What a runner reports when its task has been started.
pub const STARTED: &str = "started";
/// Longer grace periods are cut to this, so that no sum of times overflows.
const MAX_GRACE: Duration = Duration::from_secs(365 * 24 * 3600);
/// How often the state of the process group is looked at while a task is being ended.
const RECHECK: Duration = Duration::from_millis(25);
/// How long after a KILL whoever is left is killed again.
const KILL_AGAIN: Duration = Duration::from_millis(100);

/// Runs a task when the arguments (the program's name first) are those of a runner, and returns
/// when the task has ended; `None` when they are not.
///
/// To be called first in `main`: before threads, before anything is opened.
pub fn task_runner_main(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    if args.into_iter().nth(1)? != TASK_RUNNER {
        return None;
    }
    sys::close_inherited();
    match start::start() {
        Ok(runner) => {
            report(STARTED);
            runner.run();
            Some(ExitCode::SUCCESS)
        }
        Err(reason) => {
            report(&reason);
            Some(ExitCode::FAILURE)
        }
    }
}

/// Tells the executor, and lets go of the pipe to it. When the executor has gone, nobody needs it.
fn report(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(&null);
    }
}

/// The signals that a runner takes, so that none of them ends it: those that mean something to it,
/// and those that a terminal or a careless script may send.
fn handled_signals() -> SigSet {
    use Signal::*;
    [SIGCHLD, SIGTERM, SIGQUIT, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM].into_iter().collect()
}

enum Phase {
    Running,
    Terminating { until: Instant },
    Killing,
}

/// A started task.
struct Runner {
    group: Option<PathBuf>,
    grace: Duration,
    record: Record,
    file: RecordFile,
    signals: SignalFd,
    main: Pid,
    outputs: [Output; 2],
    phase: Phase,
}

impl Runner {
    fn run(mut self) {
        while self.reap() {
            self.advance();
            self.wait();
            self.take_signals();
        }
        for output in &mut self.outputs {
            output.drain();
        }
        if self.file.update(&self.record).is_err() {
            // Only a broken device or a full copy-on-write file system gets here; the executor
            // then knows the end of the runner alone.
            std::process::exit(1);
        }
    }

    /// Reaps what has ended and notes the end of the main process. False when no child is left.
    fn reap(&mut self) -> bool {
        loop {
            match sys::wait_any() {
                Ok(Some((pid, status))) if pid == self.main.as_raw() => {
                    self.record.end = Some(End::of(status));
                }
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Moves to the phase that is due, and does what it demands.
    fn advance(&mut self) {
        match self.phase {
            Phase::Running if self.record.end.is_some() => self.phase = Phase::Killing,
            Phase::Terminating { until } if Instant::now() >= until || self.group_is_empty() => {
                self.phase = Phase::Killing;
            }
            _ => {}
        }
        if matches!(self.phase, Phase::Killing) {
            self.kill_all();
        }
    }

    fn group_is_empty(&self) -> bool {
        killpg(self.main, None) == Err(Errno::ESRCH)
    }

    fn kill_all(&self) {
        if let Some(group) = &self.group {
            // Everything at once, where the kernel can (5.14); the rest of this works without.
            let _ = std::fs::write(group.join("cgroup.kill"), "1");
        }
        for pid in procfs::descendants(getpid().as_raw()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Waits for a signal or output, and copies output.
    fn wait(&mut self) {
        let limit = match self.phase {
            Phase::Running => PollTimeout::NONE,
            Phase::Terminating { until } => {
                let left = until.saturating_duration_since(Instant::now()).min(RECHECK);
                // Rounded up, so that the last wait does not spin.
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::ZERO)
            }
            Phase::Killing => PollTimeout::try_from(KILL_AGAIN).unwrap_or(PollTimeout::ZERO),
        };
        let ready = {
            let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            fds.extend(self.outputs.iter().filter_map(Output::poll_fd));
            poll(&mut fds, limit).is_ok_and(|n| n > 0)
        };
        if ready {
            for output in &mut self.outputs {
                output.copy_some();
            }
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGTERM) => self.terminate(grace(&info).unwrap_or(self.grace)),
                Ok(Signal::SIGQUIT) => {
                    self.record.told |= self.record.end.is_none();
                    self.phase = Phase::Killing;
                }
                _ => {}
            }
        }
    }

    /// Only the first request counts.
    fn terminate(&mut self, grace: Duration) {
        if !matches!(self.phase, Phase::Running) || self.record.end.is_some() {
            return;
        }
        self.record.told = true;
        self.phase = Phase::Terminating { until: Instant::now() + grace.min(MAX_GRACE) };
        let _ = killpg(self.main, Signal::SIGTERM);
        // A stopped process takes its TERM only when it goes on.
        let _ = killpg(self.main, Signal::SIGCONT);
    }
}

/// The grace period in milliseconds that an executor sent with its SIGTERM; `None` for a SIGTERM
/// of another origin.
fn grace(info: &siginfo) -> Option<Duration> {
    (info.ssi_code == nix::libc::SI_QUEUE).then(|| Duration::from_millis(info.ssi_ptr))
}
