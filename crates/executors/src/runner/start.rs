//! The first phase of a runner: everything up to the moment when the task's program runs.
//!
//! Order matters. The record is on disk before the task exists, and the task is started only if
//! the executor is still there after that: so a control plane that starts anew either finds the
//! record or can be sure that nothing runs.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use super::log::RotatedLog;
use super::{End, Output, Phase, Record, RecordFile, Runner, Spec};
use crate::sys::{Confinement, confine};

/// Shown by `ps -o comm`; the kernel keeps 15 characters.
const PROCESS_NAME: &std::ffi::CStr = c"waymark-runner";

/// Starts the task that stdin tells of. `Err` is one line for people.
pub fn start() -> Result<Runner, String> {
    let spec: Spec = serde_json::from_reader(io::stdin().lock())
        .map_err(|e| format!("the runner could not read what to run: {e}"))?;
    let failed = |what: &str, e: io::Error| format!("{what}: {e}");
    prepare_process(&spec).map_err(|e| failed("the runner could not set itself up", e))?;
    let signals = take_signals().map_err(|e| failed("the runner could not take signals", e))?;
    let open_log = |name| {
        RotatedLog::create(spec.sandbox.join(name), spec.log_max_bytes, spec.log_files)
            .map_err(|e| failed(&format!("the task's file {name} could not be made"), e))
    };
    let logs = [open_log("stdout")?, open_log("stderr")?];

    let mut record = Record::of_this_process(&spec.task);
    let file = RecordFile::create(&spec.record, &record)
        .map_err(|e| failed("the task's record could not be written", e))?;
    let started = if executor_is_there() {
        spawn(&spec).and_then(|(child, pipes)| {
            let [stdout, stderr] = logs;
            let [out, err] = pipes;
            let pipe_failed = |e| failed("the task's output could not be read", e);
            let outputs = [
                Output::new(out, stdout).map_err(pipe_failed)?,
                Output::new(err, stderr).map_err(pipe_failed)?,
            ];
            Ok((child, outputs))
        })
    } else {
        Err("Waymark ended before the task was started".to_owned())
    };
    match started {
        Ok((child, outputs)) => {
            let main = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
            record.command = Some(main.as_raw());
            // The number is for people; the runner's own is what adoption goes by.
            let _ = file.update(&record);
            let Spec { group, grace, .. } = spec;
            let phase = Phase::Running;
            Ok(Runner { group, grace, record, file, signals, main, outputs, phase })
        }
        Err(reason) => {
            record.end = Some(End::NotStarted(reason.clone()));
            let _ = file.update(&record);
            Err(reason)
        }
    }
}

fn prepare_process(spec: &Spec) -> io::Result<()> {
    prctl::set_name(PROCESS_NAME)?;
    prctl::set_child_subreaper(true)?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    env::set_current_dir(&spec.sandbox)?;
    if let Some(soft) = spec.open_files {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)?;
    }
    Ok(())
}

fn take_signals() -> io::Result<SignalFd> {
    let signals = super::handled_signals();
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Whether the other end of our stdout, a pipe, is still open.
fn executor_is_there() -> bool {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let polled = poll(&mut fds, PollTimeout::ZERO);
    let closed = fds.iter().filter_map(PollFd::revents).any(|e| e.contains(PollFlags::POLLERR));
    polled.is_ok() && !closed
}

/// Starts the program. std reports a failed exec as an error here, by a close-on-exec pipe.
fn spawn(spec: &Spec) -> Result<(Child, [OwnedFd; 2]), String> {
    let (program, args) = spec.command.split_first().ok_or("the app has no command")?;
    let group = match &spec.group {
        None => None,
        Some(path) => {
            let procs = File::options().write(true).open(path.join("cgroup.procs"));
            Some(procs.map_err(|e| format!("the task's control group cannot be entered: {e}"))?)
        }
    };
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(&spec.env).arg0(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let credentials = spec.credentials.clone();
    // The runner is in the sandbox already.
    let confinement =
        Confinement { credentials, group, folder: None, own_session: true, dies_with_parent: true };
    confine(&mut command, confinement);
    let mut child =
        command.spawn().map_err(|e| format!("'{program}' could not be started: {e}"))?;
    match (child.stdout.take(), child.stderr.take()) {
        (Some(out), Some(err)) => Ok((child, [out.into(), err.into()])),
        _ => Err("the task's output could not be read".to_owned()),
    }
}
