//! How deployments go on: a step is done when all its apps have reached their goals, then the next
//! begins. The plan is data; what there is to do for an app follows from what is wanted of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use waymark_model::{App, AppId};

use super::{Context, Core, Happening, Key, Lock, MAX_DEPLOYMENTS};
use crate::replace;
use crate::{ActionKind, Deployment, DeploymentId, Refusal, Step};

/// What was wanted of each app before a deployment.
pub(super) type Before = BTreeMap<AppId, Option<Arc<App>>>;

impl Core {
    pub(super) fn check_deployment_limit(
        &self,
        needed: bool,
        cancelled: usize,
    ) -> Result<(), Refusal> {
        let running = self.state.deployments.len().saturating_sub(cancelled);
        if needed && running >= MAX_DEPLOYMENTS {
            return Err(Refusal::TooManyDeployments(MAX_DEPLOYMENTS));
        }
        Ok(())
    }

    /// Starts a deployment of the present root. One without steps is finished at once.
    pub(super) fn start_deployment(
        &mut self,
        steps: Vec<Step>,
        before: Before,
        cx: &mut Context<'_>,
    ) -> DeploymentId {
        let affected: OrdSet<AppId> =
            steps.iter().flat_map(|s| &s.actions).map(|a| a.app.clone()).collect();
        let before: OrdMap<AppId, Option<Arc<App>>> =
            before.into_iter().filter(|(app, _)| affected.contains(app)).collect();
        let deployment = Arc::new(Deployment {
            id: DeploymentId::from(cx.uuid()),
            version: self.state.root.version,
            steps,
            current: 0,
            affected,
            before,
        });
        let id = deployment.id.clone();
        if deployment.steps.is_empty() {
            cx.happened(Happening::StepBegun(deployment.clone()));
            cx.happened(Happening::DeploymentDone(deployment));
            return id;
        }
        for app in &deployment.affected {
            cx.app_changed(app);
        }
        self.state.deployments.insert(id.clone(), deployment.clone());
        self.lock(&deployment);
        self.begin_step(&deployment, cx);
        id
    }

    /// Notes which apps the deployment holds, each with the last step that moves it.
    pub(super) fn lock(&mut self, deployment: &Deployment) {
        for (step, actions) in deployment.steps.iter().enumerate() {
            for action in &actions.actions {
                let lock = Lock { deployment: deployment.id.clone(), step };
                self.locks.insert(action.app.clone(), lock);
            }
        }
    }

    /// Notes which apps the current step waits for: those that are not as wanted yet.
    pub(super) fn await_step(&mut self, deployment: &Deployment) {
        let actions = deployment.steps.get(deployment.current).into_iter().flat_map(|s| &s.actions);
        // Making an app known is done with the root.
        let waiting = actions
            .filter(|a| a.kind != ActionKind::Start && !self.has_reached(&a.app))
            .map(|a| a.app.clone())
            .collect();
        self.pending.insert(deployment.id.clone(), waiting);
    }

    fn has_reached(&self, app: &AppId) -> bool {
        replace::is_reached(self.wanted(app).as_deref(), self.state.tasks.get(app))
    }

    fn begin_step(&mut self, deployment: &Arc<Deployment>, cx: &mut Context<'_>) {
        self.await_step(deployment);
        cx.out.writes.insert(Key::Deployment(deployment.id.clone()));
        for app in self.pending.get(&deployment.id).into_iter().flatten() {
            // A delay is one of the configuration before.
            self.state.delays.remove(app);
            cx.touched.insert(app.clone());
        }
        cx.happened(Happening::StepBegun(deployment.clone()));
    }

    /// Called after an app was reconciled: its deployment need not wait for it any more when it has
    /// reached its goal. An app that falls behind again later does not hold the deployment up.
    pub(super) fn note_progress(&mut self, app: &AppId) {
        let Some(deployment) = self.locks.get(app).map(|l| l.deployment.clone()) else { return };
        if self.pending.get(&deployment).is_none_or(|p| !p.contains(app)) {
            return;
        }
        if self.has_reached(app)
            && let Some(pending) = self.pending.get_mut(&deployment)
        {
            pending.remove(app);
        }
    }

    /// Moves every deployment on whose current step is done. Returns whether there was one.
    pub(super) fn advance_deployments(&mut self, cx: &mut Context<'_>) -> bool {
        let done: Vec<DeploymentId> = self
            .pending
            .iter()
            .filter(|(_, apps)| apps.is_empty())
            .map(|(id, _)| id.clone())
            .collect();
        for id in &done {
            self.finish_step(id, cx);
        }
        !done.is_empty()
    }

    fn finish_step(&mut self, id: &DeploymentId, cx: &mut Context<'_>) {
        let Some(deployment) = self.state.deployments.get(id).cloned() else {
            self.pending.remove(id);
            return;
        };
        cx.happened(Happening::StepDone(deployment.clone()));
        let next = Deployment { current: deployment.current + 1, ..Deployment::clone(&deployment) };
        if next.current < next.steps.len() {
            let next = Arc::new(next);
            self.state.deployments.insert(id.clone(), next.clone());
            self.begin_step(&next, cx);
        } else {
            self.forget_deployment(&deployment, cx);
            cx.happened(Happening::DeploymentDone(deployment));
        }
    }

    /// Gives a deployment up without undoing anything: its apps go on to what the root wants.
    pub(super) fn cancel_deployment(&mut self, id: &DeploymentId, cx: &mut Context<'_>) {
        if let Some(deployment) = self.state.deployments.get(id).cloned() {
            self.forget_deployment(&deployment, cx);
            for app in &deployment.affected {
                cx.touched.insert(app.clone());
            }
            cx.happened(Happening::DeploymentCancelled(deployment));
        }
    }

    fn forget_deployment(&mut self, deployment: &Deployment, cx: &mut Context<'_>) {
        self.state.deployments.remove(&deployment.id);
        self.pending.remove(&deployment.id);
        for app in &deployment.affected {
            self.locks.remove(app);
        }
        cx.out.writes.insert(Key::Deployment(deployment.id.clone()));
    }
}
