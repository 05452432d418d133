//! The machine's HAProxy: the files that make it follow Marathon, and one refresh of it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::services;
use crate::exit::Exit;
use crate::settings::Surroundings;
use crate::terminal;

/// How HAProxy is installed; the script did it itself.
pub const INSTALL: &str = "\
Install HAProxy with your system's packages:
  apt-get install haproxy      # Debian, Ubuntu
  dnf install haproxy          # Fedora, RHEL, Rocky, Amazon Linux
  zypper install haproxy       # SUSE

";

/// Where the script kept things, below another root when `WAYMARK_BRIDGE_ROOT` names one.
struct Places {
    root: PathBuf,
}

impl Places {
    fn new(around: &Surroundings) -> Places {
        Places { root: around.variable("WAYMARK_BRIDGE_ROOT").map_or("/".into(), PathBuf::from) }
    }

    fn marathons(&self) -> PathBuf {
        self.root.join("etc/haproxy-marathon-bridge/marathons")
    }

    fn configuration(&self) -> PathBuf {
        self.root.join("etc/haproxy/haproxy.cfg")
    }

    /// There while a configuration was written that HAProxy has not been told of.
    fn unloaded(&self) -> PathBuf {
        self.configuration().with_extension("unloaded")
    }

    fn unit(&self, kind: &str) -> PathBuf {
        self.root.join(format!("etc/systemd/system/haproxy-marathon-bridge.{kind}"))
    }

    fn is_the_machine(&self) -> bool {
        self.root == Path::new("/")
    }
}

const TIMER: &str = "\
[Unit]
Description=HAProxy follows Marathon

[Timer]
OnBootSec=1min
OnUnitActiveSec=1min

[Install]
WantedBy=timers.target
";

fn service() -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "/usr/local/bin/waymark".into());
    format!(
        "[Unit]\nDescription=One refresh of HAProxy's configuration from Marathon\n\
         After=network-online.target\n\n[Service]\nType=oneshot\n\
         ExecStart={} haproxy-marathon-bridge refresh_system_haproxy\n",
        program.display()
    )
}

/// Says which files are needed, or writes them.
pub fn install_cronjob(words: &[&str], around: &Surroundings) -> Exit {
    let places = Places::new(around);
    let write = words.contains(&"--write");
    let marathons: Vec<&str> = words.iter().copied().filter(|word| *word != "--write").collect();
    let mut files = Vec::new();
    if !marathons.is_empty() {
        files.push((places.marathons(), marathons.join("\n") + "\n"));
    } else if !places.marathons().exists() {
        let text = format!("which Marathons? There is no {}", places.marathons().display());
        return terminal::fail(Exit::Usage, &text);
    }
    files.push((places.unit("service"), service()));
    files.push((places.unit("timer"), TIMER.to_owned()));
    if !write {
        let mut text = String::from("Write these files, or say --write:\n");
        for (path, content) in &files {
            text.push_str(&format!("\n# {}\n{content}", path.display()));
        }
        text.push_str("\nthen: systemctl enable --now haproxy-marathon-bridge.timer\n");
        return terminal::print(&text);
    }
    for (path, content) in &files {
        if let Err(e) = replace(path, content) {
            return terminal::fail(Exit::Failed, &format!("{}: {e}", path.display()));
        }
        terminal::note(&format!("wrote {}", path.display()));
    }
    if !places.is_the_machine() {
        return Exit::Ok;
    }
    let enabled = systemctl(&["daemon-reload"])
        .and_then(|()| systemctl(&["enable", "--now", "haproxy-marathon-bridge.timer"]));
    ended(enabled)
}

/// Writes the configuration and reloads HAProxy, if anything changed or the reload before failed.
/// Whatever fails leaves the file as it is: HAProxy goes on with what it has.
pub fn refresh(words: &[&str], around: &Surroundings) -> Exit {
    let places = Places::new(around);
    let listed = fs::read_to_string(places.marathons()).unwrap_or_default();
    let marathons: Vec<&str> =
        if words.is_empty() { listed.split_whitespace().collect() } else { words.to_vec() };
    if marathons.is_empty() {
        let text = format!("which Marathons? {} names none", places.marathons().display());
        return terminal::fail(Exit::Usage, &text);
    }
    let text = match services(&marathons) {
        Ok(services) => super::configuration(&services),
        Err(reason) => return terminal::fail(Exit::Failed, &reason),
    };
    let path = places.configuration();
    if !fs::read_to_string(&path).is_ok_and(|present| present == text) {
        if let Err(reason) = install(&places, &text) {
            return terminal::fail(Exit::Failed, &reason);
        }
        terminal::note(&format!("changed {}", path.display()));
    } else if !places.unloaded().exists() {
        return Exit::Ok;
    }
    if places.is_the_machine()
        && let Err(reason) = systemctl(&["reload-or-restart", "haproxy"])
    {
        return terminal::fail(Exit::Failed, &reason);
    }
    let file = places.unloaded();
    ended(fs::remove_file(&file).map_err(|e| format!("{}: {e}", file.display())))
}

/// Puts a configuration in place that HAProxy takes, marked as not loaded yet.
fn install(places: &Places, text: &str) -> Result<(), String> {
    let (path, marker) = (places.configuration(), places.unloaded());
    let new = beside(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    check(&new)?;
    // First: whoever dies in between has HAProxy reloaded once too often, not once too seldom.
    fs::write(&marker, "").map_err(|e| format!("{}: {e}", marker.display()))?;
    fs::rename(&new, &path).map_err(|e| format!("{}: {e}", path.display()))
}

/// What HAProxy says about a configuration, if it is installed.
fn check(file: &Path) -> Result<(), String> {
    match Command::new("haproxy").arg("-c").arg("-f").arg(file).output() {
        Ok(output) if !output.status.success() => {
            let reason = String::from_utf8_lossy(&output.stderr);
            Err(format!("HAProxy refuses the configuration: {}", reason.trim()))
        }
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("haproxy: {e}")),
        _ => Ok(()),
    }
}

/// Writes a file so that whoever reads it finds the old or the new one whole.
fn replace(path: &Path, content: &str) -> std::io::Result<()> {
    fs::rename(beside(path, content)?, path)
}

/// Writes what is to replace a file, in its folder.
fn beside(path: &Path, content: &str) -> std::io::Result<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    Ok(beside)
}

fn systemctl(words: &[&str]) -> Result<(), String> {
    let status = Command::new("systemctl").args(words).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("systemctl {}: {status}", words.join(" "))),
        Err(e) => Err(format!("systemctl {}: {e}", words.join(" "))),
    }
}

fn ended(done: Result<(), String>) -> Exit {
    done.map_or_else(|reason| terminal::fail(Exit::Failed, &reason), |()| Exit::Ok)
}
