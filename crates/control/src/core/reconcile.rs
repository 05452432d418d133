//! Looking at one app and doing what it needs now.

use std::sync::Arc;

use waymark_model::host_ports::demand;
use waymark_model::{App, AppId, Task, Timestamp};

use super::{Context, Core, Happening, Key};
use crate::replace::{self, Capacity, Reason};

impl Core {
    /// Brings one app nearer to what is wanted of it, and sets when to look again.
    pub(super) fn reconcile(&mut self, id: &AppId, cx: &mut Context<'_>) {
        let overdue = self.kill_overdue(id, cx);
        let mut launch = None;
        if !self.shutdown {
            let wanted = self.wanted(id);
            let app = wanted.as_deref();
            let capacity = app.map_or(Capacity { min_serving: 0, max_live: 0 }, |app| {
                Capacity::of(app, self.is_in_its_own_way(app))
            });
            let steps = replace::steps(app, self.state.tasks.get(id), capacity);
            for (task, reason) in steps.leave {
                if let Some(task) = self.state.task(&task).cloned() {
                    self.leave(&task, reason, cx);
                }
            }
            launch = match &wanted {
                Some(app) => self.launch_missing(app, steps.launch, cx),
                None => {
                    self.state.waiting.remove(id);
                    None
                }
            };
        }
        let leaving = self.drive_leaving(id, cx);
        self.set_wakeup(id, [overdue, launch, leaving].into_iter().flatten().min());
        self.forget_removed(id, cx);
        // What this did to the app's own tasks needs no second look.
        cx.touched.remove(id);
    }

    /// Kills tasks that take too long to run; tells when the next would.
    fn kill_overdue(&mut self, id: &AppId, cx: &mut Context<'_>) -> Option<Timestamp> {
        let starting = |t: &&Arc<Task>| t.started_at.is_none() && !replace::is_leaving(t);
        let starting: Vec<_> = self.state.tasks_of(id).filter(starting).cloned().collect();
        let mut next: Option<Timestamp> = None;
        for task in starting {
            let deadline = task.staged_at + self.settings.launch_timeout;
            if deadline <= cx.now {
                self.leave(&task, Reason::Overdue, cx);
            } else {
                next = Some(next.map_or(deadline, |n| n.min(deadline)));
            }
        }
        next
    }

    /// Whether a task of the app needs a host port that an outdated one of it has.
    fn is_in_its_own_way(&self, app: &App) -> bool {
        let demand = demand(app, &self.settings.service_ports);
        let fixed: Vec<u16> = demand.iter().filter_map(|d| d.port).filter(|p| *p != 0).collect();
        let has = |task: &Task| task.host_ports.iter().flatten().any(|p| fixed.contains(p));
        let outdated = |task: &Task| !replace::is_current(task, app);
        !fixed.is_empty() && self.state.tasks_of(&app.id).any(|t| outdated(t) && has(t))
    }

    /// When the last task of a removed app is gone, nothing of the app is kept.
    fn forget_removed(&mut self, id: &AppId, cx: &mut Context<'_>) {
        if !self.removed.contains(id) {
            return;
        }
        if self.state.root.apps.contains_key(id) {
            self.removed.remove(id);
        } else if !self.state.tasks.contains_key(id) {
            self.removed.remove(id);
            self.state.delays.remove(id);
            if self.state.failures.remove(id).is_some() {
                cx.out.writes.insert(Key::Failure(id.clone()));
            }
            // Its old versions were kept for its tasks.
            cx.out.writes.insert(Key::App(id.clone()));
            cx.out.catalog.insert(id.clone());
            cx.happened(Happening::AppTerminated(id.clone()));
        }
    }
}
