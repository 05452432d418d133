//! The kernel interfaces that neither `std` nor `nix` offers in safe form: pidfds, signals with a
//! value, closing inherited descriptors, and what a child must do between fork and exec.
//!
//! All `unsafe` of this crate is in this file. Each block says why it is sound.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{Gid, Pid, Uid, fchdir, getpid, getppid, setgid, setgroups, setsid, setuid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::credentials::Credentials;

/// Opens a descriptor for a process; it becomes readable when the process ends, and never means
/// another process that later gets the same number. Linux 5.3.
///
/// # Errors
/// `ESRCH` when there is no such process.
pub fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: plain integers go in; no memory of ours is touched.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor (close-on-exec) and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Watches a descriptor until it is readable. Needs a tokio runtime.
///
/// # Errors
/// Those of epoll.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the `AsyncFd` owns the descriptor, so it stays open and the same as long as that
    // lives; nobody here replaces it (`dup2` is only used by the runner, which has no runtime).
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// The kernel's `siginfo_t` as `sigqueue` fills it (the part with pid, uid and value is aligned as
/// a pointer is), padded to the 128 bytes that the kernel reads.
#[repr(C)]
struct QueuedSignal {
    signal: i32,
    errno: i32,
    code: i32,
    sender: Sender,
    padding: [u8; 96],
}

#[repr(C)]
struct Sender {
    pid: i32,
    uid: u32,
    value: usize,
}

/// Sends a signal with a value, as `sigqueue` does, to the process behind a pidfd.
///
/// # Errors
/// `ESRCH` when the process has ended and been reaped.
pub fn pidfd_signal(fd: BorrowedFd<'_>, signal: Signal, value: usize) -> io::Result<()> {
    let info = QueuedSignal {
        signal: signal as i32,
        errno: 0,
        code: libc::SI_QUEUE,
        sender: Sender { pid: getpid().as_raw(), uid: Uid::current().as_raw(), value },
        padding: [0; 96],
    };
    // SAFETY: `info` is at least as large as the kernel's siginfo_t (tested below), is only read,
    // and lives until the call returns.
    let done = unsafe {
        let number = signal as i32;
        libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), number, &raw const info, 0)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reaps one child that has ended: its number and status; `None` when all still run. (`nix` loses
/// children that a real-time signal has ended.)
///
/// # Errors
/// `ECHILD` when there is no child.
pub fn wait_any() -> io::Result<Option<(i32, ExitStatus)>> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the answer during the call.
    match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some((pid, ExitStatus::from_raw(status)))),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes every descriptor but stdin, stdout and stderr. Only for the first moments of a program,
/// before anything has been opened.
pub fn close_inherited() {
    // SAFETY: called before any descriptor above 2 has an owner in this process. A kernel without
    // close_range (before 5.9) returns an error and nothing is closed; Waymark itself opens
    // everything close-on-exec, so only what its own parent leaked would stay open.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32);
    }
}

/// What a child does to itself between fork and exec.
#[derive(Debug, Default)]
pub struct Confinement {
    /// The user and groups it becomes.
    pub credentials: Option<Credentials>,
    /// `cgroup.procs` of the group it enters, open for writing.
    pub group: Option<File>,
    /// The folder it works in; opened before the change of user, so that the way to it need not be
    /// open to that user.
    pub folder: Option<File>,
    /// Whether it becomes the leader of a new session (and so of a new process group).
    pub own_session: bool,
    /// Whether it is killed when the thread that started it ends. The kernel forgets this when the
    /// child executes a set-user-id program.
    pub dies_with_parent: bool,
}

/// Makes `command` confine its child, with no signal blocked.
pub fn confine(command: &mut Command, confinement: Confinement) {
    let parent = getpid();
    let groups: Vec<Gid> = confinement
        .credentials
        .iter()
        .flat_map(|c| c.groups.iter().copied().map(Gid::from_raw))
        .collect();
    let in_child = move || -> io::Result<()> {
        if let Some(procs) = &confinement.group {
            // "0" is the writing process itself.
            nix::unistd::write(procs, b"0")?;
        }
        if let Some(folder) = &confinement.folder {
            fchdir(folder)?;
        }
        if confinement.own_session {
            setsid()?;
        }
        if let Some(credentials) = &confinement.credentials {
            setgroups(&groups)?;
            setgid(Gid::from_raw(credentials.gid))?;
            setuid(Uid::from_raw(credentials.uid))?;
        }
        if confinement.dies_with_parent {
            // After the change of user, which clears it.
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe things may happen. The closure makes
    // plain system calls on values prepared before the fork and allocates nothing; errors are
    // numbers.
    unsafe {
        command.pre_exec(in_child);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_kernel_reads_no_further_than_our_siginfo() {
        assert!(size_of::<QueuedSignal>() >= size_of::<libc::siginfo_t>());
    }

    #[test]
    fn a_pidfd_signals_its_process() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let fd = pidfd_open(Pid::from_raw(child.id() as i32)).unwrap();
        pidfd_signal(fd.as_fd(), Signal::SIGTERM, 5).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(15));
        assert_eq!(
            pidfd_signal(fd.as_fd(), Signal::SIGTERM, 5).unwrap_err().raw_os_error(),
            Some(libc::ESRCH)
        );
    }
}
