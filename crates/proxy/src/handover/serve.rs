//! The old process's side.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::wire::{self, GREETING, READY, RELEASED, SOCKETS_AT_ONCE};
use super::{HandoverError, READY_TIMEOUT, STEP_TIMEOUT, failed};
use crate::listen::{SocketKey, Sockets};

/// The processes that have taken the sockets over and are ready; the first one is the one.
#[derive(Debug)]
pub struct Successors(mpsc::Receiver<Successor>);

/// A process that accepts connections on this one's sockets.
#[derive(Debug)]
pub struct Successor(UnixStream);

impl Successors {
    /// Waits for one. Pends for ever while none comes.
    pub async fn next(&mut self) -> Successor {
        match self.0.recv().await {
            Some(successor) => successor,
            // The thread has ended: nobody can come any more.
            None => std::future::pending().await,
        }
    }
}

impl Successor {
    /// Tells it that this process accepts no more connections.
    pub fn released(mut self) {
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
pub fn serve(path: &Path, sockets: Arc<Sockets>) -> Result<Successors, HandoverError> {
    let at = "listening for the next process";
    let fresh = path.with_extension(format!("{}", std::process::id()));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(at)(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh).map_err(failed(at))?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).map_err(failed(at))?;
    fs::rename(&fresh, path).map_err(failed(at))?;
    let (found, successors) = mpsc::channel(1);
    let run = move || {
        for stream in listener.incoming() {
            let given =
                stream.map_err(failed("accepting the next process")).and_then(|mut stream| {
                    give(&mut stream, &sockets)?;
                    Ok(stream)
                });
            match given {
                Ok(stream) => {
                    info!("the next process accepts connections");
                    if found.blocking_send(Successor(stream)).is_err() {
                        return;
                    }
                }
                Err(error) => warn!(%error, "a hand-over to another process came to nothing"),
            }
        }
    };
    thread::Builder::new().name("handover".to_owned()).spawn(run).map_err(failed(at))?;
    Ok(Successors(successors))
}

/// One hand-over, until the other process is ready.
fn give(stream: &mut UnixStream, sockets: &Sockets) -> Result<(), HandoverError> {
    let at = "giving sockets to the next process";
    wire::check_peer(stream)?;
    stream.set_read_timeout(Some(STEP_TIMEOUT)).map_err(failed(at))?;
    stream.set_write_timeout(Some(STEP_TIMEOUT)).map_err(failed(at))?;
    let mut greeting = [0; GREETING.len()];
    stream.read_exact(&mut greeting).map_err(failed(at))?;
    if greeting != GREETING {
        return Err(HandoverError::Protocol("its greeting is another"));
    }
    for keys in sockets.keys().chunks(SOCKETS_AT_ONCE) {
        send(stream, keys, sockets).map_err(failed(at))?;
    }
    wire::send(stream, &[]).map_err(failed(at))?;
    stream.set_read_timeout(Some(READY_TIMEOUT)).map_err(failed(at))?;
    let mut word = [0];
    stream.read_exact(&mut word).map_err(failed("waiting for the next process to be ready"))?;
    if word == [READY] { Ok(()) } else { Err(HandoverError::Protocol("it should be ready")) }
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
