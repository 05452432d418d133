//! Launching tasks: delay, host ports, record.

use std::cell::RefCell;
use std::sync::Arc;

use waymark_model::host_ports::{PortShortage, demand};
use waymark_model::{App, Task, TaskId, TaskState, Timestamp};

use super::{Context, Core, Happening, LAUNCH_RETRY};
use crate::backoff;

impl Core {
    /// Launches up to `missing` tasks as far as the delay and the host ports allow; tells when to
    /// try again.
    pub(super) fn launch_missing(
        &mut self,
        app: &Arc<App>,
        missing: usize,
        cx: &mut Context<'_>,
    ) -> Option<Timestamp> {
        let forget = self.expire_delay(app, cx.now);
        for _ in 0..missing {
            let until = self.state.delays.get(&app.id).map(backoff::until);
            if let Some(until) = until.filter(|until| *until > cx.now) {
                return Some(until);
            }
            if let Err(shortage) = self.launch(app, cx) {
                let reason: Arc<str> = format!("no free host port: {shortage}").into();
                if self.state.waiting.get(&app.id) != Some(&reason) {
                    self.state.waiting.insert(app.id.clone(), reason);
                }
                return Some(cx.now + LAUNCH_RETRY);
            }
        }
        self.state.waiting.remove(&app.id);
        forget
    }

    /// Forgets a delay that nothing has added to for long; else tells when it will be.
    fn expire_delay(&mut self, app: &App, now: Timestamp) -> Option<Timestamp> {
        let expires = backoff::expires(self.state.delays.get(&app.id)?, &app.backoff);
        if expires > now {
            return Some(expires);
        }
        self.state.delays.remove(&app.id);
        None
    }

    fn launch(&mut self, app: &Arc<App>, cx: &mut Context<'_>) -> Result<(), PortShortage> {
        let id = TaskId::new(&app.id, &cx.uuid(), 1);
        let demand = demand(app, &self.settings.service_ports);
        let host = RefCell::new(&mut *cx.host);
        let host_ports = self.host_ports.take(
            &id,
            &demand,
            cx.now,
            &mut || host.borrow_mut().random(),
            &mut |port| host.borrow_mut().port_is_free(port),
        )?;
        // Readiness gates deployments only.
        let gated = !app.readiness_checks.is_empty() && self.locks.contains_key(&app.id);
        let task = Task {
            id,
            app: app.clone(),
            agent: self.settings.agent.clone(),
            state: TaskState::Staging,
            host_ports,
            addresses: Vec::new(),
            staged_at: cx.now,
            started_at: None,
            health: vec![None; app.health_checks.len()],
            ready: !gated,
            draining_since: None,
        };
        let task = self.put_task(task, cx);
        self.progress(app, cx.now);
        cx.happened(Happening::Launching(task.clone()));
        cx.out.launches.push(task);
        Ok(())
    }

    /// A task of the app got one step further: the delay counts from now.
    pub(super) fn progress(&mut self, app: &App, now: Timestamp) {
        if let Some(delay) = self.state.delays.get_mut(&app.id) {
            *delay = backoff::after_progress(*delay, now);
        }
    }
}
