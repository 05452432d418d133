//! What the executor tells about tasks.

use std::sync::Arc;

use waymark_executors::StatusUpdate;
use waymark_model::{Task, TaskState};

use super::effects::Kill;
use super::{Context, Core, DEFAULT_KILL_GRACE, Happening, Key};
use crate::replace::{self, Reason};
use crate::{Failure, backoff};

impl Core {
    pub(super) fn status(&mut self, update: StatusUpdate, cx: &mut Context<'_>) {
        match self.state.task(&update.task).cloned() {
            None => unknown(update, cx),
            Some(task) if update.state.is_terminal() => self.ended(&task, update, cx),
            // A state that lies behind is old news, for example from an adoption.
            Some(task) if rank(update.state) > rank(task.state) => {
                self.forward(&task, update, cx);
            }
            Some(_) => {}
        }
    }

    fn forward(&mut self, task: &Arc<Task>, update: StatusUpdate, cx: &mut Context<'_>) {
        let runs = update.state == TaskState::Running;
        let started_at = task.started_at.or(runs.then_some(cx.now));
        let task = Task { state: update.state, started_at, ..Task::clone(task) };
        let task = self.put_task(task, cx);
        self.progress(&task.app, cx.now);
        if runs && !replace::is_leaving(&task) {
            cx.out.watch.push(task.clone());
        }
        cx.happened(Happening::Status { task, message: update.message });
    }

    fn ended(&mut self, task: &Arc<Task>, update: StatusUpdate, cx: &mut Context<'_>) {
        self.remove_task(task, cx);
        cx.out.forget.push(task.id.clone());
        let killed = task.state == TaskState::Killing;
        let task = Arc::new(Task { state: update.state, ..Task::clone(task) });
        if !killed {
            self.note_failure(&task, &update, cx);
            self.note_crash(&task, cx);
        }
        cx.happened(Happening::Status { task, message: update.message });
    }

    fn note_failure(&mut self, task: &Task, update: &StatusUpdate, cx: &mut Context<'_>) {
        if matches!(update.state, TaskState::Failed | TaskState::Error | TaskState::Lost) {
            self.put_failure(task, &update.message, cx);
        }
    }

    /// Remembers how a task of the app failed last.
    pub(super) fn put_failure(&mut self, task: &Task, message: &str, cx: &mut Context<'_>) {
        let failure = Failure {
            task: task.id.clone(),
            host: task.agent.hostname.clone(),
            agent: task.agent.id.clone(),
            state: task.state,
            message: message.to_owned(),
            at: cx.now,
            version: task.app.version,
        };
        let app = task.app_id().clone();
        self.state.failures.insert(app.clone(), Arc::new(failure));
        cx.out.writes.insert(Key::Failure(app));
    }

    /// A task that ended by itself makes the app's launch delay longer; one that was on its way out
    /// or of an older configuration does not.
    fn note_crash(&mut self, task: &Task, cx: &mut Context<'_>) {
        use TaskState::{Error, Failed, Finished};
        let app = task.app_id();
        let wanted = self.wanted(app);
        let counts = matches!(task.state, Failed | Error | Finished)
            && !replace::is_leaving(task)
            && wanted.is_some_and(|a| replace::is_current(task, &a));
        if counts {
            let delay = self.state.delays.get(app);
            let delay = backoff::after_crash(delay, &task.app.backoff, cx.now);
            self.state.delays.insert(app.clone(), delay);
        }
    }
}

/// Tasks that nobody knows are ended.
fn unknown(update: StatusUpdate, cx: &mut Context<'_>) {
    if update.state.is_terminal() {
        cx.happened(Happening::UnknownTerminated(update.task));
    } else {
        cx.out.kills.push(Kill {
            task: update.task,
            grace: DEFAULT_KILL_GRACE,
            reason: Reason::Unknown,
            again: false,
        });
    }
}

fn rank(state: TaskState) -> u8 {
    match state {
        TaskState::Staging => 0,
        TaskState::Starting => 1,
        TaskState::Running => 2,
        TaskState::Killing => 3,
        _ => 4,
    }
}
