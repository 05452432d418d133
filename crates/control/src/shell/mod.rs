//! The shell around the core: takes inputs from everywhere, does what the effects say.
//!
//! ```text
//! requests ─┐                                      ┌─► store (one fsync a batch)
//! statuses ─┼─► batch ─► Core ─► Effects ─► Driver ┼─► executor, prober
//! probes   ─┤                                      ├─► catalog Writer
//! drained  ─┤                                      └─► events, state, answers
//! timers   ─┘
//! ```
//!
//! One task owns core, store and writer, so nothing is locked. A batch is handled in two halves.
//! First the *facts* (statuses, probes, drained tasks, timers): they cannot be refused, and what
//! follows for names and traffic is published before anything is written to disk, since after a
//! restart it is found out again by looking. Then the *requests*: they are stored before anything
//! is done or answered, and when that fails they have not happened. A launch waits for the store in
//! both halves; a kill in neither.

mod clock;
mod drains;
mod driver;
mod pause;
mod persist;
mod run;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::info;
use waymark_catalog::{Outputs, Reader, Writer};
use waymark_executors::{Executor, StatusUpdate};

use crate::core::{Core, Settings};
use crate::store::{Store, StoreError};
use crate::{Handle, MAX_WAITING_EVENTS, MAX_WAITING_REQUESTS, Metrics, State, Submission};

use clock::Clock;
use driver::Driver;
pub use pause::{PauseError, Paused};
use persist::Persistence;
use run::{Inbox, Order, Stop};

/// Catalog versions that are reserved at a time, so that none is given twice although not each is
/// written to disk.
pub const VERSION_BLOCK: u64 = 100_000;
/// Probe reports that may wait; the prober slows down when they are so many.
const MAX_WAITING_PROBES: usize = 4096;

/// What the control plane is told once.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// What the core is told.
    pub settings: Settings,
    /// How probes are made.
    pub probes: waymark_health::Config,
}

/// A control plane that has read its store and does nothing yet.
pub struct ControlPlane {
    config: ControlConfig,
    core: Core,
    persistence: Persistence,
    writer: Writer,
    reader: Reader,
    handle: Handle,
    ends: Ends,
    metrics: Arc<Metrics>,
}

/// The shell's ends of the handle.
struct Ends {
    state: Arc<ArcSwap<State>>,
    requests: mpsc::Receiver<Submission>,
    events: broadcast::Sender<Arc<waymark_marathon_api::Event>>,
}

impl ControlPlane {
    /// Reads the store. On the first start `new_framework_id` becomes the framework's id; it should
    /// be a fresh UUID with `-0000` appended, as Mesos makes them.
    pub fn open(
        config: ControlConfig,
        mut store: Store,
        new_framework_id: &str,
    ) -> Result<ControlPlane, StoreError> {
        let mut stored = store.load()?;
        if stored.framework_id.is_empty() {
            store.set_framework_id(new_framework_id)?;
            stored.framework_id = new_framework_id.to_owned();
        }
        let last = store.version_ceiling()?;
        let ceiling = last.saturating_add(VERSION_BLOCK);
        store.raise_version_ceiling(ceiling)?;
        info!(
            store = %store.path().display(),
            apps = stored.apps.len(),
            tasks = stored.tasks.len(),
            deployments = stored.deployments.len(),
            "read the store"
        );
        let core = Core::restore(config.settings.clone(), stored);
        let metrics = Arc::new(Metrics::default());
        let (writer, reader) = Writer::new(last);
        let state = Arc::new(ArcSwap::from_pointee(core.state().clone()));
        let (sender, requests) = mpsc::channel(MAX_WAITING_REQUESTS);
        let (events, _) = broadcast::channel(MAX_WAITING_EVENTS);
        Ok(ControlPlane {
            config,
            core,
            persistence: Persistence::new(store, ceiling, metrics.clone()),
            writer,
            reader,
            handle: Handle::new(state.clone(), sender, events.clone()),
            ends: Ends { state, requests, events },
            metrics,
        })
    }

    /// Where outputs read the catalog. Nothing is published before [`ControlPlane::start`].
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// A way to talk to it; requests wait until it has been started.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What it counts.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Starts it on the current tokio runtime: adopts the tasks that still run, publishes the first
    /// catalog, then goes on with what is wanted. `statuses` is the other end of the channel that
    /// the executor was given.
    pub fn start(
        self,
        executor: Arc<dyn Executor>,
        statuses: mpsc::Receiver<StatusUpdate>,
        outputs: Outputs,
    ) -> Running {
        let (orders, ordered) = mpsc::channel(1);
        let (reports, probes) = mpsc::channel(MAX_WAITING_PROBES);
        let runner = Arc::new(driver::Commands(executor.clone()));
        let prober = waymark_health::Prober::new(self.config.probes, runner, reports);
        let clock = Clock::start(self.core.state().root.version);
        let inbox = Inbox { requests: self.ends.requests, statuses, probes, orders: ordered };
        let driver = Driver {
            core: self.core,
            clock,
            persistence: self.persistence,
            executor,
            prober,
            writer: self.writer,
            drains: drains::Drains::new(outputs),
            state: self.ends.state,
            events: self.ends.events,
            metrics: self.metrics,
            waiting_launches: Vec::new(),
        };
        let task = tokio::spawn(run::run(driver, inbox));
        Running { handle: self.handle, orders, task }
    }
}

/// A control plane at work. Dropping it does not stop it.
pub struct Running {
    handle: Handle,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Running {
    /// A way to talk to it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Has it stop acting, so that another process can act in its place: every launch that was under
    /// way is over, everything known is stored, the store is closed. What comes in waits. It goes on
    /// with [`Paused::resume`]; when that is dropped it ends without doing anything more.
    ///
    /// # Errors
    /// It goes on acting: not everything could be stored, or a launch took too long.
    pub async fn pause(&self) -> Result<Paused, PauseError> {
        pause::ask(&self.orders).await
    }

    /// Stops it in order: nothing more is launched, all tasks are ended unless `keep_tasks`, what
    /// is known is stored, the store is closed. What is wanted stays wanted, so the next start
    /// launches the tasks again. The error says that something could not be stored.
    pub async fn stop(self, keep_tasks: bool) -> Result<(), StoreError> {
        let (done, result) = oneshot::channel();
        let asked = self.orders.send(Order::Stop(Stop { keep_tasks, done })).await;
        let result = if asked.is_ok() { result.await.unwrap_or(Ok(())) } else { Ok(()) };
        // Ends right after it has answered; a panic of it was logged by the runtime.
        let _ = self.task.await;
        result
    }
}

#[cfg(test)]
mod tests;
