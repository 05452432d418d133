//! Carries a deployment out: looks, asks the core what to do, and orders it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use waymark_bluegreen::{Conduct, Direction, Failure, Picture, Plan, Step, backend_name, group};

use super::balancers::Balancers;
use super::ending::Ending;
use super::flags::Flags;
use super::hook;
use super::marathon::{Marathon, Ordered, Shown};
use super::talk::Talk;
use super::{id, instances};

/// The shortest pause between looks, whatever `--step-delay` says.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// The two apps of a deployment.
#[derive(Clone, Debug)]
pub struct Colours {
    /// The id of the one that is to serve.
    pub new: String,
    /// The id of the one that is to go.
    pub old: String,
    /// The balancers' name of what both serve.
    pub backend: String,
    /// How many tasks each has at first.
    pub counts: (u32, u32),
    /// Whether orders about the old one override what Marathon is doing with it.
    pub force: bool,
    /// Whether a failure is undone, when the flags say so: what was no hybrid before.
    pub can_go_back: bool,
}

impl Colours {
    /// The two apps as Marathon, or the document, has them.
    pub fn new(new: &Value, old: &Value) -> Colours {
        Colours {
            new: id(new).to_owned(),
            old: id(old).to_owned(),
            backend: backend(new),
            counts: (instances(new), instances(old)),
            force: false,
            can_go_back: false,
        }
    }
}

/// A deployment that is being carried out.
pub struct Drive<'a> {
    flags: &'a Flags,
    marathon: &'a Marathon,
    balancers: &'a Balancers,
    talk: &'a mut Talk,
    colours: Colours,
    /// Tasks that were killed and may still be shown as running.
    killed: BTreeSet<String>,
    /// The app whose deletion was ordered and perhaps not heard of: when it has gone, it is done.
    deleting: Option<String>,
    /// Since when nothing could be asked or ordered, and why.
    unable: Option<Duration>,
    hooks: bool,
}

/// What a look shows.
struct Seen {
    picture: Picture,
    new: Shown,
    old: Shown,
    troubles: Vec<String>,
}

/// How long to pause between looks.
pub fn pause(flags: &Flags) -> Duration {
    flags.step_delay.max(SHORTEST_PAUSE)
}

/// The name of an app's backend at the balancers.
pub fn backend(app: &Value) -> String {
    let port = app.pointer("/labels/HAPROXY_0_PORT").and_then(Value::as_str);
    backend_name(group(app).unwrap_or_default(), port.unwrap_or_default())
}

impl<'a> Drive<'a> {
    pub fn new(
        flags: &'a Flags,
        marathon: &'a Marathon,
        balancers: &'a Balancers,
        talk: &'a mut Talk,
        colours: Colours,
    ) -> Drive<'a> {
        Drive {
            flags,
            marathon,
            balancers,
            talk,
            colours,
            killed: BTreeSet::new(),
            deleting: None,
            unable: None,
            hooks: true,
        }
    }

    /// Carries it out to the end, and back when it fails and the flags say so.
    pub async fn whole(mut self, plan: Plan) -> Result<(), Ending> {
        let ending = match self.run(plan.clone()).await {
            Ok(()) => return Ok(()),
            Err(ending) => ending,
        };
        let back = self.flags.rollback && self.colours.can_go_back;
        if !back || !ending.is_fault_of_the_new_app() {
            self.tell_how_to_go_on(&ending);
            return Err(ending);
        }
        self.talk.note(&format!("failed: {ending}; taking {} back", self.colours.new));
        self.talk.ask_no_more();
        let Colours { new, old, .. } = self.colours.clone();
        self.colours = Colours { new: old, old: new, force: true, ..self.colours };
        (self.unable, self.hooks) = (None, false);
        match self.run(plan.back()).await {
            Ok(()) => Err(Ending::RolledBack(ending.to_string())),
            Err(second) => {
                self.talk.note(&format!(
                    "it could not be taken back: both apps are there; --complete-prev tries again \
                     ({ending})"
                ));
                Err(second)
            }
        }
    }

    fn tell_how_to_go_on(&self, ending: &Ending) {
        let text = match ending {
            Ending::Refused(_)
            | Ending::Interrupted
            | Ending::Balancer(_)
            | Ending::Marathon(_) => {
                "both apps are there; --resume goes on, --complete-prev goes back"
            }
            _ => "both apps are there; --resume tries again, --complete-prev goes back",
        };
        self.talk.note(text);
    }

    async fn run(&mut self, plan: Plan) -> Result<(), Ending> {
        let mut conduct = Conduct::new(plan);
        loop {
            if self.talk.is_stopped() {
                return Err(Ending::Interrupted);
            }
            let seen = match self.look().await {
                Ok(Some(seen)) => seen,
                Ok(None) => return Ok(()),
                Err(ending) => {
                    self.unable(ending).await?;
                    continue;
                }
            };
            let step = conduct.next(&seen.picture, self.talk.elapsed());
            self.talk.show(&seen.picture, &step, &self.colours);
            let forward = conduct.plan().direction == Direction::Forward;
            match self.take(step, &seen, forward).await {
                Ok(Taken::Ended) => return Ok(()),
                Ok(Taken::Waits) => self.talk.pause(pause(self.flags)).await,
                Ok(Taken::Acted) => self.unable = None,
                Err(Unable { ending, again: true }) => self.unable(ending).await?,
                Err(Unable { ending, again: false }) => return Err(ending),
            }
        }
    }

    /// `None` when the old app has gone, as was ordered.
    async fn look(&self) -> Result<Option<Seen>, Ending> {
        let new = self.app(&self.colours.new).await?.ok_or_else(|| gone(&self.colours.new))?;
        let Some(old) = self.app(&self.colours.old).await? else {
            return match self.deleting.as_deref() == Some(self.colours.old.as_str()) {
                true => Ok(None),
                false => Err(gone(&self.colours.old)),
            };
        };
        let (views, troubles) = self.balancers.look(&self.colours.backend).await?;
        let picture = Picture::new(&new.facts, &old.facts, &views);
        Ok(Some(Seen { picture, new, old, troubles }))
    }

    /// An app without the tasks that were killed already: they may be shown for a while.
    async fn app(&self, id: &str) -> Result<Option<Shown>, Ending> {
        let mut app = self.marathon.app(id).await?;
        if let Some(app) = &mut app {
            app.facts.tasks.retain(|task| !self.killed.contains(task.id.as_str()));
        }
        Ok(app)
    }

    async fn take(&mut self, step: Step, seen: &Seen, forward: bool) -> Result<Taken, Unable> {
        let force = self.colours.force;
        match step {
            Step::Wait(_) => Ok(Taken::Waits),
            Step::Done => Ok(Taken::Ended),
            Step::Fail(Failure::Silent) => {
                let text = format!("no statistics from {}", seen.troubles.join("; "));
                Err(Unable::for_good(Ending::Balancer(text)))
            }
            Step::Fail(failure) => Err(Unable::for_good(Ending::Stuck(failure))),
            Step::Delete { kill, .. } => {
                self.approve(&kill, seen, "delete").await?;
                self.deleting = Some(self.colours.old.clone());
                let ordered = self.marathon.delete(&self.colours.old, force).await;
                order(ordered, Ending::Delete)?;
                Ok(Taken::Ended)
            }
            Step::Advance { kill, scale, .. } => {
                if !kill.is_empty() {
                    self.approve(&kill, seen, "kill").await?;
                    order(self.marathon.kill(&kill, force).await, Ending::Scale)?;
                    self.killed.extend(kill);
                }
                // Without a pause: between the two the balancers think that it goes the other way.
                if let Some(instances) = scale {
                    let forced = !forward;
                    let ordered = self.marathon.scale(&self.colours.new, instances, forced).await;
                    order(ordered, Ending::Scale)?;
                }
                Ok(Taken::Acted)
            }
        }
    }

    /// Asks the hook and the person.
    async fn approve(&mut self, kill: &[String], seen: &Seen, what: &str) -> Result<(), Unable> {
        if let Some(path) = self.flags.hook.as_deref().filter(|_| self.hooks && !kill.is_empty()) {
            hook::run(path, &seen.old.document, kill, &seen.new.document)
                .await
                .map_err(Unable::for_good)?;
        }
        let question = match what {
            "delete" => format!("About to delete {}. Continue?", self.colours.old),
            _ => format!("About to kill:\n  - {}\nContinue?", kill.join("\n  - ")),
        };
        self.talk.ask(&question).await.map_err(Unable::for_good)
    }

    /// Waits before the next attempt, and gives up when there were none that worked for too long.
    async fn unable(&mut self, ending: Ending) -> Result<(), Ending> {
        let now = self.talk.elapsed();
        let since = *self.unable.get_or_insert(now);
        if now.saturating_sub(since) >= self.flags.max_wait {
            return Err(ending);
        }
        self.talk.progress(&format!("{ending}; trying again"));
        self.talk.pause(pause(self.flags)).await;
        Ok(())
    }
}

enum Taken {
    Waits,
    Acted,
    Ended,
}

/// Something that could not be done now.
struct Unable {
    ending: Ending,
    /// Whether it may be possible later.
    again: bool,
}

impl Unable {
    fn for_good(ending: Ending) -> Unable {
        Unable { ending, again: false }
    }
}

fn gone(id: &str) -> Ending {
    Ending::Marathon(format!("{id} is not there any more: somebody deleted it"))
}

/// What an order's outcome means. What was not heard is seen at the next look.
fn order(ordered: Ordered, wrong: fn(String) -> Ending) -> Result<(), Unable> {
    match ordered {
        Ordered::Taken => Ok(()),
        Ordered::Locked(reason) | Ordered::Unheard(reason) => {
            Err(Unable { ending: wrong(reason), again: true })
        }
        Ordered::Refused(reason) => Err(Unable::for_good(wrong(reason))),
    }
}

/// Waits until Marathon has carried out a first deployment.
pub async fn until_deployed(
    flags: &Flags,
    marathon: &Marathon,
    talk: &mut Talk,
    id: &str,
) -> Result<(), Ending> {
    let begun = talk.elapsed();
    while !talk.is_stopped() {
        let app = marathon.app(id).await?;
        let app = app.ok_or_else(|| Ending::Marathon(format!("{id} is not there any more")))?;
        if !app.facts.is_deploying {
            talk.progress(&format!("{id} is deployed"));
            return Ok(());
        }
        talk.progress(&format!("{id}: tasks are starting"));
        if flags.start_wait.is_some_and(|wait| talk.elapsed().saturating_sub(begun) >= wait) {
            return Err(Ending::Stuck(Failure::NotStarted));
        }
        talk.pause(pause(flags)).await;
    }
    Err(Ending::Interrupted)
}
