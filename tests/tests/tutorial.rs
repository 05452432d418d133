//! Replays `docs/tutorial.md`: every command after `$ ` in its `console` blocks is run in one shell,
//! and every line shown below a command must appear in what it printed, in order. `…` stands for
//! any text. The README's first example is replayed in the same way.
//!
//! The replay happens in network and process namespaces of its own: the tutorial can use the default
//! ports and count processes, whatever else runs on the machine, and nothing is left behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a story fails by panicking"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use waymark_stories::{binary, repository};

struct Step {
    command: String,
    expected: Vec<String>,
    line: usize,
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            inside = line.trim() == "```console";
        } else if inside && let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.to_owned(),
                expected: Vec::new(),
                line: number + 1,
            });
        } else if inside
            && !line.trim().is_empty()
            && let Some(step) = steps.last_mut()
        {
            step.expected.push(line.trim().to_owned());
        }
    }
    steps
}

/// Whether `line` is `pattern`, in which each `…`, with the blanks around it, stands for any text;
/// runs of blanks are one.
fn fits(pattern: &str, line: &str) -> bool {
    let squeeze = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ");
    let pattern = squeeze(pattern).replace(" …", "…").replace("… ", "…");
    let line = squeeze(line);
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn script(steps: &[Step], folder: &Path) -> String {
    let mut script = String::from("ip link set lo up\n");
    for (n, step) in steps.iter().enumerate() {
        let out = folder.join(n.to_string()).display().to_string();
        let command = &step.command;
        if command.starts_with("waymark run") {
            // The reader leaves it running and opens a second terminal when everything is up.
            script.push_str(&format!(
                "{command} >{out} 2>&1 &\nrun=$!\n\
                 until [ -f \"$WAYMARK_DATA_DIR/endpoints.json\" ] && grep -q 'curl' {out}; do\n\
                 kill -0 $run || break; sleep 0.05; done\n"
            ));
        } else if command == "kill -9 $(pidof waymark)" || command.starts_with("pkill") {
            script.push_str("{ kill -9 $run; wait $run; } 2>/dev/null\n");
        } else {
            script.push_str(&format!("{command} >{out} 2>&1\n"));
        }
        script.push_str(&format!("echo $? >{out}.status\n"));
    }
    script.push_str("kill $run; wait $run\n");
    script
}

fn replay(document: &str) {
    let text = fs::read_to_string(repository().join(document)).unwrap();
    let steps = steps(&text);
    assert!(steps.len() >= 2, "{document} has no commands");
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    fs::create_dir(&work).unwrap();
    std::os::unix::fs::symlink(repository().join("examples"), work.join("examples")).unwrap();
    let script = script(&steps, folder.path());
    let path = std::env::var("PATH").unwrap();
    let bin = binary().parent().unwrap().display().to_string();
    let output = Command::new("unshare")
        .args([
            "--net",
            "--map-root-user",
            "timeout",
            "--kill-after=10",
            "300",
            "bash",
            "-c",
            &script,
        ])
        .current_dir(&work)
        .env("PATH", format!("{bin}:{path}"))
        .env("WAYMARK_DATA_DIR", folder.path().join("data"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    for (n, step) in steps.iter().enumerate() {
        let place = format!("{document}:{}: $ {}", step.line, step.command);
        let printed = fs::read_to_string(folder.path().join(n.to_string())).unwrap_or_default();
        let status = fs::read_to_string(folder.path().join(format!("{n}.status")))
            .unwrap_or_else(|_| panic!("{place}\nwas never reached\n{errors}"));
        if !step.command.contains("kill -9") {
            assert_eq!(status.trim(), "0", "{place}\n{printed}\n{errors}");
        }
        let mut lines = printed.lines();
        for expected in step.expected.iter().filter(|e| *e != "…") {
            assert!(
                lines.any(|line| fits(expected, line)),
                "{place}\nexpected (in order): {expected}\nprinted:\n{printed}"
            );
        }
    }
}

#[test]
fn the_tutorial_is_true() {
    replay("docs/tutorial.md");
}

#[test]
fn patterns() {
    for (pattern, line, want) in [
        ("a  b", "a b", true),
        ("a … c", "a b c", true),
        ("… c", "a b c", true),
        ("a …", "a b c", true),
        ("a … d", "a b c", false),
        ("a", "a b", false),
        ("/web … 3/3 … web.mesos", "/web   3/3  10000 web.mesos", true),
    ] {
        assert_eq!(fits(pattern, line), want, "{pattern} {line}");
    }
}
