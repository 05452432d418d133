//! How the API, the command line and tests talk to the running control plane.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, mpsc, oneshot};
use waymark_marathon_api::Event;

use crate::{Accepted, Refusal, Request, State};

/// Requests that may wait for the core; a caller of [`Handle::submit`] waits when it is full.
pub const MAX_WAITING_REQUESTS: usize = 1024;
/// Events kept for a subscriber that is behind; one that falls further behind is cut off.
pub const MAX_WAITING_EVENTS: usize = 1024;

/// A request on its way to the core, with the way back for the answer.
pub struct Submission {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes, after what it says has been stored.
    pub reply: oneshot::Sender<Result<Accepted, Refusal>>,
}

/// A way to the running control plane. Cloning is cheap.
#[derive(Clone)]
pub struct Handle {
    state: Arc<ArcSwap<State>>,
    requests: mpsc::Sender<Submission>,
    events: broadcast::Sender<Arc<Event>>,
}

impl Handle {
    /// A handle over the shell's ends.
    pub fn new(
        state: Arc<ArcSwap<State>>,
        requests: mpsc::Sender<Submission>,
        events: broadcast::Sender<Arc<Event>>,
    ) -> Handle {
        Handle { state, requests, events }
    }

    /// The latest state.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Asks for something and waits until it is stored or refused.
    pub async fn submit(&self, request: Request) -> Result<Accepted, Refusal> {
        let (reply, answer) = oneshot::channel();
        let submission = Submission { request, reply };
        self.requests.send(submission).await.map_err(|_| Refusal::Stopping)?;
        answer.await.map_err(|_| Refusal::Stopping)?
    }

    /// Completes when the control plane has ended, in order or not.
    pub async fn ended(&self) {
        self.requests.closed().await;
    }

    /// All events from now on. A receiver that lags by more than [`MAX_WAITING_EVENTS`] gets
    /// `Lagged` and should be cut off.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// Sends an event that does not come from the core (a subscriber attached, an API request).
    pub fn announce(&self, event: Event) {
        // No subscriber is an ordinary state.
        let _ = self.events.send(Arc::new(event));
    }
}
