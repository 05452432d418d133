//! Which servers are asked for which name: those of the longest zone that the name lies in, else
//! the default ones. A server that stands in several lists is one upstream.

use std::collections::HashMap;
use std::net::SocketAddr;

/// Zones and their servers as configured, by address.
#[derive(Debug, Default)]
pub(super) struct Zones {
    zones: HashMap<Box<[u8]>, Group>,
    default: Group,
    servers: Vec<SocketAddr>,
}

/// The servers of a zone, as places in the list of all servers, the most wanted first.
pub(super) type Group = std::sync::Arc<[usize]>;

impl Zones {
    /// Adds a zone (wire form, lower case, with root label); `false` when it is there already.
    pub(super) fn add(&mut self, zone: Box<[u8]>, servers: &[SocketAddr]) -> bool {
        let group = self.group(servers);
        self.zones.insert(zone, group).is_none()
    }

    /// Sets the servers for names in no zone.
    pub(super) fn set_default(&mut self, servers: &[SocketAddr]) {
        self.default = self.group(servers);
    }

    fn group(&mut self, servers: &[SocketAddr]) -> Group {
        servers.iter().map(|server| self.place(*server)).collect()
    }

    fn place(&mut self, server: SocketAddr) -> usize {
        self.servers.iter().position(|known| *known == server).unwrap_or_else(|| {
            self.servers.push(server);
            self.servers.len() - 1
        })
    }

    /// All servers, each once.
    pub(super) fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// The servers for a name (wire form, lower case, with root label); empty when there are none.
    pub(super) fn find(&self, name: &[u8]) -> &Group {
        let mut rest = name;
        while !self.zones.is_empty() {
            if let Some(group) = self.zones.get(rest) {
                return group;
            }
            let Some(above) = rest.first().and_then(|length| rest.get(1 + usize::from(*length)..))
            else {
                break;
            };
            rest = above;
        }
        &self.default
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn name(text: &str) -> Box<[u8]> {
        wire::absolute(text).unwrap()
    }

    #[test]
    fn the_longest_zone_counts() {
        let server = |n: u8| SocketAddr::from(([10, 0, 0, n], 53));
        let mut zones = Zones::default();
        zones.set_default(&[server(1), server(2)]);
        assert!(zones.add(name("example.org"), &[server(3)]));
        assert!(zones.add(name("Deep.Example.org"), &[server(2), server(4)]));
        assert!(!zones.add(name("example.org."), &[server(3)]));
        let ask = |text: &str| -> Vec<SocketAddr> {
            let places = zones.find(&name(text));
            places.iter().map(|place| zones.servers()[*place]).collect()
        };
        for (text, want) in [
            ("example.org", vec![server(3)]),
            ("a.example.org", vec![server(3)]),
            ("deep.example.org", vec![server(2), server(4)]),
            ("x.y.deep.example.org", vec![server(2), server(4)]),
            ("myexample.org", vec![server(1), server(2)]),
            ("org", vec![server(1), server(2)]),
            ("example.org.uk", vec![server(1), server(2)]),
        ] {
            assert_eq!(ask(text), want, "{text}");
        }
        assert_eq!(zones.find(&[0]).len(), 2, "the root");
        // A label whose bytes look like a zone's end is not in the zone.
        assert_eq!(zones.find(b"\x0cx\x07example\x03org\0").len(), 2);
    }

    #[test]
    fn without_servers() {
        assert!(Zones::default().find(&name("a.b")).is_empty());
    }
}
