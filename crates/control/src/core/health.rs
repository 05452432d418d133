//! What probes found.

use std::sync::Arc;

use waymark_health::{CheckId, Outcome, ProbeReport, record};
use waymark_model::{HealthCheck, HealthResult, Task};

use super::{Context, Core, Happening};
use crate::replace::{self, Reason};

impl Core {
    /// Reports of tasks that are gone or told to end say nothing any more.
    pub(super) fn probe(&mut self, report: ProbeReport, cx: &mut Context<'_>) {
        let Some(task) = self.state.task(&report.task).cloned() else { return };
        if task.started_at.is_none() || task.state == waymark_model::TaskState::Killing {
            return;
        }
        match report.check {
            CheckId::Health(index) => self.health_probe(&task, index, report.outcome, cx),
            CheckId::Readiness(index) => self.readiness_probe(&task, index, report, cx),
        }
    }

    fn health_probe(
        &mut self,
        task: &Arc<Task>,
        index: usize,
        outcome: Outcome,
        cx: &mut Context<'_>,
    ) {
        let Some(check) = task.app.health_checks.get(index) else { return };
        let mut after = Task::clone(task);
        let was_healthy = task.healthy();
        let Some(result) = after.health.get_mut(index) else { return };
        let failures = count(result);
        let started = task.started_at.unwrap_or(task.staged_at);
        let verdict = record(check, result, started, outcome, cx.now);
        let failed = count(result) > failures;
        let reason = verdict.kill.then(|| kill_reason(check, result.as_ref()));

        let healthy = after.healthy();
        let task = if verdict.changed { self.put_task(after, cx) } else { self.renew_task(after) };
        if failed {
            cx.happened(Happening::ProbeFailed { task: task.clone(), check: index });
        }
        if let Some(alive) = healthy.filter(|_| healthy != was_healthy) {
            cx.happened(Happening::Health { task: task.clone(), alive });
        }
        if let Some(reason) = reason {
            self.put_failure(&task, &reason, cx);
            cx.happened(Happening::UnhealthyKill { task: task.clone(), reason });
            self.leave(&task, Reason::Unhealthy, cx);
        }
    }

    /// Puts a form of the task that differs in nothing that anybody acts on or stores.
    fn renew_task(&mut self, task: Task) -> Arc<Task> {
        let task = Arc::new(task);
        if let Some(tasks) = self.state.tasks.get_mut(task.app_id()) {
            tasks.insert(task.id.clone(), task.clone());
        }
        task
    }

    fn readiness_probe(
        &mut self,
        task: &Arc<Task>,
        index: usize,
        report: ProbeReport,
        cx: &mut Context<'_>,
    ) {
        let Some(check) = task.app.readiness_checks.get(index).filter(|_| !task.ready) else {
            return;
        };
        let known = self.state.readiness.get(&task.id);
        let mut readiness = known.map(|r| (**r).clone()).unwrap_or_default();
        let ready = readiness.record(check, &report.outcome, report.response);
        self.state.readiness.insert(task.id.clone(), Arc::new(readiness));
        if ready && !replace::is_leaving(task) {
            self.put_task(Task { ready: true, ..Task::clone(task) }, cx);
        }
    }
}

fn count(result: &Option<HealthResult>) -> u32 {
    result.as_ref().map_or(0, |r| r.consecutive_failures)
}

fn kill_reason(check: &HealthCheck, result: Option<&HealthResult>) -> String {
    let cause = result.and_then(|r| r.last_failure_cause.as_deref()).unwrap_or("it failed");
    format!(
        "{:?} health check failed {} times in a row, last: {cause}",
        check.protocol,
        result.map_or(0, |r| r.consecutive_failures)
    )
}
