use super::*;

use waymark_model::ReadinessCheck;

fn checked(name: &str, instances: u32) -> App {
    let check = HealthCheck { grace_period: Duration::from_secs(10), ..HealthCheck::default() };
    App { health_checks: vec![check], ..app(name, instances, &[0]) }
}

const CHECK: CheckId = CheckId::Health(0);

#[test]
fn a_killed_task_drains_first_and_is_replaced() {
    let mut bench = Bench::new();
    bench.put(app("/a", 1, &[0]));
    let tasks = bench.run_all("/a");
    let kill = Request::Kill { tasks: tasks.clone(), scale: false, force: false };
    bench.handle(Input::Request(kill));
    let accepted = bench.out.answer.take().unwrap().unwrap();
    assert_eq!((accepted.killed.len(), accepted.deployment), (1, None));
    assert_eq!((&bench.out.drain, bench.out.kills.len()), (&tasks, 0));
    assert_eq!(bench.out.launches.len(), 1);
    bench.handle(Input::Drained(tasks[0].clone()));
    assert_eq!(bench.out.kills.len(), 1);
    assert_eq!(bench.state_of(&tasks[0]), Some(TaskState::Killing));
    bench.status(&tasks[0], TaskState::Killed);
    assert_eq!(bench.tasks("/a").len(), 1);
    assert!(bench.core.state().delays.is_empty() && bench.core.state().failures.is_empty());
}

#[test]
fn draining_has_an_end_and_kills_are_repeated() {
    let mut bench = Bench::new();
    bench.put(app("/a", 1, &[0]));
    let tasks = bench.run_all("/a");
    bench.put(app("/a", 0, &[0]));
    bench.pass(Duration::from_secs(9));
    assert!(bench.out.kills.is_empty());
    assert_eq!(bench.core.next_wakeup(), Some(bench.now + Duration::from_secs(1)));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.out.kills[0].grace, DEFAULT_KILL_GRACE);
    bench.pass(Duration::from_secs(29));
    assert!(bench.out.kills.is_empty());
    bench.pass(Duration::from_secs(1));
    assert!(bench.out.kills[0].again);
    bench.status(&tasks[0], TaskState::Killed);
    assert_eq!(bench.core.next_wakeup(), None);
}

#[test]
fn killing_with_scaling() {
    let mut bench = Bench::new();
    bench.put(app("/a", 3, &[]));
    let tasks = bench.run_all("/a");
    let kill = Request::Kill { tasks: tasks[1..].to_vec(), scale: true, force: false };
    bench.handle(Input::Request(kill));
    let accepted = bench.out.answer.take().unwrap().unwrap();
    assert_eq!(bench.stored_app("/a").instances, 1);
    assert!(bench.out.launches.is_empty());
    assert_eq!(bench.out.drain, tasks[1..]);
    assert_eq!(accepted.killed.len(), 2);
    assert!(bench.core.state().deployments.contains_key(&accepted.deployment.unwrap()));
}

#[test]
fn a_crash_delays_the_next_launch() {
    let mut bench = Bench::new();
    bench.put(app("/a", 1, &[0]));
    for delay in [1000, 1150, 1322] {
        let tasks = bench.run_all("/a");
        bench.status(&tasks[0], TaskState::Failed);
        assert!(bench.out.launches.is_empty());
        let wakeup = bench.core.next_wakeup().unwrap();
        assert_eq!(wakeup.since(bench.now).as_millis(), delay);
        bench.pass(Duration::from_millis(delay as u64));
        assert_eq!(bench.out.launches.len(), 1);
    }
    let failure: &Failure = &bench.core.state().failures[&id("/a")];
    assert_eq!((failure.state, failure.message.as_str()), (TaskState::Failed, "said"));
    // It is forgotten by request, …
    let tasks = bench.run_all("/a");
    bench.status(&tasks[0], TaskState::Finished);
    bench.handle(Input::Request(Request::ResetDelay(id("/a"))));
    assert_eq!(bench.out.launches.len(), 1);
    // … by a deployment, …
    let tasks = bench.run_all("/a");
    bench.status(&tasks[0], TaskState::Failed);
    bench.put(app("/a", 2, &[0]));
    assert_eq!(bench.out.launches.len(), 2);
    // … and by time.
    let tasks = bench.run_all("/a");
    bench.status(&tasks[0], TaskState::Failed);
    bench.pass(Duration::from_secs(1));
    bench.run_all("/a");
    assert!(!bench.core.state().delays.is_empty());
    bench.pass(Duration::from_secs(301));
    assert!(bench.core.state().delays.is_empty());
}

#[test]
fn with_a_delay_tasks_start_one_after_the_other() {
    let mut bench = Bench::new();
    bench.put(app("/a", 3, &[]));
    for task in bench.run_all("/a") {
        bench.status(&task, TaskState::Failed);
    }
    for want in [0, 1, 1] {
        assert_eq!(bench.out.launches.len(), want);
        bench.now = bench.core.next_wakeup().unwrap();
        bench.handle(Input::Tick);
    }
    assert_eq!(bench.tasks("/a").len(), 3);
}

#[test]
fn an_unhealthy_task_is_out_at_once_and_replaced_after_three() {
    let mut bench = Bench::new();
    bench.put(checked("/a", 1));
    let task = bench.run_all("/a").remove(0);
    assert_eq!(bench.out.watch.len(), 1);
    assert!(!bench.core.state().task(&task).unwrap().is_serving());
    // Failures before the first success do not count while the task is young.
    bench.probe(&task, CHECK, false);
    assert!(bench.core.state().task(&task).unwrap().health[0].is_none());
    bench.probe(&task, CHECK, true);
    assert!(bench.core.state().task(&task).unwrap().is_serving());
    assert!(bench.core.state().deployments.is_empty());
    bench.probe(&task, CHECK, true);
    assert!(bench.out.writes.is_empty() && bench.out.catalog.is_empty());

    bench.probe(&task, CHECK, false);
    assert!(bench.out.catalog.contains(&id("/a")));
    assert!(!bench.core.state().task(&task).unwrap().is_serving());
    bench.probe(&task, CHECK, false);
    assert!(bench.out.kills.is_empty());
    bench.probe(&task, CHECK, false);
    assert_eq!(bench.out.kills[0].reason, Reason::Unhealthy);
    assert_eq!((bench.out.launches.len(), &bench.out.forget), (1, &vec![task.clone()]));
    assert!(bench.core.state().failures[&id("/a")].message.contains("3 times in a row"));
    // Further reports change nothing.
    bench.probe(&task, CHECK, false);
    assert!(bench.out.kills.is_empty() && bench.out.happenings.is_empty());
}

use crate::replace::Reason;

#[test]
fn a_draining_task_that_turns_unhealthy_waits_no_longer() {
    let mut bench = Bench::new();
    bench.put(checked("/a", 1));
    let task = bench.run_all("/a").remove(0);
    bench.probe(&task, CHECK, true);
    bench.put(checked("/a", 0));
    for want in [0, 0, 1] {
        bench.probe(&task, CHECK, false);
        assert_eq!(bench.out.kills.len(), want);
    }
}

#[test]
fn a_task_that_never_served_does_not_drain() {
    let mut bench = Bench::new();
    bench.put(checked("/a", 2));
    let tasks = bench.tasks("/a");
    bench.status(&tasks[0], TaskState::Running);
    bench.change(put([checked("/a", 0)]), true).unwrap();
    assert!(bench.out.drain.is_empty());
    assert_eq!(bench.out.kills.len(), 2);
}

#[test]
fn overdue_tasks_are_killed() {
    let mut bench = Bench::new();
    bench.put(app("/a", 1, &[]));
    let task = bench.tasks("/a").remove(0);
    bench.status(&task, TaskState::Starting);
    bench.pass(Duration::from_secs(299));
    assert!(bench.out.kills.is_empty());
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.out.kills[0].reason, Reason::Overdue);
    assert_eq!(bench.out.launches.len(), 1);
}

#[test]
fn readiness_gates_deployments_only() {
    let mut bench = Bench::new();
    let check = ReadinessCheck {
        name: "r".to_owned(),
        https: false,
        path: "/".to_owned(),
        port_name: "p".to_owned(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        ready_codes: vec![200],
        preserve_last_response: false,
    };
    bench.put(App { readiness_checks: vec![check], ..app("/a", 1, &[0]) });
    let task = bench.run_all("/a").remove(0);
    assert!(!bench.core.state().deployments.is_empty());
    assert!(bench.core.state().task(&task).unwrap().is_serving(), "it gets traffic all the same");
    bench.probe(&task, CheckId::Readiness(0), false);
    assert!(!bench.core.state().deployments.is_empty());
    bench.probe(&task, CheckId::Readiness(0), true);
    assert!(bench.core.state().deployments.is_empty());
    assert!(bench.core.state().readiness[&task].ready);
    bench.status(&task, TaskState::Failed);
    assert!(bench.core.state().readiness.is_empty());
    bench.pass(Duration::from_secs(1));
    assert!(bench.out.launches[0].ready, "nothing waits for it");
}

#[test]
fn host_ports_that_run_out() {
    let settings = Settings { host_ports: vec![31_000..=31_001], ..Settings::new(agent()) };
    let mut bench = Bench::with(settings);
    bench.put(app("/a", 3, &[0]));
    assert_eq!(bench.tasks("/a").len(), 2);
    let reason = &*bench.core.state().waiting[&id("/a")].clone();
    assert_eq!(reason, "no free host port: 1 host ports are needed and 0 are free in 31000-31001");
    let tasks = bench.run_all("/a");
    bench.status(&tasks[0], TaskState::Lost);
    assert_eq!(bench.out.launches.len(), 1);
    bench.put(app("/b", 0, &[0]));
    bench.change(put([app("/a", 2, &[0])]), true).unwrap();
    assert!(bench.core.state().waiting.is_empty());
}

#[test]
fn an_app_with_a_fixed_host_port_is_replaced_one_after_the_other() {
    let mut bench = Bench::new();
    let fixed = App { require_ports: true, ..app("/a", 1, &[8080]) };
    bench.put(fixed.clone());
    let old = bench.run_all("/a").remove(0);
    bench.put(App { user: Some("u".to_owned()), ..fixed });
    assert_eq!(bench.out.drain, std::slice::from_ref(&old));
    bench.handle(Input::Drained(old.clone()));
    assert!(bench.out.launches.is_empty());
    bench.status(&old, TaskState::Killed);
    assert_eq!(bench.out.launches[0].host_ports, [Some(8080)]);
}

#[test]
fn unknown_tasks_are_killed() {
    let mut bench = Bench::new();
    let stranger = TaskId::from_text("x.instance-1._app.1");
    bench.status(&stranger, TaskState::Running);
    assert_eq!((&bench.out.kills[0].task, bench.out.kills[0].reason), (&stranger, Reason::Unknown));
    bench.status(&stranger, TaskState::Killed);
    assert!(bench.out.kills.is_empty());
}

#[test]
fn shutdown_ends_all_and_keeps_what_is_wanted() {
    let mut bench = Bench::new();
    bench.put(app("/a", 2, &[]));
    let tasks = bench.run_all("/a");
    bench.handle(Input::Shutdown);
    assert_eq!(bench.out.kills.len(), 2);
    for task in &tasks {
        bench.status(task, TaskState::Killed);
        assert!(bench.out.launches.is_empty());
    }
    assert_eq!(bench.stored_app("/a").instances, 2);
    assert!(matches!(bench.change(put([app("/b", 1, &[])]), false), Err(Refusal::Stopping)));
}
