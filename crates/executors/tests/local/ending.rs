//! Tasks are ended, and nothing is left of them.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use waymark_executors::Executor;
use waymark_model::TaskState;

use super::machine::{Machine, exists, gone, in_state, shell, signal, task};

/// A shell command that leaves a process which has its own session, no parent of its own and an
/// empty environment; its number is in `escaped`.
const ESCAPE: &str =
    "(env -i setsid /bin/sh -c 'echo $$ > escaped; exec sleep 1000' > /dev/null 2>&1 &)";

fn terminated() -> (TaskState, String) {
    (TaskState::Killed, "Command terminated by signal 15 (SIGTERM)".to_owned())
}

#[tokio::test]
async fn term_comes_first() {
    let mut machine = Machine::new();
    let task = machine.run("exec sleep 1000").await;
    let runner = machine.runner(&task);
    machine.executor().kill(&task.id, Duration::from_secs(1000));
    assert_eq!(machine.next(&task).await.0, TaskState::Killing);
    assert_eq!(machine.next(&task).await, terminated());
    gone(runner).await;
    assert!(machine.is_silent());
}

#[tokio::test]
async fn a_task_may_end_in_its_own_way() {
    let mut machine = Machine::new();
    let cmd = "trap 'echo bye; exit 0' TERM; echo $$ > ready; while :; do sleep 0.01; done";
    let task = machine.run(cmd).await;
    machine.pid_in(&task, "ready").await;
    let want = (TaskState::Killed, "Command exited with status 0".to_owned());
    assert_eq!(machine.kill(&task).await, want);
    assert_eq!(machine.file(&task, "stdout"), "bye\n");
}

#[tokio::test]
async fn the_whole_group_gets_the_term() {
    let mut machine = Machine::new();
    let cmd = "sleep 1000 & echo $! > child; wait";
    let task = machine.run(cmd).await;
    let child = machine.pid_in(&task, "child").await;
    assert_eq!(machine.kill(&task).await, terminated());
    gone(child).await;
}

#[tokio::test]
async fn kill_follows_when_the_grace_period_is_over() {
    let mut machine = Machine::new();
    let task = machine.run("trap '' TERM; echo $$ > ready; while :; do sleep 1; done").await;
    let main = machine.pid_in(&task, "ready").await;
    let (begun, grace) = (Instant::now(), Duration::from_millis(300));
    machine.executor().kill(&task.id, grace);
    // A second order changes nothing.
    machine.executor().kill(&task.id, Duration::from_secs(1000));
    let want = (TaskState::Killed, "Command terminated by signal 9 (SIGKILL)".to_owned());
    assert_eq!(machine.end(&task).await, want);
    assert!(begun.elapsed() >= grace);
    gone(main).await;
}

#[tokio::test]
async fn a_stopped_task_ends_too() {
    let mut machine = Machine::new();
    let task = machine.run("echo $$ > ready; kill -STOP $$; sleep 1000").await;
    let main = machine.pid_in(&task, "ready").await;
    in_state(main, 'T').await;
    assert_eq!(machine.kill(&task).await, terminated());
}

#[tokio::test]
async fn an_escaped_process_ends_with_a_killed_task() {
    let mut machine = Machine::new();
    let task = machine.run(&format!("{ESCAPE}; exec sleep 1000")).await;
    let escaped = machine.pid_in(&task, "escaped").await;
    assert!(exists(escaped));
    assert_eq!(machine.kill(&task).await, terminated());
    // The runner has reaped it before the end was told.
    assert!(!exists(escaped));
}

#[tokio::test]
async fn an_escaped_process_ends_with_a_task_that_exits() {
    let mut machine = Machine::new();
    let task = machine.run(&format!("{ESCAPE}; until [ -s escaped ]; do :; done; exit 0")).await;
    assert_eq!(machine.end(&task).await.0, TaskState::Finished);
    assert!(!exists(machine.pid_in(&task, "escaped").await));
}

#[tokio::test]
async fn a_killed_runner_takes_its_task_along() {
    let mut machine = Machine::new();
    let cmd = "(setsid /bin/sh -c 'echo $$ > escaped; exec sleep 1000' &); \
               echo $$ > main; exec sleep 1000";
    let task = machine.run(cmd).await;
    let escaped = machine.pid_in(&task, "escaped").await;
    let main = machine.pid_in(&task, "main").await;
    let runner = machine.runner(&task);
    signal(runner, Signal::SIGKILL);
    let (state, message) = machine.next(&task).await;
    assert_eq!(state, TaskState::Failed);
    assert!(message.ends_with("as its runner was"), "{message}");
    for pid in [runner, main, escaped] {
        gone(pid).await;
    }
}

#[tokio::test]
async fn a_runner_minds_no_terminal_and_ends_its_task_on_term() {
    let mut machine = Machine::new();
    let task = machine.run("exec sleep 1000").await;
    let runner = machine.runner(&task);
    for harmless in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1] {
        signal(runner, harmless);
    }
    signal(runner, Signal::SIGTERM);
    assert_eq!(machine.next(&task).await, terminated());
}

#[tokio::test]
async fn an_unknown_task_is_lost() {
    let mut machine = Machine::new();
    let task = task(shell("true"));
    machine.executor().kill(&task.id, Duration::ZERO);
    assert_eq!(machine.next(&task).await.0, TaskState::Lost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_tasks_come_and_go() {
    let mut machine = Machine::new();
    let tasks: Vec<_> = (0..50).map(|_| machine.launch(shell("exec sleep 1000"))).collect();
    // Half of them are ended whatever they are at, the others when they run.
    for task in &tasks[25..] {
        machine.executor().kill(&task.id, Duration::from_secs(1000));
    }
    let mut runners = Vec::new();
    for task in &tasks[..25] {
        assert_eq!(machine.next(task).await.0, TaskState::Running);
        runners.push(machine.runner(task));
        machine.executor().kill(&task.id, Duration::from_secs(1000));
    }
    for task in &tasks {
        assert_eq!(machine.end(task).await.0, TaskState::Killed);
    }
    for runner in runners {
        gone(runner).await;
    }
}
