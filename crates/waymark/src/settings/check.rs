//! Settings that are good each by itself but not together.

use std::time::Duration;

use super::table::Role;
use super::value::PortRange;
use super::{Loaded, SettingError, Source};

/// Refuses combinations that cannot work; returns warnings about ones that hardly can, one
/// sentence each.
pub fn check(loaded: &Loaded) -> Result<Vec<String>, SettingError> {
    // Two of one number: said before where that number lies.
    listeners(loaded)?;
    match loaded.role {
        Role::Run => {
            service_ports(loaded)?;
            outside_service_ports(loaded)?;
            task_ports(loaded)?;
        }
        Role::Lb => following(loaded)?,
    }
    limits(loaded)?;
    Ok(warnings(loaded))
}

/// What `waymark lb` needs to follow a Marathon.
fn following(loaded: &Loaded) -> Result<(), SettingError> {
    let s = &loaded.settings;
    let missing = |text: &str| Err(SettingError::Conflict(text.to_owned()));
    if s.marathon.0.is_empty() {
        return missing(
            "marathon is needed: the Marathon to follow, such as --marathon http://10.0.0.1:8080",
        );
    }
    if s.group.0.is_empty() {
        return missing(
            "group is needed: the groups that get traffic, as in the apps' label HAPROXY_GROUP, \
             such as --group external; --group '*' takes every app",
        );
    }
    let (min, max) = (s.min_serv_port_ip_per_task.0, s.max_serv_port_ip_per_task.0);
    if min > max || (min == 0) != (max == 0) {
        return Err(SettingError::Conflict(format!(
            "{} is {min} and {} is {max}; write the lower port first, or 0 for both",
            loaded.cite("min-serv-port-ip-per-task"),
            loaded.cite("max-serv-port-ip-per-task"),
        )));
    }
    Ok(())
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

/// The ports that Waymark itself listens on, 0 for any free one. A port of the load balancer that
/// nobody set gives way to others, so it is not among them with `waymark run`.
fn own_ports(loaded: &Loaded) -> Vec<(&'static str, u16)> {
    let s = &loaded.settings;
    let mut ports = Vec::new();
    if loaded.role == Role::Run {
        ports.push(("api-port", s.api_port.0));
        if !s.no_dns {
            ports.push(("dns-port", s.dns_port.0));
            ports.extend(s.mesos_dns_port.map(|port| ("mesos-dns-port", port.0)));
        }
    }
    let stays = |name: &str| loaded.role == Role::Lb || !loaded.is_default(name);
    ports.extend(loaded.fronts().each().filter(|(name, _)| stays(name)));
    ports
}

fn listeners(loaded: &Loaded) -> Result<(), SettingError> {
    let ports = own_ports(loaded);
    for (n, (name, port)) in ports.iter().enumerate() {
        let same = |(_, other): &&(&str, u16)| other == port && *port != 0;
        let Some((first, _)) = ports.iter().take(n).find(same) else { continue };
        return Err(SettingError::Conflict(format!(
            "{} and {} are both {port}; give one of them another port, such as --{name} 0 for any \
             free one",
            loaded.cite(first),
            loaded.cite(name),
        )));
    }
    Ok(())
}

fn outside_service_ports(loaded: &Loaded) -> Result<(), SettingError> {
    if loaded.settings.no_proxy {
        return Ok(());
    }
    for (name, port) in own_ports(loaded) {
        if service_range(loaded).contains(port) {
            return Err(SettingError::Conflict(format!(
                "{} is {port}, which lies in the service ports {} ({}, {}); take a port outside, \
                 or move the range",
                loaded.cite(name),
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
        ("response-timeout", s.response_timeout),
        ("head-timeout", s.head_timeout),
        ("body-timeout", s.body_timeout),
        ("keep-alive-timeout", s.keep_alive_timeout),
        ("hello-timeout", s.hello_timeout),
        ("tls-timeout", s.tls_timeout),
        ("peer-timeout", s.peer_timeout),
        ("udp-timeout", s.udp_timeout),
        ("check-interval", s.check_interval),
        ("check-timeout", s.check_timeout),
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
    match loaded.role {
        Role::Run => warnings_of_run(loaded),
        Role::Lb => warnings_of_lb(loaded),
    }
}

fn warnings_of_lb(loaded: &Loaded) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(Source::Flag(flag)) = loaded.sources.get("auth-credentials") {
        warnings.push(format!(
            "{flag} shows the password to whoever lists processes; \
             WAYMARK_AUTH_CREDENTIALS or --marathon-auth-credential-file does not"
        ));
    }
    warnings.extend(open_stats_port(loaded));
    warnings
}

fn open_stats_port(loaded: &Loaded) -> Option<String> {
    let s = &loaded.settings;
    (s.stats_port.number().is_some() && !s.stats_listen.is_loopback()).then(|| {
        format!(
            "{} is {}, not this machine alone: whoever reaches the stats port sees every route",
            loaded.cite("stats-listen"),
            s.stats_listen,
        )
    })
}

fn warnings_of_run(loaded: &Loaded) -> Vec<String> {
    let s = &loaded.settings;
    let mut warnings = Vec::new();
    for (name, port) in own_ports(loaded) {
        if s.task_ports.contains(port) {
            warnings.push(format!(
                "{} is {port}, which lies in {} {}: no task gets it, but one left by an earlier \
                 run may hold it",
                loaded.cite(name),
                loaded.cite("task-ports"),
                s.task_ports,
            ));
        }
    }
    warnings.extend(open_stats_port(loaded).filter(|_| !s.no_proxy));
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
