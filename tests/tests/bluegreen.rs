//! `waymark zdd` and `waymark bluegreen` against `waymark run` as the Marathon and two balancers: its
//! own and a `waymark lb`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a story fails by panicking"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use waymark_stories::{Lb, Load, LoadKind, Waymark, binary, eventually, get};

/// A Marathon with two balancers; clients use the second one.
struct Scene {
    waymark: Waymark,
    lb: Lb,
    folder: TempDir,
    /// The service port that clients use; the next one is the other colour's.
    port: u16,
}

impl Scene {
    fn new() -> Scene {
        let waymark = Waymark::start(&["--listen=127.0.0.2", "--drain-timeout=5s"]);
        let lb = Lb::start(&[waymark.url("")], &[]);
        let port = waymark.ports.service_min + 10;
        Scene { waymark, lb, folder: TempDir::new().expect("a temporary folder"), port }
    }

    /// A document of the app, in a file.
    fn document(&self, release: &str, instances: u32, change: impl FnOnce(&mut Value)) -> PathBuf {
        let mut app = json!({
            "id": "/shop/web", "cmd": "exec waymark whoami --port $PORT0", "instances": instances,
            "cpus": 0.01, "mem": 16, "env": {"RELEASE": release},
            "labels": {"HAPROXY_GROUP": "external", "HAPROXY_DEPLOYMENT_GROUP": "shop/web",
                       "HAPROXY_DEPLOYMENT_ALT_PORT": (self.port + 1).to_string()},
            "portDefinitions": [{"port": self.port, "protocol": "tcp"}],
            "healthChecks": [{"protocol": "HTTP", "path": "/health", "portIndex": 0,
                              "intervalSeconds": 1, "timeoutSeconds": 10, "gracePeriodSeconds": 60}],
        });
        change(&mut app);
        let path = self.folder.path().join(format!("{release}.json"));
        fs::write(&path, app.to_string()).expect("the document is written");
        path
    }

    fn command(&self, name: &str, document: &Path, flags: &[&str]) -> Command {
        let url =
            |stats: String| if stats.contains("://") { stats } else { format!("http://{stats}") };
        let own = url(self.waymark.endpoint("stats").expect("the stats port"));
        let balancers = format!("{own},{}", url(self.lb.endpoint("stats")));
        let mut command = Command::new(binary());
        command
            .args([
                name,
                "--marathon",
                &self.waymark.url(""),
                "--marathon-lb",
                &balancers,
                "--json",
            ])
            .arg(document)
            .args(["--step-delay", "0"])
            .args(flags)
            .stdin(Stdio::null());
        command
    }

    fn deploy(&self, name: &str, document: &Path, flags: &[&str]) -> Output {
        self.command(name, document, flags).output().expect("the command runs")
    }

    /// Deploys and requires this exit code; what was written to standard error.
    fn ends(&self, code: i32, name: &str, document: &Path, flags: &[&str]) -> String {
        let output = self.deploy(name, document, flags);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{name} {flags:?}:\n{text}");
        text
    }

    /// A first deployment, blue, that serves.
    fn first(&self, instances: u32) {
        let document = self.document("1", instances, |_| ());
        self.ends(0, "bluegreen", &document, &["--force"]);
        self.waymark.wait_for_app("/shop/web-blue", instances.into());
        eventually("the first release serves", || (self.release()? == "1").then_some(()));
    }

    /// Which release answers.
    fn release(&self) -> Option<String> {
        let reply = get(&format!("http://127.0.0.1:{}/?json&env=all", self.port)).ok()?;
        (reply.status == 200)
            .then(|| reply.json()["env"]["RELEASE"].as_str().unwrap_or("").to_owned())
    }

    /// How many tasks are wanted of each app, by its id.
    fn instances(&self) -> Vec<(String, u64)> {
        let apps = self.waymark.api("/v2/apps")["apps"].clone();
        let mut apps: Vec<(String, u64)> = apps
            .as_array()
            .expect("a list")
            .iter()
            .map(|a| (a["id"].as_str().unwrap().to_owned(), a["instances"].as_u64().unwrap()))
            .collect();
        apps.sort();
        apps
    }

    fn has(&self, apps: &[(&str, u64)]) {
        let want: Vec<(String, u64)> = apps.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect();
        assert_eq!(self.instances(), want);
    }

    /// Runs `change` under load of both kinds; every request must be answered.
    fn under_load(&self, change: impl FnOnce()) {
        let loads = [LoadKind::ConnectionPerRequest, LoadKind::KeepAlive]
            .map(|kind| Load::start(self.port, "/", kind, 3));
        let flowing = |least: u64| {
            eventually("requests flow", || {
                loads.iter().all(|load| load.answered() >= least).then_some(())
            });
        };
        flowing(30);
        change();
        let so_far = loads.iter().map(Load::answered).max().unwrap();
        flowing(so_far + 30);
        loads.into_iter().for_each(|load| load.finish().assert_flawless(60));
    }
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("it can be signalled");
}

#[test]
fn releases_follow_one_another_without_a_failed_request() {
    let scene = Scene::new();
    let first = scene.document("1", 3, |_| ());
    let output = scene.deploy("zdd", &first, &["--force"]);
    assert_eq!(output.status.code(), Some(0));
    let document: Value = serde_json::from_slice(&output.stdout).expect("zdd prints the document");
    assert_eq!(document["labels"]["HAPROXY_DEPLOYMENT_COLOUR"], "blue");
    scene.waymark.wait_for_app("/shop/web-blue", 3);
    eventually("the first release serves", || (scene.release()? == "1").then_some(()));
    // The ports change places: there are port definitions only.
    for (release, name, colour, port) in
        [("2", "zdd", "green", scene.port + 1), ("3", "bluegreen", "blue", scene.port)]
    {
        let document = scene.document(release, 3, |_| ());
        scene.under_load(|| _ = scene.ends(0, name, &document, &["--force"]));
        let id = format!("/shop/web-{colour}");
        scene.has(&[(&id, 3)]);
        assert_eq!(scene.waymark.service_port(&id), port);
        eventually("the release serves", || (scene.release()? == release).then_some(()));
    }
}

#[test]
fn an_app_without_health_checks_does_not_wait_in_vain() {
    let scene = Scene::new();
    let unchecked = |app: &mut Value| _ = app.as_object_mut().unwrap().remove("healthChecks");
    let first = scene.document("1", 2, unchecked);
    scene.ends(0, "bluegreen", &first, &["--force"]);
    eventually("the first release serves", || (scene.release()? == "1").then_some(()));
    let second = scene.document("2", 2, unchecked);
    let text = scene.ends(0, "zdd", &second, &["--force", "--max-wait", "60"]);
    assert!(text.contains("no health check"), "{text}");
    scene.has(&[("/shop/web-green", 2)]);
    eventually("the second release serves", || (scene.release()? == "2").then_some(()));
}

#[test]
fn a_hybrid_stays_until_it_is_ended_either_way() {
    let scene = Scene::new();
    scene.first(3);
    let second = scene.document("2", 3, |_| ());
    scene.under_load(|| {
        scene.ends(0, "zdd", &second, &["--force", "--new-instances", "1"]);
        scene.has(&[("/shop/web-blue", 2), ("/shop/web-green", 1)]);
        let text = scene.ends(2, "zdd", &second, &["--force"]);
        assert!(text.contains("--complete-cur"), "{text}");
        scene.ends(0, "zdd", &second, &["--force", "--complete-prev"]);
        scene.has(&[("/shop/web-blue", 3)]);
        scene.ends(0, "zdd", &second, &["--force", "-n", "2"]);
        scene.has(&[("/shop/web-blue", 1), ("/shop/web-green", 2)]);
        scene.ends(0, "zdd", &second, &["--force", "--complete-cur"]);
        scene.has(&[("/shop/web-green", 3)]);
    });
}

#[test]
fn what_is_interrupted_goes_on() {
    let scene = Scene::new();
    scene.first(4);
    let second = scene.document("2", 4, |_| ());
    scene.under_load(|| {
        let mut command =
            scene.command("bluegreen", &second, &["--force", "--linear-increase", "1"]);
        let child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        eventually("it has begun", || {
            let green = scene.instances().into_iter().find(|(id, _)| id.ends_with("green"))?;
            (green.1 >= 2).then_some(())
        });
        interrupt(&child);
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{text}");
        assert!(text.contains("--resume"), "{text}");
        assert_eq!(scene.instances().len(), 2);
        scene.ends(0, "bluegreen", &second, &["--force", "--resume"]);
    });
    scene.has(&[("/shop/web-green", 4)]);
}

#[test]
fn a_release_that_never_works_is_taken_back() {
    let scene = Scene::new();
    scene.first(2);
    let before = scene.waymark.task_ids("/shop/web-blue");
    let broken = |app: &mut Value| app["healthChecks"][0]["path"] = "/exit".into();
    let second = scene.document("2", 2, broken);
    scene.under_load(|| {
        let text = scene.ends(10, "bluegreen", &second, &["--force", "--start-wait", "3"]);
        assert!(text.contains("rolled back"), "{text}");
    });
    scene.has(&[("/shop/web-blue", 2)]);
    assert_eq!(scene.waymark.task_ids("/shop/web-blue"), before, "the very tasks of before");
}

#[test]
fn a_hook_that_says_no_half_way_has_everything_taken_back() {
    let scene = Scene::new();
    scene.first(4);
    let second = scene.document("2", 4, |_| ());
    let hook = scene.folder.path().join("hook");
    let calls = scene.folder.path().join("calls");
    let script = format!(
        "#!/bin/sh\ntest $# = 3 || exit 9\necho \"$2\" >> {0}\ntest $(wc -l < {0}) -lt 2\n",
        calls.display()
    );
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let hook = hook.display().to_string();
    scene.under_load(|| {
        let text = scene.ends(10, "bluegreen", &second, &["--force", "--pre-kill-hook", &hook]);
        assert!(text.contains("hook"), "{text}");
    });
    scene.has(&[("/shop/web-blue", 4)]);
    let calls = fs::read_to_string(calls).unwrap();
    let kills: Vec<Value> = calls.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(kills.len(), 2);
    assert!(kills[0][0].as_str().unwrap().starts_with("shop_web-blue."), "{kills:?}");
}

#[test]
fn a_dry_run_shows_everything_and_changes_nothing() {
    let scene = Scene::new();
    scene.first(3);
    let second = scene.document("2", 3, |_| ());
    for name in ["zdd", "bluegreen"] {
        let output = scene.deploy(name, &second, &["--dry-run"]);
        assert_eq!(output.status.code(), Some(0));
        let app: Value = serde_json::from_slice(&output.stdout).expect("the document");
        assert_eq!((&app["id"], &app["instances"]), (&json!("/shop/web-green"), &json!(1)));
        assert_eq!(app["labels"]["HAPROXY_0_PORT"], scene.port.to_string());
        assert_eq!(app["portDefinitions"][0]["port"], scene.port + 1);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("1+3, 2+2, 3+1, 3+0"), "{text}");
    }
    scene.has(&[("/shop/web-blue", 3)]);
}

#[test]
fn exit_codes_are_zdds() {
    let scene = Scene::new();
    let fine = scene.document("1", 1, |_| ());
    let unlabelled = scene.document("2", 1, |app| app["labels"] = json!({}));
    let portless = scene.document("3", 1, |app| app["portDefinitions"] = json!([{"port": 0}]));
    let nowhere = scene.folder.path().join("none.json");
    let refused = scene.document("4", 1, |app| app["cpus"] = json!(-1));
    for (code, document, flags, part) in [
        (1, &fine, &[][..], "--force"),
        (2, &nowhere, &["--force"], "none.json"),
        (2, &fine, &["--no-such-flag"], "--no-such-flag"),
        (3, &fine, &["--force", "-c"], "two colours"),
        (3, &fine, &["--force", "-p"], "two colours"),
        (4, &unlabelled, &["--force"], "HAPROXY_DEPLOYMENT_GROUP"),
        (4, &portless, &["--force"], "service port"),
        (7, &refused, &["--force"], "cpus"),
    ] {
        let text = scene.ends(code, "zdd", document, flags);
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(scene.instances(), []);
    scene.first(1);
    let elsewhere = |flag: &str| {
        let mut command = Command::new(binary());
        let marathon = scene.waymark.url("");
        let (marathon, lb) = match flag {
            "marathon" => ("http://127.0.0.1:1", "http://127.0.0.1:1"),
            _ => (marathon.as_str(), "http://127.0.0.1:1"),
        };
        command.args(["zdd", "-f", "-m", marathon, "-l", lb, "-j"]).arg(&fine);
        command.stdin(Stdio::null()).output().expect("it runs").status.code()
    };
    assert_eq!((elsewhere("marathon-lb"), elsewhere("marathon")), (Some(5), Some(6)));
    scene.has(&[("/shop/web-blue", 1)]);
}
