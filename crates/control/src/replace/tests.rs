use std::sync::Arc;

use waymark_model::{Agent, HealthCheck, HealthResult, PathId, Timestamp, UpgradeStrategy};

use super::*;

/// The app with `n` instances, replaced by `h`/`o`, configured at 2.
fn app(n: u32, h: f64, o: f64) -> App {
    let mut app = App::new(PathId::parse("/a").unwrap());
    app.instances = n;
    app.upgrade_strategy = UpgradeStrategy { minimum_health_capacity: h, maximum_over_capacity: o };
    app.health_checks = vec![HealthCheck::default()];
    app.last_config_change_at = Timestamp(2);
    app
}

/// Tasks from a text such as `N1s o2u N3d`: `N` new or `o` old, a number that is also the age in
/// seconds, and `s` serving, `r` running with unknown health, `u` unhealthy, `n` serving but not
/// ready, `g` staging, `t` starting, `d` draining, `k` killed.
fn tasks(app: &App, text: &str) -> AppTasks {
    let mut tasks = AppTasks::new();
    for word in text.split_whitespace() {
        let mut config = app.clone();
        config.last_config_change_at = Timestamp(if word.starts_with('N') { 2 } else { 1 });
        let alive = match word.chars().last().unwrap() {
            's' | 'n' | 'd' | 'k' => Some(true),
            'u' => Some(false),
            _ => None,
        };
        let number: u64 = word[1..word.len() - 1].parse().unwrap();
        let state = match word.chars().last().unwrap() {
            'g' => TaskState::Staging,
            't' => TaskState::Starting,
            'k' => TaskState::Killing,
            _ => TaskState::Running,
        };
        let task = Task {
            id: TaskId::from_text(word),
            app: Arc::new(config),
            agent: Arc::new(Agent {
                id: "S0".to_owned(),
                hostname: "h".to_owned(),
                address: [127, 0, 0, 1].into(),
            }),
            state,
            host_ports: Vec::new(),
            addresses: Vec::new(),
            staged_at: Timestamp(1_000_000 - number * 1000),
            started_at: None,
            health: vec![alive.map(|alive| HealthResult { alive, ..HealthResult::default() })],
            ready: !word.ends_with('n'),
            draining_since: word.ends_with('d').then_some(Timestamp(5)),
        };
        tasks.insert(task.id.clone(), Arc::new(task));
    }
    tasks
}

/// `leave…; +launches`
#[track_caller]
fn check(app: &App, there: &str, want: &str) {
    let tasks = tasks(app, there);
    let steps = steps(Some(app), Some(&tasks), Capacity::of(app, false));
    let mut leave: Vec<&str> = steps.leave.iter().map(|(id, _)| id.as_str()).collect();
    leave.sort_unstable();
    let found = format!("{}; +{}", leave.join(" "), steps.launch);
    assert_eq!(found, want, "{there}");
}

#[test]
fn capacities() {
    for (n, h, o, min, max) in [
        (4, 1.0, 1.0, 4, 8),
        (4, 1.0, 0.0, 4, 5),
        (4, 0.5, 0.0, 2, 4),
        (4, 0.0, 0.0, 0, 4),
        (5, 0.5, 0.5, 3, 7),
        (3, 0.34, 0.0, 2, 3),
        (100, 0.07, 0.0, 7, 100),
        (1, 1.0, 0.5, 1, 2),
        (0, 1.0, 1.0, 0, 1),
        (2, 9.0, f64::NAN, 2, 3),
    ] {
        let capacity = Capacity::of(&app(n, h, o), false);
        assert_eq!(capacity, Capacity { min_serving: min, max_live: max }, "{n} {h} {o}");
    }
    let alone = Capacity::of(&app(2, 1.0, 1.0), true);
    assert_eq!(alone, Capacity { min_serving: 0, max_live: 2 });
}

#[test]
fn scaling() {
    let three = app(3, 1.0, 1.0);
    check(&three, "", "; +3");
    check(&three, "N1s", "; +2");
    check(&three, "N1s N2s N3s", "; +0");
    // The youngest go first, those that do not serve before all others.
    check(&three, "N1s N2s N3s N4s N5s", "N1s N2s; +0");
    check(&three, "N1s N2s N3s N4u N5g", "N4u N5g; +0");
    check(&three, "N1s N2s N3s N4n", "N4n; +0");
    check(&three, "N1t N2g N3s N4s N5s", "N1t N2g; +0");
    let oldest = App { kill_selection: KillSelection::OldestFirst, ..three.clone() };
    check(&oldest, "N1s N2s N3s N4s N5s", "N4s N5s; +0");
    check(&app(0, 1.0, 1.0), "N1s N2g", "N1s N2g; +0");
}

#[test]
fn leaving_tasks_take_room_and_are_no_capacity() {
    check(&app(2, 1.0, 1.0), "N1s N2d", "; +1");
    check(&app(1, 0.0, 0.0), "N1k", "; +0");
    check(&app(1, 0.0, 0.0), "", "; +1");
    // A scale-down that is still draining does not keep a crashed task from being replaced.
    check(&app(1, 1.0, 1.0), "N1d N2d N3d N4d", "; +1");
}

#[test]
fn all_new_beside_all_old() {
    let app = app(3, 1.0, 1.0);
    check(&app, "o1s o2s o3s", "; +3");
    check(&app, "o1s o2s o3s N1g N2g N3g", "; +0");
    check(&app, "o1s o2s o3s N1s N2r N3g", "o1s; +0");
    check(&app, "o1d o2s o3s N1s N2r N3g", "; +0");
    check(&app, "o1d o2s o3s N1s N2s N3n", "o2s; +0");
    check(&app, "o3s N1s N2s N3s", "o3s; +0");
    check(&app, "N1s N2s N3s", "; +0");
}

#[test]
fn one_at_a_time() {
    let app = app(2, 1.0, 0.0);
    check(&app, "o1s o2s", "; +1");
    check(&app, "o1s o2s N1r", "; +0");
    check(&app, "o1s o2s N1s", "o1s; +0");
    check(&app, "o1d o2s N1s", "; +0");
    check(&app, "o2s N1s", "; +1");
    check(&app, "o2s N1s N2s", "o2s; +0");
}

#[test]
fn half_first() {
    let app = app(4, 0.5, 0.0);
    check(&app, "o1s o2s o3s o4s", "o1s o2s; +0");
    check(&app, "o1d o2k o3s o4s", "; +0");
    check(&app, "o3s o4s", "; +2");
    check(&app, "o3s o4s N1s N2r", "o3s; +0");
}

#[test]
fn all_at_once() {
    let app = app(2, 0.0, 0.0);
    check(&app, "o1s o2s", "o1s o2s; +0");
    check(&app, "o1d o2d", "; +0");
}

#[test]
fn unhealthy_old_tasks() {
    // They go first and do not hold the others …
    check(&app(4, 0.5, 0.0), "o1u o2u o3s o4s", "o1u o2u; +0");
    // … but a moment of bad health of all of them does not end them all.
    check(&app(4, 0.5, 0.0), "o1u o2u o3u o4u", "o1u o2u; +0");
    check(&app(4, 1.0, 1.0), "o1u o2u o3u o4u", "; +4");
    // Those that do not run yet are no capacity.
    check(&app(2, 1.0, 1.0), "o1g o2t", "o1g o2t; +2");
    check(&app(2, 1.0, 0.0), "o1u o2s N1s", "o1u; +0");
}

#[test]
fn nothing_wanted() {
    let app = app(2, 1.0, 1.0);
    let steps = steps(None, Some(&tasks(&app, "o1s N2d N3g")), Capacity::of(&app, false));
    let leave: Vec<_> = steps.leave.iter().map(|(id, why)| (id.as_str(), *why)).collect();
    assert_eq!(leave, [("N3g", Reason::Stop), ("o1s", Reason::Stop)]);
    assert_eq!(steps.launch, 0);
}

#[test]
fn goals() {
    let app = app(2, 1.0, 1.0);
    for (there, want) in [
        ("N1s N2s", true),
        ("N1s", false),
        ("N1s N2r", false),
        ("N1s N2n", false),
        ("N1s N2s N3d", false),
        ("N1s o2s", false),
    ] {
        assert_eq!(is_reached(Some(&app), Some(&tasks(&app, there))), want, "{there}");
    }
    assert!(is_reached(None, None));
    assert!(!is_reached(None, Some(&tasks(&app, "N1k"))));
    assert!(is_reached(Some(&App { instances: 0, ..app }), None));
}
