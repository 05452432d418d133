//! Binding what Waymark itself listens on, before anything else is started.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use waymark_dns::Sockets;
use waymark_proxy::Sockets as OpenSockets;

use super::StartError;
use crate::bind::{bind, tcp};
use crate::fronts::Fronts;
use crate::settings::Loaded;
use crate::takeover::{self, Takeover};

/// What the API's socket is called for a later process.
const API: &str = "api";
/// The same of Mesos-DNS's HTTP API.
const MESOS_DNS: &str = "mesos-dns";

/// What is bound and not yet served.
pub struct Listeners {
    /// The API's.
    pub api: TcpListener,
    /// The API's address.
    pub api_address: SocketAddr,
    /// The DNS server's, unless switched off.
    pub dns: Option<Sockets>,
    /// That of Mesos-DNS's HTTP API, where it is wanted.
    pub mesos_dns: Option<TcpListener>,
    /// The load balancer's own ports.
    pub fronts: Fronts,
}

impl Listeners {
    /// Binds all of them but those that the process before has where they are wanted. The error
    /// names setting, address and a way out.
    pub fn bind(
        loaded: &Loaded,
        dns_workers: usize,
        mut before: Option<&mut Takeover>,
    ) -> Result<Listeners, StartError> {
        let s = &loaded.settings;
        let mut tcp_of = |setting, name, port| {
            let before = before.as_mut();
            match before.and_then(|before| before.listener(name, s.listen, port)) {
                Some(inherited) => Ok(inherited),
                None => bind(loaded, setting, s.listen, port, tcp),
            }
        };
        let api = tcp_of("api-port", API, s.api_port.0)?;
        let mesos_dns = match s.mesos_dns_port.filter(|_| !s.no_dns) {
            Some(port) => Some(tcp_of("mesos-dns-port", MESOS_DNS, port.0)?),
            None => None,
        };
        let api_address = api.local_addr().map_err(|e| StartError(format!("api-port: {e}")))?;
        let bind_dns = |address| {
            let sockets = Sockets::bind(&[address], dns_workers).map_err(|e| e.source)?;
            let port = sockets.addresses().first().map_or(0, SocketAddr::port);
            Ok((sockets, port))
        };
        let wanted = SocketAddr::new(s.listen, s.dns_port.0);
        let dns = match (s.no_dns, before.as_mut().and_then(|before| inherit_dns(before, wanted))) {
            (true, _) => None,
            (false, Some(inherited)) => Some(inherited),
            (false, None) => Some(bind(loaded, "dns-port", s.listen, s.dns_port.0, bind_dns)?),
        };
        let mut listeners =
            Listeners { api, api_address, dns, mesos_dns, fronts: Fronts::default() };
        listeners.fronts = Fronts::find(loaded, &listeners.taken(), before)?;
        Ok(listeners)
    }

    /// Lets a later process have them, for as long as what this returns lives.
    pub fn offer(&self, sockets: &OpenSockets) -> io::Result<Vec<Arc<OwnedFd>>> {
        let named = [(API, Some(&self.api)), (MESOS_DNS, self.mesos_dns.as_ref())];
        let stats = [(takeover::STATS, self.fronts.stats.as_ref())];
        let mut offered = Vec::new();
        for (name, listener) in named.into_iter().chain(stats) {
            if let Some(listener) = listener {
                offered.push(takeover::offer(sockets, name, listener.try_clone()?.into()));
            }
        }
        let dns = self.dns.as_ref().map(Sockets::handles).transpose()?;
        let dns = dns.into_iter().flatten();
        offered.extend(dns.map(|(name, socket)| takeover::offer(sockets, &name, socket)));
        Ok(offered)
    }

    /// Every port that is listened on.
    pub fn taken(&self) -> Vec<u16> {
        let dns = self.dns.iter().flat_map(Sockets::addresses).copied();
        let mesos_dns = self.mesos_dns.as_ref().and_then(|l| l.local_addr().ok());
        let addresses = dns.chain([self.api_address]).chain(mesos_dns);
        addresses.map(|address| address.port()).chain(self.fronts.numbers()).collect()
    }
}

fn inherit_dns(before: &mut Takeover, wanted: SocketAddr) -> Option<Sockets> {
    Sockets::inherit(wanted, |name| before.sockets.take_named(name))
}

/// The address at which tasks are reached.
pub fn host_ip(loaded: &Loaded) -> IpAddr {
    let s = &loaded.settings;
    match s.host_ip {
        Some(ip) => ip,
        None if s.listen.is_unspecified() => default_route(s.listen),
        None => s.listen,
    }
}

/// The address of the default route's interface, of the family of `any`; loopback without one.
fn default_route(any: IpAddr) -> IpAddr {
    // Connecting a UDP socket sends nothing; it makes the kernel choose the way. The addresses are
    // set aside for documentation (RFC 5737, RFC 3849).
    let (far, loopback): (&str, IpAddr) = match any {
        IpAddr::V4(_) => ("192.0.2.1:9", IpAddr::from([127, 0, 0, 1])),
        IpAddr::V6(_) => ("[2001:db8::1]:9", IpAddr::from(std::net::Ipv6Addr::LOCALHOST)),
    };
    let chosen = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(far)?;
        socket.local_addr()
    });
    chosen.map(|address| address.ip()).unwrap_or(loopback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Flags, Role, Surroundings, load};

    fn loaded(values: &[(&str, &str)]) -> Loaded {
        let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let around = Surroundings { root: true, ..Surroundings::default() };
        load(Role::Run, &Flags { config: None, values }, &around).unwrap()
    }

    const FRONTS_OFF: [(&str, &str); 2] = [("no-proxy", "true"), ("stats-port", "off")];

    #[test]
    fn a_taken_port_is_named_with_a_way_out() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        for (setting, other) in [("api-port", "dns-port"), ("dns-port", "api-port")] {
            let loaded = loaded(&[&FRONTS_OFF[..], &[(setting, &port), (other, "0")]].concat());
            let error = Listeners::bind(&loaded, 1, None).err().unwrap().to_string();
            assert_eq!(
                error,
                format!(
                    "--{setting}: cannot listen on 127.0.0.1:{port}: Address already in use (os \
                     error 98); stop what uses it, or take another port: --{setting} 0 for any \
                     free one"
                )
            );
        }
    }

    #[test]
    fn free_ports_keep_out_of_the_ranges() {
        // All of the ports that the kernel gives unless told otherwise.
        let loaded = loaded(&[
            ("stats-port", "0"),
            ("api-port", "0"),
            ("dns-port", "0"),
            ("local-port-min", "1"),
            ("local-port-max", "32000"),
            ("task-ports", "32001-61000"),
        ]);
        let listeners = Listeners::bind(&loaded, 1, None).unwrap();
        assert!(listeners.api_address.port() > 61000);
        assert!(listeners.dns.as_ref().unwrap().addresses()[0].port() > 61000);
        let stats = listeners.fronts.stats.as_ref().unwrap().local_addr().unwrap();
        assert!(stats.port() > 61000);
        assert_eq!(listeners.fronts.warnings.len(), 3);
    }

    #[test]
    fn the_host_address() {
        for (values, want) in [
            (vec![], "127.0.0.1"),
            (vec![("listen", "::1")], "::1"),
            (vec![("listen", "0.0.0.0"), ("host-ip", "192.0.2.7")], "192.0.2.7"),
        ] {
            assert_eq!(host_ip(&loaded(&values)).to_string(), want);
        }
        assert!(!host_ip(&loaded(&[("listen", "0.0.0.0")])).is_unspecified());
    }
}
