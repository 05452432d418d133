use super::*;

use waymark_model::Group;

#[test]
fn a_new_app() {
    let mut bench = Bench::new();
    let accepted = bench.put(app("/shop/web", 2, &[0, 0]));
    let stored = &accepted.apps[0];
    assert_eq!(stored.service_ports(), [10_000, 10_001]);
    assert_eq!((stored.version, stored.last_scaling_at), (bench.now, bench.now));
    assert_eq!(accepted.version, bench.now);
    let groups: Vec<_> = bench.core.state().root.groups.keys().map(|g| g.to_string()).collect();
    assert_eq!(groups, ["/", "/shop"]);
    assert_eq!(bench.out.launches.len(), 2);
    let written: Vec<&Key> = bench.out.writes.iter().collect();
    assert!(written.contains(&&Key::Root) && written.contains(&&Key::Group(id("/shop"))));
    assert!(written.contains(&&Key::App(id("/shop/web"))));
    assert!(written.contains(&&Key::Deployment(accepted.deployment.unwrap())));
}

#[test]
fn the_same_again_is_no_change() {
    let mut bench = Bench::new();
    let first = bench.put(app("/a", 2, &[0, 0]));
    bench.run_all("/a");
    bench.now = bench.now + Duration::from_secs(5);
    let again = bench.put(app("/a", 2, &[0, 0]));
    assert_eq!(again.version, first.version);
    assert_eq!(again.apps, first.apps);
    assert!(bench.out.writes.is_empty() && bench.out.launches.is_empty());
    assert_ne!(again.deployment, first.deployment);
    assert!(bench.core.state().deployments.is_empty());
}

#[test]
fn scaling_and_upgrading() {
    let mut bench = Bench::new();
    bench.put(app("/a", 1, &[0]));
    let old = bench.run_all("/a");
    let first = bench.stored_app("/a");
    bench.put(app("/a", 2, &[0]));
    let scaled = bench.stored_app("/a");
    assert!(scaled.version > first.version && scaled.last_scaling_at == scaled.version);
    assert_eq!(scaled.last_config_change_at, first.last_config_change_at);
    assert_eq!(bench.out.launches.len(), 1);
    assert_eq!(bench.tasks("/a").len(), 2, "nothing is replaced");
    bench.run_all("/a");

    let change = App { labels: [("k".to_owned(), "v".to_owned())].into(), ..app("/a", 2, &[0]) };
    bench.put(change);
    let upgraded = bench.stored_app("/a");
    assert_eq!(upgraded.last_config_change_at, upgraded.version);
    assert_eq!(bench.out.launches.len(), 2, "all new beside all old");
    assert!(bench.state_of(&old[0]).is_some());
}

#[test]
fn a_restart_replaces_without_a_change() {
    let mut bench = Bench::new();
    bench.put(app("/a", 1, &[0]));
    bench.run_all("/a");
    let before = bench.stored_app("/a");
    let restart = Change { restart: [id("/a"), id("/none")].into(), ..Change::default() };
    bench.change(restart, false).unwrap();
    let after = bench.stored_app("/a");
    assert!(after.same_definition(&before) && after.last_config_change_at == after.version);
    assert_eq!(bench.out.launches.len(), 1);
}

#[test]
fn versions_grow_when_the_clock_does_not() {
    let mut bench = Bench::new();
    let first = bench.put(app("/a", 0, &[])).version;
    let second = bench.put(app("/b", 0, &[])).version;
    bench.now = Timestamp(7);
    let third = bench.put(app("/c", 0, &[])).version;
    assert!(first < second && second < third);
}

#[test]
fn locks() {
    let mut bench = Bench::new();
    let first = bench.put(app("/a", 1, &[])).deployment.unwrap();
    let refusal = bench.change(put([app("/a", 2, &[]), app("/b", 1, &[])]), false).unwrap_err();
    assert_eq!(refusal, Refusal::Locked(vec![first.clone()]));
    assert!(bench.core.state().app(&id("/b")).is_none());
    // Another app is not held, and an identical definition needs no lock.
    bench.put(app("/c", 1, &[]));
    bench.put(app("/a", 1, &[]));
    let forced = bench.change(put([app("/a", 2, &[])]), true).unwrap().deployment.unwrap();
    let a = id("/a");
    let running: Vec<_> = bench.core.state().deployments_of(&a).map(|d| &d.id).collect();
    assert_eq!(running, [&forced]);
    assert!(bench.out.writes.contains(&Key::Deployment(first)));
}

#[test]
fn a_hundred_deployments_at_most() {
    let mut bench = Bench::new();
    for n in 0..MAX_DEPLOYMENTS {
        bench.put(app(&format!("/a{n}"), 1, &[]));
    }
    let refusal = bench.change(put([app("/one-more", 1, &[])]), false).unwrap_err();
    assert_eq!(refusal, Refusal::TooManyDeployments(MAX_DEPLOYMENTS));
    // Nothing to deploy, or one cancelled for the new one: both are possible.
    bench.put(app("/a0", 1, &[]));
    bench.change(put([app("/a0", 2, &[])]), true).unwrap();
}

#[test]
fn exhausted_ports_leave_nothing_behind() {
    let settings = Settings { service_ports: 10_000..=10_001, ..Settings::new(agent()) };
    let mut bench = Bench::with(settings);
    let refusal = bench.change(put([app("/a", 1, &[0]), app("/b", 1, &[0, 0])]), false);
    assert_eq!(refusal.unwrap_err(), Refusal::PortsExhausted { min: 10_000, max: 10_001 });
    assert!(bench.core.state().root.apps.is_empty() && bench.out.writes.is_empty());
    assert_eq!(bench.put(app("/c", 1, &[0, 0])).apps[0].service_ports(), [10_000, 10_001]);
}

#[test]
fn shared_service_ports() {
    let mut bench = Bench::new();
    bench.put(app("/blue", 0, &[80]));
    let warnings = bench.put(app("/green", 0, &[80])).warnings;
    assert_eq!(warnings, ["service port 80 of app /green is also used by app /blue"]);
    assert_eq!(
        bench.core.state().service_port_conflicts(),
        ["service port 80 is used by app /blue and by app /green"]
    );

    let strict = Settings { strict_service_ports: true, ..Settings::new(agent()) };
    let mut bench = Bench::with(strict);
    bench.put(app("/blue", 0, &[80]));
    let Err(Refusal::Invalid(violations)) = bench.change(put([app("/green", 0, &[0, 80])]), false)
    else {
        panic!("accepted")
    };
    assert_eq!(violations[0].path, "/portDefinitions(1)/port");
    // A port that another app gives up in the same change is free for an explicit number.
    let mut swap = put([app("/green", 0, &[80])]);
    swap.apps.insert(id("/blue"), None);
    bench.change(swap, false).unwrap();
    // Both in one change are as bad as one after the other.
    let both = put([app("/x", 0, &[81]), app("/y", 0, &[81])]);
    assert!(matches!(bench.change(both, false), Err(Refusal::Invalid(_))));
}

#[test]
fn an_id_is_an_app_or_a_group() {
    let mut bench = Bench::new();
    bench.put(app("/a", 0, &[]));
    assert!(matches!(bench.change(put([app("/a/b", 0, &[])]), false), Err(Refusal::Invalid(_))));
    bench.put(app("/g/x", 0, &[]));
    assert!(matches!(bench.change(put([app("/g", 0, &[])]), false), Err(Refusal::Invalid(_))));
    let groups = [(id("/a"), Some(Group::default()))].into();
    let change = Change { groups, ..Change::default() };
    assert!(matches!(bench.change(change, false), Err(Refusal::Invalid(_))));
}

#[test]
fn a_circle_of_dependencies() {
    let mut bench = Bench::new();
    let a = App { dependencies: vec![id("/b")], ..app("/a", 1, &[]) };
    let b = App { dependencies: vec![id("/a")], ..app("/b", 1, &[]) };
    assert!(matches!(bench.change(put([a, b]), false), Err(Refusal::Invalid(_))));
}

#[test]
fn dependents_wait_for_their_step() {
    let mut bench = Bench::new();
    let web = App { dependencies: vec![id("/db")], ..app("/web", 1, &[]) };
    bench.change(put([web.clone(), app("/db", 1, &[])]), false).unwrap();
    assert!(bench.tasks("/web").is_empty());
    let db = bench.run_all("/db");
    assert_eq!(bench.tasks("/web").len(), 1);
    let old = bench.run_all("/web");
    assert!(bench.core.state().deployments.is_empty());

    // Until its step an app stays as it was, also when it crashes.
    let change = |a: App| App { user: Some("nobody".to_owned()), ..a };
    bench.change(put([change(web), change(app("/db", 1, &[]))]), false).unwrap();
    bench.status(&old[0], TaskState::Failed);
    bench.pass(Duration::from_secs(2));
    let again = bench.tasks("/web");
    let task = bench.core.state().task(&again[0]).unwrap();
    assert_eq!((again.len(), &task.app.user), (1, &None));
    bench.run_all("/web");
    // The new database takes over, the old one drains and ends: now it is the web's turn.
    bench.run_all("/db");
    bench.handle(Input::Drained(db[0].clone()));
    bench.status(&db[0], TaskState::Killed);
    let users: Vec<_> =
        bench.core.state().tasks_of(&id("/web")).map(|t| t.app.user.clone()).collect();
    assert_eq!(users.len(), 2);
    assert!(users.contains(&Some("nobody".to_owned())));
}

#[test]
fn removing_an_app() {
    let mut bench = Bench::new();
    bench.put(app("/g/a", 1, &[0]));
    let tasks = bench.run_all("/g/a");
    let change = Change { apps: [(id("/g/a"), None)].into(), ..Change::default() };
    bench.change(change, false).unwrap();
    assert_eq!(bench.out.drain, tasks);
    assert!(bench.core.state().service_ports.of(&id("/g/a")).is_empty());
    bench.handle(Input::Drained(tasks[0].clone()));
    bench.status(&tasks[0], TaskState::Killed);
    let state = bench.core.state();
    assert!(state.tasks.is_empty() && state.deployments.is_empty());
    assert!(state.root.groups.contains_key(&id("/g")), "empty groups stay");
    assert!(bench.out.writes.contains(&Key::App(id("/g/a"))), "its history is forgotten");
    assert!(bench.out.catalog.contains(&id("/g/a")));
    assert_eq!(bench.put(app("/b", 0, &[0])).apps[0].service_ports(), [10_000]);
}

#[test]
fn groups() {
    let mut bench = Bench::new();
    let group = |needs: &[&str]| Group {
        dependencies: needs.iter().map(|n| id(n)).collect(),
        ..Group::default()
    };
    let change =
        |g: Option<Group>| Change { groups: [(id("/g/h"), g)].into(), ..Change::default() };
    let made = bench.change(change(Some(group(&["/x"]))), false).unwrap();
    assert_eq!(bench.core.state().root.groups[&id("/g")].version, made.version);
    let same = bench.change(change(Some(group(&["/x"]))), false).unwrap();
    assert_eq!(same.version, made.version);
    let gone = bench.change(change(None), false).unwrap();
    assert!(gone.version > made.version);
    assert!(bench.out.writes.contains(&Key::Group(id("/g/h"))));
    assert!(!bench.core.state().root.groups.contains_key(&id("/g/h")));
}
