//! The disk is full: changes are refused with the reason, what runs goes on, and when there is
//! room again everything works without a restart. Needs root, for a small file system in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use waymark_stories::{Load, LoadKind, Waymark, eventually, get};

/// A file system of 16 MiB that goes away with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> SmallDisk {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "waymark-story"])
            .arg(folder.path())
            .status();
        assert!(
            mounted.is_ok_and(|s| s.success()),
            "this story must run as root, to mount a tmpfs"
        );
        SmallDisk(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills it to the last byte; the file can be removed again.
    fn fill(&self) {
        let mut file = File::create(self.path().join("filler")).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_changes_and_harms_no_traffic() {
    let disk = SmallDisk::new();
    let mut waymark = Waymark::prepared(disk.path().join("data"), &[]);
    waymark.start_again(&[]);
    let web = json!({
        "id": "/web", "cmd": "exec waymark whoami --port $PORT0", "instances": 2,
        "cpus": 0.01, "mem": 16,
        "healthChecks": [{"protocol": "HTTP", "path": "/health", "intervalSeconds": 1}],
    });
    assert_eq!(waymark.send("POST", "/v2/apps", &web).status, 201);
    waymark.wait_for_app("/web", 2);
    let load = Load::start(waymark.service_port("/web"), "/", LoadKind::ConnectionPerRequest, 2);

    disk.fill();
    // The store may have room of its own left for a few more changes, but not for hundreds.
    let refusal = (0..2000).find_map(|n| {
        let labels = json!({"filler": "x".repeat(20_000), "n": n.to_string()});
        let app = json!({"id": format!("/new{n}"), "cmd": "sleep 1000", "instances": 0, "labels": labels});
        let reply = waymark.send("POST", "/v2/apps", &app);
        (reply.status != 201).then_some((n, reply))
    });
    let (n, reply) = refusal.expect("changes are refused while the disk is full");
    assert_eq!(reply.status, 503, "{}", reply.body);
    assert!(reply.body.contains("stored"), "{}", reply.body);
    let refused = format!("/v2/apps/new{n}");
    assert_eq!(get(&waymark.url(&refused)).unwrap().status, 404, "what was refused is not there");
    assert_eq!(waymark.task_ids("/web").len(), 2, "what runs goes on");

    std::fs::remove_file(disk.path().join("filler")).unwrap();
    let app = json!({"id": "/later", "cmd": "sleep 1000", "cpus": 0.01, "mem": 16});
    eventually("changes are accepted again", || {
        (waymark.send("PUT", "/v2/apps/later", &app).status < 300).then_some(())
    });
    waymark.wait_for_app("/later", 1);
    let so_far = load.answered();
    eventually("requests still flow", || (load.answered() > so_far + 50).then_some(()));
    load.finish().assert_flawless(50);
    // And the store is whole: a new start finds it all.
    waymark.kill_9();
    waymark.start_again(&[]);
    waymark.wait_for_app("/web", 2);
    waymark.wait_for_app("/later", 1);
    assert_eq!(get(&waymark.url(&refused)).unwrap().status, 404);
    assert!(waymark.stop().success());
}
