//! Taking tasks back after a restart of the control plane.
//!
//! What the executor must know lies in the records. A task is ours again when the process that its
//! record names has the recorded start time, in this boot of the machine.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use waymark_model::{Task, TaskId, TaskState};

use super::follow::{Ended, end_runner, of_record};
use super::runner_process::RunnerProcess;
use super::workplace::folder;
use super::{DEFAULT_GRACE, Inner, Orders, lock};
use crate::procfs;
use crate::runner::Record;

/// How often a record is looked at for the number of a task that is just being started.
const START_LOOKS: u32 = 200;
/// The time between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Records by the name of their file, which is that of the task's folder.
type Records = HashMap<String, Record>;

impl Inner {
    /// Gives each task its status and follows those that run; ends all others that were left here.
    pub async fn adopt(self: Arc<Self>, tasks: Vec<(Arc<Task>, Orders)>) {
        let inner = Arc::clone(&self);
        let read = tokio::task::spawn_blocking(move || inner.read_records()).await;
        let mut records = read.unwrap_or_default();

        let mut lost: Vec<(TaskId, Ended)> = Vec::new();
        for (task, orders) in tasks {
            let record = folder(&task.id).and_then(|name| records.remove(&name));
            match self.state_of(record) {
                Found::Alive(runner, record) => {
                    let inner = Arc::clone(&self);
                    self.spawn(inner.resume(task, orders, runner, record));
                }
                Found::Ended(ended) => {
                    let inner = Arc::clone(&self);
                    self.spawn(async move { inner.finish(&task.id, ended).await });
                }
                Found::Lost(reason) => {
                    lost.push((task.id.clone(), Ended(TaskState::Lost, reason.to_owned())));
                }
            }
        }
        let names = lost.iter().filter_map(|(id, _)| folder(id)).collect();
        let ids = lost.iter().map(|(id, _)| id.to_string()).collect();
        self.sweep_later(ids, names).await;
        for (id, ended) in lost {
            let inner = Arc::clone(&self);
            self.spawn(async move { inner.finish(&id, ended).await });
        }
        self.end_strangers(records).await;
    }

    async fn resume(
        self: Arc<Self>,
        task: Arc<Task>,
        mut orders: Orders,
        runner: RunnerProcess,
        record: Record,
    ) {
        let ended = match self.command_of(&runner, record).await {
            Some(pid) => {
                let message = format!("adopted, process {pid}");
                self.told_running(&task, message, &runner, &mut orders).await
            }
            None => self.follow(&task, &runner, &mut orders).await,
        };
        self.finish(&task.id, ended).await;
    }

    /// The number of a task's main process. A runner whose record has none is just starting the
    /// task, or is about to find that nobody waits for it and to end.
    async fn command_of(&self, runner: &RunnerProcess, mut record: Record) -> Option<i32> {
        let path = self.records().join(folder(&TaskId::from_text(&record.task))?);
        for _ in 0..START_LOOKS {
            if record.command.is_some() || runner.has_ended() {
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
            record = Record::read(&path).unwrap_or(record);
        }
        record.command
    }

    fn read_records(&self) -> Records {
        let entries = fs::read_dir(self.records()).into_iter().flatten().flatten();
        entries
            .filter_map(|e| Some((e.file_name().into_string().ok()?, Record::read(&e.path())?)))
            .collect()
    }

    fn state_of(&self, record: Option<Record>) -> Found {
        let Some(record) = record else {
            return Found::Lost("vanished while Waymark was away");
        };
        if record.end.is_some() {
            return Found::Ended(of_record(&record, false));
        }
        if let Ok(runner) = RunnerProcess::open(record.runner)
            && record.runner_is_alive()
            && !runner.has_ended()
        {
            return Found::Alive(runner, record);
        }
        // It may have ended since its record was read.
        let name = folder(&TaskId::from_text(&record.task)).unwrap_or_default();
        match Record::read(&self.records().join(name)) {
            Some(record) if record.end.is_some() => Found::Ended(of_record(&record, false)),
            _ if record.boot != procfs::boot_id() => {
                Found::Lost("ended when the machine restarted")
            }
            _ => Found::Lost("vanished while Waymark was away"),
        }
    }

    /// Ends the tasks of records that nobody asked for, and brings the sandboxes into the order in
    /// which they will be removed.
    async fn end_strangers(self: &Arc<Self>, records: Records) {
        let mut gone = HashSet::new();
        for (name, record) in records {
            let id = TaskId::from_text(&record.task);
            // A task launched since the adoption began has a record and is in the table.
            if lock(&self.tasks).contains_key(&id) {
                continue;
            }
            match self.state_of(Some(record)) {
                Found::Alive(runner, _) => {
                    tracing::info!(task = %id, "a task that is not wanted any more is ended");
                    let inner = Arc::clone(self);
                    self.spawn(async move {
                        end_runner(&runner, DEFAULT_GRACE, &id).await;
                        inner.sweep_task(&id).await;
                        let _ = tokio::task::spawn_blocking(move || inner.tidy_up(name)).await;
                    });
                }
                Found::Ended(_) => {}
                Found::Lost(_) => {
                    gone.insert((id.to_string(), name));
                }
            }
        }
        let (ids, names) = gone.into_iter().unzip();
        self.sweep_later(ids, names).await;
        let inner = Arc::clone(self);
        let _ = tokio::task::spawn_blocking(move || inner.tidy_up_all()).await;
    }

    /// Tidies up after every task that has a folder and does not run, the oldest first.
    fn tidy_up_all(&self) {
        let entries = fs::read_dir(&self.config.sandbox_root).into_iter().flatten().flatten();
        let mut folders: Vec<(SystemTime, String)> = entries
            .filter_map(|e| {
                let age = e.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                Some((age, e.file_name().into_string().ok()?))
            })
            .filter(|(_, name)| !name.starts_with('.'))
            .collect();
        folders.sort();
        for (_, name) in folders {
            let runs = Record::read(&self.records().join(&name))
                .is_some_and(|r| r.end.is_none() && r.runner_is_alive());
            let known = lock(&self.tasks).keys().any(|id| folder(id).as_deref() == Some(&*name));
            if !runs && !known {
                self.tidy_up(name);
            }
        }
    }
}

enum Found {
    Alive(RunnerProcess, Record),
    Ended(Ended),
    Lost(&'static str),
}
