//! An [`AppUpdate`] put onto a base: what is given replaces, what is absent stays.

use std::collections::BTreeMap;

use waymark_model::{
    App, Backoff, Constraint, Container, NetworkMode, PathId, PortDefinition, Resources,
    UnreachableStrategy, UpgradeStrategy,
};

use super::constraint;
use super::normalize::Ports;
use super::update::{AppUpdate, ContainerUpdate, DockerUpdate, EnvValue};
use crate::error::Violation;

/// The label of an app that must never run twice.
pub(super) const SINGLE_INSTANCE: &str = "MARATHON_SINGLE_INSTANCE_APP";

/// Puts a canonical update onto `base`, which is either a stored definition or all defaults.
pub(super) fn app(update: AppUpdate, base: App, is_stored: bool) -> Result<App, Vec<Violation>> {
    let mut violations = Vec::new();
    let constraints = update.constraints.map(|list| constraints(list, &mut violations));
    let group = base.id.parent().unwrap_or_else(PathId::root);
    let dependencies = update.dependencies.map(|l| dependencies(&group, l, &mut violations));
    if !violations.is_empty() {
        return Err(violations);
    }
    let ports = ports(
        &base,
        is_stored,
        Ports {
            networks: update.networks.unwrap_or_default(),
            container: update.container,
            definitions: update.port_definitions,
            require: update.require_ports.unwrap_or(base.require_ports),
        },
    )
    .settle();
    // A new command takes the place of stored arguments, and the other way round: neither could be
    // cleared otherwise, and together they are refused.
    // An empty list says as little as none; clients of old times send it beside `cmd`.
    let args = update.args.filter(|args| !args.is_empty());
    let (cmd, args) = match (update.cmd, args) {
        (None, None) => (base.cmd, base.args),
        given => given,
    };
    let labels = update.labels.unwrap_or(base.labels);
    let (usual_strategy, usual_unreachable) = if is_stored {
        (base.upgrade_strategy, base.unreachable_strategy)
    } else {
        strategies_for(&labels, ports.container.as_ref())
    };
    let mut opaque = base.opaque;
    opaque.extend(update.opaque);
    Ok(App {
        cmd,
        args,
        user: update.user.or(base.user),
        env: update.env.map_or(base.env, plain_env),
        instances: update.instances.unwrap_or(base.instances),
        resources: Resources {
            cpus: update.cpus.unwrap_or(base.resources.cpus),
            mem: update.mem.unwrap_or(base.resources.mem),
            disk: update.disk.unwrap_or(base.resources.disk),
            gpus: update.gpus.unwrap_or(base.resources.gpus),
        },
        executor: update.executor.unwrap_or(base.executor),
        constraints: constraints.unwrap_or(base.constraints),
        container: ports.container,
        networks: ports.networks,
        port_definitions: ports.definitions,
        require_ports: ports.require,
        labels,
        dependencies: dependencies.unwrap_or(base.dependencies),
        health_checks: update.health_checks.unwrap_or(base.health_checks),
        readiness_checks: update.readiness_checks.unwrap_or(base.readiness_checks),
        backoff: Backoff {
            initial: update.backoff.unwrap_or(base.backoff.initial),
            factor: update.backoff_factor.unwrap_or(base.backoff.factor),
            max: update.max_launch_delay.unwrap_or(base.backoff.max),
        },
        kill_grace_period: update.kill_grace_period.or(base.kill_grace_period),
        upgrade_strategy: update.upgrade_strategy.unwrap_or(usual_strategy),
        kill_selection: update.kill_selection.unwrap_or(base.kill_selection),
        unreachable_strategy: update.unreachable_strategy.unwrap_or(usual_unreachable),
        fetch: update.fetch.unwrap_or(base.fetch),
        opaque,
        id: base.id,
        version: base.version,
        last_scaling_at: base.last_scaling_at,
        last_config_change_at: base.last_config_change_at,
    })
}

/// What is given about ports, with the stored values for what is absent. Stored definitions count
/// only while the app stays in host mode: in another one they would become empty mappings.
fn ports(base: &App, is_stored: bool, given: Ports) -> Ports {
    let networks = if given.networks.is_empty() { base.networks.clone() } else { given.networks };
    let stays_host =
        is_stored && base.is_host_mode() && networks.iter().all(|n| n.mode == NetworkMode::Host);
    let stored_definitions = || stays_host.then(|| base.port_definitions.clone());
    Ports {
        networks,
        container: given
            .container
            .or_else(|| base.container.clone().map(|c| as_update(c, base.is_host_mode()))),
        definitions: given.definitions.or_else(stored_definitions),
        require: given.require,
    }
}

fn as_update(container: Container, host_mode: bool) -> ContainerUpdate {
    let docker = |docker| DockerUpdate { docker, network: None, port_mappings: None };
    ContainerUpdate {
        kind: container.kind,
        docker: container.docker.map(docker),
        volumes: container.volumes,
        // In other modes an empty list was said on purpose.
        port_mappings: (!host_mode).then_some(container.port_mappings),
        opaque: container.opaque,
    }
}

fn plain_env(env: BTreeMap<String, EnvValue>) -> BTreeMap<String, String> {
    let plain = |(name, value)| match value {
        EnvValue::Text(text) => Some((name, text)),
        // Refused by validation before.
        EnvValue::Secret => None,
    };
    env.into_iter().filter_map(plain).collect()
}

/// Marathon's default strategies depend on what must not run twice.
fn strategies_for(
    labels: &BTreeMap<String, String>,
    container: Option<&Container>,
) -> (UpgradeStrategy, UnreachableStrategy) {
    let capacities = |minimum_health_capacity, maximum_over_capacity| UpgradeStrategy {
        minimum_health_capacity,
        maximum_over_capacity,
    };
    let keeps_data = container.is_some_and(keeps_data);
    let upgrade = if labels.get(SINGLE_INSTANCE).is_some_and(|v| v == "true") {
        capacities(0.0, 0.0)
    } else if keeps_data {
        capacities(0.5, 0.0)
    } else {
        UpgradeStrategy::default()
    };
    let unreachable =
        if keeps_data { UnreachableStrategy::Disabled } else { UnreachableStrategy::default() };
    (upgrade, unreachable)
}

/// Whether the container has persistent volumes, which tie an instance to its agent.
pub(super) fn keeps_data(container: &Container) -> bool {
    container.volumes.iter().any(|v| v.opaque.contains_key("persistent"))
}

/// Absolute ids of dependencies that are stated in `group`.
pub(crate) fn dependencies(
    group: &PathId,
    texts: Vec<String>,
    violations: &mut Vec<Violation>,
) -> Vec<PathId> {
    let mut ids = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match group.resolve(text) {
            Ok(id) => ids.push(id),
            Err(error) => {
                violations
                    .push(Violation::new(format!("/dependencies({index})"), error.to_string()));
            }
        }
    }
    ids
}

fn constraints(lists: Vec<Vec<String>>, violations: &mut Vec<Violation>) -> Vec<Constraint> {
    let mut constraints = Vec::new();
    for (index, fields) in lists.into_iter().enumerate() {
        match constraint::read(fields) {
            Ok(constraint) => constraints.push(constraint),
            Err(message) => {
                violations.push(Violation::new(format!("/constraints({index})"), message));
            }
        }
    }
    constraints
}

/// Whether two old notations of the same ports agree.
pub(super) fn same_ports(ports: &[u16], definitions: &[PortDefinition]) -> bool {
    ports.iter().copied().eq(definitions.iter().map(|d| d.port))
}
