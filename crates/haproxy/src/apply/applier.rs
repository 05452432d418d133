//! The shell that has one configuration after the other applied to one HAProxy, and remembers what it believes of it.
//!
//! Input is a [`Wanted`]; output are HAProxy's state, files, and a [`Status`]. It decides nothing about servers: that is
//! `plan`'s. Never two at once: it is one value, used by one task.

use std::sync::Arc;
use std::time::Instant;

use super::answers::{Info, Servers};
use super::command::{Command, Name};
use super::frame;
use super::install::{Files, InstallError, Staged, replace};
use super::options::{ApplyError, Options, Outcome, Status, Wanted};
use super::plan::{Difference, Leaving, Plan, Running, Why, deviation, difference, plan};
use super::reload::{ReloadError, reload};
use super::socket::SocketError;
use super::state_file;
use super::version::{Capabilities, Version};
use crate::Rendered;

/// Most servers that may wait to be deleted. With more of them HAProxy is reloaded, which forgets them all.
const MOST_LEAVING: usize = 10_000;
/// Applies configurations to one HAProxy.
#[derive(Debug)]
pub struct Applier {
    pub(super) options: Options,
    pub(super) files: Files,
    /// What HAProxy runs, as far as is known.
    pub(super) applied: Option<Arc<Rendered>>,
    /// What the files say: what a HAProxy that started since runs.
    installed: Option<Arc<Rendered>>,
    /// The worker that answered last, and when.
    pub(super) seen: Option<(Info, Instant)>,
    /// Servers to delete, with the options they have.
    pub(super) leaving: Leaving,
    /// When the last of them was put into maintenance.
    pub(super) left_at: Option<Instant>,
    /// Whether the worker takes commands of level `admin`.
    permitted: bool,
    /// Why HAProxy did not answer when it was asked last.
    silent: Option<String>,
    /// Apps that were left out when HAProxy refused a configuration last.
    pub(super) bad: Vec<String>,
    last_reload: Option<Instant>,
    pub(super) status: Status,
}

impl Applier {
    /// An applier that knows nothing of HAProxy yet.
    ///
    /// # Errors
    /// The configuration's folder does not exist.
    pub fn new(options: Options) -> Result<Self, InstallError> {
        let files = Files::new(&options.config)?;
        Ok(Self {
            options,
            files,
            applied: None,
            installed: None,
            seen: None,
            leaving: Leaving::new(),
            left_at: None,
            permitted: true,
            silent: None,
            bad: Vec::new(),
            last_reload: None,
            status: Status::default(),
        })
    }

    /// Where it stands.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Has HAProxy run this.
    ///
    /// # Errors
    /// See [`ApplyError`]; HAProxy runs what it ran. After one the same may be tried again.
    pub async fn apply(&mut self, wanted: &Wanted) -> Result<Outcome, ApplyError> {
        self.status.wanted = wanted.version;
        let outcome = self.try_apply(wanted).await;
        match &outcome {
            Ok(Outcome::Postponed(_)) => {}
            Ok(outcome) => {
                tracing::debug!(version = wanted.version, ?outcome, "HAProxy follows");
                self.status.version = wanted.version;
                self.status.current_at = Some(Instant::now());
                self.status.error = None;
            }
            Err(error) => {
                self.status.failures += 1;
                self.status.error = Some(error.to_string());
            }
        }
        self.status.leaving = self.leaving.len();
        outcome
    }

    async fn try_apply(&mut self, wanted: &Wanted) -> Result<Outcome, ApplyError> {
        self.observe().await;
        let mut plan = self.decide(&wanted.rendered).await;
        if let (Plan::Reload(_), Some(until)) = (&plan, self.too_early()) {
            return Ok(Outcome::Postponed(until));
        }
        let accepted = self.accept(wanted).await?;
        self.bad = accepted.refused.iter().map(|refused| refused.app.clone()).collect();
        self.status.refused = accepted.refused;
        if !Arc::ptr_eq(&accepted.rendered, &wanted.rendered) {
            plan = self.decide(&accepted.rendered).await;
        }
        if let Some(staged) = accepted.staged {
            staged.commit()?;
            if let Err(error) = self.options.archive.keep(&accepted.rendered) {
                tracing::warn!(%error, "the configuration is installed, its copy is not kept");
            }
        }
        let before = self.installed.replace(accepted.rendered.clone());
        match plan {
            Plan::Nothing => {
                self.applied = Some(accepted.rendered);
                Ok(Outcome::Nothing)
            }
            Plan::Runtime(commands) => self.command(accepted.rendered, &commands, before).await,
            Plan::Reload(why) => self.reload(accepted.rendered, why, before).await,
        }
    }

    /// What stands in the status about a HAProxy that does not answer between two changes.
    pub(super) fn say_silent(&mut self) {
        if self.silent.is_some() {
            self.status.error.clone_from(&self.silent);
        } else if self.status.version == self.status.wanted {
            self.status.error = None;
        }
    }

    /// Until when the next reload has to wait.
    fn too_early(&self) -> Option<Instant> {
        let until = self.last_reload? + self.options.spacing;
        (until > Instant::now()).then_some(until)
    }

    /// Finds out whether the worker is the one that was seen last. One that was started since runs what the files say,
    /// if its servers do not show something else.
    pub(super) async fn observe(&mut self) {
        let Some(worker) = &self.options.worker else { return };
        let info = match worker.info().await {
            Ok(info) => info,
            Err(error) => {
                if self.silent.is_none() {
                    tracing::warn!(%error, "HAProxy does not answer");
                }
                self.silent = Some(error.to_string());
                return;
            }
        };
        self.silent = None;
        let same =
            self.seen.as_ref().is_some_and(|(before, at)| info.continues(before, at.elapsed()));
        self.status.worker = Some(info.clone());
        self.seen = Some((info, Instant::now()));
        if same {
            return;
        }
        self.permitted = true;
        self.leaving.clear();
        let believed = self.installed.take();
        let servers = worker.servers(None).await.unwrap_or_default();
        self.applied = believed.clone().filter(|believed| {
            match deviation(believed, &servers, &self.leaving) {
                None => true,
                Some(backend) => {
                    tracing::warn!(
                        backend,
                        "another HAProxy than before runs, and not with the configuration on disk"
                    );
                    false
                }
            }
        });
        self.installed = believed;
    }

    /// What has to be done to come to `wanted`.
    async fn decide(&mut self, wanted: &Arc<Rendered>) -> Plan {
        let Some(worker) = &self.options.worker else { return self.decide_blindly(wanted) };
        if let Some(error) = &self.silent {
            return Plan::Reload(Why::Refused(error.clone()));
        }
        let Some((info, _)) = &self.seen else { return Plan::Reload(Why::Unknown) };
        let Some(applied) = &self.applied else {
            // The first one after a start of ours: a HAProxy that has these files and these servers needs nothing.
            let servers = worker.servers(None).await.unwrap_or_default();
            let has_all =
                self.files.hold(wanted) && deviation(wanted, &servers, &self.leaving).is_none();
            return if has_all && self.installed.is_none() {
                Plan::Nothing
            } else {
                Plan::Reload(Why::Unknown)
            };
        };
        let backends = match difference(applied, wanted) {
            Difference::Nothing => return Plan::Nothing,
            Difference::Frame => return Plan::Reload(Why::Frame),
            Difference::Servers { backends, .. } => backends,
        };
        if !self.permitted || self.leaving.len() > MOST_LEAVING {
            return Plan::Reload(Why::Refused(
                "HAProxy takes no more commands before a reload".to_owned(),
            ));
        }
        let mut servers = Servers::new();
        for backend in backends {
            match worker.servers(Some(backend)).await {
                Ok(more) => servers.extend(more),
                Err(error) => return Plan::Reload(Why::Refused(error.to_string())),
            }
        }
        let none = Version { major: 0, minor: 0 };
        let capabilities = Capabilities::from(Version::read(&info.version).unwrap_or(none));
        let folder = self.files.folder();
        plan(
            &Running { applied, servers: &servers, leaving: &self.leaving, capabilities, folder },
            wanted,
        )
    }

    /// Without a socket, the files are all that is known of HAProxy, as for marathon-lb.
    fn decide_blindly(&self, wanted: &Arc<Rendered>) -> Plan {
        let known = match &self.applied {
            Some(applied) => difference(applied, wanted) == Difference::Nothing,
            None => self.installed.is_none() && self.files.hold(wanted),
        };
        if known { Plan::Nothing } else { Plan::Reload(Why::Unknown) }
    }

    /// Has commands done; the first that is not done makes it a reload.
    async fn command(
        &mut self,
        wanted: Arc<Rendered>,
        commands: &[Command],
        before: Option<Arc<Rendered>>,
    ) -> Result<Outcome, ApplyError> {
        let Some(worker) = self.options.worker.clone() else {
            return self.reload(wanted, Why::Unknown, before).await;
        };
        for command in commands {
            if let Err(error) = worker.run(command).await {
                self.status.commands_refused += 1;
                if matches!(&error, SocketError::Refused { answer, .. } if answer.contains("Permission denied"))
                {
                    tracing::warn!(
                        "HAProxy's socket needs 'level admin' for changes without a reload"
                    );
                    self.permitted = false;
                }
                return self.reload(wanted, Why::Refused(error.to_string()), before).await;
            }
            self.status.commands += 1;
        }
        self.remember_leaving(&wanted);
        self.applied = Some(wanted);
        self.status.reloads_avoided += 1;
        Ok(Outcome::Runtime(commands.len()))
    }

    /// Servers that were in the configuration and are not any more wait to be deleted.
    fn remember_leaving(&mut self, wanted: &Rendered) {
        let Some(applied) = &self.applied else { return };
        let has = |rendered: &Rendered, name: &Name| {
            let backend = rendered.backends.get(name.backend());
            backend.is_some_and(|backend| {
                backend.servers.iter().any(|server| server.name == name.server())
            })
        };
        for (backend, old) in &applied.backends {
            if wanted.backends.get(backend) == Some(old) {
                continue;
            }
            for server in &old.servers {
                let Some(name) = Name::new(backend, &server.name) else { continue };
                if !has(wanted, &name) {
                    self.leaving.insert(name, server.clone());
                    self.left_at = Some(Instant::now());
                }
            }
        }
        self.leaving.retain(|name, _| !has(wanted, name));
    }

    /// Reloads. `before` is what the files said: they say it again if HAProxy starts no worker with the new ones, so that a
    /// restart finds what works.
    pub(super) async fn reload(
        &mut self,
        wanted: Arc<Rendered>,
        why: Why,
        before: Option<Arc<Rendered>>,
    ) -> Result<Outcome, ApplyError> {
        let Some(method) = self.options.method.clone() else {
            self.applied = Some(wanted);
            return Ok(Outcome::Installed);
        };
        tracing::info!(%why, "HAProxy is reloaded");
        self.save_state(&wanted).await;
        let seen = self.seen.as_ref().map(|(info, at)| (info, *at));
        let done = reload(&method, self.options.worker.as_ref(), seen, self.options.patience).await;
        self.last_reload = Some(Instant::now());
        match done {
            Ok(reloads) => self.status.reloads += u64::from(reloads),
            Err(error) => {
                self.undo(&error, before);
                return Err(error.into());
            }
        }
        self.leaving.clear();
        self.permitted = true;
        self.applied = Some(wanted);
        if let Some(worker) = &self.options.worker {
            let info = worker.info().await.ok();
            self.status.worker.clone_from(&info);
            self.seen = info.map(|info| (info, Instant::now()));
        }
        Ok(Outcome::Reloaded(why))
    }

    fn undo(&mut self, error: &ReloadError, before: Option<Arc<Rendered>>) {
        let (ReloadError::Refused(_), Some(before)) = (error, before) else { return };
        match self.files.stage(&before).and_then(Staged::commit) {
            Ok(()) => {
                tracing::warn!("the files say again what HAProxy runs");
                self.installed = Some(before);
            }
            Err(error) => {
                tracing::error!(%error, "the files say what HAProxy could not start with")
            }
        }
    }

    /// Hands the servers' health and weights on to the next worker, as marathon-lb's reload script does.
    async fn save_state(&self, wanted: &Rendered) {
        let (Some(worker), Some(path)) = (&self.options.worker, frame::state_file(&wanted.config))
        else {
            return;
        };
        let saved = match worker.ask("show servers state").await {
            Ok(dump) => match state_file::reconcile(&dump, wanted) {
                Some(text) => replace(&path, &text).map_err(|error| error.to_string()),
                None => Err("HAProxy did not tell it".to_owned()),
            },
            Err(error) => Err(error.to_string()),
        };
        if let Err(reason) = saved {
            tracing::warn!(%reason, path = %path.display(), "the servers' state is not handed on; checks start anew");
        }
    }

    /// Validates and reloads what the files say, whatever is believed of HAProxy (marathon-lb's USR1).
    ///
    /// # Errors
    /// HAProxy would refuse the files, or could not be reloaded.
    pub async fn reload_files(&mut self, why: Why) -> Result<Outcome, ApplyError> {
        self.observe().await;
        if let Some(validator) = &self.options.validator {
            validator.check(self.files.config()).await?;
        }
        match self.installed.clone().or_else(|| self.applied.clone()) {
            Some(installed) => self.reload(installed, why, None).await,
            None => {
                let outcome = self.reload(Arc::default(), why, None).await;
                self.applied = None;
                outcome
            }
        }
    }
}
