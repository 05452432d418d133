//! What the text of a configuration says of itself: of a backend, whether its servers can change while HAProxy runs; of
//! HAProxy, where it keeps its servers' state and which certificates it reads.
//!
//! Reads first words of lines only; HAProxy itself has validated the text before anybody acts on it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a backend's section says about servers that come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// Whether its algorithm takes servers at run time: all but `static-rr` and hashes that are not consistent.
    pub dynamic: bool,
    /// Whether a `default-server` holds for it: added servers would not inherit it.
    pub default_server: bool,
}

#[derive(Clone, Copy, Default)]
struct Section<'a> {
    balance: Option<&'a str>,
    consistent: bool,
    default_server: bool,
}

impl<'a> Section<'a> {
    fn read(&mut self, mut words: impl Iterator<Item = &'a str>) {
        match words.next() {
            Some("balance") => self.balance = words.next(),
            Some("hash-type") => self.consistent = words.next() == Some("consistent"),
            Some("default-server") => self.default_server = true,
            _ => {}
        }
    }

    fn traits(&self) -> Traits {
        let algorithm = self.balance.unwrap_or("roundrobin");
        let by_itself = matches!(algorithm, "roundrobin" | "leastconn" | "first")
            || algorithm.starts_with("random");
        let hash = algorithm != "static-rr";
        Traits {
            dynamic: by_itself || hash && self.consistent,
            default_server: self.default_server,
        }
    }
}

const SECTIONS: [&str; 16] = [
    "global",
    "defaults",
    "listen",
    "frontend",
    "backend",
    "userlist",
    "peers",
    "resolvers",
    "mailers",
    "cache",
    "program",
    "http-errors",
    "ring",
    "log-forward",
    "fcgi-app",
    "crt-store",
];

/// The traits of those backends that are asked for and exist.
///
/// A backend that names its `defaults` (`backend x from y`) is judged by the last section all the same, and that costs a
/// reload at most: HAProxy refuses what it cannot do.
pub fn traits<'a>(config: &'a str, wanted: &BTreeSet<&str>) -> BTreeMap<&'a str, Traits> {
    let mut found = BTreeMap::new();
    let mut defaults = Section::default();
    let mut current: Option<(&str, Section)> = None;
    let mut in_defaults = false;
    for line in config.lines() {
        let mut words = line.split_whitespace();
        let Some(first) = words.clone().next() else { continue };
        if SECTIONS.contains(&first) {
            if let Some((name, section)) = current.take() {
                found.insert(name, section.traits());
            }
            in_defaults = first == "defaults";
            if in_defaults {
                defaults = Section::default();
            }
            let name = words
                .nth(1)
                .filter(|name| matches!(first, "backend" | "listen") && wanted.contains(name));
            current = name.map(|name| (name, defaults));
        } else if in_defaults {
            defaults.read(words);
        } else if let Some((_, section)) = &mut current {
            section.read(words);
        }
    }
    if let Some((name, section)) = current {
        found.insert(name, section.traits());
    }
    found
}

/// The lines of all sections but those that have one of these names.
pub(super) fn outside<'a>(
    config: &'a str,
    names: &'a BTreeSet<&str>,
) -> impl Iterator<Item = &'a str> {
    let mut inside = false;
    config.lines().filter(move |line| {
        let mut words = line.split_whitespace();
        if words.next().is_some_and(|first| SECTIONS.contains(&first)) {
            inside = words.next().is_some_and(|name| names.contains(name));
        }
        !inside
    })
}

/// The file that HAProxy reads its servers' state from after a reload: `server-state-file` below `server-state-base`.
///
/// None when the configuration names none, or names one by a relative path without a base.
pub fn state_file(config: &str) -> Option<PathBuf> {
    let value = |name: &str| {
        config.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(name)).then(|| words.next()).flatten()
        })
    };
    let file = Path::new(value("server-state-file")?);
    let path = match value("server-state-base") {
        Some(base) => Path::new(base).join(file),
        None => file.to_owned(),
    };
    path.is_absolute().then_some(path)
}

/// Files that `bind` lines name as certificates (`crt`), each once.
pub fn certificates(config: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for line in config.lines().map(str::trim_start).filter(|line| line.starts_with("bind ")) {
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            if word == "crt" {
                found.extend(words.next().map(PathBuf::from).filter(|path| path.is_absolute()));
            }
        }
    }
    found
}

/// Whether old workers are told when to end at the latest (`hard-stop-after`).
pub fn stops_hard(config: &str) -> bool {
    config.lines().any(|line| line.split_whitespace().next() == Some("hard-stop-after"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "global\n  server-state-file global\n  server-state-base /var/state/haproxy/\n\
        defaults\n  mode http\n  balance leastconn\n\
        backend a\n  balance roundrobin\n\
        backend b\n  balance source\n\
        backend c\n  balance source\n  hash-type consistent sdbm\n\
        backend d\n  balance static-rr\n\
        backend e\n  default-server inter 2s\n\
        backend f\n  balance\n\
        backend g\n  balance random(3)\n\
        frontend x\n  bind *:443 ssl crt /etc/ssl/a.pem crt /etc/ssl/b.pem\n  balance static-rr\n\
        defaults\n  default-server check\n\
        listen h\n  mode tcp\n";

    #[test]
    fn traits_follow_the_algorithm_and_default_servers() {
        let names = BTreeSet::from(["a", "b", "c", "d", "e", "f", "g", "h", "x", "none"]);
        let dynamic = Traits { dynamic: true, default_server: false };
        let fixed = Traits { dynamic: false, default_server: false };
        let inherits = Traits { dynamic: true, default_server: true };
        let wanted = BTreeMap::from([
            ("a", dynamic),
            ("b", fixed),
            ("c", dynamic),
            ("d", fixed),
            ("e", inherits),
            ("f", dynamic),
            ("g", dynamic),
            ("h", inherits),
        ]);
        assert_eq!(traits(CONFIG, &names), wanted);
        assert_eq!(traits(CONFIG, &BTreeSet::from(["b"])).len(), 1);
    }

    #[test]
    fn places_of_files_are_found() {
        assert_eq!(state_file(CONFIG), Some(PathBuf::from("/var/state/haproxy/global")));
        assert_eq!(
            state_file("global\n server-state-file /run/state\n"),
            Some(PathBuf::from("/run/state"))
        );
        assert_eq!(state_file("global\n server-state-file state\n"), None);
        assert_eq!(state_file("global\n"), None);
        let found: Vec<_> = certificates(CONFIG).into_iter().collect();
        assert_eq!(found, [PathBuf::from("/etc/ssl/a.pem"), PathBuf::from("/etc/ssl/b.pem")]);
        assert!(!stops_hard(CONFIG));
        assert!(stops_hard("global\n  hard-stop-after 30s\n"));
    }
}
