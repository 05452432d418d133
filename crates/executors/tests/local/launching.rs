//! Tasks start, write and end by themselves.

use std::path::PathBuf;
use std::process::Command;

use waymark_executors::Executor;
use waymark_model::{App, Network, NetworkMode, TaskState};

use super::machine::{Machine, gone, program, shell};

#[tokio::test]
async fn output_goes_to_files() {
    let mut machine = Machine::new();
    let task = machine.run("echo out; echo err >&2; exit 3").await;
    let want = (TaskState::Failed, "Command exited with status 3".to_owned());
    assert_eq!(machine.next(&task).await, want);
    assert_eq!(machine.file(&task, "stdout"), "out\n");
    assert_eq!(machine.file(&task, "stderr"), "err\n");
    assert_eq!(machine.executor().sandbox(&task.id), Some(machine.sandbox(&task)));
}

#[tokio::test]
async fn what_has_settled_can_be_found_by_others() {
    let machine = Machine::new();
    machine.executor().settled().await;
    let tasks: Vec<_> = (0..12).map(|_| machine.launch(shell("sleep 1000"))).collect();
    let none = machine.launch(program(&["/no/such/program"]));
    machine.executor().settled().await;
    for task in tasks.iter().chain([&none]) {
        let record = machine.record(task);
        assert_eq!(record["command"].is_null(), task.id == none.id, "{record}");
    }
}

#[tokio::test]
async fn ends_are_told_apart() {
    let mut machine = Machine::new();
    for (cmd, state, message) in [
        ("exit 0", TaskState::Finished, "Command exited with status 0"),
        ("exit 200", TaskState::Failed, "Command exited with status 200"),
        ("kill -SEGV $$", TaskState::Failed, "Command terminated by signal 11 (SIGSEGV)"),
        ("kill -40 $$", TaskState::Failed, "Command terminated by signal 40"),
    ] {
        let task = machine.run(cmd).await;
        assert_eq!(machine.next(&task).await, (state, message.to_owned()), "{cmd}");
    }
}

#[tokio::test]
async fn output_is_rotated() {
    let mut machine = Machine::with(|config| {
        config.log_max_bytes = 100;
        config.log_files = 3;
    });
    let task = machine.run("i=100; while [ $i -lt 200 ]; do echo line-$i; i=$((i+1)); done").await;
    assert_eq!(machine.next(&task).await.0, TaskState::Finished);
    let kept: String =
        ["stdout.2", "stdout.1", "stdout"].iter().map(|f| machine.file(&task, f)).collect();
    let all: String = (100..200).map(|n| format!("line-{n}\n")).collect();
    assert!(all.ends_with(&kept) && (200..=300).contains(&kept.len()), "{kept}");
    assert_eq!(machine.file(&task, "stdout.1").len(), 100);
    assert_eq!(machine.file(&task, "stdout.3"), "");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let mut machine = Machine::new();
    let task = machine.launch(program(&["/no/such/program", "x"]));
    let (state, message) = machine.next(&task).await;
    assert_eq!(state, TaskState::Failed);
    assert!(
        message.starts_with("'/no/such/program' could not be started: No such file"),
        "{message}"
    );
    gone(machine.runner(&task)).await;
}

#[tokio::test]
async fn args_see_no_shell() {
    let mut machine = Machine::new();
    let task = machine.launch(program(&["echo", "$PORT0", "a b"]));
    assert_eq!(machine.end(&task).await.0, TaskState::Finished);
    assert_eq!(machine.file(&task, "stdout"), "$PORT0 a b\n");
}

#[tokio::test]
async fn a_task_gets_its_environment_and_nothing_else() {
    let mut machine = Machine::new();
    let mut app =
        shell("pwd; readlink /proc/self/fd/0; echo $PORT0 $HOST $GREETING; ls /proc/self/fd; env");
    app.env.insert("GREETING".to_owned(), "hello".to_owned());
    let task = machine.launch(app);
    assert_eq!(machine.end(&task).await.0, TaskState::Finished);
    let folder = machine.executor().sandbox(&task.id).unwrap();
    let output = machine.file(&task, "stdout");
    // `ls` itself opens 3.
    let want = format!("{}\n/dev/null\n31005 box hello\n0\n1\n2\n3\n", folder.display());
    assert!(output.starts_with(&want), "{output}");
    assert!(output.contains(&format!("\nMESOS_SANDBOX={}\n", folder.display())));
    assert!(output.contains(&format!("\nMESOS_TASK_ID={}\n", task.id)));
    let known = ["GREETING", "HOME", "HOST", "LANG", "LC_ALL", "PATH", "PWD", "TZ", "USER"];
    for line in output.lines().skip(7) {
        let name = line.split('=').next().unwrap();
        let ours = ["MARATHON_APP_", "MESOS_", "PORT"].iter().any(|p| name.starts_with(p));
        assert!(ours || known.contains(&name), "{line}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused() {
    let mut machine = Machine::new();
    let networks =
        vec![Network { mode: NetworkMode::Bridge, name: None, labels: Default::default() }];
    let task = machine.launch(App { networks, ..shell("true") });
    let (state, message) = machine.next(&task).await;
    assert_eq!(state, TaskState::Error);
    assert!(message.contains("container networks are not available"), "{message}");
    let task = machine.launch(App { user: Some("no-such-user".to_owned()), ..shell("true") });
    assert_eq!(machine.next(&task).await.0, TaskState::Error);
}

#[tokio::test]
async fn root_runs_tasks_as_other_users() {
    if !nix::unistd::Uid::current().is_root() {
        return;
    }
    let mut machine = Machine::new();
    let task = machine.launch(App {
        user: Some("nobody".to_owned()),
        ..shell("id -u; id -G; echo mine > file; ls ../.runners")
    });
    assert_eq!(machine.end(&task).await.0, TaskState::Failed);
    assert_eq!(machine.file(&task, "stdout"), "65534\n65534\n");
    assert_eq!(machine.file(&task, "file"), "mine\n");
}

#[tokio::test]
async fn a_launch_is_not_repeated() {
    let mut machine = Machine::new();
    let task = machine.run("exec sleep 1000").await;
    let runner = machine.runner(&task);
    machine.executor().launch(task.clone());
    assert_eq!(machine.kill(&task).await.0, TaskState::Killed);
    assert_eq!(machine.runner(&task), runner);
    assert!(machine.is_silent());
}

#[tokio::test]
async fn sandboxes_of_ended_tasks_are_bounded() {
    let mut machine = Machine::with(|config| config.keep_per_app = 1);
    let first = machine.run("true").await;
    assert_eq!(machine.end(&first).await.0, TaskState::Finished);
    let second = machine.run("true").await;
    assert_eq!(machine.end(&second).await.0, TaskState::Finished);
    let (sandbox, record) = (machine.sandbox(&first), machine.record_path(&first));
    super::machine::until(|| (!sandbox.exists() && !record.exists()).then_some(())).await;
    assert!(machine.sandbox(&second).exists());
}

/// A file system of half a mebibyte, where this process may mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mounted_at(path: PathBuf) -> Option<SmallDisk> {
        std::fs::create_dir_all(&path).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"])
            .arg(&path)
            .output();
        mount.is_ok_and(|done| done.status.success()).then_some(SmallDisk(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_does_not_harm_a_task() {
    let mut disk = None;
    let mut machine =
        Machine::with(|config| disk = SmallDisk::mounted_at(config.sandbox_root.clone()));
    if disk.is_none() {
        return;
    }
    let task = machine.run("head -c 3000000 /dev/zero; rm stdout; echo and on; exit 5").await;
    // Its end is known although the disk had no room for anything.
    let want = (TaskState::Failed, "Command exited with status 5".to_owned());
    assert_eq!(machine.next(&task).await, want);
    assert!(machine.file(&task, "stdout").len() < 600_000);
}
