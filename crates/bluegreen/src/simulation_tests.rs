//! Whole deployments against a Marathon and balancers that are late, tasks that fail, and an operator
//! who interrupts. Seeded: a failure names its seed.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use waymark_model::Timestamp;

use super::*;
use crate::picture::Task;
use crate::plan::Growth;

/// Seconds that any scenario may last.
const LONG: u64 = 20_000;

#[derive(Clone, Debug, Default)]
struct App {
    instances: u32,
    scaled_at: u64,
    /// When each task becomes healthy; `None` is never.
    tasks: BTreeMap<u32, Option<u64>>,
    /// Of which number on its tasks are never healthy.
    broken_from: Option<u32>,
    started: u32,
}

/// What a balancer has of the two apps, and since when it sends nothing new to a task.
#[derive(Clone, Debug, Default)]
struct Balancer {
    apps: [App; 2],
    at: u64,
    out: BTreeMap<(usize, u32), u64>,
}

struct World {
    random: ChaCha8Rng,
    now: u64,
    clock: u64,
    target: u32,
    /// The older and the newer.
    apps: [App; 2],
    balancers: Vec<Balancer>,
    /// How long a session lasts at most.
    sessions: u64,
    /// Which one no longer exists.
    gone: Option<usize>,
}

impl App {
    fn healthy(&self, now: u64) -> impl Iterator<Item = u32> {
        self.tasks.iter().filter(move |(_, at)| at.is_some_and(|at| at <= now)).map(|(id, _)| *id)
    }
}

impl Balancer {
    /// The tasks that marathon-lb's rule takes out.
    fn taken_out(&self, target: u32) -> BTreeSet<(usize, u32)> {
        let [first, second] = &self.apps;
        let (older, newer) = if first.scaled_at > second.scaled_at { (1, 0) } else { (0, 1) };
        let healthy = u32::try_from(self.apps[newer].healthy(self.at).count()).unwrap();
        let count = healthy.min((healthy + self.apps[older].instances).saturating_sub(target));
        let ids = self.apps[older].tasks.keys().take(usize::try_from(count).unwrap());
        ids.map(|id| (older, *id)).collect()
    }

    fn light(&self, task: (usize, u32), world: &World) -> Light {
        let Some(healthy) = self.apps[task.0].tasks.get(&task.1) else { return Light::Down };
        match self.out.get(&task) {
            Some(since) if world.now < since + world.sessions => Light::Draining,
            Some(_) => Light::Drained,
            None if healthy.is_some_and(|at| at <= self.at) => Light::Serving,
            None => Light::Down,
        }
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let target = random.random_range(1..9);
        let balancers = vec![Balancer::default(); random.random_range(1..4)];
        let sessions = random.random_range(0..40);
        let apps = [App::default(), App::default()];
        let mut world =
            World { random, now: 0, clock: 1, target, apps, balancers, sessions, gone: Some(1) };
        world.scale(0, target);
        world.apps[0].tasks.values_mut().for_each(|at| *at = Some(0));
        for at in 0..world.balancers.len() {
            world.catch_up(at);
        }
        world
    }

    fn scale(&mut self, app: usize, instances: u32) {
        self.clock += 1;
        self.apps[app].instances = instances;
        self.apps[app].scaled_at = self.clock;
        self.start_tasks(app);
        // Marathon kills the youngest.
        while self.apps[app].tasks.len() > usize::try_from(instances).unwrap() {
            self.apps[app].tasks.pop_last();
        }
    }

    fn start_tasks(&mut self, app: usize) {
        while self.apps[app].tasks.len() < usize::try_from(self.apps[app].instances).unwrap() {
            let delay = self.random.random_range(0..10);
            let app = &mut self.apps[app];
            let broken = app.broken_from.is_some_and(|from| app.started >= from);
            app.tasks.insert(app.started, (!broken).then_some(self.now + delay));
            app.started += 1;
        }
    }

    fn kill(&mut self, app: usize, ids: &[String]) {
        self.clock += 1;
        for id in ids {
            let number = id.parse().unwrap();
            for balancer in &self.balancers {
                assert_ne!(balancer.light((app, number), self), Light::Serving);
            }
            assert!(self.apps[app].tasks.remove(&number).is_some());
            self.apps[app].instances -= 1;
        }
        self.apps[app].scaled_at = self.clock;
    }

    fn catch_up(&mut self, at: usize) {
        let target = self.target;
        let (apps, now) = (self.apps.clone(), self.now);
        let balancer = &mut self.balancers[at];
        (balancer.apps, balancer.at) = (apps, now);
        let out = balancer.taken_out(target);
        balancer.out.retain(|task, _| out.contains(task));
        for task in out {
            balancer.out.entry(task).or_insert(now);
        }
    }

    /// A second passes; balancers catch up when they please.
    fn pass(&mut self) {
        self.now += 1;
        for at in 0..self.balancers.len() {
            if self.random.random_bool(0.4) {
                self.catch_up(at);
            }
        }
        for app in 0..2 {
            if self.gone != Some(app) {
                self.start_tasks(app);
            }
        }
    }

    fn side(&self, app: usize) -> Side {
        let it = &self.apps[app];
        let wanted = usize::try_from(it.instances).unwrap();
        let lights = |id: u32| self.balancers.iter().map(|b| b.light((app, id), self)).collect();
        Side {
            instances: it.instances,
            deploying: it.healthy(self.now).count() < wanted,
            scaled_at: Timestamp(it.scaled_at),
            tasks: it
                .tasks
                .keys()
                .map(|id| Task { id: id.to_string(), lights: lights(*id) })
                .collect(),
        }
    }

    /// The fewest tasks that get requests at any balancer and are there.
    fn capacity(&self) -> usize {
        let serving = |balancer: &Balancer| {
            let all =
                (0..2).flat_map(|app| self.apps[app].healthy(self.now).map(move |id| (app, id)));
            all.filter(|task| balancer.light(*task, self) == Light::Serving).count()
        };
        self.balancers.iter().map(serving).min().unwrap()
    }

    /// Drives a deployment to the app `new` until it ends; interrupted and resumed at any moment.
    fn conduct(&mut self, new: usize, plan: &Plan, interrupted: f64) -> Step {
        let mut conduct = Conduct::new(plan.clone());
        let old = 1 - new;
        let end = self.now + LONG;
        while self.now < end {
            if self.random.random_bool(interrupted) {
                conduct = Conduct::new(plan.clone());
            }
            let seen = Picture {
                new: self.side(new),
                old: self.side(old),
                balancers: self.balancers.len(),
                silent: 0,
                reloading: usize::from(self.random.random_bool(0.05)),
            };
            let step = conduct.next(&seen, Duration::from_secs(self.now));
            match &step {
                Step::Wait(_) => {}
                Step::Advance { kill, scale, .. } => {
                    if !kill.is_empty() {
                        self.kill(old, kill);
                    }
                    // Somebody may see it between the two, or the operator stop it there.
                    if self.random.random_bool(0.3) {
                        self.pass();
                    }
                    if let Some(scale) = scale.filter(|_| !self.random.random_bool(interrupted)) {
                        self.scale(new, scale);
                    }
                }
                Step::Delete { kill, .. } => {
                    self.kill(old, kill);
                    self.apps[old] = App::default();
                    self.gone = Some(old);
                    return step;
                }
                Step::Done | Step::Fail(_) => return step,
            }
            self.pass();
            if self.apps.iter().all(|app| app.broken_from.is_none()) {
                assert!(self.capacity() >= usize::try_from(self.target).unwrap(), "{step:?}");
            }
        }
        panic!("it does not end");
    }

    fn counts(&self) -> (usize, usize) {
        (self.apps[0].healthy(self.now).count(), self.apps[1].healthy(self.now).count())
    }
}

/// A scenario: what becomes of it is checked by `after`.
fn each(
    seeds: std::ops::Range<u64>,
    scenario: impl Fn(&mut World, Plan, f64) + std::panic::RefUnwindSafe,
) {
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            let growth = match world.random.random_range(0..3) {
                0 => Growth::Half,
                1 => Growth::Whole,
                _ => Growth::Linear(world.random.random_range(1..4)),
            };
            let plan = Plan {
                target: world.target,
                hybrid: None,
                growth,
                max_wait: Duration::from_secs(60),
                start_wait: Some(Duration::from_secs(120)),
                direction: Direction::Forward,
            };
            let interrupted = *[0.0, 0.02].get(world.random.random_range(0..2)).unwrap();
            // The app is created while nobody is looking.
            world.gone = None;
            scenario(&mut world, plan, interrupted);
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}

fn wanted(world: &World) -> usize {
    usize::try_from(world.target).unwrap()
}

#[test]
fn a_deployment_ends_with_the_new_app_alone() {
    each(0..1500, |world, plan, interrupted| {
        let first = world.random.random_range(1..=world.target);
        world.scale(1, first);
        let end = world.conduct(1, &plan, interrupted);
        assert!(matches!(end, Step::Delete { .. }), "{end:?}");
        assert_eq!((world.counts(), world.apps[1].instances), ((0, wanted(world)), world.target));
    });
}

#[test]
fn a_hybrid_ends_either_way() {
    each(0..1500, |world, plan, interrupted| {
        let new = world.random.random_range(1..=world.target);
        world.scale(1, 1);
        let hybrid = Plan { hybrid: Some(new), ..plan.clone() };
        assert_eq!(world.conduct(1, &hybrid, interrupted), Step::Done);
        let instances = [0, 1].map(|app| world.apps[app].instances);
        assert_eq!(instances, [world.target - new, new]);
        let to = world.random.random_range(0..2);
        let end = world.conduct(to, &plan, interrupted);
        assert!(matches!(end, Step::Delete { .. }), "{end:?}");
        assert_eq!(world.apps[to].instances, world.target);
        assert_eq!(world.apps[to].healthy(world.now).count(), wanted(world));
    });
}

#[test]
fn a_version_that_does_not_work_is_rolled_back() {
    each(0..1500, |world, plan, interrupted| {
        // Often at once, sometimes after some of its tasks worked.
        world.apps[1].broken_from = Some(world.random.random_range(0..world.target));
        world.scale(1, 1);
        // Patience begins anew with each resumption.
        let end = world.conduct(1, &plan, interrupted / 10.0);
        if world.target == 1 && world.apps[1].broken_from.is_none() {
            return;
        }
        assert!(matches!(end, Step::Fail(_)), "{end:?}");
        assert!(world.capacity() >= wanted(world), "while it waited");
        let end = world.conduct(0, &plan.back(), 0.0);
        assert!(matches!(end, Step::Delete { .. }), "{end:?}");
        assert_eq!((world.counts(), world.apps[0].instances), ((wanted(world), 0), world.target));
    });
}
