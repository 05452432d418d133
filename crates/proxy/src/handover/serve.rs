//! The old process's side.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::wire::{self, COMMIT, READY, RELEASED, SOCKETS_AT_ONCE, YIELD};
use super::{COMMIT_TIMEOUT, HandoverError, Kind, READY_TIMEOUT, STEP_TIMEOUT, failed};
use crate::listen::{SocketKey, Sockets};

/// What processes that take over ask for, one after the other.
#[derive(Debug)]
pub struct Successors(mpsc::Receiver<Step>);

/// What a process that takes over asks for, in this order.
#[derive(Debug)]
pub enum Step {
    /// Of [`Kind::Control`]: to stop what only one process may do, so that it can be taken up again.
    Yield(Reply),
    /// Of [`Kind::Control`]: never to take it up again.
    Commit(Reply),
    /// Nothing any more: it has failed or is gone. What was done for it is to be undone.
    Gone,
    /// To accept no more connections, since it does.
    Ready(Successor),
}

/// The way back for the answer to a [`Step`]. Dropping it refuses.
#[derive(Debug)]
pub struct Reply(std::sync::mpsc::SyncSender<Result<(), String>>);

/// A process that accepts connections on this one's sockets. It sees this one as present while this
/// lives.
#[derive(Debug)]
pub struct Successor(UnixStream);

impl Successors {
    /// Waits for the next step. Pends for ever while none comes.
    pub async fn step(&mut self) -> Step {
        match self.0.recv().await {
            Some(step) => step,
            // The thread has ended: nobody can come any more.
            None => std::future::pending().await,
        }
    }

    /// Waits for a process that accepts, where nothing is to be let go before.
    pub async fn next(&mut self) -> Successor {
        loop {
            if let Step::Ready(successor) = self.step().await {
                return successor;
            }
        }
    }
}

impl Reply {
    /// It is done.
    pub fn allow(self) {
        // The thread waits for it; without one nobody does.
        let _ = self.0.send(Ok(()));
    }

    /// It is not; a sentence says why.
    pub fn refuse(self, reason: String) {
        let _ = self.0.send(Err(reason));
    }
}

impl Successor {
    /// Tells it that this process accepts no more connections.
    pub fn released(&mut self) {
        // One that is gone by now needs no word.
        let _ = self.0.write_all(&[RELEASED]);
    }
}

/// Gives the sockets to whoever asks at this path and may have them, from a thread of its own, as
/// long as the process lives. What was at the path is replaced in one step, so that there is a
/// process to ask at every moment; a path whose process is gone refuses.
///
/// # Errors
/// The path cannot be listened on.
pub fn serve(path: &Path, sockets: Arc<Sockets>, kind: Kind) -> Result<Successors, HandoverError> {
    let at = "listening for the next process";
    let fresh = path.with_extension(format!("{}", std::process::id()));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(at)(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh).map_err(failed(at))?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).map_err(failed(at))?;
    fs::rename(&fresh, path).map_err(failed(at))?;
    let (steps, successors) = mpsc::channel(1);
    let run = move || {
        for stream in listener.incoming() {
            let done = stream.map_err(failed("accepting the next process")).and_then(|stream| {
                Handover { stream, kind, steps: &steps, asked: false }.conduct(&sockets)
            });
            match done {
                Ok(()) => info!("the next process accepts connections"),
                Err(error) => warn!(%error, "a hand-over to another process came to nothing"),
            }
            if steps.is_closed() {
                return;
            }
        }
    };
    thread::Builder::new().name("handover".to_owned()).spawn(run).map_err(failed(at))?;
    Ok(Successors(successors))
}

/// One hand-over, until the other process is ready.
struct Handover<'a> {
    stream: UnixStream,
    kind: Kind,
    steps: &'a mpsc::Sender<Step>,
    /// Whether this process has been asked for anything that may have to be undone.
    asked: bool,
}

impl Handover<'_> {
    fn conduct(mut self, sockets: &Sockets) -> Result<(), HandoverError> {
        give(&mut self.stream, sockets, self.kind)?;
        if let Err(error) = self.let_go() {
            if self.asked {
                // Without a receiver there is nothing to undo.
                let _ = self.steps.blocking_send(Step::Gone);
            }
            return Err(error);
        }
        let ready = Step::Ready(Successor(self.stream));
        self.steps.blocking_send(ready).map_err(|_| stopping())
    }

    fn let_go(&mut self) -> Result<(), HandoverError> {
        if self.kind == Kind::Control {
            self.expect(YIELD, COMMIT_TIMEOUT, "it should ask for control")?;
            self.ask(Step::Yield)?;
            self.expect(COMMIT, COMMIT_TIMEOUT, "it should take control")?;
            self.ask(Step::Commit)?;
        }
        self.expect(READY, READY_TIMEOUT, "it should be ready")
    }

    fn expect(
        &mut self,
        wanted: u8,
        within: Duration,
        otherwise: &'static str,
    ) -> Result<(), HandoverError> {
        let at = "waiting for the next process";
        self.stream.set_read_timeout(Some(within)).map_err(failed(at))?;
        let mut word = [0];
        self.stream.read_exact(&mut word).map_err(failed(at))?;
        if word == [wanted] { Ok(()) } else { Err(HandoverError::Protocol(otherwise)) }
    }

    /// Asks this process, and passes the answer on.
    fn ask(&mut self, step: fn(Reply) -> Step) -> Result<(), HandoverError> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.asked = true;
        self.tell(step(Reply(reply)))?;
        let answer = answer.recv().unwrap_or_else(|_| Err("it is being stopped".to_owned()));
        let sent = wire::send_answer(&mut self.stream, &answer);
        answer.map_err(HandoverError::Refused)?;
        sent.map_err(failed("answering the next process"))
    }

    fn tell(&self, step: Step) -> Result<(), HandoverError> {
        self.steps.blocking_send(step).map_err(|_| stopping())
    }
}

fn stopping() -> HandoverError {
    HandoverError::Refused("it is being stopped".to_owned())
}

/// Gives the sockets away.
fn give(stream: &mut UnixStream, sockets: &Sockets, kind: Kind) -> Result<(), HandoverError> {
    let at = "giving sockets to the next process";
    wire::check_peer(stream)?;
    stream.set_read_timeout(Some(STEP_TIMEOUT)).map_err(failed(at))?;
    stream.set_write_timeout(Some(STEP_TIMEOUT)).map_err(failed(at))?;
    let mut greeting = [0; wire::greeting(Kind::Traffic).len()];
    stream.read_exact(&mut greeting).map_err(failed(at))?;
    if greeting != wire::greeting(kind) {
        return Err(HandoverError::Protocol("its greeting is another"));
    }
    for keys in sockets.keys().chunks(SOCKETS_AT_ONCE) {
        send(stream, keys, sockets).map_err(failed(at))?;
    }
    wire::send(stream, &[]).map_err(failed(at))
}

fn send(stream: &mut UnixStream, keys: &[SocketKey], sockets: &Sockets) -> io::Result<()> {
    let open: Vec<_> = keys.iter().filter_map(|key| Some((name(key), sockets.get(key)?))).collect();
    if open.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = open.iter().map(|(name, socket)| (name.as_str(), socket.as_fd())).collect();
    wire::send(stream, &named)
}

/// `tcp`, `udp` (the socket itself knows its address) or `=` and its own name.
fn name(key: &SocketKey) -> String {
    match key {
        SocketKey::Tcp(_) => "tcp".to_owned(),
        SocketKey::Udp(_) => "udp".to_owned(),
        SocketKey::Named(name) => format!("={name}"),
    }
}
