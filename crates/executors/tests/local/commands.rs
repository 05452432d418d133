//! Commands beside tasks.

use std::time::Duration;

use waymark_executors::Executor;
use waymark_model::TaskState;

use super::machine::{Machine, gone, shell, task};

const LONG: Duration = Duration::from_secs(1000);

#[tokio::test]
async fn a_command_works_where_its_task_does() {
    let mut machine = Machine::new();
    let task = machine.run("exec sleep 1000").await;
    let run = |command: &'static str| machine.executor().run_command(&task.id, command, LONG);
    let check = "[ $PORT0 = 31005 ] && [ \"$(pwd)\" = \"$MESOS_SANDBOX\" ] && [ -e stdout ]";
    assert_eq!(run(check).await, Ok(()));
    let error = run("echo no; echo good >&2; exit 4").await.unwrap_err();
    assert_eq!(error, "Command exited with status 4: no; good");
    let error = run("kill -9 $$").await.unwrap_err();
    assert_eq!(error, "Command terminated by signal 9 (SIGKILL)");
    // More than a pipe holds.
    assert_eq!(run("head -c 1000000 /dev/zero").await, Ok(()));
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed_with_its_children() {
    let mut machine = Machine::new();
    let task = machine.run("exec sleep 1000").await;
    let command = "sleep 1000 & echo $! > child; echo $$ > leader; wait";
    let error = machine.executor().run_command(&task.id, command, Duration::from_secs(2)).await;
    assert_eq!(error, Err("Command timed out after 2s".to_owned()));
    gone(machine.pid_in(&task, "child").await).await;
    gone(machine.pid_in(&task, "leader").await).await;
}

#[tokio::test]
async fn a_command_ends_when_nobody_waits_for_it() {
    let mut machine = Machine::new();
    let task = machine.run("exec sleep 1000").await;
    let command = "sleep 1000 & echo $! > child; echo $$ > leader; wait";
    let running = tokio::spawn(machine.executor().run_command(&task.id, command, LONG));
    let (child, leader) =
        (machine.pid_in(&task, "child").await, machine.pid_in(&task, "leader").await);
    running.abort();
    gone(child).await;
    gone(leader).await;
}

#[tokio::test]
async fn a_command_leaves_nothing_in_the_background() {
    let mut machine = Machine::new();
    let task = machine.run("exec sleep 1000").await;
    let command = "sleep 1000 & echo $! > child";
    assert_eq!(machine.executor().run_command(&task.id, command, LONG).await, Ok(()));
    gone(machine.pid_in(&task, "child").await).await;
}

#[tokio::test]
async fn a_command_needs_its_task() {
    let mut machine = Machine::new();
    let stranger = task(shell("true"));
    assert!(machine.executor().run_command(&stranger.id, "true", LONG).await.is_err());
    let task = machine.run("exec sleep 1000").await;
    assert_eq!(machine.kill(&task).await.0, TaskState::Killed);
    assert!(machine.executor().run_command(&task.id, "true", LONG).await.is_err());
}
