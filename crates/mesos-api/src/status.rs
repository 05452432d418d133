//! A task's statuses: where a container's addresses and its health are told.

use std::net::{AddrParseError, IpAddr};

use serde::de::MapAccess;
use waymark_model::TaskAddresses;

use crate::intake::Intake;
use crate::json::{self, Listed, Object};
use crate::task::Phase;

/// The label in which the Docker containerizer told the container's address before
/// `container_status` existed.
const DOCKER_ADDRESS: &str = "Docker.NetworkSettings.IPAddress";
/// The same of the Mesos containerizer.
const MESOS_ADDRESS: &str = "MesosContainerizer.NetworkSettings.IPAddress";

/// One status of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The task's state in it.
    pub phase: Phase,
    /// When it was made, in Unix seconds.
    pub timestamp: f64,
    /// Whether the task's health check succeeds, when that is known.
    pub healthy: Option<bool>,
    /// The addresses that it tells.
    pub addresses: TaskAddresses,
    /// Whether the master made it because the task's agent is gone for good or out of reach.
    pub agent_gone: bool,
}

/// A status as it is being read.
#[derive(Default)]
pub(crate) struct RawStatus {
    phase: Option<Phase>,
    timestamp: Option<f64>,
    healthy: Option<bool>,
    addresses: TaskAddresses,
    agent_gone: bool,
}

impl RawStatus {
    pub fn finish(self) -> Status {
        Status {
            phase: self.phase.unwrap_or_default(),
            // Mesos-DNS takes an absent time for 0.
            timestamp: self.timestamp.unwrap_or(0.0),
            healthy: self.healthy,
            addresses: self.addresses,
            agent_gone: self.agent_gone,
        }
    }
}

impl Object for RawStatus {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "state" => self.phase = json::text(map)?.as_deref().map(Phase::parse),
            "timestamp" => self.timestamp = json::number(map)?,
            "reason" => {
                let reason = json::text(map)?.unwrap_or_default();
                // …_BY_OPERATOR too; the older name is that of Mesos before 1.1.
                self.agent_gone = reason.starts_with("REASON_AGENT_REMOVED")
                    || reason.starts_with("REASON_SLAVE_REMOVED");
            }
            "healthy" => self.healthy = json::flag(map)?,
            // Only what a `TASK_RUNNING` status tells of addresses counts.
            "container_status" | "labels" if self.phase.is_some_and(|p| p != Phase::Running) => {
                json::skip(map)?;
            }
            "container_status" => {
                let status: Option<ContainerStatus> = json::object(map, intake)?;
                self.addresses.netinfo = status.unwrap_or_default().addresses;
            }
            "labels" => {
                let addresses = &mut self.addresses;
                json::list_or_in::<Label, _>(map, intake, "labels", &mut |intake, label| {
                    let Some(Label { key: Some(key), value: Some(value) }) = label else { return };
                    match key.as_str() {
                        DOCKER_ADDRESS => address(value.parse(), &mut addresses.docker, intake),
                        MESOS_ADDRESS => address(value.parse(), &mut addresses.mesos, intake),
                        _ => {}
                    }
                })?;
            }
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// Reads an address as strictly as Mesos-DNS: no brackets, zones, prefix lengths, leading zeros.
fn address(read: Result<IpAddr, AddrParseError>, addresses: &mut Vec<IpAddr>, intake: &mut Intake) {
    match read {
        Ok(address) => addresses.push(address.to_canonical()),
        Err(_) => intake.skip("address that is none"),
    }
}

#[derive(Default)]
struct ContainerStatus {
    addresses: Vec<IpAddr>,
}

impl Object for ContainerStatus {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        if name != "network_infos" {
            return json::skip(map);
        }
        json::list::<NetworkInfo, _>(map, intake, &mut |intake, info| {
            let Some(info) = info else { return };
            match (info.listed, info.old) {
                (Listed::Absent | Listed::Of(0), Some(old)) => {
                    address(old.parse(), &mut self.addresses, intake);
                }
                _ => self.addresses.extend(info.addresses),
            }
        })?;
        Ok(())
    }
}

/// One network that a container is in.
#[derive(Default)]
struct NetworkInfo {
    listed: Listed,
    addresses: Vec<IpAddr>,
    /// The only address, as Mesos before 0.26 tells it.
    old: Option<String>,
}

impl Object for NetworkInfo {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "ip_addresses" => {
                let addresses = &mut self.addresses;
                self.listed = json::list::<Address, _>(map, intake, &mut |intake, one| {
                    if let Some(read) = one.and_then(|one| one.0) {
                        address(read, addresses, intake);
                    }
                })?;
            }
            "ip_address" => {
                self.old = json::text(map)?.filter(|t| !t.is_empty()).map(|t| t.into_owned());
            }
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Address(Option<Result<IpAddr, AddrParseError>>);

impl Object for Address {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        _: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "ip_address" => self.0 = json::text(map)?.map(|text| text.parse()),
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// A label.
#[derive(Default)]
pub(crate) struct Label {
    pub key: Option<String>,
    pub value: Option<String>,
}

impl Object for Label {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        _: &mut Intake,
    ) -> Result<(), A::Error> {
        match name {
            "key" => self.key = json::text(map)?.map(|text| text.into_owned()),
            "value" => self.value = json::text(map)?.map(|text| text.into_owned()),
            _ => json::skip(map)?,
        }
        Ok(())
    }
}
