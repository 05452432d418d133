//! Random requests.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use waymark_control::{Change, Request, State};
use waymark_model::{
    App, AppId, HealthCheck, KillSelection, PathId, PortDefinition, ReadinessCheck, TaskId,
    UpgradeStrategy,
};

/// Apps of the simulation.
pub const APPS: [&str; 6] = ["/a", "/shop/web", "/shop/api", "/shop/db", "/x/y/z", "/solo"];

const STRATEGIES: [(f64, f64); 6] =
    [(1.0, 1.0), (1.0, 0.0), (0.5, 0.0), (0.0, 0.0), (0.5, 0.5), (0.3, 0.2)];

pub fn app_id(text: &str) -> AppId {
    PathId::parse(text).unwrap()
}

fn pick<'a, T>(rng: &mut ChaCha8Rng, all: &'a [T]) -> &'a T {
    &all[rng.random_range(0..all.len())]
}

/// A random definition; its ports and strategy differ from call to call.
fn definition(rng: &mut ChaCha8Rng, id: &AppId) -> App {
    let mut app = App::new(id.clone());
    app.instances = rng.random_range(0..6);
    app.cmd = Some(format!("run {}", rng.random_range(0..1000)));
    let (minimum_health_capacity, maximum_over_capacity) = *pick(rng, &STRATEGIES);
    app.upgrade_strategy = UpgradeStrategy { minimum_health_capacity, maximum_over_capacity };
    if rng.random_bool(0.5) {
        app.kill_selection = KillSelection::OldestFirst;
    }
    for index in 0..rng.random_range(0..3) {
        // Mostly automatic, sometimes explicit: inside the range and out of it.
        let port = *pick(rng, &[0, 0, 0, 10_002, 80]);
        let taken = app.port_definitions.iter().any(|p| p.port == port && port != 0);
        app.port_definitions.push(PortDefinition {
            port: if taken { 0 } else { port },
            name: Some(format!("p{index}")),
            ..PortDefinition::default()
        });
    }
    app.require_ports = rng.random_bool(0.15);
    if rng.random_bool(0.6) {
        app.health_checks.push(HealthCheck {
            grace_period: Duration::from_secs(20),
            interval: Duration::from_secs(5),
            ..HealthCheck::default()
        });
    }
    if rng.random_bool(0.2) && !app.port_definitions.is_empty() {
        app.readiness_checks.push(ReadinessCheck {
            name: "ready".to_owned(),
            https: false,
            path: "/".to_owned(),
            port_name: "p0".to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            ready_codes: vec![200],
            preserve_last_response: false,
        });
    }
    if rng.random_bool(0.2) && id.as_str() == "/shop/web" {
        app.dependencies = vec![app_id("/shop/api"), app_id("/shop/db")];
    }
    app
}

/// A change of some apps.
fn change(rng: &mut ChaCha8Rng, state: &State) -> Change {
    let mut change = Change::default();
    for _ in 0..rng.random_range(1..4) {
        let id = app_id(pick::<&str>(rng, &APPS));
        match (state.root.apps.get(&id), rng.random_range(0..10)) {
            (Some(_), 0) => drop(change.apps.insert(id, None)),
            (Some(_), 1) => drop(change.restart.insert(id)),
            (Some(app), 2..6) => {
                let instances = rng.random_range(0..6);
                change.apps.insert(id, Some(App { instances, ..App::clone(app) }));
            }
            (Some(app), 6) => drop(change.apps.insert(id, Some(App::clone(app)))),
            _ => drop(change.apps.insert(id.clone(), Some(definition(rng, &id)))),
        }
    }
    change
}

/// A random request; the tasks that it names to be killed, too.
pub fn random(rng: &mut ChaCha8Rng, state: &State) -> (Request, Vec<TaskId>) {
    let force = rng.random_bool(0.4);
    let tasks: Vec<TaskId> = state.task_apps.keys().cloned().collect();
    if tasks.is_empty() || rng.random_bool(0.7) {
        let change = change(rng, state);
        return (Request::Change { change: Box::new(move |_| Ok(change)), force }, Vec::new());
    }
    if rng.random_bool(0.1) {
        return (Request::ResetDelay(app_id(pick::<&str>(rng, &APPS))), Vec::new());
    }
    let mut named: BTreeMap<TaskId, ()> = BTreeMap::new();
    for _ in 0..rng.random_range(1..3) {
        named.insert(pick(rng, &tasks).clone(), ());
    }
    let tasks: Vec<TaskId> = named.into_keys().collect();
    (Request::Kill { tasks: tasks.clone(), scale: rng.random_bool(0.3), force }, tasks)
}
