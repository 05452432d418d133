//! Killing tasks because somebody asked for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use waymark_model::{App, AppId, Task, TaskId};

use super::{Context, Core};
use crate::replace::{self, Reason};
use crate::{Accepted, Change, Refusal};

impl Core {
    /// Kills tasks; unknown ones are skipped. With `scale` fewer are wanted from then on.
    pub(super) fn kill(
        &mut self,
        ids: &[TaskId],
        scale: bool,
        force: bool,
        cx: &mut Context<'_>,
    ) -> Result<Accepted, Refusal> {
        if self.shutdown {
            return Err(Refusal::Stopping);
        }
        let ids: BTreeSet<&TaskId> = ids.iter().collect();
        let tasks: Vec<Arc<Task>> =
            ids.into_iter().filter_map(|id| self.state.task(id).cloned()).collect();
        let mut accepted = if scale {
            self.apply(self.scaled_by(&tasks), force, cx)?
        } else {
            Accepted { version: self.state.root.version, ..Accepted::default() }
        };
        for task in &tasks {
            self.leave(task, Reason::Request, cx);
        }
        accepted.killed = tasks;
        Ok(accepted)
    }

    /// The apps of the tasks with that many fewer instances. Tasks that leave anyway were not
    /// counted as instances and make no difference.
    fn scaled_by(&self, tasks: &[Arc<Task>]) -> Change {
        let mut fewer: BTreeMap<&AppId, u32> = BTreeMap::new();
        for task in tasks.iter().filter(|t| !replace::is_leaving(t)) {
            *fewer.entry(task.app_id()).or_default() += 1;
        }
        let scaled = fewer.into_iter().filter_map(|(id, count)| {
            let app = self.state.root.apps.get(id)?;
            let instances = app.instances.saturating_sub(count);
            Some((id.clone(), Some(App { instances, ..App::clone(app) })))
        });
        Change { apps: scaled.collect(), ..Change::default() }
    }

    /// Forgets an app's launch delay.
    pub(super) fn reset_delay(&mut self, app: &AppId, cx: &mut Context<'_>) -> Accepted {
        if self.state.delays.remove(app).is_some() {
            cx.touched.insert(app.clone());
        }
        Accepted { version: self.state.root.version, ..Accepted::default() }
    }
}
