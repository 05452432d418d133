//! The applier's own thread: takes the latest of what is wanted, applies it, tries again after failures, and looks at HAProxy
//! in between.
//!
//! A thread of its own, because it waits for disks and for HAProxy's program, and nothing else shall wait with it.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::applier::Applier;
use super::look::Memory;
use super::options::{Outcome, Status, Wanted};
use super::plan::Why;

/// How often HAProxy is looked at when nothing changes.
const LOOK: Duration = Duration::from_secs(5);
/// First and longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A running applier.
#[derive(Debug)]
pub struct Handle {
    status: watch::Receiver<Status>,
    reload: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// Where it stands, as it changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Asks for a reload of the files as they are (marathon-lb's USR1). Several that come together are one.
    pub fn reload(&self) {
        // A full queue holds one that is not begun yet.
        let _ = self.reload.try_send(());
    }

    /// Waits until it has ended: after the sender of what is wanted is gone.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the thread that applies configurations to HAProxy panicked");
        }
    }
}

/// Starts an applier. It ends when the sender of `wanted` is gone; HAProxy runs on.
///
/// # Errors
/// No thread can be started.
pub fn start(applier: Applier, wanted: watch::Receiver<Option<Arc<Wanted>>>) -> io::Result<Handle> {
    let (say, status) = watch::channel(Status::default());
    let (reload, asked) = mpsc::channel(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("haproxy".into()).spawn(move || {
        runtime.block_on(Run { applier, wanted, asked, say, memory: Memory::default() }.run())
    })?;
    Ok(Handle { status, reload, thread })
}

struct Run {
    applier: Applier,
    wanted: watch::Receiver<Option<Arc<Wanted>>>,
    asked: mpsc::Receiver<()>,
    say: watch::Sender<Status>,
    memory: Memory,
}

impl Run {
    async fn run(mut self) {
        let mut pause = BACKOFF.0;
        // When what is wanted is tried again although it did not change.
        let mut again: Option<Instant> = None;
        let mut look = Instant::now() + LOOK;
        let mut asking = true;
        loop {
            let retry = again.unwrap_or(look).max(Instant::now());
            tokio::select! {
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    again = self.apply(&mut pause).await;
                }
                asked = self.asked.recv(), if asking => match asked {
                    Some(()) => self.reload(Why::Asked).await,
                    None => asking = false,
                },
                () = tokio::time::sleep_until(retry.into()), if again.is_some() => again = self.apply(&mut pause).await,
                () = tokio::time::sleep_until(look.into()) => {
                    let (lost, why) = self.applier.look(&mut self.memory).await;
                    if let Some(why) = why {
                        self.reload(why).await;
                    }
                    if lost {
                        again = self.apply(&mut pause).await;
                    }
                    look = Instant::now() + LOOK;
                }
            }
            self.say.send_replace(self.applier.status().clone());
        }
    }

    /// Applies the latest. Returns when to try again.
    async fn apply(&mut self, pause: &mut Duration) -> Option<Instant> {
        let wanted = self.wanted.borrow_and_update().clone()?;
        match self.applier.apply(&wanted).await {
            Ok(Outcome::Postponed(until)) => Some(until),
            Ok(_) => {
                *pause = BACKOFF.0;
                None
            }
            Err(error) => {
                tracing::error!(version = wanted.version, %error, retry = ?*pause, "HAProxy runs on with what it has");
                let until = Instant::now() + *pause;
                *pause = (*pause * 2).min(BACKOFF.1);
                Some(until)
            }
        }
    }

    async fn reload(&mut self, why: Why) {
        if let Err(error) = self.applier.reload_files(why).await {
            tracing::error!(%error, "HAProxy is not reloaded");
        }
    }
}
