//! An [`AppUpdate`] put onto a base: what is given replaces, what is absent stays.

use std::collections::BTreeMap;

use waymark_model::{
    App, Backoff, Constraint, Container, NetworkMode, PathId, PortDefinition, Resources,
    UpgradeStrategy,
};

use super::normalize::Ports;
use super::update::{AppUpdate, ContainerUpdate, DockerUpdate, EnvValue};
use crate::error::Violation;

/// The label of an app that must never run twice.
pub(super) const SINGLE_INSTANCE: &str = "MARATHON_SINGLE_INSTANCE_APP";

/// Puts a canonical update onto `base`, which is either a stored definition or all defaults.
pub(super) fn app(update: AppUpdate, base: App, is_stored: bool) -> Result<App, Vec<Violation>> {
    let mut violations = Vec::new();
    let constraints = update.constraints.map(|list| constraints(list, &mut violations));
    let dependencies = update.dependencies.map(|l| dependencies(&base.id, l, &mut violations));
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
    let (cmd, args) = match (update.cmd, update.args) {
        (None, None) => (base.cmd, base.args),
        given => given,
    };
    let labels = update.labels.unwrap_or(base.labels);
    let usual_strategy = if is_stored {
        base.upgrade_strategy
    } else {
        strategy_for(&labels, ports.container.as_ref())
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
        unreachable_strategy: update.unreachable_strategy.unwrap_or(base.unreachable_strategy),
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

/// Marathon's default strategy depends on what must not run twice.
fn strategy_for(
    labels: &BTreeMap<String, String>,
    container: Option<&Container>,
) -> UpgradeStrategy {
    let strategy = |minimum_health_capacity, maximum_over_capacity| UpgradeStrategy {
        minimum_health_capacity,
        maximum_over_capacity,
    };
    let keeps_data =
        container.is_some_and(|c| c.volumes.iter().any(|v| v.opaque.contains_key("persistent")));
    if labels.get(SINGLE_INSTANCE).is_some_and(|v| v == "true") {
        strategy(0.0, 0.0)
    } else if keeps_data {
        strategy(0.5, 0.0)
    } else {
        UpgradeStrategy::default()
    }
}

fn dependencies(id: &PathId, texts: Vec<String>, violations: &mut Vec<Violation>) -> Vec<PathId> {
    let group = id.parent().unwrap_or_else(PathId::root);
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
        match constraint(fields) {
            Ok(constraint) => constraints.push(constraint),
            Err(message) => {
                violations.push(Violation::new(format!("/constraints({index})"), message));
            }
        }
    }
    constraints
}

fn constraint(fields: Vec<String>) -> Result<Constraint, &'static str> {
    let mut fields = fields.into_iter();
    let (field, operator, value) = match (fields.next(), fields.next(), fields.next()) {
        (None, ..) => return Err("Missing field and operator"),
        (Some(_), None, _) => return Err("Each constraint must have either 2 or 3 fields"),
        (Some(field), Some(operator), value) => (field, operator.to_uppercase(), value),
    };
    if fields.next().is_some() {
        return Err("Each constraint must have either 2 or 3 fields");
    }
    if field.is_empty() {
        return Err("missing field for constraint declaration");
    }
    let number = |v: &Option<String>| v.as_ref().is_some_and(|v| v.parse::<u32>().is_ok());
    let filled = |v: &Option<String>| v.as_ref().is_some_and(|v| !v.is_empty());
    match operator.as_str() {
        "UNIQUE" if value.is_some() => Err("UNIQUE does not accept a value"),
        "LIKE" | "UNLIKE" if !filled(&value) => {
            Err("LIKE and UNLIKE require a non-empty, regular expression value")
        }
        "MAX_PER" if !number(&value) => Err("MAX_PER requires an integer value"),
        "GROUP_BY" if value.is_some() && !number(&value) => {
            Err("GROUP BY must define an integer value or else no value at all")
        }
        "IS" if !filled(&value) => Err(
            "IS only supports Mesos text and float values (see the documentation of constraints)",
        ),
        "UNIQUE" | "CLUSTER" | "GROUP_BY" | "LIKE" | "UNLIKE" | "MAX_PER" | "IS" => {
            Ok(Constraint { field, operator, value })
        }
        _ => {
            Err("operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, \
                  UNLIKE or IS")
        }
    }
}

/// Whether two old notations of the same ports agree.
pub(super) fn same_ports(ports: &[u16], definitions: &[PortDefinition]) -> bool {
    ports.iter().copied().eq(definitions.iter().map(|d| d.port))
}
