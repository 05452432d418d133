//! JSON → [`AppUpdate`]: types, ranges and literals. What fields mean together is not looked at
//! here.

use std::time::Duration;

use waymark_model::{Fetch, Network, NetworkMode, Timestamp, UnreachableStrategy, UpgradeStrategy};

use super::names;
use super::read_checks::{health_check, readiness_check};
use super::read_container::{container, is_port_name, network_name, protocol};
use super::update::{AppUpdate, EnvValue, IpAddress, OldNotations};
use crate::reader::{
    self, Errors, Fields, MAX_INT, Node, boolean, code, count, filled, integer, list, literal, map,
    number, object, pattern, port, string,
};

/// Fewest CPUs, as Marathon publishes it.
const MIN_CPUS: f64 = 0.001;

/// Reads an app.
pub(crate) fn app(node: Node<'_>, errors: &mut Errors) -> Option<AppUpdate> {
    object(fields)(node, errors)
}

fn fields(f: &mut Fields<'_, '_>) -> AppUpdate {
    let is_bare = f.names().all(|name| name == "id" || name == "version");
    AppUpdate {
        id: f.read("id", string),
        version: f.read("version", timestamp),
        version_info: f.read("versionInfo", object(version_info)).flatten(),
        is_bare,
        cmd: f.read("cmd", filled),
        args: f.read("args", list(string)),
        user: f.read("user", string),
        env: f.read("env", map(env_value)),
        has_secrets: f.read("secrets", map(any_object)).is_some_and(|s| !s.is_empty()),
        instances: f.read("instances", count),
        cpus: f.read("cpus", number(MIN_CPUS..=f64::MAX)),
        mem: f.read("mem", number(0.0..=f64::MAX)),
        disk: f.read("disk", number(0.0..=f64::MAX)),
        gpus: f.read("gpus", count),
        executor: f.read("executor", pattern(is_executor)),
        constraints: f.read("constraints", list(list(string))),
        fetch: f.read("fetch", list(object(fetch))),
        container: f.read("container", container),
        networks: f.read("networks", list(object(network))),
        port_definitions: f.read("portDefinitions", list(object(port_definition))),
        require_ports: f.read("requirePorts", boolean),
        labels: f.read("labels", map(string)),
        dependencies: f.read("dependencies", list(string)),
        health_checks: f.read("healthChecks", list(object(health_check))),
        readiness_checks: f.read("readinessChecks", list(object(readiness_check))),
        backoff: f.read("backoffSeconds", seconds),
        backoff_factor: f.read("backoffFactor", number(1.0..=f64::MAX)),
        max_launch_delay: f.read("maxLaunchDelaySeconds", seconds),
        kill_grace_period: f.read("taskKillGracePeriodSeconds", seconds),
        upgrade_strategy: f.read("upgradeStrategy", object(upgrade_strategy)),
        kill_selection: f.read("killSelection", literal(|t| names::KILL_SELECTION.value(t))),
        unreachable_strategy: f.read("unreachableStrategy", unreachable_strategy),
        opaque: f.keep(&[
            ("acceptedResourceRoles", strings_only),
            ("check", any_object),
            ("executorResources", executor_resources),
            ("residency", any_object),
            ("resourceLimits", resource_limits),
            ("role", string_only),
            ("tty", boolean_only),
        ]),
        old: OldNotations {
            uris: f.read("uris", list(string)),
            ports: f.read("ports", list(port)),
            ip_address: f.read("ipAddress", object(ip_address)),
        },
    }
}

/// A point in time as RFC 3339 text.
pub(crate) fn timestamp(node: Node<'_>, errors: &mut Errors) -> Option<Timestamp> {
    match Timestamp::parse(&string(node, errors)?) {
        Some(at) => Some(at),
        None => node.fail(errors, code::DATE),
    }
}

/// A whole number of seconds.
pub(super) fn seconds(node: Node<'_>, errors: &mut Errors) -> Option<Duration> {
    count(node, errors).map(|n| Duration::from_secs(n.into()))
}

fn version_info(f: &mut Fields<'_, '_>) -> Option<(Timestamp, Timestamp)> {
    f.read("lastScalingAt", timestamp).zip(f.read("lastConfigChangeAt", timestamp))
}

fn env_value(node: Node<'_>, errors: &mut Errors) -> Option<EnvValue> {
    if node.value.is_object() {
        object(|f| f.need("secret", string))(node, errors).map(|_| EnvValue::Secret)
    } else {
        string(node, errors).map(EnvValue::Text)
    }
}

/// `""`, `//cmd` or a path without empty segments.
fn is_executor(text: &str) -> bool {
    let path = text.strip_prefix('/').unwrap_or(text);
    text.is_empty() || text == "//cmd" || path.split('/').all(|segment| !segment.is_empty())
}

fn fetch(f: &mut Fields<'_, '_>) -> Fetch {
    Fetch {
        uri: f.need("uri", string),
        extract: f.read("extract", boolean).unwrap_or(true),
        executable: f.read("executable", boolean).unwrap_or(false),
        cache: f.read("cache", boolean).unwrap_or(false),
        dest_path: f.read("destPath", string),
    }
}

fn network(f: &mut Fields<'_, '_>) -> Network {
    let modes = [NetworkMode::Host, NetworkMode::Bridge, NetworkMode::Container];
    let mode = literal(|text| modes.into_iter().find(|m| m.as_str() == text));
    Network {
        mode: f.read("mode", mode).unwrap_or(NetworkMode::Container),
        name: f.read("name", network_name),
        labels: f.read("labels", map(string)).unwrap_or_default(),
    }
}

fn port_definition(f: &mut Fields<'_, '_>) -> waymark_model::PortDefinition {
    waymark_model::PortDefinition {
        port: f.read("port", port).unwrap_or(0),
        protocol: f.read("protocol", protocol).unwrap_or_default(),
        name: f.read("name", pattern(is_port_name)),
        labels: f.read("labels", map(string)).unwrap_or_default(),
    }
}

fn ip_address(f: &mut Fields<'_, '_>) -> IpAddress {
    let discovery_port = object(|f| waymark_model::PortMapping {
        container_port: f.need("number", port),
        protocol: f.read("protocol", protocol).unwrap_or_default(),
        name: f.read("name", pattern(is_port_name)),
        labels: f.read("labels", map(string)).unwrap_or_default(),
        ..Default::default()
    });
    let ports = |f: &mut Fields<'_, '_>| f.read("ports", list(&discovery_port));
    IpAddress {
        network_name: f.read("networkName", network_name),
        labels: f.read("labels", map(string)).unwrap_or_default(),
        discovery_ports: f.read("discovery", object(ports)).flatten().unwrap_or_default(),
    }
}

fn upgrade_strategy(f: &mut Fields<'_, '_>) -> UpgradeStrategy {
    let usual = UpgradeStrategy::default();
    let mut share = |name, usual| f.read(name, number(0.0..=1.0)).unwrap_or(usual);
    UpgradeStrategy {
        minimum_health_capacity: share("minimumHealthCapacity", usual.minimum_health_capacity),
        maximum_over_capacity: share("maximumOverCapacity", usual.maximum_over_capacity),
    }
}

fn unreachable_strategy(node: Node<'_>, errors: &mut Errors) -> Option<UnreachableStrategy> {
    if node.value.is_string() {
        let disabled = |t: &str| (t == "disabled").then_some(UnreachableStrategy::Disabled);
        return literal(disabled)(node, errors);
    }
    let times = |f: &mut Fields<'_, '_>| UnreachableStrategy::Enabled {
        inactive_after: f.read("inactiveAfterSeconds", seconds).unwrap_or_default(),
        expunge_after: f.read("expungeAfterSeconds", seconds).unwrap_or_default(),
    };
    object(times)(node, errors)
}

// Fields that are kept as they are: only their types are checked.

pub(super) fn any_object(node: Node<'_>, errors: &mut Errors) -> Option<()> {
    object(|_| ())(node, errors)
}

pub(super) fn string_only(node: Node<'_>, errors: &mut Errors) -> Option<()> {
    string(node, errors).map(drop)
}

fn strings_only(node: Node<'_>, errors: &mut Errors) -> Option<()> {
    list(string)(node, errors).map(drop)
}

fn boolean_only(node: Node<'_>, errors: &mut Errors) -> Option<()> {
    boolean(node, errors).map(drop)
}

fn executor_resources(node: Node<'_>, errors: &mut Errors) -> Option<()> {
    let minima = [("cpus", 0.1), ("mem", 32.0), ("disk", 10.0)];
    let check = |f: &mut Fields<'_, '_>| {
        for (name, min) in minima {
            f.read(name, number(min..=f64::MAX));
        }
    };
    object(check)(node, errors)
}

fn resource_limits(node: Node<'_>, errors: &mut Errors) -> Option<()> {
    let limit = |node: Node<'_>, errors: &mut Errors| {
        if node.value.is_string() {
            literal(|text| (text == "unlimited").then_some(()))(node, errors)
        } else {
            number(0.0..=f64::MAX)(node, errors).map(drop)
        }
    };
    let check = |f: &mut Fields<'_, '_>| {
        f.read("cpus", limit);
        f.read("mem", limit);
    };
    object(check)(node, errors)
}

/// The ids of `{"ids":[…]}`, as `POST /v2/tasks/delete` gets them.
///
/// Errors: 400 when the text is empty or not JSON, 422 when it has another form.
pub fn task_ids_from_json(text: &[u8]) -> Result<Vec<String>, crate::ApiError> {
    reader::from_text(text, object(|f| f.need("ids", list(string))))
}

/// A whole number from `min` up.
pub(super) fn at_least<T: TryFrom<i64>>(min: i64) -> impl Fn(Node<'_>, &mut Errors) -> Option<T> {
    integer(min..=MAX_INT)
}
