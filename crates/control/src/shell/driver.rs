//! Doing what the core's effects say.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, oneshot};
use tracing::{debug, warn};
use waymark_catalog::Writer;
use waymark_executors::Executor;
use waymark_health::{CommandRunner, Prober, target};
use waymark_marathon_api::Event;
use waymark_model::{AppId, Task, TaskId};

use super::clock::Clock;
use super::drains::Drains;
use super::persist::Persistence;
use crate::core::{Core, Effects, Happening, Host, Input, Kill, entry};
use crate::store::StoreError;
use crate::{Accepted, Metrics, Refusal, Request, State, Submission, announce};

/// Everything the shell owns.
pub struct Driver {
    pub core: Core,
    pub clock: Clock,
    pub persistence: Persistence,
    pub executor: Arc<dyn Executor>,
    pub prober: Prober,
    pub writer: Writer,
    pub drains: Drains,
    pub state: Arc<ArcSwap<State>>,
    pub events: broadcast::Sender<Arc<Event>>,
    pub metrics: Arc<Metrics>,
    /// Launches that are not stored yet.
    pub waiting_launches: Vec<Arc<Task>>,
}

/// The executor as what runs the commands of health checks.
pub struct Commands(pub Arc<dyn Executor>);

impl CommandRunner for Commands {
    fn run(
        &self,
        task: &TaskId,
        command: &str,
        timeout: Duration,
    ) -> waymark_executors::CommandFuture {
        self.0.run_command(task, command, timeout)
    }
}

/// Randomness and ports of this machine.
struct Machine<'a>(&'a dyn Executor);

impl Host for Machine<'_> {
    fn random(&mut self) -> u64 {
        rand::random()
    }

    fn port_is_free(&mut self, port: u16) -> bool {
        self.0.port_is_free(port)
    }
}

type Answer = Result<Accepted, Refusal>;

impl Driver {
    /// Handles facts. What follows for names and traffic is published at once; launches wait until
    /// the next commit, which is made here when there are any.
    pub async fn facts(&mut self, inputs: Vec<Input>) {
        let mut effects = Effects::default();
        for input in inputs {
            effects.merge(self.handle(input));
        }
        self.do_facts(effects).await;
    }

    /// Goes on after a restart, with what followed from the executor's first answers.
    pub async fn resume(&mut self, adopted: Effects) {
        let now = self.clock.now();
        let mut effects = adopted;
        effects.merge(self.core.resume(now, &mut Machine(&*self.executor)));
        self.do_facts(effects).await;
    }

    async fn do_facts(&mut self, effects: Effects) {
        self.act(effects);
        if !self.waiting_launches.is_empty() && !self.persistence.is_failing() {
            // An error is shown in the state, and the launches go on waiting.
            let _ = self.commit().await;
        }
    }

    /// Handles requests. Those that change what is wanted are stored first, then done, then
    /// answered; when they cannot be stored they have not happened. The others are facts: killing a
    /// task must be possible with a full disk.
    pub async fn requests(&mut self, submissions: Vec<Submission>) {
        let (changes, others): (Vec<_>, Vec<_>) =
            submissions.into_iter().partition(|s| changes_what_is_wanted(&s.request));
        if !others.is_empty() {
            let (effects, answers) = self.handle_all(others);
            self.do_facts(effects).await;
            send(answers, &Ok(()));
        }
        if !changes.is_empty() {
            self.changes(changes).await;
        }
    }

    async fn changes(&mut self, submissions: Vec<Submission>) {
        let before = self.core.clone();
        let (mut effects, answers) = self.handle_all(submissions);
        if effects.writes.is_empty() {
            self.act(effects);
            return send(answers, &Ok(()));
        }
        self.persistence.add(std::mem::take(&mut effects.writes));
        let stored = self.commit().await;
        if stored.is_ok() {
            self.act(effects);
            self.launch_stored();
        } else {
            // The keys stay unsaved: should the failed commit have reached the disk after all, the
            // next one puts back what was there before.
            self.core = before;
            self.note_store(&stored);
        }
        send(answers, &stored);
    }

    fn handle_all(&mut self, submissions: Vec<Submission>) -> (Effects, Vec<Reply>) {
        let mut effects = Effects::default();
        let mut answers = Vec::new();
        for Submission { request, reply } in submissions {
            let mut done = self.handle(Input::Request(request));
            let answer = done.answer.take().unwrap_or(Err(Refusal::Stopping));
            answers.push(Reply { reply, answer, stores: !done.writes.is_empty() });
            effects.merge(done);
        }
        (effects, answers)
    }

    /// Lets the core handle one input; the effects are still to be done.
    pub fn handle(&mut self, input: Input) -> Effects {
        let started = Instant::now();
        let now = self.clock.now();
        let effects = self.core.handle(input, now, &mut Machine(&*self.executor));
        self.metrics.handled(started.elapsed());
        effects
    }

    /// Everything but storing and answering. Launches are put aside.
    fn act(&mut self, effects: Effects) {
        self.persistence.add(effects.writes);
        for task in &effects.forget {
            self.prober.forget(task);
            self.drains.remove(task);
        }
        let version = self.publish(effects.catalog);
        let (now, followed) = (Instant::now(), self.events.receiver_count() > 0);
        for task in effects.drain {
            self.drains.add(task, version, now, followed);
        }
        self.waiting_launches.extend(effects.launches);
        self.kill(effects.kills);
        for task in effects.watch.iter().filter(|t| self.core.state().task(&t.id).is_some()) {
            self.prober.watch(target(task));
        }
        self.metrics.set_draining(self.drains.len());
        self.announce(&effects.happenings);
    }

    fn kill(&mut self, kills: Vec<Kill>) {
        if kills.is_empty() {
            return;
        }
        let killed: HashSet<&TaskId> = kills.iter().map(|k| &k.task).collect();
        // A launch that waits for the store must not follow its own kill.
        self.waiting_launches.retain(|task| !killed.contains(&task.id));
        for kill in &kills {
            if kill.again {
                warn!(task = %kill.task, "still not ended, killing it again");
            } else {
                debug!(task = %kill.task, reason = kill.reason.as_str(), "killing");
                self.metrics.killed(kill.reason);
            }
            self.executor.kill(&kill.task, kill.grace);
        }
    }

    /// Writes what is unsaved, then launches what waited for it.
    pub async fn commit(&mut self) -> Result<(), StoreError> {
        let result = self.persistence.commit(&self.core, self.writer.version()).await;
        self.note_store(&result);
        if result.is_ok() {
            self.launch_stored();
        }
        result
    }

    /// Launches everything that waits. Only when all of it has been stored.
    fn launch_stored(&mut self) {
        for task in std::mem::take(&mut self.waiting_launches) {
            self.metrics.launched();
            self.executor.launch(task);
        }
    }

    /// Shows in the state whether the store works.
    fn note_store(&mut self, result: &Result<(), StoreError>) {
        let reason = result.as_ref().err().map(ToString::to_string);
        if reason.as_deref() != self.core.state().store_failing.as_deref() {
            self.core.set_store_failing(reason);
            self.state.store(Arc::new(self.core.state().clone()));
        }
    }

    /// Publishes the entries of these apps, if any differs, and the state in any case. Returns the
    /// catalog version that shows the present state.
    fn publish(&mut self, apps: impl IntoIterator<Item = AppId>) -> u64 {
        let present = self.writer.reader().latest();
        let changes: Vec<_> = apps
            .into_iter()
            .map(|app| {
                let entry = entry(self.core.state(), &app);
                (app, entry)
            })
            .filter(|(app, entry)| present.apps.get(app).map(|e| &**e) != entry.as_ref())
            .collect();
        if !changes.is_empty() || present.version == 0 {
            let version = self.writer.publish(changes);
            self.core.set_catalog_version(version);
        }
        self.state.store(Arc::new(self.core.state().clone()));
        self.writer.version()
    }

    fn announce(&self, happenings: &[Happening]) {
        for happening in happenings {
            announce::log(happening);
            if self.events.receiver_count() > 0 {
                for event in announce::events(happening) {
                    // No subscriber is an ordinary state.
                    let _ = self.events.send(Arc::new(event));
                }
            }
        }
    }
}

/// An answer on its way, until it is known whether it holds.
struct Reply {
    reply: oneshot::Sender<Answer>,
    answer: Answer,
    /// Whether something had to be stored for it.
    stores: bool,
}

fn send(answers: Vec<Reply>, stored: &Result<(), StoreError>) {
    for Reply { reply, answer, stores } in answers {
        let answer = match (answer, stored) {
            (Ok(_), Err(error)) if stores => Err(Refusal::Storage(error.to_string())),
            (answer, _) => answer,
        };
        if let Ok(accepted) = &answer
            && stores
        {
            accepted.warnings.iter().for_each(|warning| warn!("{warning}"));
        }
        // Who asked may have gone away.
        let _ = reply.send(answer);
    }
}

fn changes_what_is_wanted(request: &Request) -> bool {
    matches!(request, Request::Change { .. } | Request::Kill { scale: true, .. })
}
