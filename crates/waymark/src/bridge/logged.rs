//! Runs one of the bridge's commands with its output to syslog.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use crate::exit::Exit;
use crate::terminal;

const SOCKET: &str = "/dev/log";

/// `user.notice` and `user.warning` (RFC 3164 §4.1.1).
const NOTICE: u8 = 13;
const WARNING: u8 = 12;

/// The longest line that is sent; the rest of it is left out.
const MAX_LINE: usize = 1000;

/// Runs `haproxy-marathon-bridge` with these words.
pub fn run(words: &[&str]) -> Exit {
    let Ok(program) = std::env::current_exe() else {
        return terminal::fail(Exit::Failed, "this program does not find itself");
    };
    let child = Command::new(program)
        .arg("haproxy-marathon-bridge")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(e) => return terminal::fail(Exit::Failed, &format!("cannot run it: {e}")),
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|threads| {
        threads.spawn(|| out.map(|out| send(out, NOTICE)));
        threads.spawn(|| err.map(|err| send(err, WARNING)));
    });
    match child.wait() {
        Ok(status) if status.success() => Exit::Ok,
        _ => Exit::Failed,
    }
}

/// Sends each line; where there is no syslog, to standard error.
fn send(from: impl Read, priority: u8) {
    let socket = UnixDatagram::unbound().and_then(|socket| {
        socket.connect(SOCKET)?;
        Ok(socket)
    });
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        let line: String = line.chars().take(MAX_LINE).collect();
        let message = format!("<{priority}>haproxy-marathon-bridge: {line}");
        let sent = socket.as_ref().is_ok_and(|socket| socket.send(message.as_bytes()).is_ok());
        if !sent {
            terminal::note(&line);
        }
    }
}
