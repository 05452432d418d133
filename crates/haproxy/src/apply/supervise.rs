//! Waymark starts HAProxy itself: a master with its workers, started again when it ends, stopped in order.
//!
//! HAProxy outlives Waymark: it is started in a process group of its own and is not killed when Waymark ends without being
//! told to stop it. The next Waymark finds the master by its socket and adopts it. What HAProxy writes goes to our log, as
//! long as the Waymark that started it lives.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::socket::{Address, Socket, SocketError};

/// First and longest pause before HAProxy is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// A HAProxy that ran this long is started again without a pause.
const STABLE: Duration = Duration::from_secs(60);
/// How often a master that somebody else started is looked at, and the configuration's file waited for.
const LOOK: Duration = Duration::from_millis(500);
/// Longest line of HAProxy's that is logged as one, in bytes.
const LONGEST_LINE: u64 = 2048;

/// What to start.
#[derive(Clone, Debug)]
pub struct Program {
    /// HAProxy's program (`--haproxy-binary`).
    pub binary: PathBuf,
    /// Its configuration. Until the file exists nothing is started.
    pub config: PathBuf,
    /// Where its master shall listen for commands.
    pub master: PathBuf,
}

/// How HAProxy is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supervised {
    /// The master's process id, if it runs and its socket or its start told it.
    pub master: Option<u32>,
    /// Whether it was found running, started by somebody else.
    pub adopted: bool,
    /// How often it was started by this Waymark.
    pub starts: u64,
    /// Why it does not run.
    pub error: Option<String>,
}

/// What shall become of HAProxy when its supervision ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is supervised on.
    Supervise,
    /// It runs on by itself.
    Leave,
    /// It finishes its connections and ends (USR1).
    Finish,
    /// It ends now (TERM).
    Stop,
}

/// Supervises HAProxy until told to end.
pub async fn supervise(
    program: Program,
    mut end: watch::Receiver<End>,
    status: watch::Sender<Supervised>,
) {
    let socket = Socket::new(Address::Unix(program.master.clone()), Duration::from_secs(2));
    let mut pause = BACKOFF.0;
    loop {
        let started = Instant::now();
        let over = match socket.processes().await {
            Ok(processes) => adopted(&socket, processes.master, &mut end, &status).await,
            Err(SocketError::Unreachable { .. }) => run(&program, &mut end, &status).await,
            // Somebody listens there and does not answer. A second HAProxy beside it would take half of the connections.
            Err(error) => Err(error.to_string()),
        };
        let reason = match over {
            Ok(Over::Ended) => return,
            Ok(Over::Crashed(reason)) | Err(reason) => reason,
        };
        if started.elapsed() >= STABLE {
            pause = BACKOFF.0;
        }
        tracing::error!(%reason, ?pause, "HAProxy does not run, starting it again");
        status.send_modify(|status| (status.master, status.error) = (None, Some(reason)));
        if ends_within(&mut end, pause).await {
            return;
        }
        pause = (pause * 2).min(BACKOFF.1);
    }
}

enum Over {
    /// As it was told.
    Ended,
    /// By itself.
    Crashed(String),
}

/// Follows a master that runs already, by its socket.
async fn adopted(
    socket: &Socket,
    master: Option<u32>,
    end: &mut watch::Receiver<End>,
    status: &watch::Sender<Supervised>,
) -> Result<Over, String> {
    tracing::info!(master, "HAProxy runs already and is adopted");
    status
        .send_modify(|status| (status.master, status.adopted, status.error) = (master, true, None));
    loop {
        if ends_within(end, LOOK).await {
            let how = *end.borrow();
            // The process id is that of HAProxy's namespace; a master that was started by a Waymark shares ours.
            finish(master, how);
            return Ok(Over::Ended);
        }
        if let Err(SocketError::Unreachable { .. }) = socket.processes().await {
            return Ok(Over::Crashed("the adopted HAProxy is gone".to_owned()));
        }
    }
}

/// Starts HAProxy and stays until it ends.
async fn run(
    program: &Program,
    end: &mut watch::Receiver<End>,
    status: &watch::Sender<Supervised>,
) -> Result<Over, String> {
    while !program.config.exists() {
        if ends_within(end, LOOK).await {
            return Ok(Over::Ended);
        }
    }
    let mut child = start(program)
        .map_err(|error| format!("cannot start {}: {error}", program.binary.display()))?;
    let pid = child.id();
    tracing::info!(pid, binary = %program.binary.display(), "HAProxy is started");
    status.send_modify(|status| {
        (status.master, status.adopted, status.error) = (pid, false, None);
        status.starts += 1;
    });
    let lines = (child.stdout.take(), child.stderr.take());
    let log = tokio::spawn(async move { tokio::join!(log_lines(lines.0), log_lines(lines.1)) });
    let over = tokio::select! {
        status = child.wait() => match status {
            Ok(status) => Over::Crashed(format!("HAProxy ended with {status}")),
            Err(error) => Over::Crashed(format!("HAProxy cannot be waited for: {error}")),
        },
        () = told(end) => {
            let how = *end.borrow();
            finish(pid, how);
            if how != End::Leave {
                let _ = child.wait().await;
            }
            Over::Ended
        }
    };
    if !matches!(over, Over::Ended) {
        // Workers that outlive their master keep the pipes open; what they write is of no interest any more.
        log.abort();
    }
    Ok(over)
}

fn start(program: &Program) -> std::io::Result<Child> {
    Command::new(&program.binary)
        .args([
            "-W".as_ref(),
            "-S".as_ref(),
            program.master.as_os_str(),
            "-f".as_ref(),
            program.config.as_os_str(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A key pressed at the terminal, and our own end, are not HAProxy's.
        .process_group(0)
        .kill_on_drop(false)
        .spawn()
}

/// Tells a master how to end.
fn finish(master: Option<u32>, how: End) {
    let signal = match how {
        End::Finish => Signal::SIGUSR1,
        End::Stop => Signal::SIGTERM,
        End::Leave | End::Supervise => return,
    };
    let Some(pid) = master.and_then(|pid| i32::try_from(pid).ok()) else { return };
    if let Err(error) = kill(Pid::from_raw(pid), signal) {
        tracing::warn!(pid, %error, "HAProxy's master cannot be told to end");
    }
}

/// Returns when the supervision shall end; a sender that is gone leaves HAProxy alone.
async fn told(end: &mut watch::Receiver<End>) {
    let _ = end.wait_for(|end| *end != End::Supervise).await;
}

async fn ends_within(end: &mut watch::Receiver<End>, time: Duration) -> bool {
    tokio::time::timeout(time, told(end)).await.is_ok()
}

/// HAProxy's lines, in our log by their own severity.
async fn log_lines(from: Option<impl AsyncRead + Unpin>) {
    let Some(from) = from else { return };
    let mut lines = BufReader::new(from);
    let mut bytes = Vec::new();
    while let Ok(1..) = (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut bytes).await {
        let text = String::from_utf8_lossy(&bytes);
        let line = text.trim_end();
        match line.split(']').next() {
            Some("[ALERT" | "[EMERG" | "[CRIT") => tracing::error!(target: "haproxy", "{line}"),
            Some("[WARNING") => tracing::warn!(target: "haproxy", "{line}"),
            _ => tracing::info!(target: "haproxy", "{line}"),
        }
        bytes.clear();
    }
}
