//! What must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use waymark_control::core::{Core, Effects, Key, Kill, Record, entry};
use waymark_control::replace::{self, Capacity, Reason};
use waymark_control::{Accepted, Refusal};
use waymark_model::{App, AppId, Readiness, Task, TaskId, Timestamp};

use crate::world::{World, is_expected, settings};

/// After every step.
pub fn always(world: &World) {
    ports(world);
    catalog(world);
    deployments(&world.core);
}

/// No host port is used by two processes, and no two tasks are told the same one.
fn ports(world: &World) {
    let mut told: BTreeMap<u16, &TaskId> = BTreeMap::new();
    for task in tasks(&world.core) {
        for port in task.host_ports.iter().flatten() {
            let other = told.insert(*port, &task.id);
            assert!(other.is_none(), "host port {port} of {} and {other:?}", task.id);
        }
    }
    let mut used = BTreeSet::new();
    for process in world.machine.processes.values() {
        for port in process.task.host_ports.iter().flatten() {
            assert!(used.insert(*port), "host port {port} is bound twice");
        }
    }
}

/// What outputs see is what the state says: no app that changed was forgotten.
fn catalog(world: &World) {
    let state = world.core.state();
    let apps: BTreeSet<&AppId> =
        state.root.apps.keys().chain(state.tasks.keys()).chain(world.catalog.keys()).collect();
    for app in apps {
        let want = entry(state, app);
        assert_eq!(world.catalog.get(app), want.as_ref(), "the catalog of {app} is stale");
        for task in want.iter().flat_map(|e| &e.tasks).filter(|t| t.readiness == Readiness::Ready) {
            assert!(
                state.task(&task.id).is_some_and(|t| t.is_serving()),
                "{} is published and does not serve",
                task.id
            );
        }
    }
}

/// No app is held by two deployments.
fn deployments(core: &Core) {
    let mut held = BTreeSet::new();
    for deployment in core.state().deployments.values() {
        for app in &deployment.affected {
            assert!(held.insert(app.clone()), "{app} is held twice");
        }
    }
}

fn tasks(core: &Core) -> impl Iterator<Item = &Arc<Task>> {
    core.state().tasks.values().flat_map(|t| t.values())
}

fn has_fixed_host_port(app: &App) -> bool {
    let automatic = settings().service_ports;
    app.require_ports && app.service_ports().iter().any(|p| *p != 0 && !automatic.contains(p))
}

/// When the core makes tasks leave by its own choice, enough others serve afterwards.
pub fn voluntary_leaves(world: &World, before: &Core, effects: &Effects, named: &[TaskId]) {
    let unhealthy: BTreeSet<&TaskId> =
        effects.kills.iter().filter(|k| k.reason == Reason::Unhealthy).map(|k| &k.task).collect();
    for (id, tasks) in &world.core.state().tasks {
        let Some(app) = world.core.wanted(id) else { continue };
        let was = |t: &Task| before.state().task(&t.id).is_some_and(|b| serves(b, &app));
        let chosen = tasks.values().find(|t| {
            replace::is_leaving(t) && was(t) && !named.contains(&t.id) && !unhealthy.contains(&t.id)
        });
        let Some(chosen) = chosen else { continue };
        let serving = tasks.values().filter(|t| serves(t, &app)).count();
        let capacity = Capacity::of(&app, has_fixed_host_port(&app));
        assert!(
            serving >= capacity.min_serving,
            "{} was told to leave, {serving} of at least {} serve",
            chosen.id,
            capacity.min_serving
        );
    }
    room(world, effects);
}

fn serves(task: &Task, app: &App) -> bool {
    task.is_serving() && (task.ready || !replace::is_current(task, app))
}

/// Nothing is launched above the maximum.
fn room(world: &World, effects: &Effects) {
    let apps: BTreeSet<&AppId> = effects.launches.iter().map(|t| t.app_id()).collect();
    for id in apps {
        let Some(app) = world.core.wanted(id) else { panic!("{id} is not wanted") };
        let capacity = Capacity::of(&app, false);
        let (leaving, staying): (Vec<_>, Vec<_>) =
            world.core.state().tasks_of(id).partition(|t| replace::is_leaving(t));
        let live = staying.len() + leaving.len().min(app.instances as usize);
        assert!(
            live <= capacity.max_live,
            "{id}: {} stay, {} leave, at most {capacity:?}, {} launched",
            staying.len(),
            leaving.len(),
            effects.launches.iter().filter(|t| t.app_id() == id).count()
        );
    }
}

/// A launch is on disk before it happens.
pub fn launch(world: &World, task: &Task) {
    let key = Key::Task(task.id.clone());
    match world.disk.get(&key) {
        Some(Record::Task(Some(stored))) => {
            assert_eq!(stored.host_ports, task.host_ports);
            assert!(!world.machine.processes.contains_key(&task.id), "{} twice", task.id);
        }
        other => panic!("{} is launched and stored as {other:?}", task.id),
    }
}

/// A task that served is killed only after it has drained, or when waiting is over or pointless.
pub fn kill(world: &World, kill: &Kill) {
    let Some(task) = world.core.state().task(&kill.task) else { return };
    let as_running = Task { state: waymark_model::TaskState::Running, ..Task::clone(task) };
    let since = task.draining_since.expect("a killed task is leaving");
    let timeout = since + Duration::from_secs(10);
    let excused = task.started_at.is_none()
        || !replace::has_served(&as_running)
        || task.healthy() == Some(false)
        || matches!(kill.reason, Reason::Unhealthy | Reason::Overdue);
    let drained = world.drained.contains(&kill.task);
    assert!(
        excused || drained || timeout <= Timestamp(world.now),
        "{} is killed undrained: {kill:?} {task:?}",
        kill.task
    );
    let published = world.catalog.values().flat_map(|e| &e.tasks).find(|t| t.id == kill.task);
    assert!(published.is_none_or(|t| t.readiness != Readiness::Ready), "killed in service");
}

/// A refused request has changed nothing; an accepted one is written.
pub fn answer(before: &Core, after: &Core, answer: &Result<Accepted, Refusal>, effects: &Effects) {
    match answer {
        Err(refusal) => {
            assert!(is_expected(refusal), "{refusal:?}");
            assert!(before.state().root == after.state().root, "refused and changed");
            assert!(effects.writes.is_empty() && effects.launches.is_empty());
        }
        Ok(accepted) => {
            for app in &accepted.apps {
                let changed = before.state().root.apps.get(&app.id) != Some(app);
                assert!(!changed || effects.writes.contains(&Key::App(app.id.clone())));
                assert!(!app.service_ports().contains(&0), "a port without a number");
            }
        }
    }
    service_ports(before, after);
}

/// A number that this change chose belongs to one app only.
fn service_ports(before: &Core, after: &Core) {
    for app in after.state().root.apps.values() {
        let old = before.state().root.apps.get(&app.id);
        let old_ports = old.map(|a| a.service_ports()).unwrap_or_default();
        // The simulation names only these two by itself.
        let chosen = app.service_ports().into_iter().filter(|p| ![10_002, 80].contains(p));
        for port in chosen.filter(|p| !old_ports.contains(p)) {
            let owners: Vec<_> = after.state().service_ports.owners(port).collect();
            assert_eq!(owners, [&app.id], "service port {port}");
        }
    }
}

/// Nothing that was accepted is lost in a restart.
pub fn restored(world: &World) {
    let restored: BTreeMap<AppId, Arc<App>> =
        world.core.state().root.apps.iter().map(|(i, a)| (i.clone(), a.clone())).collect();
    assert_eq!(restored, world.accepted, "the root after a restart");
    for (id, app) in &restored {
        let mut ports = app.service_ports();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(world.core.state().service_ports.of(id), ports);
    }
}

pub fn is_converged(world: &World) -> bool {
    let state = world.core.state();
    let right = |app: &Arc<App>| {
        // Only one task can have a fixed port here.
        let most = if has_fixed_host_port(app) { 1 } else { u32::MAX };
        let wanted = App { instances: app.instances.min(most), ..App::clone(app) };
        replace::is_reached(Some(&wanted), state.tasks.get(&app.id)) || starved(world, app)
    };
    let stuck = |app: &AppId| {
        state.root.apps.get(app).is_some_and(|a| has_fixed_host_port(a) || starved(world, a))
    };
    // An app whose deployment waits for a stuck one is as wanted when it is as before.
    state.root.apps.keys().filter_map(|id| world.core.wanted(id)).all(|app| right(&app))
        && state.tasks.keys().all(|app| state.root.apps.contains_key(app))
        && state.deployments.values().all(|d| d.affected.iter().any(stuck))
        && state.task_apps.len() == world.machine.processes.len()
}

/// Whether the app waits for a host port that another app's task has, and says so.
fn starved(world: &World, app: &App) -> bool {
    has_fixed_host_port(app) && world.core.state().waiting.contains_key(&app.id)
}

/// Tells what is not as wanted.
pub fn converged(world: &World) {
    let state = world.core.state();
    for app in state.root.apps.values() {
        let tasks: Vec<String> = state
            .tasks_of(&app.id)
            .map(|t| {
                format!(
                    "{} {:?} current {} healthy {:?} ready {} leaving {}",
                    t.id,
                    t.state,
                    replace::is_current(t, app),
                    t.healthy(),
                    t.ready,
                    replace::is_leaving(t)
                )
            })
            .collect();
        eprintln!(
            "{} wants {}: {tasks:#?} {:?}",
            app.id,
            app.instances,
            state.waiting.get(&app.id)
        );
    }
    panic!(
        "not converged: {:?}, {} processes, {} tasks",
        state.deployments,
        world.machine.processes.len(),
        state.task_apps.len()
    );
}
