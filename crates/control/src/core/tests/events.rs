use super::*;

/// The names of the events since the last look.
fn names(bench: &Bench) -> Vec<&'static str> {
    bench.out.happenings.iter().flat_map(announce::events).map(|e| e.event_type()).collect()
}

fn is_killing(happening: &Happening, id: &TaskId) -> bool {
    matches!(happening, Happening::Status { task, .. }
        if task.id == *id && task.told_state() == TaskState::Killing)
}

#[test]
fn creating_and_killing_one_instance() {
    let mut bench = Bench::new();
    let check = HealthCheck::default();
    bench.put(App { health_checks: vec![check], ..app("/a", 1, &[0]) });
    assert_eq!(
        names(&bench),
        [
            "add_health_check_event",
            "group_change_success",
            "deployment_info",
            "deployment_step_success",
            "deployment_info",
            "instance_changed_event",
            "instance_changed_event",
        ]
    );
    let task = bench.tasks("/a").remove(0);
    bench.status(&task, TaskState::Running);
    assert_eq!(names(&bench), ["status_update_event", "instance_changed_event"]);
    bench.probe(&task, CheckId::Health(0), true);
    assert_eq!(
        names(&bench),
        [
            "health_status_changed_event",
            "instance_health_changed_event",
            "deployment_step_success",
            "deployment_success",
        ]
    );
    bench.handle(Input::Request(Request::Kill {
        tasks: vec![task.clone()],
        scale: false,
        force: false,
    }));
    let drains = ["status_update_event", "instance_changed_event"];
    let replaced = ["instance_changed_event", "instance_changed_event"];
    let mut events = names(&bench);
    events.sort_unstable();
    let mut wanted = [drains, replaced].concat();
    wanted.sort_unstable();
    assert_eq!(events, wanted, "that it goes is told when it begins to drain");
    assert_eq!(bench.out.happenings.iter().filter(|h| is_killing(h, &task)).count(), 1);
    bench.handle(Input::Drained(task.clone()));
    assert!(names(&bench).is_empty(), "and not again when it is killed");
    bench.status(&task, TaskState::Killed);
    assert_eq!(names(&bench), ["status_update_event", "instance_changed_event"]);
}

#[test]
fn an_empty_plan_is_finished_at_once() {
    let mut bench = Bench::new();
    bench.put(app("/a", 0, &[]));
    bench.put(app("/a", 0, &[]));
    assert_eq!(names(&bench), ["deployment_info", "deployment_success"]);
}

#[test]
fn removal_and_cancellation() {
    let mut bench = Bench::new();
    let check = HealthCheck { grace_period: Duration::ZERO, ..HealthCheck::default() };
    bench.put(App { health_checks: vec![check], ..app("/a", 1, &[]) });
    let task = bench.run_all("/a").remove(0);
    let change = Change { apps: [(id("/a"), None)].into(), ..Change::default() };
    bench.change(change, true).unwrap();
    assert_eq!(
        names(&bench),
        [
            "deployment_step_failure",
            "deployment_failed",
            "remove_health_check_event",
            "group_change_success",
            "deployment_info",
            "status_update_event",
            "instance_changed_event",
        ]
    );
    bench.status(&task, TaskState::Killed);
    assert_eq!(
        names(&bench),
        [
            "status_update_event",
            "instance_changed_event",
            "app_terminated_event",
            "deployment_step_success",
            "deployment_success",
        ]
    );
}

#[test]
fn failing_health() {
    let mut bench = Bench::new();
    let check = HealthCheck {
        grace_period: Duration::ZERO,
        max_consecutive_failures: 2,
        ..HealthCheck::default()
    };
    bench.put(App { health_checks: vec![check], ..app("/a", 1, &[]) });
    let task = bench.run_all("/a").remove(0);
    bench.probe(&task, CheckId::Health(0), false);
    assert_eq!(
        names(&bench),
        [
            "failed_health_check_event",
            "health_status_changed_event",
            "instance_health_changed_event",
        ]
    );
    bench.probe(&task, CheckId::Health(0), false);
    assert_eq!(
        names(&bench),
        [
            "failed_health_check_event",
            "unhealthy_instance_kill_event",
            "status_update_event",
            "instance_changed_event",
            "instance_changed_event",
            "instance_changed_event",
        ]
    );
}
