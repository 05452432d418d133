use waymark_model::Timestamp;

use super::super::test_world::{World, app, id, task};
use super::*;

const NEW: &str = "2026-01-02T00:00:00.000Z";
const OLD: &str = "2026-01-01T00:00:00.000Z";

/// Half of a blue/green pair: `tasks` of it, as many of them healthy, and its other labels.
struct Half<'a> {
    name: &'a str,
    started: &'a str,
    tasks: u8,
    healthy: u8,
    scaled_at: u64,
    labels: &'a [(&'a str, &'a str)],
}

fn half(half: &Half<'_>) -> AppEntry {
    let mut labels =
        vec![("HAPROXY_DEPLOYMENT_GROUP", "web"), ("HAPROXY_DEPLOYMENT_STARTED_AT", half.started)];
    labels.extend(half.labels);
    let mut entry = app(half.name, &[10000], &labels);
    let readiness = |n| if n < half.healthy { Readiness::Ready } else { Readiness::HealthUnknown };
    let name = |n| format!("{}.{n}", half.name);
    entry.tasks = (0..half.tasks).map(|n| task(&name(n), n + 1, readiness(n))).collect();
    entry.instances = half.tasks.into();
    entry.last_scaling_at = Timestamp(half.scaled_at);
    entry.health_checks.push(waymark_model::HealthCheck::default());
    entry
}

/// The tasks of the merged app that drain.
fn draining(apps: impl IntoIterator<Item = AppEntry>) -> Vec<String> {
    let world = World::of(apps);
    let pool = &world.table().service(10000).unwrap().pool;
    assert_eq!((pool.id.app.as_str(), pool.id.shared), ("/web", None));
    let drains = |c: &&super::super::pool::Candidate| {
        c.withheld == Some(super::super::pool::Reason::Draining)
    };
    let mut names: Vec<_> =
        pool.candidates.iter().filter(drains).map(|c| c.endpoint.task.to_string()).collect();
    names.sort();
    names
}

/// An old app with `old` healthy tasks, and a new one with `new` tasks of which some are healthy.
fn pair(old: u8, new: u8, healthy: u8, new_labels: &[(&str, &str)]) -> Vec<String> {
    let none: &[(&str, &str)] = &[];
    let blue = Half {
        name: "/web-blue",
        started: OLD,
        tasks: old,
        healthy: old,
        scaled_at: 0,
        labels: none,
    };
    let green = Half {
        name: "/web-green",
        started: NEW,
        tasks: new,
        healthy,
        scaled_at: 5,
        labels: new_labels,
    };
    draining([half(&blue), half(&green)])
}

#[test]
fn as_many_old_tasks_drain_as_new_ones_make_superfluous() {
    let labels = |target: &'static str, new: &'static str| {
        [("HAPROXY_DEPLOYMENT_TARGET_INSTANCES", target), ("HAPROXY_DEPLOYMENT_NEW_INSTANCES", new)]
    };
    assert_eq!(pair(3, 1, 0, &labels("3", "1")), [] as [&str; 0], "none is healthy yet");
    assert_eq!(pair(3, 1, 1, &labels("3", "1")), ["/web-blue.0"]);
    assert_eq!(pair(3, 2, 2, &labels("3", "2")), ["/web-blue.0", "/web-blue.1"]);
    assert_eq!(pair(2, 2, 2, &labels("3", "2")), ["/web-blue.0"]);
    assert_eq!(pair(1, 3, 3, &labels("3", "3")), ["/web-blue.0"], "no more than there are");
    assert_eq!(pair(2, 1, 1, &labels("9", "1")), [] as [&str; 0], "more are wanted than there are");
    assert_eq!(pair(2, 1, 1, &[]), ["/web-blue.0"], "without labels the target is one");
}

#[test]
fn without_checks_tasks_that_run_count() {
    let unchecked = |name, started, tasks, running| {
        let half = Half { name, started, tasks, healthy: running, scaled_at: 0, labels: &[] };
        let mut entry = self::half(&half);
        entry.health_checks.clear();
        entry
    };
    let pair = |running| {
        draining([unchecked("/web-blue", OLD, 2, 2), unchecked("/web-green", NEW, 2, running)])
    };
    assert_eq!(pair(0), [] as [&str; 0], "wanted is not there");
    assert_eq!(pair(1), ["/web-blue.0"]);
}

#[test]
fn the_roles_are_swapped_when_the_old_one_was_scaled_later() {
    let labels =
        [("HAPROXY_DEPLOYMENT_TARGET_INSTANCES", "2"), ("HAPROXY_DEPLOYMENT_NEW_INSTANCES", "1")];
    let blue = Half {
        name: "/web-blue",
        started: OLD,
        tasks: 2,
        healthy: 2,
        scaled_at: 9,
        labels: &labels,
    };
    let green = Half {
        name: "/web-green",
        started: NEW,
        tasks: 2,
        healthy: 2,
        scaled_at: 5,
        labels: &labels,
    };
    let names = draining([half(&blue), half(&green)]);
    assert_eq!(names, ["/web-green.0", "/web-green.1"], "rolling back");
}

#[test]
fn equal_times_and_missing_ones() {
    let none: &[(&str, &str)] = &[];
    let at = |name, started| {
        half(&Half { name, started, tasks: 1, healthy: 1, scaled_at: 0, labels: none })
    };
    assert_eq!(
        draining([at("/web-blue", OLD), at("/web-green", OLD)]),
        ["/web-green.0"],
        "the one met later counts as the older"
    );
    let mut without = at("/web-green", OLD);
    without.labels.remove("HAPROXY_DEPLOYMENT_STARTED_AT");
    assert_eq!(draining([at("/web-blue", OLD), without]), ["/web-green.0"]);
}

#[test]
fn groups_form_dissolve_and_give_way_to_an_app_of_their_id() {
    let none: &[(&str, &str)] = &[];
    let at = |name, started| {
        half(&Half { name, started, tasks: 1, healthy: 1, scaled_at: 0, labels: none })
    };
    let mut world = World::of([at("/web-blue", OLD), at("/web-green", NEW)]);
    assert_eq!(world.table().pools.len(), 1);
    world.remove("/web-blue");
    let pool = &world.table().service(10000).unwrap().pool;
    assert_eq!((pool.id.app.as_str(), pool.ready.len()), ("/web", 1));

    world.put([app("/web", &[10001], &[])]);
    assert!(world.table().service(10000).is_none());
    assert_eq!(world.table().displaced.get(&id("/web-green")), Some(&id("/web")));
    world.remove("/web");
    assert!(world.table().service(10000).is_some() && world.table().displaced.is_empty());

    world.put([app("/web-green", &[10000], &[])]);
    let pool = &world.table().service(10000).unwrap().pool;
    assert_eq!(pool.id.app.as_str(), "/web-green");
    world.remove("/web-green");
    assert!(world.table().pools.is_empty() && world.table().listeners.is_empty());
}
