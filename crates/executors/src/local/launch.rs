//! From a stored launch to a running task.

use std::fs::{DirBuilder, File};
use std::io::{self, PipeReader, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::timeout;
use waymark_model::{App, NetworkMode, Task, TaskState};

use super::follow::Ended;
use super::runner_process::RunnerProcess;
use super::workplace::folder;
use super::{DEFAULT_GRACE, Inner, Launching, Orders};
use crate::runner::{STARTED, Spec};

/// How long a runner may take to start its task. It reads a few files and forks; only a disk that
/// hangs makes it slow.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// What `ps` shows as the runner's program.
const RUNNER_NAME: &str = "waymark";
/// Most that is read of a runner's report, in bytes.
const REPORT_LIMIT: u64 = 4096;

impl Inner {
    /// The whole life of a task.
    pub async fn launch(
        self: Arc<Self>,
        task: Arc<Task>,
        mut orders: Orders,
        launching: Launching,
    ) {
        let started = self.start(&task, &orders).await;
        drop(launching);
        let ended = match started {
            Ok(runner) => self.told_running(&task, String::new(), &runner, &mut orders).await,
            Err(ended) => ended,
        };
        self.finish(&task.id, ended).await;
    }

    async fn start(
        self: &Arc<Self>,
        task: &Arc<Task>,
        orders: &Orders,
    ) -> Result<RunnerProcess, Ended> {
        if let Some(reason) = refusal(&task.app) {
            return Err(Ended(TaskState::Error, reason));
        }
        let permit = self.launches.acquire().await;
        if orders.borrow().is_some() {
            return Err(Ended(TaskState::Killed, "killed before it was started".to_owned()));
        }
        let (inner, its) = (Arc::clone(self), Arc::clone(task));
        let prepared = tokio::task::spawn_blocking(move || inner.prepare(&its)).await;
        let (runner, report) =
            prepared.unwrap_or_else(|e| Err(failed("the task could not be prepared", e)))?;
        drop(permit);

        match timeout(START_PATIENCE, read_report(report)).await {
            Ok(Ok(report)) if report == STARTED => Ok(runner),
            outcome => {
                runner.kill();
                runner.ended().await;
                let reason = match outcome {
                    Ok(Ok(report)) if !report.is_empty() => {
                        return Err(Ended(TaskState::Failed, report));
                    }
                    Ok(Ok(_)) => {
                        "the task's runner ended before it had started the task".to_owned()
                    }
                    Ok(Err(e)) => format!("the task's runner could not be heard: {e}"),
                    Err(_) => {
                        format!("the task's runner did not start it within {START_PATIENCE:?}")
                    }
                };
                self.sweep_task(&task.id).await;
                Err(Ended(TaskState::Failed, reason))
            }
        }
    }

    /// Makes everything a task needs and starts its runner. Blocks.
    fn prepare(&self, task: &Task) -> Result<(RunnerProcess, PipeReader), Ended> {
        let wrong = |reason| Ended(TaskState::Error, reason);
        let mut place = self.workplace(task).map_err(wrong)?;
        let command =
            command_of(&task.app).ok_or_else(|| wrong("the app has no command".to_owned()))?;
        DirBuilder::new()
            .mode(0o750)
            .create(&place.sandbox)
            .and_then(|()| match &place.credentials {
                Some(c) => chown(&place.sandbox, Some(c.uid), Some(c.gid)),
                None => Ok(()),
            })
            .map_err(|e| failed("the task's sandbox could not be made", e))?;
        if let (Ok(cgroups), Some(name)) = (&self.cgroups, folder(&task.id)) {
            let group = cgroups.create(&name, &task.app.resources);
            place.group = Some(group.map_err(|e| failed("the task's limits could not be set", e))?);
        }
        let spec = Spec {
            task: task.id.to_string(),
            command,
            env: place.env,
            sandbox: place.sandbox,
            record: place.record,
            credentials: place.credentials,
            group: place.group.map(|g| g.path().to_owned()),
            log_max_bytes: self.config.log_max_bytes,
            log_files: self.config.log_files,
            grace: task.app.kill_grace_period.unwrap_or(DEFAULT_GRACE),
            open_files: self.config.open_files,
        };
        self.spawn_runner(&spec).map_err(|e| failed("the task's runner could not be started", e))
    }

    /// The runner, and the pipe on which it reports.
    fn spawn_runner(&self, spec: &Spec) -> io::Result<(RunnerProcess, PipeReader)> {
        // Anonymous memory takes a spec of any size at once and leaves nothing on disk.
        let mut input = File::from(memfd_create(c"waymark-task", MFdFlags::MFD_CLOEXEC)?);
        input.write_all(&serde_json::to_vec(spec)?)?;
        input.rewind()?;
        let (report, stdout) = io::pipe()?;
        let mut child = Command::new(&self.config.runner_program)
            .arg0(RUNNER_NAME)
            .args([crate::TASK_RUNNER, &spec.task])
            .env_clear()
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::null())
            // Out of reach of the terminal's Ctrl-C.
            .process_group(0)
            .spawn()?;
        // From here on it is known and reaped by its pidfd. Without one (too many open files) it
        // could not be followed, so it must not go on.
        let opened = i32::try_from(child.id()).map_err(io::Error::other);
        match opened.and_then(RunnerProcess::open) {
            Ok(runner) => Ok((runner, report)),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }
}

async fn read_report(report: PipeReader) -> io::Result<String> {
    let mut text = String::new();
    let report = pipe::Receiver::from_owned_fd(OwnedFd::from(report))?;
    report.take(REPORT_LIMIT).read_to_string(&mut text).await?;
    Ok(text)
}

fn failed(what: &str, error: impl std::fmt::Display) -> Ended {
    Ended(TaskState::Failed, format!("{what}: {error}"))
}

/// What this executor cannot do for an app; one sentence.
fn refusal(app: &App) -> Option<String> {
    let plain = "the local executor runs plain processes";
    if let Some(container) = &app.container {
        if container.docker.is_some() {
            return Some(format!("Docker is not available in this build: {plain}, without images"));
        }
        if !container.volumes.is_empty() {
            return Some(format!(
                "volumes are not available: {plain}, which see the whole machine"
            ));
        }
    }
    if app.networks.iter().any(|n| n.mode != NetworkMode::Host) {
        return Some(format!(
            "container networks are not available: {plain} in the host's network"
        ));
    }
    if !app.fetch.is_empty() {
        return Some(
            "fetching of artifacts (fetch, uris) is not available in this build".to_owned(),
        );
    }
    if app.resources.gpus > 0 {
        return Some(
            "GPUs are not available: the local executor does not hand them out".to_owned(),
        );
    }
    None
}

/// `cmd` by a shell, `args` without.
fn command_of(app: &App) -> Option<Vec<String>> {
    match (&app.cmd, &app.args) {
        (Some(cmd), _) => Some(["/bin/sh", "-c", cmd].map(str::to_owned).into()),
        (None, Some(args)) if !args.is_empty() => Some(args.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use waymark_model::{Fetch, PathId};

    use super::*;

    fn app() -> App {
        App::new(PathId::parse("/a").unwrap())
    }

    #[test]
    fn commands() {
        assert_eq!(command_of(&app()), None);
        assert_eq!(command_of(&App { args: Some(Vec::new()), ..app() }), None);
        let cmd = App { cmd: Some("echo $PORT0".to_owned()), ..app() };
        assert_eq!(command_of(&cmd).unwrap(), ["/bin/sh", "-c", "echo $PORT0"]);
        let args = vec!["echo".to_owned(), "$PORT0".to_owned()];
        assert_eq!(command_of(&App { args: Some(args.clone()), ..app() }), Some(args));
    }

    #[test]
    fn refusals() {
        assert_eq!(refusal(&app()), None);
        let fetch = Fetch {
            uri: "http://x/y".to_owned(),
            extract: false,
            executable: false,
            cache: false,
            dest_path: None,
        };
        let refused = refusal(&App { fetch: vec![fetch], ..app() }).unwrap();
        assert!(refused.contains("fetch"), "{refused}");
        let mut bridged = app();
        bridged.networks[0].mode = NetworkMode::Bridge;
        assert!(refusal(&bridged).is_some_and(|r| r.contains("networks")));
    }
}
