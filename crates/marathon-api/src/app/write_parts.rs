//! The parts of an app as answers show them: ports, checks, strategies, images, artifacts.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use waymark_model::{
    CheckProtocol, Constraint, ContainerKind, Docker, Fetch, HealthCheck, KillSelection, Parameter,
    PortDefinition, PortMapping, PortReference, ReadinessCheck, UnreachableStrategy,
    UpgradeStrategy, Volume,
};

use super::names;
use super::write::write_kept;
use crate::wire::{self, Json, List, Members, Number};

impl Serialize for Json<'_, PortDefinition> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let port = self.0;
        wire::object(serializer, |o| {
            o.put_some("labels", (!port.labels.is_empty()).then_some(&port.labels))?;
            o.put_some("name", port.name.as_deref())?;
            o.put("port", port.port)?;
            o.put("protocol", port.protocol.as_str())
        })
    }
}

impl Serialize for Json<'_, PortMapping> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let port = self.0;
        wire::object(serializer, |o| {
            o.put("containerPort", port.container_port)?;
            o.put_some("hostPort", port.host_port)?;
            o.put("labels", &port.labels)?;
            o.put_some("name", port.name.as_deref())?;
            o.put_some(
                "networkNames",
                (!port.network_names.is_empty()).then_some(&port.network_names),
            )?;
            o.put("protocol", port.protocol.as_str())?;
            o.put("servicePort", port.service_port)
        })
    }
}

impl Serialize for Json<'_, HealthCheck> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| write_health_check(self.0, o))
    }
}

fn write_health_check<M: SerializeMap>(
    check: &HealthCheck,
    o: &mut Members<M>,
) -> Result<(), M::Error> {
    use CheckProtocol::*;
    let usual = HealthCheck::default();
    let by_mesos = matches!(check.protocol, Command | MesosHttp | MesosHttps | MesosTcp);
    o.put("protocol", names::CHECK_PROTOCOL.text(check.protocol))?;
    o.put_some("path", check.path.as_deref())?;
    match check.port {
        Some(PortReference::Index(index)) => o.put("portIndex", index)?,
        Some(PortReference::Number(number)) => o.put("port", number)?,
        None => {}
    }
    o.put_some("command", check.command.as_deref().map(ShellCommand))?;
    o.put("gracePeriodSeconds", check.grace_period.as_secs())?;
    o.put("intervalSeconds", check.interval.as_secs())?;
    o.put("timeoutSeconds", check.timeout.as_secs())?;
    o.put("maxConsecutiveFailures", check.max_consecutive_failures)?;
    let delay = (by_mesos || check.delay != usual.delay).then_some(check.delay.as_secs());
    o.put_some("delaySeconds", delay)?;
    let mesos_network = by_mesos && check.protocol != Command;
    let ip = (mesos_network || check.ipv6).then_some(if check.ipv6 { "IPv6" } else { "IPv4" });
    o.put_some("ipProtocol", ip)?;
    let scheduler_http = matches!(check.protocol, Http | Https);
    o.put_some(
        "ignoreHttp1xx",
        (scheduler_http || check.ignore_http_1xx).then_some(check.ignore_http_1xx),
    )
}

/// `{"value":…}`
struct ShellCommand<'a>(&'a str);

impl Serialize for ShellCommand<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| o.put("value", self.0))
    }
}

impl Serialize for Json<'_, ReadinessCheck> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let check = self.0;
        wire::object(serializer, |o| {
            o.put("name", &check.name)?;
            o.put("protocol", if check.https { "HTTPS" } else { "HTTP" })?;
            o.put("path", &check.path)?;
            o.put("portName", &check.port_name)?;
            o.put("intervalSeconds", check.interval.as_secs())?;
            o.put("timeoutSeconds", check.timeout.as_secs())?;
            o.put("httpStatusCodesForReady", &check.ready_codes)?;
            o.put("preserveLastResponse", check.preserve_last_response)
        })
    }
}

impl Serialize for Json<'_, Constraint> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        list.serialize_element(&self.0.field)?;
        list.serialize_element(&self.0.operator)?;
        if let Some(value) = &self.0.value {
            list.serialize_element(value)?;
        }
        list.end()
    }
}

impl Serialize for Json<'_, Fetch> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let artifact = self.0;
        wire::object(serializer, |o| {
            o.put("uri", &artifact.uri)?;
            o.put("extract", artifact.extract)?;
            o.put("executable", artifact.executable)?;
            o.put("cache", artifact.cache)?;
            o.put_some("destPath", artifact.dest_path.as_deref())
        })
    }
}

impl Serialize for Json<'_, Docker> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let docker = self.0;
        wire::object(serializer, |o| {
            o.put("image", &docker.image)?;
            o.put("forcePullImage", docker.force_pull_image)?;
            o.put("privileged", docker.privileged)?;
            o.put("parameters", List(&docker.parameters))?;
            write_kept(&docker.opaque, o)
        })
    }
}

impl Serialize for Json<'_, Parameter> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| {
            o.put("key", &self.0.key)?;
            o.put("value", &self.0.value)
        })
    }
}

impl Serialize for Json<'_, Volume> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let volume = self.0;
        wire::object(serializer, |o| {
            o.put("containerPath", &volume.container_path)?;
            o.put_some("hostPath", volume.host_path.as_deref())?;
            o.put("mode", if volume.read_write { "RW" } else { "RO" })?;
            write_kept(&volume.opaque, o)
        })
    }
}

impl Serialize for Json<'_, UpgradeStrategy> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::object(serializer, |o| {
            o.put("minimumHealthCapacity", Number(self.0.minimum_health_capacity))?;
            o.put("maximumOverCapacity", Number(self.0.maximum_over_capacity))
        })
    }
}

impl Serialize for Json<'_, UnreachableStrategy> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            UnreachableStrategy::Disabled => serializer.serialize_str("disabled"),
            UnreachableStrategy::Enabled { inactive_after, expunge_after } => {
                wire::object(serializer, |o| {
                    o.put("inactiveAfterSeconds", inactive_after.as_secs())?;
                    o.put("expungeAfterSeconds", expunge_after.as_secs())
                })
            }
        }
    }
}

impl Serialize for Json<'_, KillSelection> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(names::KILL_SELECTION.text(*self.0))
    }
}

impl Serialize for Json<'_, ContainerKind> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(names::CONTAINER_KIND.text(*self.0))
    }
}
