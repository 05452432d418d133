//! Tasks outlive the executor that launched them, and the next one takes them back.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use waymark_executors::Executor;
use waymark_model::TaskState;

use crate::sample;

use super::machine::{Machine, exists, gone, in_state, shell, signal, task, until};

#[tokio::test]
async fn an_adopted_task_goes_on() {
    let mut machine = Machine::new();
    let cmd = "echo $$ > main; until [ -e go ]; do sleep 0.01; done; echo went on; exec sleep 1000";
    let task = machine.run(cmd).await;
    let main = machine.pid_in(&task, "main").await;

    machine.restart();
    assert!(exists(main));
    machine.executor().adopt(vec![Arc::clone(&task)]);
    let want = (TaskState::Running, format!("adopted, process {main}"));
    assert_eq!(machine.next(&task).await, want);

    fs::write(machine.sandbox(&task).join("go"), "").unwrap();
    until(|| (machine.file(&task, "stdout") == "went on\n").then_some(())).await;
    machine.executor().run_command(&task.id, "[ -e go ]", Duration::MAX).await.unwrap();

    let runner = machine.runner(&task);
    assert_eq!(machine.kill(&task).await.0, TaskState::Killed);
    gone(main).await;
    gone(runner).await;
    assert!(machine.is_silent());
}

#[tokio::test]
async fn the_end_of_a_task_is_known_though_nobody_was_there() {
    let mut machine = Machine::new();
    let task = machine.run("until [ -e go ]; do sleep 0.01; done; exit 7").await;
    machine.crash();
    fs::write(machine.sandbox(&task).join("go"), "").unwrap();
    until(|| (!machine.record(&task)["end"].is_null()).then_some(())).await;

    machine.restart();
    machine.executor().adopt(vec![Arc::clone(&task)]);
    let want = (TaskState::Failed, "Command exited with status 7".to_owned());
    assert_eq!(machine.next(&task).await, want);
}

#[tokio::test]
async fn a_process_with_the_number_of_a_runner_is_not_taken_for_it() {
    let mut machine = Machine::new();
    let task = machine.run("exec sleep 1000").await;
    machine.crash();
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let runner = machine.runner(&task);
    signal(runner, Signal::SIGKILL);
    let mut record = machine.record(&task);
    // One tick earlier, as the stranger may have been started within the runner's own.
    record["runner_started"] = (record["runner_started"].as_u64().unwrap() - 1).into();
    record["runner"] = stranger.id().into();
    fs::write(machine.record_path(&task), record.to_string()).unwrap();

    machine.restart();
    machine.executor().adopt(vec![Arc::clone(&task)]);
    assert_eq!(machine.next(&task).await.0, TaskState::Lost);
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn what_a_lost_task_left_is_ended() {
    let mut machine = Machine::new();
    let cmd = "(setsid /bin/sh -c 'echo $$ > escaped; exec sleep 1000' &); exec sleep 1000";
    let task = machine.run(cmd).await;
    let escaped = machine.pid_in(&task, "escaped").await;
    machine.crash();
    let runner = machine.runner(&task);
    signal(runner, Signal::SIGKILL);
    in_state(runner, 'Z').await;
    assert!(exists(escaped));

    machine.restart();
    machine.executor().adopt(vec![Arc::clone(&task)]);
    assert_eq!(machine.next(&task).await.0, TaskState::Lost);
    gone(escaped).await;
}

#[tokio::test]
async fn tasks_that_nobody_wants_are_ended() {
    let mut machine = Machine::new();
    let wanted = machine.run("exec sleep 1000").await;
    let other = machine.run("echo $$ > main; exec sleep 1000").await;
    let main = machine.pid_in(&other, "main").await;

    machine.restart();
    machine.executor().adopt(vec![Arc::clone(&wanted)]);
    assert_eq!(machine.next(&wanted).await.0, TaskState::Running);
    gone(main).await;
    gone(machine.runner(&other)).await;
    assert!(exists(machine.runner(&wanted)));
    assert_eq!(machine.kill(&wanted).await.0, TaskState::Killed);
    assert!(machine.is_silent(), "nothing is told of a task that nobody knows");
}

#[tokio::test]
async fn a_task_that_was_never_launched_is_lost() {
    let mut machine = Machine::new();
    let task = task(shell("true"));
    machine.executor().adopt(vec![Arc::clone(&task)]);
    assert_eq!(machine.next(&task).await.0, TaskState::Lost);
}

/// Whenever the control plane is killed, a task is either taken back or never runs.
#[tokio::test]
async fn no_moment_of_a_launch_leaves_a_task_behind() {
    let mut machine = Machine::new();
    let command = "echo $$ > main; exec sleep 1000";
    let mut never_ran = Vec::new();
    for round in 0..40u64 {
        let [program, folder] = machine.place();
        let unique = format!("{}-crash-{round}", std::process::id());
        let mut control = Command::new(program)
            .arg("launch")
            .arg(folder)
            .args([&*unique, command])
            .spawn()
            .unwrap();
        // From before the launch to after the start.
        tokio::time::sleep(Duration::from_micros(round * 400)).await;
        control.kill().unwrap();
        control.wait().unwrap();

        let task = Arc::new(sample::task(shell(command), &unique));
        machine.restart();
        machine.executor().adopt(vec![Arc::clone(&task)]);
        let (state, message) = machine.next(&task).await;
        match state {
            TaskState::Running => assert_eq!(machine.kill(&task).await.0, TaskState::Killed),
            TaskState::Lost | TaskState::Failed => never_ran.push(task),
            _ => panic!("{state:?}: {message}"),
        }
    }
    for task in never_ran {
        assert_eq!(machine.file(&task, "main"), "");
    }
}
