//! A runner as the executor sees it: a process of its own, watched by a pidfd. It makes no
//! difference whether this process started it or one before it did.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;

use crate::sys::{pidfd_open, pidfd_signal, watch};

/// A running (or just ended, not yet reaped) runner.
#[derive(Debug)]
pub struct RunnerProcess {
    pid: Pid,
    fd: AsyncFd<OwnedFd>,
}

impl RunnerProcess {
    /// Watches the process with this number. Needs a tokio runtime.
    ///
    /// # Errors
    /// `ESRCH` when there is none.
    pub fn open(pid: i32) -> io::Result<RunnerProcess> {
        let pid = Pid::from_raw(pid);
        let fd = watch(pidfd_open(pid)?)?;
        Ok(RunnerProcess { pid, fd })
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(self.fd.get_ref().as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n| n > 0)
    }

    /// Returns when it has ended, and reaps it if it is ours.
    pub async fn ended(&self) {
        while !self.has_ended() {
            match self.fd.readable().await {
                Ok(mut ready) if !self.has_ended() => ready.clear_ready(),
                Ok(_) => {}
                // Only while the runtime shuts down; then nothing may be concluded about the task.
                Err(_) => std::future::pending().await,
            }
        }
        // ECHILD when an earlier process started it: then init reaps it.
        let _ = waitpid(self.pid, Some(WaitPidFlag::WNOHANG));
    }

    /// Tells it to end its task.
    pub fn terminate(&self, grace: Duration) {
        let millis = usize::try_from(grace.as_millis()).unwrap_or(usize::MAX);
        self.signal(Signal::SIGTERM, millis);
    }

    /// Ends the runner itself, and with it the task's main process.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL, 0);
    }

    fn signal(&self, signal: Signal, value: usize) {
        // ESRCH is what was wanted, and `ended` tells.
        if let Err(error) = pidfd_signal(self.fd.get_ref().as_fd(), signal, value)
            && error.raw_os_error() != Some(nix::libc::ESRCH)
        {
            tracing::warn!(pid = self.pid.as_raw(), %signal, %error, "a runner could not be signalled");
        }
    }
}
