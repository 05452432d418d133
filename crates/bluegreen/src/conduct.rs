//! What to do next. Pure: a picture and a time in, a step out.
//!
//! The rule that everything here keeps: an old task is killed only when every balancer has taken it out
//! and has as many others serving as are wanted in the end. So a picture that is late can delay a
//! deployment, and never take capacity away.

use std::time::Duration;

use crate::picture::{Light, Picture, Side};
use crate::plan::{Direction, Plan};

/// How long balancers may drain the wrong side before something is done about it: right after a step they
/// often have seen only half of it.
const SIDES_PATIENCE: Duration = Duration::from_secs(10);

/// Decides the steps of one deployment.
#[derive(Debug)]
pub struct Conduct {
    plan: Plan,
    /// How far it has got, and since when it has got no further.
    mark: Option<(Mark, Duration)>,
}

/// What must change for a deployment to be getting somewhere. Tasks count by the best that was seen, so
/// that one that comes and goes is no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    instances: (u32, u32),
    deploying: bool,
    /// The most new tasks that served everywhere.
    serving: u32,
    /// The fewest old tasks.
    left: usize,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look again after a while.
    Wait(Waiting),
    /// Kill tasks of the old app, lowering its number by as many, then give the new app more tasks.
    Advance {
        /// Tasks of the old app; may be none.
        kill: Vec<String>,
        /// Whether sessions of them are cut, because waiting for their end took too long.
        cut: bool,
        /// How many tasks the new app is to have, if that changes.
        scale: Option<u32>,
    },
    /// Delete the old app, with the tasks that are left of it.
    Delete {
        /// Those tasks.
        kill: Vec<String>,
        /// Whether sessions of them are cut.
        cut: bool,
    },
    /// It is done: both colours stay, as many of each as was wanted.
    Done,
    /// It cannot go on.
    Fail(Failure),
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Marathon is starting tasks of the new app.
    Marathon,
    /// A balancer does not answer.
    Answer,
    /// A balancer still has an old worker with connections.
    Reload,
    /// Not every balancer has all new tasks serving.
    New,
    /// Not every balancer has as many tasks serving as are wanted.
    Capacity,
    /// Balancers have not taken old tasks out yet, or these have open sessions.
    Drain,
}

/// Why a deployment cannot go on. Each was waited for as long as the plan says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Marathon did not get the new tasks to run, or they do not become healthy.
    #[error("the new tasks have not started, or do not become healthy")]
    NotStarted,
    /// A balancer does not answer.
    #[error("a balancer does not answer")]
    Silent,
    /// Balancers do not send to the new tasks.
    #[error("the new tasks are not up on every balancer")]
    NotUp,
    /// Too few tasks serve, old and new together.
    #[error("fewer tasks are up on a balancer than are wanted, and no more are to come")]
    TooFew,
    /// Balancers do not take old tasks out.
    #[error(
        "no balancer takes old tasks out; are these the right balancers, and do they see both apps?"
    )]
    NotDraining,
}

impl Conduct {
    /// For this plan.
    pub fn new(plan: Plan) -> Conduct {
        Conduct { plan, mark: None }
    }

    /// Its plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What to do, by what is seen at the time `now` (on any clock that does not go back).
    pub fn next(&mut self, seen: &Picture, now: Duration) -> Step {
        let stuck = self.stuck_for(seen, now);
        let late = stuck >= self.plan.max_wait;
        let wait = |for_what, failure: Failure| match late {
            true => Step::Fail(failure),
            false => Step::Wait(for_what),
        };
        if self.plan.direction == Direction::Back && seen.new.instances < self.plan.goal() {
            return more(self.plan.goal());
        }
        // One task more than wanted is asked for so that balancers change sides, and need not come.
        if seen.new.deploying && seen.new.instances <= self.plan.goal() {
            return match self.plan.start_wait {
                Some(patience) if stuck >= patience => Step::Fail(Failure::NotStarted),
                _ => Step::Wait(Waiting::Marathon),
            };
        }
        if seen.silent > 0 {
            return wait(Waiting::Answer, Failure::Silent);
        }
        // An old worker may keep its connections for as long as its clients please.
        if seen.reloading > 0 && !late {
            return Step::Wait(Waiting::Reload);
        }
        if stuck >= SIDES_PATIENCE.min(self.plan.max_wait)
            && let Some(step) = self.change_sides(seen)
        {
            return step;
        }
        let up = seen.least(|b| seen.new.count(b, |light| light == Light::Serving));
        if up < seen.new.instances.min(self.plan.goal()) {
            return wait(Waiting::New, Failure::NotUp);
        }
        self.advance(seen, up, late, wait)
    }

    /// How long nothing has got better.
    fn stuck_for(&mut self, seen: &Picture, now: Duration) -> Duration {
        let mark = Mark {
            instances: (seen.new.instances, seen.old.instances),
            deploying: seen.new.deploying,
            serving: seen.least(|b| seen.new.count(b, |light| light == Light::Serving)),
            left: seen.old.tasks.len(),
        };
        let (mark, since) = match self.mark {
            Some((best, since))
                if (best.instances, best.deploying) == (mark.instances, mark.deploying) =>
            {
                let serving = best.serving.max(mark.serving);
                let best_now = Mark { serving, left: best.left.min(mark.left), ..mark };
                (best_now, if best_now == best { since } else { now })
            }
            _ => (mark, now),
        };
        self.mark = Some((mark, since));
        now.saturating_sub(since)
    }

    /// Balancers drain the app that was scaled earlier. When that is the new one, more tasks of it make
    /// them change sides all at once, without a moment in which fewer serve; one more than wanted when
    /// it is complete.
    fn change_sides(&self, seen: &Picture) -> Option<Step> {
        let taken_out = |light| matches!(light, Light::Draining | Light::Drained);
        let back = self.plan.direction == Direction::Back;
        let wrong = seen.new.anywhere(taken_out)
            || back && seen.old.anywhere(|light| light == Light::Serving);
        let wrong = wrong && seen.old.scaled_at > seen.new.scaled_at;
        let scale = match seen.new.instances {
            short if short < self.plan.goal() => self.plan.grown(short, seen.old.instances),
            complete => complete.saturating_add(1),
        };
        wrong.then(|| more(scale))
    }

    /// All new tasks that there are serve: kill what they replace and add more.
    fn advance(
        &self,
        seen: &Picture,
        up: u32,
        late: bool,
        wait: impl Fn(Waiting, Failure) -> Step,
    ) -> Step {
        let plan = &self.plan;
        let goal = plan.goal();
        let grow =
            (seen.new.instances < goal).then(|| plan.grown(seen.new.instances, seen.old.instances));
        let left = u32::try_from(seen.old.tasks.len()).unwrap_or(u32::MAX);
        if self.is_hybrid_reached(seen) {
            return if seen.new.instances > goal { more(goal) } else { Step::Done };
        }
        let victims = victims(seen, plan, late);
        let whole = plan.hybrid.is_none() && grow.is_none() && !victims.short;
        if whole && victims.ids.len() == seen.old.tasks.len() {
            return finish(seen, goal, victims);
        }
        let expected = left.min(up).min(up.saturating_add(left).saturating_sub(plan.target));
        // Killing makes balancers change sides until something is added: at the end all go together.
        let enough = match grow {
            Some(_) => 1,
            None => usize::try_from(expected).unwrap_or(usize::MAX).max(1),
        };
        let ready = victims.ids.len() >= enough || late && !victims.ids.is_empty();
        match grow {
            _ if ready => Step::Advance { kill: victims.ids, cut: victims.cut, scale: grow },
            // What was to drain does not, and more new tasks can only help.
            Some(grown) if expected == 0 || victims.short || late => more(grown),
            _ if victims.short => wait(Waiting::Capacity, Failure::TooFew),
            _ => wait(Waiting::Drain, Failure::NotDraining),
        }
    }

    /// Whether so few old tasks are left as are to stay.
    fn is_hybrid_reached(&self, seen: &Picture) -> bool {
        let Some(new) = self.plan.hybrid else { return false };
        seen.new.instances >= new && seen.old.instances <= self.plan.target.saturating_sub(new)
    }
}

/// Nothing but more, or fewer, new tasks.
fn more(instances: u32) -> Step {
    Step::Advance { kill: Vec::new(), cut: false, scale: Some(instances) }
}

/// Old tasks that may be killed.
struct Victims {
    ids: Vec<String>,
    cut: bool,
    /// Whether there are none because too few others serve.
    short: bool,
}

/// Old tasks that every balancer has taken out and that have nothing open; when it is late, those with
/// open sessions too; and those that no balancer sends to, as far as new ones replace them.
fn victims(seen: &Picture, plan: &Plan, late: bool) -> Victims {
    let serving = |b: usize, side: &Side| side.count(b, |light| light == Light::Serving);
    let down = |b: usize| seen.old.count(b, |light| light == Light::Down);
    // A broken old task counts as what it was wanted for: it is replaced, not waited for.
    let present = seen.least(|b| serving(b, &seen.new) + serving(b, &seen.old) + down(b));
    if present < plan.target {
        return Victims { ids: Vec::new(), cut: false, short: true };
    }
    let drained = seen.old.everywhere(|light| light == Light::Drained);
    let out = |light| matches!(light, Light::Draining | Light::Drained);
    let mut ids = if late { seen.old.everywhere(out) } else { drained.clone() };
    let cut = ids.len() > drained.len();
    let spare = usize::try_from(present - plan.target).unwrap_or(usize::MAX);
    ids.extend(seen.old.everywhere(|light| light == Light::Down).into_iter().take(spare));
    // Of a hybrid the rest stays.
    let stay = plan.hybrid.map_or(0, |new| plan.target.saturating_sub(new));
    let most = seen.old.instances.saturating_sub(stay);
    ids.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Victims { ids, cut, short: false }
}

/// The new app is complete and every old task may go.
fn finish(seen: &Picture, goal: u32, victims: Victims) -> Step {
    let Victims { ids: kill, cut, .. } = victims;
    if seen.new.instances <= goal {
        return Step::Delete { kill, cut };
    }
    // Without the old tasks nobody drains anything, and the one too many can go.
    let scale = kill.is_empty().then_some(goal);
    Step::Advance { kill, cut, scale }
}

impl Plan {
    /// The same deployment, to undo it: to the old colour, all at once, whatever Marathon is still
    /// doing with the new one.
    pub fn back(&self) -> Plan {
        Plan {
            hybrid: None,
            growth: crate::Growth::Whole,
            direction: Direction::Back,
            ..self.clone()
        }
    }
}

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod simulation;
#[cfg(test)]
#[path = "conduct_tests.rs"]
mod tests;
