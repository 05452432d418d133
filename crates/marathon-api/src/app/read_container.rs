//! JSON → containers, volumes and port mappings.

use waymark_model::{ContainerKind, Docker, Parameter, PortMapping, Protocol, Volume};

use super::names;
use super::read::any_object;
use super::update::{ContainerUpdate, DockerNetwork, DockerUpdate};
use crate::reader::{
    Errors, Fields, Node, boolean, filled, list, literal, map, object, pattern, port, string,
};

pub(super) fn container(node: Node<'_>, errors: &mut Errors) -> Option<ContainerUpdate> {
    object(|f| ContainerUpdate {
        kind: f
            .read("type", literal(|t| names::CONTAINER_KIND.value(t)))
            .unwrap_or(ContainerKind::Docker),
        docker: f.read("docker", object(docker)),
        volumes: f.read("volumes", list(object(volume))).unwrap_or_default(),
        port_mappings: f.read("portMappings", list(object(port_mapping))),
        opaque: f.keep(&[("linuxInfo", any_object)]),
    })(node, errors)
}

fn docker(f: &mut Fields<'_, '_>) -> DockerUpdate {
    let network = literal(|text| match text {
        "HOST" => Some(DockerNetwork::Host),
        "BRIDGE" => Some(DockerNetwork::Bridge),
        "USER" => Some(DockerNetwork::User),
        "NONE" => Some(DockerNetwork::None),
        _ => None,
    });
    let parameter = |f: &mut Fields<'_, '_>| Parameter {
        key: f.need("key", string),
        value: f.need("value", string),
    };
    DockerUpdate {
        docker: Docker {
            image: f.need("image", filled),
            force_pull_image: f.read("forcePullImage", boolean).unwrap_or(false),
            privileged: f.read("privileged", boolean).unwrap_or(false),
            parameters: f.read("parameters", list(object(parameter))).unwrap_or_default(),
            opaque: f.keep(&[("credential", any_object), ("pullConfig", any_object)]),
        },
        network: f.read("network", network),
        port_mappings: f.read("portMappings", list(object(port_mapping))),
    }
}

fn volume(f: &mut Fields<'_, '_>) -> Volume {
    let mode = literal(|text| match text {
        "RW" => Some(true),
        "RO" => Some(false),
        _ => None,
    });
    Volume {
        container_path: f.need("containerPath", filled),
        host_path: f.read("hostPath", filled),
        read_write: f.read("mode", mode).unwrap_or(true),
        opaque: f.keep(&[
            ("external", any_object),
            ("persistent", any_object),
            ("secret", super::read::string_only),
        ]),
    }
}

fn port_mapping(f: &mut Fields<'_, '_>) -> PortMapping {
    PortMapping {
        container_port: f.read("containerPort", port).unwrap_or(0),
        host_port: f.read("hostPort", port),
        service_port: f.read("servicePort", port).unwrap_or(0),
        protocol: f.read("protocol", protocol).unwrap_or_default(),
        name: f.read("name", pattern(is_port_name)),
        labels: f.read("labels", map(string)).unwrap_or_default(),
        network_names: f.read("networkNames", list(network_name)).unwrap_or_default(),
    }
}

/// `tcp`, `udp`, or both in either order, without regard to case.
pub(super) fn protocol(node: Node<'_>, errors: &mut Errors) -> Option<Protocol> {
    literal(Protocol::parse)(node, errors)
}

/// Whether a text may be the name of a port: `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`.
pub(super) fn is_port_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.first().copied().is_some_and(plain)
        && bytes.last().copied().is_some_and(plain)
        && bytes.iter().all(|b| plain(*b) || *b == b'-')
}

/// The name of a network: letters, digits, `.`, `_`, `-`; letters and digits at both ends.
pub(super) fn network_name(node: Node<'_>, errors: &mut Errors) -> Option<String> {
    pattern(|text| {
        let bytes = text.as_bytes();
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
    })(node, errors)
}
