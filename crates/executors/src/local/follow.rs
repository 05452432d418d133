//! From a running task to its terminal status.

use std::collections::HashSet;
use std::fs;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::time::timeout;
use waymark_model::{Task, TaskId, TaskState};

use super::runner_process::RunnerProcess;
use super::workplace::folder;
use super::{DEFAULT_GRACE, Inner, Orders, lock};
use crate::procfs;
use crate::runner::{End, Record};
use crate::sys::{pidfd_open, pidfd_signal};

/// How long after the grace period a runner may take to end before it is killed itself. It only
/// takes so long when it was stopped, or waits for a process that not even KILL ends.
const RUNNER_PATIENCE: Duration = Duration::from_secs(5);
/// How often the processes of a task without runner are looked for and killed.
const SWEEPS: u32 = 20;
/// The time between two sweeps.
const BETWEEN_SWEEPS: Duration = Duration::from_millis(5);

/// A terminal state and its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended(pub TaskState, pub String);

impl Inner {
    /// Tells that a task runs, and follows it. At the same time, so that no slow reader of statuses
    /// holds up its end; their channel keeps the order in which they were sent.
    pub async fn told_running(
        self: &Arc<Self>,
        task: &Arc<Task>,
        message: String,
        runner: &RunnerProcess,
        orders: &mut Orders,
    ) -> Ended {
        let told = self.send(&task.id, TaskState::Running, message);
        tokio::join!(told, self.follow(task, runner, orders)).1
    }

    /// Waits for the end of a task, or ends it when that is ordered.
    pub async fn follow(
        self: &Arc<Self>,
        task: &Arc<Task>,
        runner: &RunnerProcess,
        orders: &mut Orders,
    ) -> Ended {
        let told = tokio::select! {
            biased;
            () = runner.ended() => false,
            grace = ordered(orders) => {
                // At once, so that no slow reader of statuses holds up the end.
                tokio::join!(
                    self.send(&task.id, TaskState::Killing, String::new()),
                    end_runner(runner, grace, &task.id),
                );
                true
            }
        };
        let inner = Arc::clone(self);
        let its = Arc::clone(task);
        let found = tokio::task::spawn_blocking(move || inner.outcome(&its, told)).await;
        found.unwrap_or_else(|e| Ended(TaskState::Lost, format!("its end could not be read: {e}")))
    }

    /// What the record says of a task whose runner has ended. Blocks.
    fn outcome(&self, task: &Task, told: bool) -> Ended {
        let Some(name) = folder(&task.id) else {
            return Ended(TaskState::Lost, "it has no record".to_owned());
        };
        let record = Record::read(&self.records().join(&name));
        let ended = match &record {
            Some(record) if record.end.is_some() => of_record(record, told),
            _ => {
                self.sweep(&HashSet::from([task.id.to_string()]), std::slice::from_ref(&name));
                let state = if told { TaskState::Killed } else { TaskState::Failed };
                Ended(
                    state,
                    "Command terminated by signal 9 (SIGKILL), as its runner was".to_owned(),
                )
            }
        };
        let group = self.cgroups.as_ref().ok().and_then(|c| c.existing(&name));
        match (ended, group) {
            (Ended(TaskState::Failed, message), Some(group)) if group.ran_out_of_memory() => {
                let limit = task.app.resources.mem;
                Ended(TaskState::Failed, format!("Memory limit of {limit} MiB exceeded: {message}"))
            }
            (ended, _) => ended,
        }
    }

    /// Reports the end of a task, and tidies up.
    pub async fn finish(self: &Arc<Self>, task: &TaskId, ended: Ended) {
        tracing::debug!(%task, state = ended.0.as_str(), message = ended.1, "a task has ended");
        lock(&self.tasks).remove(task);
        self.send(task, ended.0, ended.1).await;
        if let Some(name) = folder(task) {
            let inner = Arc::clone(self);
            let tidied = tokio::task::spawn_blocking(move || inner.tidy_up(name)).await;
            if let Err(error) = tidied {
                tracing::warn!(%task, %error, "the sandbox of an ended task could not be tidied up");
            }
        }
    }

    /// Removes the control group of an ended task, and the sandboxes that are one too many now.
    pub fn tidy_up(&self, name: String) {
        if let Some(group) = self.cgroups.as_ref().ok().and_then(|c| c.existing(&name)) {
            group.remove();
        }
        let surplus = lock(&self.retention).ended(name);
        for name in surplus {
            // What cannot be removed now is found again at the next start.
            let _ = fs::remove_dir_all(self.config.sandbox_root.join(&name));
            let _ = fs::remove_file(self.records().join(&name));
        }
    }

    /// Kills what is left of a task whose runner is gone.
    pub async fn sweep_task(self: &Arc<Self>, task: &TaskId) {
        self.sweep_later(HashSet::from([task.to_string()]), folder(task).into_iter().collect())
            .await;
    }

    /// [`Inner::sweep`] on a thread that may block.
    pub async fn sweep_later(self: &Arc<Self>, ids: HashSet<String>, names: Vec<String>) {
        let inner = Arc::clone(self);
        if let Err(error) = tokio::task::spawn_blocking(move || inner.sweep(&ids, &names)).await {
            tracing::warn!(%error, "the processes of lost tasks could not be looked for");
        }
    }

    /// Kills what is left of tasks whose runners are gone: the members of their control groups, and
    /// whatever has their ids in its environment. Blocks.
    pub fn sweep(&self, ids: &HashSet<String>, names: &[String]) {
        if ids.is_empty() {
            return;
        }
        if let Ok(cgroups) = &self.cgroups {
            names.iter().filter_map(|n| cgroups.existing(n)).for_each(|group| group.kill());
        }
        for _ in 0..SWEEPS {
            let left = procfs::processes_of_tasks(ids);
            if left.is_empty() {
                return;
            }
            for pid in left {
                kill_of_tasks(pid, ids);
            }
            thread::sleep(BETWEEN_SWEEPS);
        }
    }
}

/// Kills the process with this number if it is one of these tasks', and no other that has been given
/// the number meanwhile.
fn kill_of_tasks(pid: i32, ids: &HashSet<String>) {
    let Ok(fd) = pidfd_open(Pid::from_raw(pid)) else { return };
    if procfs::is_of_tasks(pid, ids) {
        // ESRCH when it has just ended.
        let _ = pidfd_signal(fd.as_fd(), Signal::SIGKILL, 0);
    }
}

/// The terminal status of a task whose record has an end.
pub fn of_record(record: &Record, told: bool) -> Ended {
    let Some(end) = &record.end else {
        return Ended(TaskState::Lost, "it has no recorded end".to_owned());
    };
    let state = match end {
        End::NotStarted(_) => TaskState::Failed,
        _ if told || record.told => TaskState::Killed,
        End::Exited(0) => TaskState::Finished,
        End::Exited(_) | End::Signalled(_) => TaskState::Failed,
    };
    Ended(state, end.message())
}

/// Ends a task by its runner; returns when the runner has ended.
pub async fn end_runner(runner: &RunnerProcess, grace: Duration, task: &impl std::fmt::Display) {
    runner.terminate(grace);
    if timeout(grace.saturating_add(RUNNER_PATIENCE), runner.ended()).await.is_err() {
        tracing::warn!(%task, "the runner of a task did not end it; it is killed itself");
        runner.kill();
        runner.ended().await;
    }
}

/// The grace period, once there is an order to end the task.
async fn ordered(orders: &mut Orders) -> Duration {
    match orders.wait_for(Option::is_some).await.map(|order| *order) {
        Ok(order) => order.unwrap_or(DEFAULT_GRACE),
        // The table's entry goes only after the end.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let not_started = End::NotStarted("no such program".to_owned());
        for (end, told, state, message) in [
            (End::Exited(0), false, TaskState::Finished, "Command exited with status 0"),
            (End::Exited(3), false, TaskState::Failed, "Command exited with status 3"),
            (End::Exited(0), true, TaskState::Killed, "Command exited with status 0"),
            (
                End::Signalled(11),
                false,
                TaskState::Failed,
                "Command terminated by signal 11 (SIGSEGV)",
            ),
            (
                End::Signalled(15),
                true,
                TaskState::Killed,
                "Command terminated by signal 15 (SIGTERM)",
            ),
            (not_started, true, TaskState::Failed, "no such program"),
        ] {
            let mut record = Record::of_this_process("t");
            record.end = Some(end);
            assert_eq!(of_record(&record, told), Ended(state, message.to_owned()));
            record.told = told;
            assert_eq!(of_record(&record, false), Ended(state, message.to_owned()));
        }
    }
}
