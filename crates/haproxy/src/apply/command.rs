//! Commands of HAProxy's runtime API that a plan is made of, as text, and which answers mean that they were done. Pure.

use std::fmt;
use std::net::IpAddr;

/// Longest command line with its payload; HAProxy takes what fits its buffer (16 KiB unless `tune.bufsize` says more).
pub(super) const LONGEST: usize = 8 * 1024;

/// One change of what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `add server`: it is there in maintenance, with its checks off.
    Add {
        /// The server.
        server: Name,
        /// Where it listens.
        address: IpAddr,
        /// Its port.
        port: u16,
        /// Options as they stand on its line.
        options: String,
    },
    /// `enable health`.
    Check(Name),
    /// `enable agent`.
    Agent(Name),
    /// `set server … state ready`.
    Ready(Name),
    /// `set server … state maint`: no new connections; those it has go on.
    Maintain(Name),
    /// `set server … weight`.
    Weight(Name, u16),
    /// `set server … addr … port …`.
    Move(Name, IpAddr, u16),
    /// `del server`. Only sent when the server is in maintenance and has nothing to do any more.
    Delete(Name),
    /// A map's whole text in place of what it was, in one step (`prepare`, `add`, `commit map`).
    Map {
        /// Path of the map as the configuration names it.
        file: String,
        /// Its lines.
        text: String,
    },
}

/// A server by backend and name, both of characters that mean nothing to the command line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    backend: String,
    server: String,
}

impl Name {
    /// None when a part holds something that HAProxy's command line could take for more than a name.
    pub fn new(backend: &str, server: &str) -> Option<Self> {
        let safe = is_word(backend) && is_word(server) && !backend.contains('/');
        safe.then(|| Self { backend: backend.to_owned(), server: server.to_owned() })
    }

    /// Name of the backend.
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// Name of the server.
    pub fn server(&self) -> &str {
        &self.server
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.server)
    }
}

/// Whether the text is one word that the command line takes as it stands.
pub(super) fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/,+%=~@*".contains(c);
    !text.is_empty() && text.len() <= 1024 && text.chars().all(plain)
}

impl Command {
    /// The line that is sent. None for a map, which takes several ([`map_entries`]).
    pub fn line(&self) -> Option<String> {
        Some(match self {
            Self::Add { server, address, port, options } => {
                let address = match address {
                    IpAddr::V4(address) => address.to_string(),
                    IpAddr::V6(address) => format!("[{address}]"),
                };
                format!("add server {server} {address}:{port} {options}")
            }
            Self::Check(server) => format!("enable health {server}"),
            Self::Agent(server) => format!("enable agent {server}"),
            Self::Ready(server) => format!("set server {server} state ready"),
            Self::Maintain(server) => format!("set server {server} state maint"),
            Self::Weight(server, weight) => format!("set server {server} weight {weight}"),
            Self::Move(server, address, port) => {
                format!("set server {server} addr {address} port {port}")
            }
            Self::Delete(server) => format!("del server {server}"),
            Self::Map { .. } => return None,
        })
    }

    /// Whether the answer says that it was done.
    pub fn done(&self, answer: &str) -> bool {
        let answer = answer.trim();
        match self {
            Self::Add { .. } => answer.contains("New server registered"),
            Self::Delete(_) => answer.contains("Server deleted"),
            Self::Move(..) => {
                answer.contains("changed from") || answer.contains("no need to change")
            }
            _ => answer.is_empty(),
        }
    }
}

/// A map's lines cut into payloads that fit a command.
///
/// # Errors
/// The line that is longer than a payload may be.
pub(super) fn map_entries(text: &str) -> Result<Vec<String>, &str> {
    let mut chunks = Vec::new();
    let mut chunk = String::new();
    for line in
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if line.len() >= LONGEST {
            return Err(line);
        }
        if chunk.len() + line.len() + 1 > LONGEST {
            chunks.push(std::mem::take(&mut chunk));
        }
        chunk.push_str(line);
        chunk.push('\n');
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_carry_a_second_command() {
        assert_eq!(
            Name::new("shop_web_10000", "10_20_0_11_31001").unwrap().to_string(),
            "shop_web_10000/10_20_0_11_31001"
        );
        for (backend, server) in [
            ("a;quit", "s"),
            ("a", "s s"),
            ("a\nshow", "s"),
            ("", "s"),
            ("a/b", "s"),
            ("a", "s\\"),
            ("a", "<<"),
        ] {
            assert_eq!(Name::new(backend, server), None, "{backend:?} {server:?}");
        }
    }

    #[test]
    fn maps_are_cut_between_lines() {
        let text: String =
            (0..1000).map(|n| format!("host-{n}.example.com backend_{n}\n")).collect();
        let chunks = map_entries(&text).unwrap();
        assert!(chunks.len() > 3 && chunks.iter().all(|chunk| chunk.len() <= LONGEST));
        assert_eq!(chunks.concat(), text);
        assert_eq!(map_entries("# nothing\n\n").unwrap(), Vec::<String>::new());
        assert!(map_entries(&"x".repeat(LONGEST)).is_err());
    }
}
