//! An executor that runs nothing: tasks run at once and are healthy when told so. For benchmarks and
//! tests that need many tasks.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use waymark_executors::{CommandFuture, Executor, StatusUpdate};
use waymark_model::{Task, TaskId, TaskState};

/// Pretends to run tasks.
pub struct SimulatedExecutor {
    updates: mpsc::UnboundedSender<StatusUpdate>,
    /// The tasks that "run", each with its health.
    tasks: Mutex<HashMap<TaskId, watch::Sender<bool>>>,
    healthy: bool,
}

impl SimulatedExecutor {
    /// An executor that tells what becomes of tasks by `updates`. `healthy` is what `COMMAND`
    /// checks of a new task find before [`SimulatedExecutor::set_healthy`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(updates: mpsc::Sender<StatusUpdate>, healthy: bool) -> Arc<SimulatedExecutor> {
        // Calls of an executor must not block, so a full channel is waited for beside them.
        let (sender, mut receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(update) = receiver.recv().await {
                if updates.send(update).await.is_err() {
                    return;
                }
            }
        });
        Arc::new(SimulatedExecutor { updates: sender, tasks: Mutex::default(), healthy })
    }

    /// Sets what `COMMAND` checks of a task find. One that waits for better health ends at once.
    pub fn set_healthy(&self, task: &TaskId, healthy: bool) {
        if let Some(health) = self.tasks().get(task) {
            health.send_replace(healthy);
        }
    }

    /// Makes the tasks of another executor its own, as those of a machine stay when Waymark starts
    /// anew.
    pub fn take_over(&self, before: &SimulatedExecutor) {
        self.tasks().extend(before.tasks().drain());
    }

    /// Ends a task as if its process had exited.
    pub fn crash(&self, task: &TaskId, state: TaskState) {
        if self.tasks().remove(task).is_some() {
            self.tell(task, state, "crashed as asked");
        }
    }

    /// How many tasks "run".
    pub fn len(&self) -> usize {
        self.tasks().len()
    }

    /// Whether no task "runs".
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<TaskId, watch::Sender<bool>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, task: &TaskId, state: TaskState, message: &str) {
        let update = StatusUpdate { task: task.clone(), state, message: message.to_owned() };
        // Nobody listens any more when the control plane has stopped.
        let _ = self.updates.send(update);
    }
}

impl Executor for SimulatedExecutor {
    fn launch(&self, task: Arc<Task>) {
        self.tasks().insert(task.id.clone(), watch::Sender::new(self.healthy));
        self.tell(&task.id, TaskState::Running, "");
    }

    fn kill(&self, task: &TaskId, _: Duration) {
        let state = match self.tasks().remove(task) {
            Some(_) => TaskState::Killed,
            None => TaskState::Lost,
        };
        self.tell(task, state, "");
    }

    fn adopt(&self, tasks: Vec<Arc<Task>>) {
        let known: std::collections::HashSet<&TaskId> = tasks.iter().map(|t| &t.id).collect();
        self.tasks().retain(|id, _| known.contains(id));
        for task in &tasks {
            let runs = self.tasks().contains_key(&task.id);
            let state = if runs { TaskState::Running } else { TaskState::Lost };
            self.tell(&task.id, state, "");
        }
    }

    fn port_is_free(&self, _: u16) -> bool {
        true
    }

    /// Succeeds as soon as the task is healthy, and fails when it is not so in time.
    fn run_command(&self, task: &TaskId, _: &str, timeout: Duration) -> CommandFuture {
        let health = self.tasks().get(task).map(watch::Sender::subscribe);
        Box::pin(async move {
            let Some(mut health) = health else { return Err("the task is gone".to_owned()) };
            match tokio::time::timeout(timeout, health.wait_for(|healthy| *healthy)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) => Err("the task is gone".to_owned()),
                Err(_) => Err("the task is not healthy".to_owned()),
            }
        })
    }

    fn sandbox(&self, _: &TaskId) -> Option<PathBuf> {
        None
    }

    fn limitations(&self) -> Vec<String> {
        vec!["tasks are simulated: nothing runs".to_owned()]
    }
}
