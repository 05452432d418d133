//! Ports as an app declares them. Everything is positional: index *i* here is `PORTi`, the i-th
//! host port of a task, the i-th service port, and the label `HAPROXY_i_*`.

use std::collections::BTreeMap;
use std::fmt;

/// A transport protocol, or both on one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `tcp`
    #[default]
    Tcp,
    /// `udp`
    Udp,
    /// `udp,tcp`: one host port and one service port for both.
    Both,
}

impl Protocol {
    /// Reads `tcp`, `udp`, `udp,tcp` or `tcp,udp` without regard to case.
    pub fn parse(text: &str) -> Option<Protocol> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            "udp,tcp" | "tcp,udp" => Some(Protocol::Both),
            _ => None,
        }
    }

    /// The canonical text: `tcp`, `udp` or `udp,tcp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Both => "udp,tcp",
        }
    }

    /// The single protocols, in canonical order.
    pub fn each(self) -> &'static [&'static str] {
        match self {
            Protocol::Tcp => &["tcp"],
            Protocol::Udp => &["udp"],
            Protocol::Both => &["udp", "tcp"],
        }
    }

    /// Whether TCP is among them.
    pub fn has_tcp(self) -> bool {
        self != Protocol::Udp
    }

    /// Whether UDP is among them.
    pub fn has_udp(self) -> bool {
        self != Protocol::Tcp
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A port of an app in host mode (`portDefinitions[i]`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortDefinition {
    /// The service port; 0 asks for an automatic one. With `requirePorts` also the host port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The name, unique within the app.
    pub name: Option<String>,
    /// Opaque labels of the port.
    pub labels: BTreeMap<String, String>,
}

/// A port of an app in bridge or container mode (`container.portMappings[i]`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortMapping {
    /// Where the process listens inside its network; 0 means "the same as the host port".
    pub container_port: u16,
    /// The host port: absent = none, 0 = any, n = exactly n.
    pub host_port: Option<u16>,
    /// The service port; 0 asks for an automatic one.
    pub service_port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The name, unique within the app.
    pub name: Option<String>,
    /// Opaque labels of the port.
    pub labels: BTreeMap<String, String>,
    /// The container networks this mapping applies to; empty means all.
    pub network_names: Vec<String>,
}

/// One position of an app's port list, whichever way it was declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortView<'a> {
    /// The position.
    pub index: usize,
    /// The service port (0 only before assignment).
    pub service_port: u16,
    /// What the definition demands of the host port: `None` = no host port at all, 0 = any.
    pub host_port: Option<u16>,
    /// The number declared: the definition's `port`, or the mapping's `containerPort`.
    pub declared: u16,
    /// The container port, for mappings only.
    pub container_port: Option<u16>,
    /// The protocol.
    pub protocol: Protocol,
    /// The name.
    pub name: Option<&'a str>,
    /// The port's labels.
    pub labels: &'a BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols() {
        for (text, want) in [("TCP", "tcp"), ("udp", "udp"), ("tcp,udp", "udp,tcp")] {
            assert_eq!(Protocol::parse(text).map(Protocol::as_str), Some(want));
        }
        assert_eq!(Protocol::parse("sctp"), None);
        assert_eq!(Protocol::Both.each(), ["udp", "tcp"]);
    }
}
