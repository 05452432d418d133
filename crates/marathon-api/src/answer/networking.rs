//! How an app's tasks meet the network, and its ports, in both generations of the JSON. The rules are
//! marathon-lb's, except that positions stay as Marathon numbers them: a mapping without service
//! port keeps its place (marathon-lb drops it before numbering, so that labels and ports shift).

use std::collections::BTreeMap;

use waymark_model::{NetworkMode, Protocol};

use super::app::PortFacts;
use crate::reader::{Fields, list, literal, map, object, port, string};

/// The mode, and the ports by position.
pub(super) fn read(f: &mut Fields<'_, '_>) -> (NetworkMode, Vec<PortFacts>) {
    let address = object(|f| {
        let given = f.names().next().is_some();
        (given, discovery(f))
    });
    let address = f.read("ipAddress", address);
    let (has_address, discovered) = address.unwrap_or_default();
    let container = f.read("container", object(container)).unwrap_or_default();
    let networks = f.read("networks", list(object(|f| f.read("mode", string))));
    let mode = mode(has_address, container.network.as_deref(), networks.unwrap_or_default());
    let definitions = definitions(f);
    if mode == NetworkMode::Host {
        return (mode, definitions);
    }
    let mut ports = container.mappings;
    if ports.iter().all(|p| p.service_port == 0) && !definitions.is_empty() {
        // Apps with an address a task of Marathon 0.14 to 1.4 have their service ports there.
        fill(&mut ports, definitions, |port, from| port.service_port = from.service_port);
    }
    if mode == NetworkMode::Container && !discovered.is_empty() {
        fill(&mut ports, discovered, |port, from| {
            (port.container_port, port.protocol) = (from.container_port, from.protocol);
            port.name = from.name.or(port.name.take());
            port.on_host = false;
        });
    }
    (mode, ports)
}

/// Takes something over by position; positions that were not there are added whole.
fn fill(
    ports: &mut Vec<PortFacts>,
    from: Vec<PortFacts>,
    mut take: impl FnMut(&mut PortFacts, PortFacts),
) {
    let present = ports.len();
    for (at, from) in from.into_iter().enumerate() {
        match ports.get_mut(at) {
            Some(port) if at < present => take(port, from),
            _ => ports.push(from),
        }
    }
}

/// Later kinds of saying it override earlier ones.
fn mode(has_address: bool, docker: Option<&str>, networks: Vec<Option<String>>) -> NetworkMode {
    let mut mode = if has_address { NetworkMode::Container } else { NetworkMode::Host };
    match docker {
        Some("USER") => mode = NetworkMode::Container,
        Some("BRIDGE") => mode = NetworkMode::Bridge,
        _ => {}
    }
    match networks.into_iter().next_back() {
        None => mode,
        Some(last) => match last.as_deref() {
            Some("host") => NetworkMode::Host,
            Some("container/bridge") => NetworkMode::Bridge,
            _ => NetworkMode::Container,
        },
    }
}

#[derive(Default)]
struct Container {
    /// `docker.network` of Marathon before 1.5.
    network: Option<String>,
    mappings: Vec<PortFacts>,
}

fn container(f: &mut Fields<'_, '_>) -> Container {
    let mappings = |f: &mut Fields<'_, '_>| f.read("portMappings", list(object(mapping)));
    let docker = f.read("docker", object(|f| (f.read("network", string), mappings(f))));
    let (network, old) = docker.unwrap_or_default();
    let old = old.filter(|old| !old.is_empty());
    Container { network, mappings: old.or_else(|| mappings(f)).unwrap_or_default() }
}

fn mapping(f: &mut Fields<'_, '_>) -> PortFacts {
    PortFacts {
        service_port: f.read("servicePort", port).unwrap_or(0),
        container_port: f.read("containerPort", port).unwrap_or(0),
        on_host: f.has("hostPort"),
        protocol: protocol(f),
        name: f.read("name", string),
        labels: labels(f),
    }
}

/// `portDefinitions`, or before 0.14 `ports`.
fn definitions(f: &mut Fields<'_, '_>) -> Vec<PortFacts> {
    let definition = |f: &mut Fields<'_, '_>| PortFacts {
        service_port: f.read("port", port).unwrap_or(0),
        container_port: 0,
        on_host: true,
        protocol: protocol(f),
        name: f.read("name", string),
        labels: labels(f),
    };
    let numbered = |service_port| PortFacts { service_port, on_host: true, ..PortFacts::default() };
    match f.read("portDefinitions", list(object(definition))) {
        Some(definitions) => definitions,
        None => f.read("ports", list(port)).unwrap_or_default().into_iter().map(numbered).collect(),
    }
}

/// `ipAddress.discovery.ports`: where the process listens at its task's own address.
fn discovery(f: &mut Fields<'_, '_>) -> Vec<PortFacts> {
    let one = |f: &mut Fields<'_, '_>| PortFacts {
        container_port: f.read("number", port).unwrap_or(0),
        protocol: protocol(f),
        name: f.read("name", string),
        labels: labels(f),
        ..PortFacts::default()
    };
    let ports = object(|f| f.read("ports", list(object(one))).unwrap_or_default());
    f.read("discovery", ports).unwrap_or_default()
}

fn protocol(f: &mut Fields<'_, '_>) -> Protocol {
    f.read("protocol", literal(Protocol::parse)).unwrap_or_default()
}

fn labels(f: &mut Fields<'_, '_>) -> BTreeMap<String, String> {
    f.read("labels", map(string)).unwrap_or_default()
}
