//! The life of the shell: adopt, run, stop.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{info, warn};
use waymark_executors::StatusUpdate;
use waymark_health::ProbeReport;
use waymark_model::TaskId;

use super::drains::POLL;
use super::driver::Driver;
use super::pause::Pause;
use crate::Submission;
use crate::core::{DEFAULT_KILL_GRACE, Effects, Input};
use crate::store::StoreError;

/// Inputs of one kind that are handled together at most; the others wait for the next batch.
const MAX_BATCH: usize = 256;
/// How long the first catalog waits for the executor to tell which tasks still run.
const ADOPTION: Duration = Duration::from_secs(1);
/// Time that tasks get to end when Waymark stops, beyond the longest grace period.
const STOP_SLACK: Duration = Duration::from_secs(5);

/// Where inputs come from.
pub struct Inbox {
    pub requests: mpsc::Receiver<Submission>,
    pub statuses: mpsc::Receiver<StatusUpdate>,
    pub probes: mpsc::Receiver<ProbeReport>,
    pub orders: mpsc::Receiver<Order>,
}

/// What whoever runs the control plane wants of it.
pub enum Order {
    Stop(Stop),
    Pause(Pause),
}

/// The wish to stop.
pub struct Stop {
    pub keep_tasks: bool,
    pub done: oneshot::Sender<Result<(), StoreError>>,
}

/// What came in together.
#[derive(Default)]
struct Batch {
    statuses: Vec<StatusUpdate>,
    probes: Vec<ProbeReport>,
    requests: Vec<Submission>,
    order: Option<Order>,
}

/// Runs until it is told to stop.
pub async fn run(mut driver: Driver, mut inbox: Inbox) {
    let adopted = adopt(&mut driver, &mut inbox).await;
    driver.resume(adopted).await;
    let stop = loop {
        let mut batch = inbox.next(&driver).await;
        driver.metrics.set_inbox(batch.len());
        let requests = std::mem::take(&mut batch.requests);
        let order = batch.order.take();
        work(&mut driver, batch).await;
        if !requests.is_empty() {
            driver.requests(requests).await;
        }
        if driver.persistence.due().is_some_and(|due| due <= Instant::now()) {
            // An error was logged and is shown in the state.
            let _ = driver.commit().await;
        }
        let goes_on = match order {
            Some(Order::Stop(stop)) => break stop,
            Some(Order::Pause(pause)) => pause.hold(&mut driver).await,
            None => true,
        };
        if !goes_on {
            return;
        }
    };
    end(driver, inbox, stop).await;
}

/// Handles the facts of a batch, together with what time has brought.
async fn work(driver: &mut Driver, batch: Batch) {
    let mut facts: Vec<Input> = batch.statuses.into_iter().map(Input::Status).collect();
    facts.extend(batch.probes.into_iter().map(Input::Probe));
    let drained = driver.drains.take_drained(std::time::Instant::now());
    facts.extend(drained.into_iter().map(Input::Drained));
    if driver.core.next_wakeup().is_some_and(|at| at <= driver.clock.now()) {
        facts.push(Input::Tick);
    }
    if !facts.is_empty() {
        driver.facts(facts).await;
    }
}

/// Asks the executor which of the stored tasks still run, and waits a little for the answers: what
/// is known to be dead must not be in the first catalog.
async fn adopt(driver: &mut Driver, inbox: &mut Inbox) -> Effects {
    let mut effects = Effects::default();
    let tasks: Vec<_> =
        driver.core.state().tasks.values().flat_map(|t| t.values()).cloned().collect();
    let mut silent: HashSet<TaskId> = tasks.iter().map(|t| t.id.clone()).collect();
    let total = silent.len();
    driver.executor.adopt(tasks);
    let deadline = Instant::now() + ADOPTION;
    let mut updates = Vec::with_capacity(total);
    while !silent.is_empty() {
        match timeout_at(deadline, inbox.statuses.recv()).await {
            Ok(Some(update)) => {
                silent.remove(&update.task);
                updates.push(update);
            }
            Ok(None) => break,
            Err(_) => {
                warn!(tasks = silent.len(), "the executor has not told yet what became of them");
                break;
            }
        }
    }
    // Who is gone is told first: nothing may be decided on the word of a task that only the store
    // still believes to run, such as draining an old one because its successor serves.
    let (gone, here): (Vec<_>, Vec<_>) = updates.into_iter().partition(|u| u.state.is_terminal());
    for update in gone.into_iter().chain(here) {
        effects.merge(driver.handle(Input::Status(update)));
    }
    if total > 0 {
        info!(stored = total, running = driver.core.state().task_apps.len(), "adopted tasks");
    }
    effects
}

/// Ends everything in order.
async fn end(mut driver: Driver, mut inbox: Inbox, stop: Stop) {
    inbox.requests.close();
    if !stop.keep_tasks {
        end_tasks(&mut driver, &mut inbox).await;
    }
    let result = driver.commit().await;
    // Who waited for an answer gets "stopping" from the closed channel. Dropping the driver closes
    // the store; only then the caller may go on.
    drop(driver);
    drop(inbox);
    let _ = stop.done.send(result);
}

async fn end_tasks(driver: &mut Driver, inbox: &mut Inbox) {
    let tasks = driver.core.state().tasks.values().flat_map(|t| t.values());
    let grace = tasks.filter_map(|t| t.app.kill_grace_period).max().unwrap_or(DEFAULT_KILL_GRACE);
    let deadline = Instant::now() + grace.max(DEFAULT_KILL_GRACE) + STOP_SLACK;
    driver.facts(vec![Input::Shutdown]).await;
    while !driver.core.state().tasks.is_empty() {
        match timeout_at(deadline, inbox.statuses.recv()).await {
            Ok(Some(update)) => driver.facts(vec![Input::Status(update)]).await,
            Ok(None) => return,
            Err(_) => {
                let left = driver.core.state().task_apps.len();
                warn!(tasks = left, "some tasks have not ended in time");
                return;
            }
        }
    }
}

impl Inbox {
    /// Waits until there is something to do, and takes what is there.
    async fn next(&mut self, driver: &Driver) -> Batch {
        let mut batch = Batch::default();
        let timer = driver.next_timer();
        let has_statuses = is_open(&self.statuses);
        let has_requests = is_open(&self.requests);
        tokio::select! {
            n = self.statuses.recv_many(&mut batch.statuses, MAX_BATCH), if has_statuses => {
                if n == 0 {
                    warn!("the executor is gone");
                }
            }
            _ = self.probes.recv_many(&mut batch.probes, MAX_BATCH) => {}
            _ = self.requests.recv_many(&mut batch.requests, MAX_BATCH), if has_requests => {}
            Some(order) = self.orders.recv() => batch.order = Some(order),
            () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {}
        }
        take(&mut self.statuses, &mut batch.statuses);
        take(&mut self.probes, &mut batch.probes);
        take(&mut self.requests, &mut batch.requests);
        batch
    }
}

/// Whether something may still come: a closed channel would be ready for ever.
fn is_open<T>(receiver: &mpsc::Receiver<T>) -> bool {
    !receiver.is_closed() || !receiver.is_empty()
}

/// Takes what is waiting without waiting for more.
fn take<T>(receiver: &mut mpsc::Receiver<T>, into: &mut Vec<T>) {
    while into.len() < MAX_BATCH
        && let Ok(item) = receiver.try_recv()
    {
        into.push(item);
    }
}

impl Batch {
    fn len(&self) -> usize {
        self.statuses.len() + self.probes.len() + self.requests.len()
    }
}

impl Driver {
    /// When something is to be done although nothing comes in.
    fn next_timer(&self) -> Option<Instant> {
        let core = self.core.next_wakeup().map(|at| self.clock.instant(at));
        let drains = (self.drains.len() > 0).then(|| Instant::now() + POLL);
        [core, drains, self.persistence.due()].into_iter().flatten().min()
    }
}
