//! Settings that are good each by itself but not together.

use std::time::Duration;

use super::value::{Port, PortRange};
use super::{Loaded, SettingError};

/// Refuses combinations that cannot work; returns warnings about ones that hardly can, one
/// sentence each.
pub fn check(loaded: &Loaded) -> Result<Vec<String>, SettingError> {
    service_ports(loaded)?;
    listeners(loaded)?;
    task_ports(loaded)?;
    limits(loaded)?;
    Ok(warnings(loaded))
}

fn service_ports(loaded: &Loaded) -> Result<(), SettingError> {
    let s = &loaded.settings;
    if s.local_port_min > s.local_port_max {
        return Err(SettingError::Conflict(format!(
            "{} is {}, above {}, which is {}; the first service port must not be above the last",
            loaded.cite("local-port-min"),
            s.local_port_min.0,
            loaded.cite("local-port-max"),
            s.local_port_max.0,
        )));
    }
    Ok(())
}

fn listeners(loaded: &Loaded) -> Result<(), SettingError> {
    let s = &loaded.settings;
    let dns = (!s.no_dns).then_some(("dns-port", s.dns_port));
    if dns.is_some_and(|(_, dns)| dns == s.api_port && dns != Port(0)) {
        return Err(SettingError::Conflict(format!(
            "{} and {} are both {}; give one of them another port, such as --dns-port 0 for any \
             free one",
            loaded.cite("api-port"),
            loaded.cite("dns-port"),
            s.dns_port.0,
        )));
    }
    if s.no_proxy {
        return Ok(());
    }
    let mesos_dns = s.mesos_dns_port.map(|port| ("mesos-dns-port", port));
    for (name, port) in [("api-port", s.api_port)].into_iter().chain(dns).chain(mesos_dns) {
        if service_range(loaded).contains(port.0) {
            return Err(SettingError::Conflict(format!(
                "{} is {}, which lies in the service ports {} ({}, {}); take a port outside, or \
                 move the range",
                loaded.cite(name),
                port.0,
                service_range(loaded),
                loaded.cite("local-port-min"),
                loaded.cite("local-port-max"),
            )));
        }
    }
    Ok(())
}

fn task_ports(loaded: &Loaded) -> Result<(), SettingError> {
    let (tasks, services) = (loaded.settings.task_ports, service_range(loaded));
    if !loaded.settings.no_proxy && tasks.min <= services.max && services.min <= tasks.max {
        return Err(SettingError::Conflict(format!(
            "{} {tasks} overlaps the service ports {services} ({}, {}); a task would take the \
             port that the load balancer needs: move one of the ranges",
            loaded.cite("task-ports"),
            loaded.cite("local-port-min"),
            loaded.cite("local-port-max"),
        )));
    }
    Ok(())
}

fn limits(loaded: &Loaded) -> Result<(), SettingError> {
    let s = &loaded.settings;
    for (name, time) in [
        ("connect-timeout", s.connect_timeout),
        ("try-timeout", s.try_timeout),
        ("idle-timeout", s.idle_timeout),
    ] {
        if time == Duration::ZERO {
            return Err(SettingError::Conflict(format!(
                "{} is 0, so that no connection would live; give it some time, such as 5s",
                loaded.cite(name)
            )));
        }
    }
    if s.task_log_size.0 == 0 {
        return Err(SettingError::Conflict(format!(
            "{} is 0, so that nothing could be written; give it room, such as 10MiB",
            loaded.cite("task-log-size")
        )));
    }
    Ok(())
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    let s = &loaded.settings;
    let mut warnings = Vec::new();
    for (name, port) in [("api-port", s.api_port), ("dns-port", s.dns_port)] {
        if s.task_ports.contains(port.0) {
            warnings.push(format!(
                "{} is {}, which lies in {} {}: no task gets it, but one left by an earlier run \
                 may hold it",
                loaded.cite(name),
                port.0,
                loaded.cite("task-ports"),
                s.task_ports,
            ));
        }
    }
    let ttl = Duration::from_secs(s.dns_ttl.0.into());
    if !s.no_dns && s.drain_timeout < ttl && s.drain_timeout > Duration::ZERO {
        warnings.push(format!(
            "{} is {:?}, less than {}, {:?}: clients may use an address after its task was stopped",
            loaded.cite("drain-timeout"),
            s.drain_timeout,
            loaded.cite("dns-ttl"),
            ttl,
        ));
    }
    if !s.listen.is_loopback() {
        warnings.push(format!(
            "{} is {}, not this machine alone: the API has no access control, so whoever reaches \
             it can run commands here",
            loaded.cite("listen"),
            s.listen,
        ));
    }
    warnings
}

fn service_range(loaded: &Loaded) -> PortRange {
    PortRange { min: loaded.settings.local_port_min.0, max: loaded.settings.local_port_max.0 }
}
