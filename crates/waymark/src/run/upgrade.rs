//! Another binary in place of this one: the process before lets go, the new one goes on.
//!
//! ```text
//!        old                                     new
//!        serves, acts                            settings, files, sockets: what can be wrong?
//!   1    API waits, control pauses, store closed ◄─ "yield"
//!                                                opens and reads the store, makes everything
//!   2    lets go of the folder's lock, DNS waits ◄─ "commit"
//!                                                takes the lock; adopts tasks, publishes, answers
//!   3    stops accepting                         ◄─ "ready"
//!        its connections end, it ends            serves, acts
//! ```
//!
//! Until 2 the old process takes everything up again when the new one fails or is gone; the folder's
//! lock says who of the two acts, whatever becomes of the other. Traffic is carried by the old one
//! until 3. From 2 to 3 API connections wait in their socket and DNS queries in theirs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;
use tracing::{error, info, warn};
use waymark_catalog::{InUse, Output, Outputs};
use waymark_control::Paused;
use waymark_model::{TaskId, Version};
use waymark_proxy::handover::{HandoverError, Predecessor, Presence, Step, Successor};

use super::data_dir::DataDir;
use super::services::Services;
use super::{NotStarted, StartError};
use crate::exit::Exit;
use crate::takeover::{GONE_PATIENCE, Waiting};

/// How long the lock of a process that let go is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How long a process that has let go for good carries traffic and waits for yet another one, when
/// the one that it let go for is gone.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(30);

/// How a process ends that others take over from.
pub enum Ending {
    /// Another one serves.
    TakenOver(Successor),
    /// The other one was gone before it served, and nobody came in its place.
    Orphaned,
}

/// What this process still does.
enum Held {
    Everything,
    /// Nothing that another process might do, for the time being.
    Paused(Paused),
    /// The same for ever. Since when nobody takes over.
    Nothing(Paused, Option<Instant>),
}

/// Does what later processes ask for, until one of them serves.
pub async fn hand_over(services: &Services, data: &DataDir, mut waiting: Waiting) -> Ending {
    let mut held = Held::Everything;
    loop {
        let orphaned = match &held {
            Held::Nothing(_, Some(since)) => Some(*since + ORPHAN_PATIENCE),
            _ => None,
        };
        let step = tokio::select! {
            step = waiting.step() => step,
            () = sleep_until(orphaned.unwrap_or_else(Instant::now).into()), if orphaned.is_some() => {
                return Ending::Orphaned;
            }
        };
        held = match (step, held) {
            (Step::Yield(reply), Held::Everything) => match services.pause().await {
                Ok(paused) => {
                    reply.allow();
                    Held::Paused(paused)
                }
                Err(reason) => {
                    reply.refuse(reason);
                    Held::Everything
                }
            },
            (Step::Commit(reply), Held::Paused(paused)) => {
                services.let_go();
                data.release();
                reply.allow();
                Held::Nothing(paused, None)
            }
            (Step::Yield(reply) | Step::Commit(reply), Held::Nothing(paused, _)) => {
                reply.allow();
                Held::Nothing(paused, None)
            }
            (Step::Gone, Held::Paused(paused)) => {
                warn!("the process that was taking over has failed; this one goes on");
                services.resume(paused);
                Held::Everything
            }
            (Step::Gone, Held::Nothing(paused, _)) => {
                error!(
                    "the process that took over is gone; this one carries traffic for \
                     {ORPHAN_PATIENCE:?} and waits for another with --takeover"
                );
                Held::Nothing(paused, Some(Instant::now()))
            }
            (Step::Ready(successor), _) => {
                info!("another process has taken over; open connections go on");
                return Ending::TakenOver(successor);
            }
            // Out of order: the reply is dropped, which refuses.
            (Step::Yield(_) | Step::Commit(_) | Step::Gone, held) => held,
        };
    }
}

/// Has the process before stop acting. Whatever goes wrong after this, short of [`commit`], it
/// takes up again.
pub fn yield_control(before: &mut Predecessor, data: &DataDir) -> Result<(), NotStarted> {
    match before.yield_control() {
        Ok(()) => Ok(()),
        Err(error) => alone_after(error, data),
    }
}

/// From here on this process acts, and the one before never again.
pub fn commit(before: &mut Predecessor, data: &DataDir) -> Result<(), NotStarted> {
    match before.commit() {
        Ok(()) => data.lock_within(LOCK_PATIENCE).map_err(|error| {
            let text = format!("the data folder's lock cannot be had: {error}");
            NotStarted(Exit::Failed, StartError(text))
        }),
        Err(error) => alone_after(error, data),
    }
}

/// The process before does not answer: if it is gone, this one goes on without it.
fn alone_after(error: HandoverError, data: &DataDir) -> Result<(), NotStarted> {
    let refused = matches!(error, HandoverError::Refused(_));
    if !refused && (data.is_locked() || data.lock_within(GONE_PATIENCE).is_ok()) {
        warn!(%error, "the process before is gone; going on as after a crash");
        return Ok(());
    }
    Err(NotStarted(Exit::Failed, StartError(format!("takeover: {error}; that one goes on"))))
}

/// The process before as an output: its connections may go to any task as long as it is there.
pub struct Before(pub Presence);

impl Before {
    /// These outputs and it.
    pub fn beside(presence: Presence, outputs: &[Arc<dyn Output>]) -> Outputs {
        let before: Arc<dyn Output> = Arc::new(Before(presence));
        Outputs::new(outputs.iter().cloned().chain([before]).collect())
    }
}

impl Output for Before {
    fn name(&self) -> &'static str {
        "predecessor"
    }

    /// Nothing new is begun there.
    fn applied(&self) -> Version {
        Version::MAX
    }

    fn in_use(&self, _: &TaskId) -> InUse {
        InUse { connections: usize::from(self.0.is_there()), lease_until: None }
    }
}
