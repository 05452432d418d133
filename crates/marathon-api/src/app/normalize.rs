//! Old notations → canonical ones, and the rules that depend on the network mode.
//!
//! Two steps: [`canonical`] works on what a client sent and does not need to know the app;
//! [`Ports::settle`] works on the merged result, when the network mode is known. Both are
//! deterministic and do nothing to what is already normal: otherwise each update would look like a
//! change and restart the app.

use std::collections::BTreeMap;
use std::mem;

use waymark_model::{
    Container, ContainerKind, Fetch, Network, NetworkMode, Opaque, PortDefinition, PortMapping,
};

use super::update::{AppUpdate, ContainerUpdate, DockerNetwork, IpAddress};
use crate::error::Violation;

/// The network name that means "bridge" in `ipAddress` (Marathon's default for it).
const BRIDGE_NETWORK_NAME: &str = "mesos-bridge";
/// The name of the one port that an app has when it does not say.
const DEFAULT_PORT_NAME: &str = "default";
/// Endings of URIs that Marathon has unpacked.
const ARCHIVES: [&str; 9] =
    [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".gz", ".tgz", ".tbz2", ".txz", ".zip"];

/// Turns old notations into canonical ones.
pub(super) fn canonical(mut update: AppUpdate) -> Result<AppUpdate, Vec<Violation>> {
    if let Some(uris) = update.old.uris.take() {
        let fetched = update.fetch.take().filter(|f| !f.is_empty());
        update.fetch = Some(fetched.unwrap_or_else(|| uris.into_iter().map(fetch).collect()));
    }
    let address = update.old.ip_address.take();
    old_network(&mut update, address.as_ref())?;
    old_mappings(&mut update, address.as_ref())?;
    if let Some(ports) = update.old.ports.take() {
        let definition = |port| PortDefinition { port, ..PortDefinition::default() };
        update.port_definitions.get_or_insert_with(|| ports.into_iter().map(definition).collect());
    }
    Ok(update)
}

fn fetch(uri: String) -> Fetch {
    let extract = ARCHIVES.iter().any(|end| uri.ends_with(end));
    Fetch { uri, extract, executable: false, cache: false, dest_path: None }
}

/// `container.docker.network` and `ipAddress` → `networks`.
fn old_network(update: &mut AppUpdate, address: Option<&IpAddress>) -> Result<(), Vec<Violation>> {
    let docker = update.container.as_mut().and_then(|c| c.docker.as_mut());
    let docker_network = docker.and_then(|d| d.network.take());
    if docker_network.is_none() && address.is_none() {
        return Ok(());
    }
    if update.networks.is_some() {
        let text = "cannot mix deprecated and canonical network APIs";
        return Err(vec![Violation::new("/networks", text)]);
    }
    let name = address.and_then(|a| a.network_name.clone());
    let mode = match docker_network {
        Some(DockerNetwork::None) => {
            let text = "unsupported docker network type NONE";
            return Err(vec![Violation::new("/container/docker/network", text)]);
        }
        Some(DockerNetwork::Host) => NetworkMode::Host,
        Some(DockerNetwork::Bridge) => NetworkMode::Bridge,
        Some(DockerNetwork::User) => NetworkMode::Container,
        None if name.as_deref() == Some(BRIDGE_NETWORK_NAME) => NetworkMode::Bridge,
        None => NetworkMode::Container,
    };
    let labels = address.map(|a| a.labels.clone()).unwrap_or_default();
    update.networks = Some(vec![match mode {
        NetworkMode::Host => Network { mode, name: None, labels: BTreeMap::new() },
        NetworkMode::Bridge => Network { mode, name: None, labels },
        NetworkMode::Container => Network { mode, name, labels },
    }]);
    Ok(())
}

/// `container.docker.portMappings` and `ipAddress.discovery.ports` → `container.portMappings`.
fn old_mappings(update: &mut AppUpdate, address: Option<&IpAddress>) -> Result<(), Vec<Violation>> {
    let wrong = |path: &str, text: &str| Err(vec![Violation::new(path, text)]);
    if let Some(container) = &mut update.container {
        let old = container.docker.as_mut().and_then(|d| d.port_mappings.take());
        if old.is_some() && container.port_mappings.is_some() {
            let text = "cannot specify both portMappings and docker.portMappings";
            return wrong("/container", text);
        }
        container.port_mappings = container.port_mappings.take().or(old);
    }
    let Some(address) = address.filter(|a| !a.discovery_ports.is_empty()) else { return Ok(()) };
    let container = update.container.get_or_insert_with(plain_mesos_container);
    if container.kind == ContainerKind::Docker {
        let text = "ipAddress.discovery.ports do not apply for container type DOCKER";
        return wrong("/ipAddress/discovery/ports", text);
    }
    if container.port_mappings.is_some() {
        let text = "container.portMappings and ipAddress.discovery.ports must not both be set";
        return wrong("/ipAddress/discovery/ports", text);
    }
    container.port_mappings = Some(address.discovery_ports.clone());
    Ok(())
}

/// A container that is nothing but a place for port mappings.
fn plain_mesos_container() -> ContainerUpdate {
    ContainerUpdate {
        kind: ContainerKind::Mesos,
        docker: None,
        volumes: Vec::new(),
        port_mappings: None,
        opaque: Opaque::new(),
    }
}

/// Where an app's ports are stated, before the network mode decides which place counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ports {
    pub networks: Vec<Network>,
    pub container: Option<ContainerUpdate>,
    pub definitions: Option<Vec<PortDefinition>>,
    pub require: bool,
}

/// The same when it has been decided.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SettledPorts {
    pub networks: Vec<Network>,
    pub container: Option<Container>,
    pub definitions: Vec<PortDefinition>,
    pub require: bool,
}

impl Ports {
    /// Keeps the ports that belong to the network mode and fills in defaults.
    pub fn settle(mut self) -> SettledPorts {
        if self.networks.is_empty() {
            let host = Network { mode: NetworkMode::Host, name: None, labels: BTreeMap::new() };
            self.networks.push(host);
        }
        if self.networks.iter().all(|n| n.mode == NetworkMode::Host) {
            return SettledPorts {
                networks: self.networks,
                container: self.container.map(|c| settled_container(c, Vec::new())),
                definitions: self.definitions.unwrap_or_else(|| vec![default_definition()]),
                require: self.require,
            };
        }
        let mut container = self.container.unwrap_or_else(plain_mesos_container);
        let given = mem::take(&mut container.port_mappings);
        let mut mappings = mappings_like(given, self.definitions.as_deref());
        if self.networks.iter().any(|n| n.mode == NetworkMode::Bridge) {
            for mapping in &mut mappings {
                mapping.host_port.get_or_insert(0);
            }
        }
        SettledPorts {
            networks: self.networks,
            container: Some(settled_container(container, mappings)),
            definitions: Vec::new(),
            require: false,
        }
    }
}

/// Mappings, at least as many as there are port definitions. Definitions do not count otherwise in
/// these modes; clients of old times send both.
fn mappings_like(
    given: Option<Vec<PortMapping>>,
    definitions: Option<&[PortDefinition]>,
) -> Vec<PortMapping> {
    let (mut mappings, wanted) = match (given, definitions) {
        (None, None) => (vec![default_mapping()], 0),
        (given, definitions) => (given.unwrap_or_default(), definitions.map_or(0, <[_]>::len)),
    };
    while mappings.len() < wanted {
        mappings.push(PortMapping::default());
    }
    mappings
}

fn default_definition() -> PortDefinition {
    PortDefinition { name: Some(DEFAULT_PORT_NAME.to_owned()), ..PortDefinition::default() }
}

fn default_mapping() -> PortMapping {
    PortMapping { name: Some(DEFAULT_PORT_NAME.to_owned()), ..PortMapping::default() }
}

fn settled_container(container: ContainerUpdate, port_mappings: Vec<PortMapping>) -> Container {
    Container {
        kind: container.kind,
        docker: container.docker.map(|d| d.docker),
        volumes: container.volumes,
        port_mappings,
        opaque: container.opaque,
    }
}
