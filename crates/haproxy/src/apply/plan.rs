//! What has to be done so that a running HAProxy follows what was rendered: nothing, some commands, or a reload. Pure.
//!
//! Input is what was applied last, what is wanted, and what HAProxy says it has; commands come from the last two, so a
//! belief that is wrong leads to a reload and never to a wrong server. Output is a [`Plan`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use super::answers::{ServerNow, Servers};
use super::command::{Command, Name, is_word};
use super::frame::{self, Traits};
use super::keywords::Options;
use super::version::Capabilities;
use crate::{Backend, Rendered, Server};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// HAProxy has all of it.
    Nothing,
    /// These commands, in this order.
    Runtime(Vec<Command>),
    /// A reload.
    Reload(Why),
}

/// Why nothing less than a reload will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is not known what HAProxy runs.
    Unknown,
    /// Somebody asked for it.
    Asked,
    /// More than servers changed.
    Frame,
    /// HAProxy is too old, or its version is not known.
    Version,
    /// HAProxy does not have what it was given: somebody else changed it.
    Differs {
        /// The backend in which it was found.
        backend: String,
    },
    /// The backend's algorithm takes no servers at run time, or a `default-server` holds that added ones would not get.
    Backend {
        /// The backend.
        backend: String,
    },
    /// A server's line cannot be said as a command.
    Server {
        /// Backend and server.
        server: String,
        /// What about it.
        reason: &'static str,
    },
    /// HAProxy refused a command, or gave no answer.
    Refused(String),
    /// A certificate's file changed, and HAProxy did not take it by a command.
    Certificate(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "it is not known what HAProxy runs"),
            Self::Asked => write!(f, "it was asked for"),
            Self::Frame => write!(f, "more than servers changed"),
            Self::Version => write!(f, "servers can be added and removed from HAProxy 2.6 on"),
            Self::Differs { backend } => {
                write!(f, "backend {backend} is not as it was given to HAProxy")
            }
            Self::Backend { backend } => {
                write!(f, "servers of backend {backend} cannot change at run time")
            }
            Self::Server { server, reason } => write!(f, "server {server}: {reason}"),
            Self::Refused(answer) => write!(f, "{answer}"),
            Self::Certificate(reason) => write!(f, "{reason}"),
        }
    }
}

/// How two rendered configurations differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference<'a> {
    /// Not at all.
    Nothing,
    /// In more than servers and maps.
    Frame,
    /// In the servers of these backends and the text of these maps.
    Servers {
        /// Names of backends.
        backends: BTreeSet<&'a str>,
        /// Names of maps.
        maps: BTreeSet<&'a str>,
    },
}

/// Compares what was applied with what is wanted.
pub fn difference<'a>(applied: &'a Rendered, wanted: &'a Rendered) -> Difference<'a> {
    if applied.config == wanted.config && applied.maps == wanted.maps {
        return Difference::Nothing;
    }
    let same_names = applied.backends.keys().eq(wanted.backends.keys())
        && applied.maps.keys().eq(wanted.maps.keys());
    if applied.frame != wanted.frame || !same_names {
        return Difference::Frame;
    }
    let changed =
        |(name, backend): &(&'a String, &'a Backend)| applied.backends.get(*name) != Some(*backend);
    let backends: BTreeSet<&str> =
        wanted.backends.iter().filter(changed).map(|(name, _)| name.as_str()).collect();
    let maps: BTreeSet<&str> = wanted
        .maps
        .iter()
        .filter(|(name, text)| applied.maps.get(*name) != Some(*text))
        .map(|(name, _)| name.as_str())
        .collect();
    // What a template wrote may differ without a field that says so.
    if frame::outside(&applied.config, &backends).eq(frame::outside(&wanted.config, &backends)) {
        Difference::Servers { backends, maps }
    } else {
        Difference::Frame
    }
}

/// Servers that were taken out of the configuration and still wait to be deleted, with the options they were added with.
pub type Leaving = BTreeMap<Name, Server>;

/// What HAProxy runs, as far as it matters to a change.
#[derive(Debug)]
pub struct Running<'a> {
    /// What was applied last.
    pub applied: &'a Rendered,
    /// What HAProxy says of the backends that changed.
    pub servers: &'a Servers,
    /// What still waits to be deleted.
    pub leaving: &'a Leaving,
    /// What its version can do.
    pub capabilities: Capabilities,
    /// Folder of the configuration and its maps.
    pub folder: &'a Path,
}

/// What has to be done so that HAProxy runs `wanted`.
pub fn plan(running: &Running<'_>, wanted: &Rendered) -> Plan {
    let (backends, maps) = match difference(running.applied, wanted) {
        Difference::Nothing => return Plan::Nothing,
        Difference::Frame => return Plan::Reload(Why::Frame),
        Difference::Servers { backends, maps } => (backends, maps),
    };
    match commands(running, wanted, &backends, &maps) {
        Ok(commands) if commands.is_empty() => Plan::Nothing,
        Ok(commands) => Plan::Runtime(commands),
        Err(why) => Plan::Reload(why),
    }
}

fn commands(
    running: &Running<'_>,
    wanted: &Rendered,
    backends: &BTreeSet<&str>,
    maps: &BTreeSet<&str>,
) -> Result<Vec<Command>, Why> {
    if !running.capabilities.dynamic_servers {
        return Err(Why::Version);
    }
    let traits = frame::traits(&wanted.frame, backends);
    // What comes before what goes, so that no backend is ever without servers that it has at both ends.
    let (mut come, mut go) = (Vec::new(), Vec::new());
    for &name in backends {
        let differs = || Why::Differs { backend: name.to_owned() };
        let backend = Change {
            name,
            before: running.applied.backends.get(name).ok_or(Why::Frame)?,
            after: wanted.backends.get(name).ok_or(Why::Frame)?,
            now: running.servers.get(name).map_or(&[][..], Vec::as_slice),
            traits: traits.get(name).copied().ok_or_else(differs)?,
            running,
        };
        backend.commands(&mut come, &mut go)?;
    }
    for &map in maps {
        let file = running.folder.join(map).to_string_lossy().into_owned();
        if !is_word(&file) {
            return Err(Why::Frame);
        }
        come.push(Command::Map { file, text: wanted.maps.get(map).cloned().unwrap_or_default() });
    }
    come.append(&mut go);
    Ok(come)
}

/// The change of one backend's servers.
struct Change<'a> {
    name: &'a str,
    before: &'a Backend,
    after: &'a Backend,
    now: &'a [ServerNow],
    traits: Traits,
    running: &'a Running<'a>,
}

impl Change<'_> {
    fn commands(&self, come: &mut Vec<Command>, go: &mut Vec<Command>) -> Result<(), Why> {
        let before = by_name(self.name, &self.before.servers)?;
        let after = by_name(self.name, &self.after.servers)?;
        if let Some(server) = before.values().chain(after.values()).find(|server| server.templated)
        {
            return Err(self.cannot(server, "its line was written by a template"));
        }
        self.believe(&before)?;
        for server in &self.after.servers {
            let name = Name::new(self.name, &server.name)
                .ok_or_else(|| self.cannot(server, "its name cannot be part of a command"))?;
            match self.now.iter().find(|now| now.name == server.name) {
                None => self.add(name, server, come)?,
                Some(now) => {
                    let known = before
                        .get(server.name.as_str())
                        .copied()
                        .or_else(|| self.running.leaving.get(&name));
                    let known =
                        known.ok_or_else(|| Why::Differs { backend: self.name.to_owned() })?;
                    self.update(name, known, server, now, come, go)?;
                }
            }
        }
        for server in
            self.before.servers.iter().filter(|server| !after.contains_key(server.name.as_str()))
        {
            if !self.traits.dynamic {
                return Err(Why::Backend { backend: self.name.to_owned() });
            }
            let name = Name::new(self.name, &server.name)
                .ok_or_else(|| self.cannot(server, "its name cannot be part of a command"))?;
            go.push(Command::Maintain(name));
        }
        Ok(())
    }

    /// HAProxy must have what was applied, under the same identifiers, and nothing else but what waits to be deleted.
    fn believe(&self, before: &BTreeMap<&str, &Server>) -> Result<(), Why> {
        let differs = || Why::Differs { backend: self.name.to_owned() };
        let all_there = before.values().all(|server| {
            self.now.iter().any(|now| now.name == server.name && now.id == server.id)
        });
        let expected = |now: &ServerNow| {
            let left = || {
                Name::new(self.name, &now.name)
                    .is_some_and(|name| self.running.leaving.contains_key(&name))
            };
            before.contains_key(now.name.as_str()) || left()
        };
        if all_there && self.now.iter().all(expected) { Ok(()) } else { Err(differs()) }
    }

    fn cannot(&self, server: &Server, reason: &'static str) -> Why {
        Why::Server { server: format!("{}/{}", self.name, server.name), reason }
    }

    fn address(&self, server: &Server) -> Result<IpAddr, Why> {
        let bare = server.address.trim_start_matches('[').trim_end_matches(']');
        bare.parse().map_err(|_| {
            self.cannot(server, "its address is a name, which HAProxy resolves when it starts only")
        })
    }

    fn options<'a>(&self, server: &'a Server) -> Result<Options<'a>, Why> {
        Options::read(&server.options, self.running.capabilities).map_err(|_| {
            self.cannot(server, "it has options that an added server cannot have in this version")
        })
    }

    fn add(&self, name: Name, server: &Server, come: &mut Vec<Command>) -> Result<(), Why> {
        if !self.traits.dynamic || self.traits.default_server {
            return Err(Why::Backend { backend: self.name.to_owned() });
        }
        let options = self.options(server)?;
        if !options.words.iter().all(|word| is_word(word)) {
            return Err(self.cannot(server, "its options cannot be part of a command"));
        }
        let mut words = options.words.join(" ");
        if let Some(weight) = options.weight {
            let weight: u16 =
                weight.parse().map_err(|_| self.cannot(server, "its weight is no number"))?;
            words.push_str(&format!(" weight {weight}"));
        }
        let address = self.address(server)?;
        come.push(Command::Add {
            server: name.clone(),
            address,
            port: server.port,
            options: words,
        });
        if options.check {
            come.push(Command::Check(name.clone()));
        }
        if options.agent {
            come.push(Command::Agent(name.clone()));
        }
        if !server.disabled {
            come.push(Command::Ready(name));
        }
        Ok(())
    }

    fn update(
        &self,
        name: Name,
        known: &Server,
        server: &Server,
        now: &ServerNow,
        come: &mut Vec<Command>,
        go: &mut Vec<Command>,
    ) -> Result<(), Why> {
        if known.id != server.id {
            return Err(self.cannot(server, "its identity changed"));
        }
        if known.options != server.options {
            let (old, new) = (self.options(known)?, self.options(server)?);
            if (old.words, old.check, old.agent) != (new.words, new.check, new.agent) {
                return Err(self.cannot(server, "its options changed"));
            }
            let weight = new
                .weight
                .unwrap_or("1")
                .parse()
                .map_err(|_| self.cannot(server, "its weight is no number"))?;
            if weight != now.weight {
                come.push(Command::Weight(name.clone(), weight));
            }
        }
        if (&known.address, known.port) != (&server.address, server.port) {
            come.push(Command::Move(name.clone(), self.address(server)?, server.port));
        }
        match (server.disabled, now.maintenance) {
            (true, false) => go.push(Command::Maintain(name)),
            (false, true) => come.push(Command::Ready(name)),
            _ => {}
        }
        Ok(())
    }
}

/// Servers by name; two of one name cannot be told apart by commands.
fn by_name<'a>(backend: &str, servers: &'a [Server]) -> Result<BTreeMap<&'a str, &'a Server>, Why> {
    let found: BTreeMap<&str, &Server> =
        servers.iter().map(|server| (server.name.as_str(), server)).collect();
    if found.len() == servers.len() {
        return Ok(found);
    }
    Err(Why::Server { server: backend.to_owned(), reason: "two servers have the same name" })
}

/// The first backend in which HAProxy does not have what the configuration says: names, ids, ports, who is in maintenance.
///
/// For the moments when somebody else may have reloaded or restarted it. Weights and health are not compared: checks and
/// agents change them.
pub fn deviation<'a>(wanted: &'a Rendered, now: &Servers, leaving: &Leaving) -> Option<&'a str> {
    wanted
        .backends
        .iter()
        .find(|(name, backend)| !agrees(name, backend, now, leaving))
        .map(|(name, _)| name.as_str())
}

fn agrees(name: &str, backend: &Backend, now: &Servers, leaving: &Leaving) -> bool {
    let now = now.get(name).map_or(&[][..], Vec::as_slice);
    let there = |server: &Server| {
        now.iter().any(|now| {
            let same = now.name == server.name && now.id == server.id;
            same && (server.templated
                || now.port == server.port && now.maintenance == server.disabled)
        })
    };
    let left = |now: &ServerNow| {
        now.maintenance
            && Name::new(name, &now.name).is_some_and(|name| leaving.contains_key(&name))
    };
    let extra =
        now.iter().filter(|now| !backend.servers.iter().any(|server| server.name == now.name));
    backend.servers.iter().all(there) && extra.into_iter().all(left)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
