//! The simulated executor with one app held back: its tasks are not healthy until told so, all
//! others are at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use waymark_control::simulated::SimulatedExecutor;
use waymark_executors::{CommandFuture, Executor};
use waymark_model::{AppId, Task, TaskId};

/// Simulates tasks and tells of each launch of the measured app.
pub struct HoldingBack {
    simulated: Arc<SimulatedExecutor>,
    measured: AppId,
    launches: Sender<Arc<Task>>,
}

impl HoldingBack {
    /// Holds back `measured`; its launches go to `launches`. New tasks of `simulated` have to be
    /// healthy.
    pub fn new(
        simulated: Arc<SimulatedExecutor>,
        measured: AppId,
        launches: Sender<Arc<Task>>,
    ) -> HoldingBack {
        HoldingBack { simulated, measured, launches }
    }
}

impl Executor for HoldingBack {
    fn launch(&self, task: Arc<Task>) {
        self.simulated.launch(task.clone());
        if *task.app_id() == self.measured {
            // The first probe follows from the launch, so it cannot have come before this.
            self.simulated.set_healthy(&task.id, false);
            // Nobody listens any more at the end.
            let _ = self.launches.send(task);
        }
    }

    fn kill(&self, task: &TaskId, grace: Duration) {
        self.simulated.kill(task, grace);
    }

    fn adopt(&self, tasks: Vec<Arc<Task>>) {
        self.simulated.adopt(tasks);
    }

    fn port_is_free(&self, port: u16) -> bool {
        self.simulated.port_is_free(port)
    }

    fn run_command(&self, task: &TaskId, command: &str, timeout: Duration) -> CommandFuture {
        self.simulated.run_command(task, command, timeout)
    }

    fn sandbox(&self, task: &TaskId) -> Option<PathBuf> {
        self.simulated.sandbox(task)
    }

    fn limitations(&self) -> Vec<String> {
        self.simulated.limitations()
    }
}
