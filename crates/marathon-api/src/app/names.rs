//! The literals of Marathon's enumerations, one table for reading and writing.

use waymark_model::{CheckProtocol, ContainerKind, KillSelection};

/// Literals and what they mean. The first literal of a value is the one that is written.
pub(super) struct Names<T: 'static>(&'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Names<T> {
    /// What a literal means.
    pub fn value(&self, text: &str) -> Option<T> {
        self.0.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
    }

    /// The literal of a value.
    pub fn text(&self, value: T) -> &'static str {
        self.0.iter().find(|(_, v)| *v == value).map_or("", |(name, _)| name)
    }
}

pub(super) const CHECK_PROTOCOL: Names<CheckProtocol> = Names(&[
    ("HTTP", CheckProtocol::Http),
    ("HTTPS", CheckProtocol::Https),
    ("TCP", CheckProtocol::Tcp),
    ("COMMAND", CheckProtocol::Command),
    ("MESOS_HTTP", CheckProtocol::MesosHttp),
    ("MESOS_HTTPS", CheckProtocol::MesosHttps),
    ("MESOS_TCP", CheckProtocol::MesosTcp),
]);

pub(super) const KILL_SELECTION: Names<KillSelection> = Names(&[
    ("YOUNGEST_FIRST", KillSelection::YoungestFirst),
    ("OLDEST_FIRST", KillSelection::OldestFirst),
]);

pub(super) const CONTAINER_KIND: Names<ContainerKind> =
    Names(&[("DOCKER", ContainerKind::Docker), ("MESOS", ContainerKind::Mesos)]);
