//! What `/proc` says about processes.
//!
//! A process is known by its number *and* its start time within one boot of the machine: numbers
//! are used again, pairs are not.

use std::collections::{HashMap, HashSet};
use std::fs;

/// What is read of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z`, …
    pub state: char,
    /// The parent's number.
    pub parent: i32,
    /// Start, in clock ticks since the machine's boot.
    pub started: u64,
}

impl Stat {
    /// The process's figures; `None` when there is no such process.
    pub fn read(pid: i32) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the program's name in parentheses and may itself hold any character, so
    /// fields are counted from the last parenthesis.
    fn parse(text: &str) -> Option<Stat> {
        let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        // Field 22 by proc(5); `state` is field 3, and two have been taken.
        let started = fields.nth(17)?.parse().ok()?;
        Some(Stat { state, parent, started })
    }
}

/// A text that is new with each boot of the machine; empty where the kernel does not tell.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The numbers of all processes.
pub fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").ok().into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok())
}

/// All living descendants of a process, without itself.
pub fn descendants(of: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for pid in processes() {
        if let Some(stat) = Stat::read(pid).filter(|s| s.state != 'Z' || pid == of) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = children.remove(&of).unwrap_or_default();
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let more = children.remove(pid).unwrap_or_default();
        found.extend(more);
        next += 1;
    }
    found
}

/// The processes whose environment holds `MESOS_TASK_ID` with one of `ids`. Finds what has left
/// its process group and has lost its parent, too; not what has cleared its environment.
pub fn processes_of_tasks(ids: &HashSet<String>) -> Vec<i32> {
    processes().filter(|pid| is_of_tasks(*pid, ids)).collect()
}

/// Whether the process is such a one.
pub fn is_of_tasks(pid: i32, ids: &HashSet<String>) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
        environment
            .split(|b| *b == 0)
            .filter_map(|entry| entry.strip_prefix(b"MESOS_TASK_ID="))
            .filter_map(|id| std::str::from_utf8(id).ok())
            .any(|id| ids.contains(id))
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, id};

    use super::*;

    #[test]
    fn reads_stat() {
        let text = "71 (a) b (c) S 7 71 71 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 11 12";
        let want = Stat { state: 'S', parent: 7, started: 9876 };
        assert_eq!(Stat::parse(text), Some(want));
        assert_eq!(Stat::parse("71 (a) S 7 71"), None);
        assert_eq!(Stat::parse(""), None);
        assert!(Stat::read(id() as i32).is_some_and(|s| s.started > 0));
        assert_eq!(boot_id().len(), 36);
    }

    #[test]
    fn finds_descendants_and_tasks() {
        let mut child =
            Command::new("sleep").arg("60").env("MESOS_TASK_ID", "t.1").spawn().unwrap();
        let pid = child.id() as i32;
        assert!(descendants(id() as i32).contains(&pid));
        assert!(!descendants(pid).contains(&pid));
        // The new program's environment is there when spawn has returned.
        assert_eq!(processes_of_tasks(&HashSet::from(["t.1".to_owned()])), [pid]);
        assert!(processes_of_tasks(&HashSet::from(["t".to_owned()])).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
