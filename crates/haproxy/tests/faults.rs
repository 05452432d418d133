//! What goes wrong around a real HAProxy: a clear error, and what it had runs on and stays on disk.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod running;

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use running::{Folder, Service, Task, eventually};
use waymark_haproxy::apply::{
    Address, Applier, ApplyError, Method, Outcome, Patience, ReloadError, Socket, SocketError,
    ValidateError, Validator, Wanted, Why,
};
use waymark_haproxy::{Rendered, Server};

/// A program in the folder that does this in place of HAProxy.
fn program(folder: &Folder, script: &str) -> PathBuf {
    let path = folder.path("program");
    let text = format!("#!/bin/sh\n{script}\n");
    // Written by another process: a file that is open for writing anywhere in this one cannot be started.
    let write = r#"printf '%s' "$2" >"$1" && chmod +x "$1""#;
    let arguments = ["-c".as_ref(), write.as_ref(), "sh".as_ref(), path.as_os_str(), text.as_ref()];
    assert!(Command::new("sh").args(arguments).status().unwrap().success());
    path
}

/// Applies two services over one, and shows that the first runs on and stays on disk.
async fn keeps_the_first(folder: &Folder, applier: &mut Applier, task: &Task) -> ApplyError {
    let before = std::fs::read_to_string(folder.config()).unwrap();
    let services = [Service::new("web", &[task.server()]), Service::new("more", &[task.server()])];
    let error = applier.apply(&folder.wanted(2, &services)).await.unwrap_err();
    assert_eq!(std::fs::read_to_string(folder.config()).unwrap(), before);
    let hidden = std::fs::read_dir(folder.dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'))
        .count();
    assert_eq!(hidden, 0, "no temporary file stays");
    assert_eq!(folder.get("web", "/", "x"), Ok(task.port.to_string()));
    assert_eq!(
        (applier.status().version, applier.status().wanted, applier.status().failures),
        (1, 2, 1)
    );
    assert_eq!(applier.status().error.as_deref(), Some(error.to_string().as_str()));
    error
}

#[tokio::test]
async fn a_program_that_is_missing_hangs_or_refuses_changes_nothing() {
    let (folder, task) = (Folder::new(), Task::start());
    let (_haproxy, _) = folder.running(&[Service::new("web", &[task.server()])]).await;
    for (script, wanted) in [
        (None, "cannot start /nowhere/haproxy"),
        (Some("exec sleep 100"), "gave no verdict within 2s"),
        (
            Some("echo '[ALERT]    (1) : config : nothing pleases me' >&2; exit 1"),
            "nothing pleases me",
        ),
        (Some("yes | head -c 3000000 >&2; exit 1"), "HAProxy refuses the configuration: y"),
    ] {
        let program = script.map_or("/nowhere/haproxy".into(), |script| program(&folder, script));
        let mut options = folder.options();
        options.validator = Some(Validator { program, limit: Duration::from_secs(2) });
        let mut applier = Applier::new(options).unwrap();
        applier.apply(&folder.wanted(1, &[Service::new("web", &[task.server()])])).await.unwrap();
        let error = keeps_the_first(&folder, &mut applier, &task).await;
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[tokio::test]
async fn what_haproxy_refuses_is_kept_beside_and_never_installed() {
    let (folder, task) = (Folder::new(), Task::start());
    let (_haproxy, mut applier) = folder.running(&[Service::new("web", &[task.server()])]).await;
    let bad =
        Service { lines: "  no-such-directive\n".into(), ..Service::new("bad", &[task.server()]) };
    let error = applier.apply(&folder.wanted(2, &[bad])).await.unwrap_err();
    let ApplyError::Validate(ValidateError::Refused { .. }) = &error else { panic!("{error}") };
    assert!(
        error.to_string().contains("haproxy.cfg:")
            && error.to_string().contains("no-such-directive"),
        "{error}"
    );
    assert!(
        std::fs::read_to_string(folder.path("archive/haproxy_temp_config_fail.1"))
            .unwrap()
            .contains("no-such-directive")
    );
    assert_eq!(folder.get("web", "/", "x"), Ok(task.port.to_string()));
}

#[tokio::test]
async fn bad_apps_keep_their_last_good_form_and_the_rest_goes_on() {
    let (folder, task) = (Arc::new(Folder::new()), Task::start());
    let server = task.server();
    let good = |name: &str| Service::new(name, std::slice::from_ref(&server));
    let first = [good("a"), good("b"), good("c")];
    let (_haproxy, mut applier) = folder.running(&first).await;

    let spoil = |name: &str| Service { lines: format!("  {name}-is-bad\n"), ..good(name) };
    let changed = [good("a"), spoil("b"), good("c"), good("d"), spoil("e")];
    let render = {
        let (folder, changed) = (folder.clone(), changed.clone());
        move |out: &[String]| -> Rendered {
            let left = |name: &str| out.contains(&format!("/{name}"));
            let last =
                |service: &Service| first.iter().find(|old| old.name == service.name).cloned();
            let services: Vec<Service> =
                changed
                    .iter()
                    .filter_map(|service| {
                        if left(&service.name) { last(service) } else { Some(service.clone()) }
                    })
                    .collect();
            folder.render(&services, "")
        }
    };
    let wanted = Wanted {
        version: 2,
        rendered: Arc::new(render(&[])),
        suspects: ["/b", "/d", "/e"].map(str::to_owned).to_vec(),
        without: Some(Arc::new(render)),
    };
    assert_eq!(applier.apply(&wanted).await.unwrap(), Outcome::Reloaded(Why::Frame));
    for (name, answers) in [("a", true), ("b", true), ("c", true), ("d", true), ("e", false)] {
        assert_eq!(folder.get(name, "/", "x").is_ok(), answers, "{name}");
    }
    let refused: Vec<_> =
        applier.status().refused.iter().map(|app| (app.app.as_str(), app.kept)).collect();
    assert_eq!(refused, [("/b", true), ("/e", false)]);
    assert!(
        applier.status().refused[0].reason.contains("b-is-bad"),
        "{:?}",
        applier.status().refused
    );
    assert!(
        applier.status().refused[1].reason.contains("e-is-bad"),
        "{:?}",
        applier.status().refused
    );

    // The same again is nothing new, and needs no search.
    assert_eq!(applier.apply(&wanted).await.unwrap(), Outcome::Nothing);
    assert_eq!(applier.status().refused.len(), 2);
}

#[tokio::test]
async fn a_folder_that_is_read_only_or_full_changes_nothing() {
    let (folder, task) = (Folder::new(), Task::start());
    // A file system of its own, so that it can be filled and made read-only.
    let mount = |arguments: &[&str]| {
        Command::new("mount")
            .args(arguments)
            .arg(folder.dir.path())
            .status()
            .is_ok_and(|status| status.success())
    };
    assert!(mount(&["-t", "tmpfs", "-o", "size=256k", "tmpfs"]), "the test needs root");
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
    let _unmount = Unmount(folder.dir.path().to_owned());
    let (_haproxy, mut applier) = folder.running(&[Service::new("web", &[task.server()])]).await;

    let mut filler = std::fs::File::create(folder.path("filler")).unwrap();
    while filler.write_all(&[1; 4096]).is_ok() {}
    let error = keeps_the_first(&folder, &mut applier, &task).await;
    assert!(
        matches!(error, ApplyError::Install(_)) && error.to_string().contains("No space left"),
        "{error}"
    );
    drop(filler);
    std::fs::remove_file(folder.path("filler")).unwrap();

    assert!(
        Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(folder.dir.path())
            .status()
            .unwrap()
            .success()
    );
    let services = [Service::new("more", &[task.server()])];
    let error = applier.apply(&folder.wanted(3, &services)).await.unwrap_err();
    assert!(error.to_string().contains("Read-only file system"), "{error}");
    assert_eq!(folder.get("web", "/", "x"), Ok(task.port.to_string()));

    assert!(
        Command::new("mount")
            .args(["-o", "remount,rw"])
            .arg(folder.dir.path())
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(
        applier.apply(&folder.wanted(4, &services)).await.unwrap(),
        Outcome::Reloaded(Why::Frame)
    );
    assert_eq!(folder.get("more", "/", "x"), Ok(task.port.to_string()));
}

#[tokio::test]
async fn a_worker_that_cannot_start_leaves_the_old_one_and_the_old_files() {
    let (folder, task) = (Folder::new(), Task::start());
    let (_haproxy, mut applier) = folder.running(&[Service::new("web", &[task.server()])]).await;
    // Validation does not bind: only the reload finds that the address is not of this machine.
    let mut wanted = folder.wanted(2, &[Service::new("web", &[task.server()])]);
    let bind = |text: &str| {
        text.replacen("frontend by_map\n", "frontend by_map\n  bind 192.0.2.1:81\n", 1)
    };
    let rendered = Rendered {
        config: bind(&wanted.rendered.config),
        frame: bind(&wanted.rendered.frame),
        ..(*wanted.rendered).clone()
    };
    wanted.rendered = Arc::new(rendered);
    let before = std::fs::read_to_string(folder.config()).unwrap();
    let error = applier.apply(&wanted).await.unwrap_err();
    assert!(matches!(error, ApplyError::Reload(ReloadError::Refused(_))), "{error}");
    assert_eq!(std::fs::read_to_string(folder.config()).unwrap(), before);
    assert_eq!(folder.get("web", "/", "x"), Ok(task.port.to_string()));
    // The next good one goes on from there.
    let next = [Service::new("web", &[task.server()]), Service::new("more", &[task.server()])];
    assert_eq!(
        applier.apply(&folder.wanted(3, &next)).await.unwrap(),
        Outcome::Reloaded(Why::Frame)
    );
}

#[tokio::test]
async fn a_socket_that_says_nothing_is_given_up_in_time() {
    let folder = Folder::new();
    let listener = UnixListener::bind(folder.path("silent")).unwrap();
    let limit = Duration::from_millis(300);
    let silent = Socket::new(Address::Unix(folder.path("silent")), limit);
    let error = silent.info().await.unwrap_err();
    assert!(
        matches!(&error, SocketError::Silent { command, .. } if command == "show info"),
        "{error}"
    );

    // The files are right all the same, and the reload is told of as not seen.
    let mut options = folder.options();
    options.worker = Some(silent);
    options.method = Some(Method::Command(vec!["true".into()]));
    options.patience = Patience::new(2, Duration::from_millis(500));
    let mut applier = Applier::new(options).unwrap();
    let wanted = folder.wanted(
        1,
        &[Service::new("web", &[Server { name: "s".into(), ..Task::start().server() }])],
    );
    let error = applier.apply(&wanted).await.unwrap_err();
    assert!(
        matches!(error, ApplyError::Reload(ReloadError::NoWorker { attempts: 2, .. })),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(folder.config()).unwrap(), wanted.rendered.config);
    drop(listener);
}

#[tokio::test]
async fn reload_commands_that_fail_are_said() {
    let folder = Folder::new();
    let mut options = folder.options();
    options.worker = None;
    for (words, wanted) in [
        (vec!["/nowhere/reload"], "cannot run '/nowhere/reload'"),
        (vec!["false"], "'false' failed with exit status: 1"),
    ] {
        options.method = Some(Method::Command(words.into_iter().map(str::to_owned).collect()));
        let mut applier = Applier::new(options.clone()).unwrap();
        let version = u64::try_from(wanted.len()).unwrap();
        let services = [Service::new(&format!("web{version}"), &[Task::start().server()])];
        let error = applier.apply(&folder.wanted(version, &services)).await.unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
    options.method = None;
    let mut applier = Applier::new(options).unwrap();
    let services = [Service::new("web", &[Task::start().server()])];
    assert_eq!(applier.apply(&folder.wanted(9, &services)).await.unwrap(), Outcome::Installed);
}

#[tokio::test]
async fn a_worker_that_is_killed_comes_back_with_the_newest() {
    let (folder, a, b) = (Folder::new(), Task::start(), Task::start());
    let (mut haproxy, mut applier) = folder.running(&[Service::new("web", &[a.server()])]).await;
    let newest = [Service::new("web", &[b.server()])];
    assert_eq!(applier.apply(&folder.wanted(2, &newest)).await.unwrap(), Outcome::Runtime(3));

    // A master ends when its worker was killed; whoever supervises it starts it anew.
    let pid = folder.stats().info().await.unwrap().pid;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid.cast_signed()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    haproxy.child.wait().unwrap();
    let error = applier.apply(&folder.wanted(3, &newest)).await.unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    drop(haproxy);
    let _haproxy = folder.haproxy();
    eventually("it answers", || folder.get("web", "/", "x").is_ok());
    assert_eq!(folder.answering("web", 4), [b.port].into());
    assert_eq!(applier.apply(&folder.wanted(4, &newest)).await.unwrap(), Outcome::Nothing);
    assert_eq!(applier.status().error, None);
}
