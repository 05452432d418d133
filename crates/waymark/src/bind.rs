//! Binding what Waymark itself listens on, with errors that say what to do.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use crate::run::StartError;
use crate::settings::{Loaded, Role};

/// How many ports outside the ranges of service and task ports are tried.
const PORT_TRIES: usize = 1000;
/// Ports below need root.
const FIRST_USER_PORT: u16 = 1024;

/// Binds one port of `setting`, which `bind` returns with the number it got. For port 0, numbers
/// within the ranges that are given to apps are passed over: there they would be in the way of a
/// service port or a task.
pub fn bind<T>(
    loaded: &Loaded,
    setting: &str,
    ip: IpAddr,
    port: u16,
    bind: impl Fn(SocketAddr) -> io::Result<(T, u16)>,
) -> Result<T, StartError> {
    let address = SocketAddr::new(ip, port);
    let (bound, chosen) = bind(address).map_err(|e| not_bound(loaded, setting, address, &e))?;
    if port != 0 || !is_given_to_apps(loaded, chosen) {
        return Ok(bound);
    }
    drop(bound);
    // The kernel prefers a range of its own, so its next choices would hardly be better.
    for _ in 0..PORT_TRIES {
        let port = rand::random_range(FIRST_USER_PORT..=u16::MAX);
        if is_given_to_apps(loaded, port) {
            continue;
        }
        if let Ok((bound, _)) = bind(SocketAddr::new(ip, port)) {
            return Ok(bound);
        }
    }
    Err(StartError(format!(
        "{}: no free port was found outside the service ports and task ports; name one",
        loaded.cite(setting)
    )))
}

/// A TCP listener that does not block, for [`bind`].
pub fn tcp(address: SocketAddr) -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// Whether apps or tasks of this process may get the port.
pub fn is_given_to_apps(loaded: &Loaded, port: u16) -> bool {
    let s = &loaded.settings;
    loaded.role == Role::Run
        && ((s.local_port_min.0..=s.local_port_max.0).contains(&port)
            || s.task_ports.contains(port))
}

fn not_bound(loaded: &Loaded, setting: &str, address: SocketAddr, error: &io::Error) -> StartError {
    let listen = if setting == "stats-port" { "stats-listen" } else { "listen" };
    let fix = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("stop what uses it, or take another port: --{setting} 0 for any free one")
        }
        io::ErrorKind::PermissionDenied if loaded.role == Role::Lb => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=, as \
             in packaging/systemd/waymark-lb@.service; else once: setcap \
             cap_net_bind_service=+ep on the binary); to try it, take others: --http-port 8000 \
             --https-port 8443"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "ports below 1024 need root or CAP_NET_BIND_SERVICE; take another: --{setting} 0"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{} must be an address of this machine", loaded.cite(listen))
        }
        _ => format!("check {} and {}", loaded.cite(listen), loaded.cite(setting)),
    };
    StartError(format!("{}: cannot listen on {address}: {error}; {fix}", loaded.cite(setting)))
}
