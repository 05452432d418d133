//! Binding what Waymark itself listens on, before anything else is started.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use waymark_dns::Sockets;

use super::StartError;
use crate::settings::Loaded;
use crate::settings::value::Port;

/// How many ports outside the ranges of service and task ports are tried.
const PORT_TRIES: usize = 1000;
/// Ports below need root.
const FIRST_USER_PORT: u16 = 1024;

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
}

impl Listeners {
    /// Binds all of them. The error names setting, address and a way out.
    pub fn bind(loaded: &Loaded, dns_workers: usize) -> Result<Listeners, StartError> {
        let s = &loaded.settings;
        let bind_api = |address| {
            let listener = TcpListener::bind(address)?;
            let address = listener.local_addr()?;
            Ok((listener, address.port()))
        };
        let api = bind(loaded, "api-port", s.api_port, bind_api)?;
        let mesos_dns = match s.mesos_dns_port.filter(|_| !s.no_dns) {
            Some(port) => Some(bind(loaded, "mesos-dns-port", port, bind_api)?),
            None => None,
        };
        if let Some(listener) = &mesos_dns {
            let failed = |e| StartError(format!("mesos-dns-port: {e}"));
            listener.set_nonblocking(true).map_err(failed)?;
        }
        api.set_nonblocking(true).map_err(|e| StartError(format!("api-port: {e}")))?;
        let api_address = api.local_addr().map_err(|e| StartError(format!("api-port: {e}")))?;
        let bind_dns = |address| {
            let sockets = Sockets::bind(&[address], dns_workers).map_err(|e| e.source)?;
            let port = sockets.addresses().first().map_or(0, SocketAddr::port);
            Ok((sockets, port))
        };
        let dns = match s.no_dns {
            true => None,
            false => Some(bind(loaded, "dns-port", s.dns_port, bind_dns)?),
        };
        Ok(Listeners { api, api_address, dns, mesos_dns })
    }
}

/// Binds one. For port 0, ones within the ranges that are given to apps are passed over: there they
/// would be in the way of a service port or a task.
fn bind<T>(
    loaded: &Loaded,
    setting: &str,
    port: Port,
    bind: impl Fn(SocketAddr) -> io::Result<(T, u16)>,
) -> Result<T, StartError> {
    let s = &loaded.settings;
    let in_a_range = |port: u16| {
        (s.local_port_min.0..=s.local_port_max.0).contains(&port) || s.task_ports.contains(port)
    };
    let address = SocketAddr::new(s.listen, port.0);
    let (bound, chosen) = bind(address).map_err(|e| not_bound(loaded, setting, address, &e))?;
    if port != Port(0) || !in_a_range(chosen) {
        return Ok(bound);
    }
    drop(bound);
    // The kernel prefers a range of its own, so its next choices would hardly be better.
    for _ in 0..PORT_TRIES {
        let port = rand::random_range(FIRST_USER_PORT..=u16::MAX);
        if in_a_range(port) {
            continue;
        }
        if let Ok((bound, _)) = bind(SocketAddr::new(s.listen, port)) {
            return Ok(bound);
        }
    }
    Err(StartError(format!(
        "{}: no free port was found outside the service ports and task ports; name one",
        loaded.cite(setting)
    )))
}

fn not_bound(loaded: &Loaded, setting: &str, address: SocketAddr, error: &io::Error) -> StartError {
    let fix = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("stop what uses it, or take another port: --{setting} 0 for any free one")
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "ports below 1024 need root or CAP_NET_BIND_SERVICE; take another: --{setting} 0"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{} must be an address of this machine", loaded.cite("listen"))
        }
        _ => format!("check {} and {}", loaded.cite("listen"), loaded.cite(setting)),
    };
    StartError(format!("{}: cannot listen on {address}: {error}; {fix}", loaded.cite(setting)))
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
    use crate::settings::{Flags, Surroundings, load};

    fn loaded(values: &[(&str, &str)]) -> Loaded {
        let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let around = Surroundings { root: true, ..Surroundings::default() };
        load(&Flags { config: None, values }, &around).unwrap()
    }

    #[test]
    fn a_taken_port_is_named_with_a_way_out() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        for (setting, other) in [("api-port", "dns-port"), ("dns-port", "api-port")] {
            let loaded = loaded(&[(setting, &port), (other, "0")]);
            let error = Listeners::bind(&loaded, 1).err().unwrap().to_string();
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
            ("api-port", "0"),
            ("dns-port", "0"),
            ("local-port-min", "1"),
            ("local-port-max", "32000"),
            ("task-ports", "32001-61000"),
        ]);
        let listeners = Listeners::bind(&loaded, 1).unwrap();
        assert!(listeners.api_address.port() > 61000);
        assert!(listeners.dns.unwrap().addresses()[0].port() > 61000);
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
