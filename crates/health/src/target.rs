//! Which probes a task needs, and where they go. Pure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use waymark_model::{
    CheckProtocol, HealthCheck, NetworkMode, PortReference, PortView, ReadinessCheck, Task, TaskId,
};

/// A task and the probes to make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The task.
    pub task: TaskId,
    /// Its probes.
    pub probes: Vec<Probe>,
}

/// Which of a task's checks a probe belongs to, by position in the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckId {
    /// `healthChecks[i]`
    Health(usize),
    /// `readinessChecks[i]`; probed until the first success only.
    Readiness(usize),
}

/// One check of one task, with everything resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The check.
    pub check: CheckId,
    /// How it is made.
    pub kind: ProbeKind,
    /// Which answers are a success (HTTP kinds).
    pub expect: Expectation,
    /// Time between probes.
    pub interval: Duration,
    /// Time after which a probe has failed.
    pub timeout: Duration,
    /// It has succeeded before, so there is no hurry after the first probe.
    pub succeeded: bool,
}

/// How a probe is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// GET over a plain connection.
    Http {
        /// Where to.
        addr: SocketAddr,
        /// Path and query.
        path: String,
        /// The `Host` header.
        host: String,
    },
    /// GET over TLS, without certificate check.
    Https {
        /// Where to.
        addr: SocketAddr,
        /// Path and query.
        path: String,
        /// The `Host` header; its name is also the server name of the handshake.
        host: String,
    },
    /// A connection is enough.
    Tcp {
        /// Where to.
        addr: SocketAddr,
    },
    /// A shell command in the task's environment.
    Command {
        /// The command.
        command: String,
    },
    /// It cannot be made, and fails each time with this cause.
    Unresolved {
        /// One sentence.
        cause: String,
    },
}

/// Which status codes are a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// 200–399, as Marathon has it; redirects are not followed.
    Usual {
        /// 100–199 say nothing rather than that the task is ill.
        ignore_1xx: bool,
    },
    /// Exactly these; the answer is reported.
    Codes(Vec<u16>),
}

/// All probes of a task: its health checks, and its readiness checks unless it is ready already.
/// The task's ports are read from the definition that it was launched from.
pub fn target(task: &Task) -> Target {
    let health = task.app.health_checks.iter().enumerate().map(|(index, check)| Probe {
        check: CheckId::Health(index),
        kind: health_kind(task, check).unwrap_or_else(|cause| ProbeKind::Unresolved { cause }),
        expect: Expectation::Usual { ignore_1xx: check.ignore_http_1xx },
        interval: check.interval,
        timeout: check.timeout,
        succeeded: task
            .health
            .get(index)
            .and_then(Option::as_ref)
            .is_some_and(|r| r.first_success.is_some()),
    });
    let pending = if task.ready { &[] } else { task.app.readiness_checks.as_slice() };
    let readiness = pending.iter().enumerate().map(|(index, check)| Probe {
        check: CheckId::Readiness(index),
        kind: readiness_kind(task, check).unwrap_or_else(|cause| ProbeKind::Unresolved { cause }),
        expect: Expectation::Codes(check.ready_codes.clone()),
        interval: check.interval,
        timeout: check.timeout,
        succeeded: false,
    });
    Target { task: task.id.clone(), probes: health.chain(readiness).collect() }
}

fn health_kind(task: &Task, check: &HealthCheck) -> Result<ProbeKind, String> {
    use CheckProtocol::*;
    let inside = matches!(check.protocol, MesosHttp | MesosHttps | MesosTcp);
    let place = || Place::of_reference(task, check.port, inside, check.ipv6);
    Ok(match check.protocol {
        Http | MesosHttp => http(place()?, check.path.as_deref(), false),
        Https | MesosHttps => http(place()?, check.path.as_deref(), true),
        Tcp | MesosTcp => ProbeKind::Tcp { addr: place()?.addr },
        Command => {
            ProbeKind::Command { command: check.command.clone().ok_or("the check has no command")? }
        }
    })
}

fn readiness_kind(task: &Task, check: &ReadinessCheck) -> Result<ProbeKind, String> {
    let ports = task.app.ports();
    let port = ports
        .iter()
        .find(|p| p.name == Some(check.port_name.as_str()))
        .ok_or_else(|| format!("the app has no port named {}", check.port_name))?;
    Ok(http(Place::of_port(task, port, false)?, Some(&check.path), check.https))
}

fn http(place: Place, path: Option<&str>, tls: bool) -> ProbeKind {
    let path = path.unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let Place { addr, host } = place;
    if tls { ProbeKind::Https { addr, path, host } } else { ProbeKind::Http { addr, path, host } }
}

/// An address and how a client would write it.
struct Place {
    addr: SocketAddr,
    host: String,
}

impl Place {
    /// Where a check's port is. `inside`: the number is one of the task's own network, as the
    /// executor's checks (`MESOS_…`) see it.
    fn of_reference(
        task: &Task,
        reference: Option<PortReference>,
        inside: bool,
        ipv6: bool,
    ) -> Result<Place, String> {
        let ports = task.app.ports();
        match reference {
            Some(PortReference::Number(number)) => {
                let mapped = |p: &&PortView<'_>| inside && p.container_port == Some(number);
                if let Some(port) = ports.iter().find(mapped) {
                    return Place::of_port(task, port, ipv6);
                }
                let mode = |m| task.app.networks.iter().any(|n| n.mode == m);
                let own = mode(NetworkMode::Container) || inside && mode(NetworkMode::Bridge);
                let address = own.then(|| address(task, ipv6)).flatten();
                Ok(address.map_or_else(
                    || Place::on_agent(task, number),
                    |address| Place::in_container(address, number),
                ))
            }
            None | Some(PortReference::Index(_)) => {
                let index = match reference {
                    Some(PortReference::Index(index)) => index,
                    _ => 0,
                };
                let port =
                    ports.get(index).ok_or_else(|| format!("the app has no port {index}"))?;
                Place::of_port(task, port, ipv6)
            }
        }
    }

    /// The agent and the host port; without a host port the task's own address and container port.
    fn of_port(task: &Task, port: &PortView<'_>, ipv6: bool) -> Result<Place, String> {
        let index = port.index;
        if let Some(number) = task.host_ports.get(index).copied().flatten() {
            return Ok(Place::on_agent(task, number));
        }
        let number = port
            .container_port
            .filter(|n| *n != 0)
            .ok_or_else(|| format!("port {index} of the task has no number"))?;
        let address = address(task, ipv6).ok_or("the task has no address of its own")?;
        Ok(Place::in_container(address, number))
    }

    fn on_agent(task: &Task, port: u16) -> Place {
        let addr = SocketAddr::new(task.agent.address, port);
        Place { addr, host: format!("{}:{port}", task.agent.hostname) }
    }

    fn in_container(address: IpAddr, port: u16) -> Place {
        let addr = SocketAddr::new(address, port);
        Place { addr, host: addr.to_string() }
    }
}

/// The task's own address, of the wanted family if it has one.
fn address(task: &Task, ipv6: bool) -> Option<IpAddr> {
    let wanted = task.addresses.iter().find(|a| a.is_ipv6() == ipv6);
    wanted.or(task.addresses.first()).copied()
}

#[cfg(test)]
mod tests;
