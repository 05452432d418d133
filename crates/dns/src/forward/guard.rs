//! Never asking oneself: which addresses are this server, and which queries have been here before.
//!
//! Two checks by address: one of the settings, when the forwarder is made, and one of every socket
//! before something is sent through it, since a machine's addresses change. One check by content
//! for ways round over other servers: every question that leaves carries an EDNS option with a
//! random number of this forwarder behind the numbers that came with the client's query; a query
//! that carries our own number has been here, and is answered with SERVFAIL. Servers of other
//! makers drop the option, as they must (RFC 6891 §6.1.1), and a circle over them ends at the table
//! of open questions: the same question, come back, joins the one that is open and goes nowhere.

use std::net::{IpAddr, SocketAddr};

/// The EDNS option that carries the numbers: one of those for local use (RFC 6891 §9).
pub const TRAIL_OPTION: u16 = 65_313;
/// Length of one forwarder's number, in bytes.
pub const MARK: usize = 8;
/// Forwarders that a query may pass; one more, and it is taken for a loop.
pub const MAX_HOPS: usize = 8;

/// What is this server, and what this machine.
#[derive(Clone, Debug)]
pub(super) struct Own {
    listening: Vec<SocketAddr>,
    machine: Vec<IpAddr>,
}

impl Own {
    /// From the addresses that are listened on and those of the machine.
    pub(super) fn new(listening: &[SocketAddr], machine: Vec<IpAddr>) -> Own {
        let canonical =
            |address: &SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Own { listening: listening.iter().map(canonical).collect(), machine }
    }

    /// Whether `ip` is an address of this machine's interfaces.
    pub(super) fn is_machine(&self, ip: IpAddr) -> bool {
        self.machine.contains(&ip.to_canonical())
    }

    /// Whether what is sent to `address` would arrive here.
    pub(super) fn is_here(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let is_local = ip.is_loopback() || self.is_machine(ip);
        self.listens(address, is_local)
    }

    /// The same for a connected socket: the system gives a way to its own address that address as
    /// its source.
    pub(super) fn is_connected_here(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        let is_local = peer.ip().is_loopback() || local.ip() == peer.ip();
        self.listens(peer, is_local)
    }

    fn listens(&self, address: SocketAddr, is_local: bool) -> bool {
        let ip = address.ip().to_canonical();
        self.listening.iter().any(|own| {
            own.port() == address.port()
                && (own.ip() == ip || own.ip().is_unspecified() && is_local)
        })
    }
}

/// The addresses of this machine's interfaces; none when the system does not tell.
pub(super) fn machine_addresses() -> Vec<IpAddr> {
    let interfaces = match nix::ifaddrs::getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            tracing::warn!(%error, "cannot read this machine's addresses");
            return Vec::new();
        }
    };
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .collect()
}

/// What the trail of a query says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trail {
    /// It may go on.
    Open,
    /// It has been here, or went through more than [`MAX_HOPS`] forwarders.
    Loop,
}

/// Judges the data of a query's [`TRAIL_OPTION`].
pub(super) fn judge(trail: &[u8], own: [u8; MARK]) -> Trail {
    let (marks, _) = trail.as_chunks::<MARK>();
    if marks.len() >= MAX_HOPS || marks.contains(&own) { Trail::Loop } else { Trail::Open }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(listening: &[&str]) -> Own {
        let listening: Vec<SocketAddr> = listening.iter().map(|a| a.parse().unwrap()).collect();
        let machine = ["127.0.0.1", "::1", "10.0.0.5", "fd00::5"];
        Own::new(&listening, machine.iter().map(|a| a.parse().unwrap()).collect())
    }

    #[test]
    fn what_is_here() {
        for (listening, asked, here) in [
            ("10.0.0.5:53", "10.0.0.5:53", true),
            ("10.0.0.5:53", "10.0.0.5:54", false),
            ("10.0.0.5:53", "127.0.0.1:53", false),
            ("0.0.0.0:53", "10.0.0.5:53", true),
            ("0.0.0.0:53", "127.0.0.53:53", true),
            ("0.0.0.0:53", "10.0.0.6:53", false),
            ("0.0.0.0:5353", "10.0.0.5:53", false),
            ("[::]:53", "[fd00::5]:53", true),
            ("[::]:53", "10.0.0.5:53", true),
            ("[::]:53", "[::ffff:10.0.0.5]:53", true),
            ("127.0.0.1:53", "[::ffff:127.0.0.1]:53", true),
        ] {
            assert_eq!(own(&[listening]).is_here(asked.parse().unwrap()), here, "{asked}");
        }
    }

    #[test]
    fn what_a_connected_socket_tells() {
        let own = own(&["0.0.0.0:53"]);
        let connected = |local: &str, peer: &str| {
            own.is_connected_here(local.parse().unwrap(), peer.parse().unwrap())
        };
        assert!(connected("192.168.7.7:40000", "192.168.7.7:53"), "an address since the start");
        assert!(connected("127.0.0.1:40000", "127.0.0.2:53"));
        assert!(!connected("192.168.7.7:40000", "192.168.7.8:53"));
        assert!(!connected("192.168.7.7:40000", "192.168.7.7:5353"));
    }

    #[test]
    fn trails() {
        let mark = |n: u8| [n; MARK];
        let trail = |marks: &[u8]| marks.iter().flat_map(|n| mark(*n)).collect::<Vec<u8>>();
        assert_eq!(judge(&[], mark(1)), Trail::Open);
        assert_eq!(judge(&trail(&[2, 3]), mark(1)), Trail::Open);
        assert_eq!(judge(&trail(&[2, 1, 3]), mark(1)), Trail::Loop);
        assert_eq!(judge(&trail(&[2; 7]), mark(1)), Trail::Open);
        assert_eq!(judge(&trail(&[2; 8]), mark(1)), Trail::Loop);
        assert_eq!(judge(&[1; MARK - 1], mark(1)), Trail::Open, "no whole number");
    }

    #[test]
    fn this_machine_has_addresses() {
        assert!(machine_addresses().contains(&IpAddr::from([127, 0, 0, 1])));
    }
}
