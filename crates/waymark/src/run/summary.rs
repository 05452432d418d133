//! What is printed when everything runs: where each app is, and how to try it.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

use waymark_control::State;
use waymark_dns::naming::app_name;
use waymark_executors::Executor;
use waymark_model::App;

use super::progress::{Row, counted, rows};
use crate::table::{Align, Table};

/// Apps in the table; the others are counted below it.
const MAX_APPS: usize = 200;
/// Lines of a failed task's output that are shown.
const TAIL_LINES: usize = 3;
/// Bytes in which they are looked for.
const TAIL_BYTES: u64 = 2048;

/// Where things are reached from this machine.
#[derive(Clone, Debug)]
pub struct Places {
    /// The API's URL.
    pub api: String,
    /// The DNS server, unless switched off.
    pub dns: Option<SocketAddr>,
    /// Where service ports are reached; `None` without a load balancer.
    pub services: Option<IpAddr>,
    /// The domain of all names.
    pub domain: String,
    /// Whether tasks go on when Waymark stops.
    pub keep_tasks: bool,
}

/// The table of all apps.
pub fn table(state: &State, places: &Places) -> String {
    let mut table = Table::new(&[
        ("APP", Align::Left),
        ("HEALTHY", Align::Right),
        ("SERVICE PORT", Align::Right),
        ("DNS NAME", Align::Left),
        ("TRY", Align::Left),
    ]);
    let apps: Vec<(&App, Row)> =
        state.root.apps.values().map(|app| &**app).zip(rows(state)).take(MAX_APPS).collect();
    for (app, row) in apps {
        app_rows(&mut table, state, app, &row, places);
    }
    let mut text = table.render();
    let left = state.root.apps.len().saturating_sub(MAX_APPS);
    if left > 0 {
        text.push_str(&format!("and {left} more: waymark app list\n"));
    }
    text
}

/// One line for each port, and one to ask for the name.
fn app_rows(table: &mut Table, state: &State, app: &App, row: &Row, places: &Places) {
    let name = app_name(&app.id, &state.framework_name, &places.domain);
    let mut head = [app.id.to_string(), format!("{}/{}", row.good, row.wanted), name.clone()];
    let mut line = |port: String, how: String, table: &mut Table| {
        let [id, healthy, name] = head.clone();
        table.row([id, healthy, port, name, how]);
        head = [" ".to_owned(), " ".to_owned(), " ".to_owned()];
    };
    for port in app.ports() {
        let how = match places.services {
            Some(ip) if port.protocol.has_tcp() => {
                format!("curl http://{}/", SocketAddr::new(ip, port.service_port))
            }
            _ => " ".to_owned(),
        };
        line(port.service_port.to_string(), how, table);
    }
    let dig = places.dns.map(|dns| dig(dns, &name));
    if let Some(dig) = dig {
        line(" ".to_owned(), dig, table);
    } else if app.ports().is_empty() {
        line(" ".to_owned(), " ".to_owned(), table);
    }
}

fn dig(dns: SocketAddr, name: &str) -> String {
    format!("dig +short -p {} @{} {name}", dns.port(), dns.ip())
}

/// What is not as wanted, and where to look; empty when all is well.
pub fn troubles(state: &State, executor: &dyn Executor) -> String {
    let mut text = String::new();
    for row in rows(state).iter().filter(|row| !row.ready).take(MAX_APPS) {
        let note = if row.note.is_empty() { "still starting" } else { &row.note };
        text.push_str(&format!("{} {}: {note}\n", row.app, counted(row)));
        let Some(failure) = state.failures.get(&row.app) else { continue };
        if let Some(sandbox) = executor.sandbox(&failure.task) {
            let path = sandbox.join("stderr");
            text.push_str(&tail_of(&path));
        }
    }
    text
}

/// The file's name and its last lines.
fn tail_of(path: &Path) -> String {
    let mut text = format!("    see {}\n", path.display());
    let end = String::from_utf8_lossy(&last_bytes(path).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = end.lines().collect();
    for line in &lines[lines.len().saturating_sub(TAIL_LINES)..] {
        // What a task wrote must not move the cursor or change colours.
        let clean: String = line.chars().filter(|c| !c.is_control()).collect();
        text.push_str(&format!("    | {clean}\n"));
    }
    text
}

/// The sandbox belongs to the task: no link is followed, and a pipe is not waited for.
fn last_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Vec::new());
    }
    file.seek(SeekFrom::Start(metadata.len().saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_clean_and_follow_no_links() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stderr");
        std::fs::write(&path, "a\nb\nc\n\u{1b}[31mred\n").unwrap();
        let text = tail_of(&path);
        assert!(text.ends_with("    | b\n    | c\n    | [31mred\n"), "{text}");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(tail_of(&link), format!("    see {}\n", link.display()));
    }
}
