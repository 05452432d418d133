//! What fields mean together, in Marathon's words.

use std::collections::BTreeSet;

use serde_json::Value;
use waymark_model::{
    App, CheckProtocol, ContainerKind, NetworkMode, PortReference, UnreachableStrategy,
};

use super::build::{self, SINGLE_INSTANCE, same_ports};
use super::update::{AppUpdate, EnvValue};
use crate::error::Violation;

type Violations = Vec<Violation>;

/// Last segments of ids that are words of the API's paths.
const RESERVED_SEGMENTS: [&str; 3] = ["restart", "tasks", "versions"];

/// Contradictions between old and canonical notations, which the canonical form cannot show.
pub(super) fn update(update: &AppUpdate) -> Violations {
    let mut found = Found::default();
    let docker = update.container.as_ref().and_then(|c| c.docker.as_ref());
    let old_address = update.old.ip_address.is_some();
    let both = |a: &Option<Vec<String>>, b: bool| a.as_ref().is_some_and(|a| !a.is_empty()) && b;
    let fetches = update.fetch.as_ref().is_some_and(|f| !f.is_empty());
    found.when(both(&update.old.uris, fetches), "/", "cannot specify both uris and fetch fields");
    if let (Some(ports), Some(definitions)) = (&update.old.ports, &update.port_definitions) {
        let differ = !same_ports(ports, definitions);
        found.when(differ, "/", "cannot specify both ports and port definitions");
    }
    if let Some(ports) = &update.old.ports {
        let real: Vec<u16> = ports.iter().copied().filter(|p| *p != 0).collect();
        found.when(!all_different(&real), "/ports", "ports must be unique");
    }
    found.when(
        old_address
            && (update.old.ports.as_ref().is_some_and(|p| !p.is_empty())
                || update.port_definitions.as_ref().is_some_and(|d| !d.is_empty())),
        "/",
        "cannot specify both an IP address and port",
    );
    found.when(
        update.networks.is_some() && docker.is_some_and(|d| d.network.is_some()),
        "/",
        "must not specify both container.docker.network and networks",
    );
    found.when(
        update.networks.is_some() && old_address,
        "/",
        "must not specify both networks and ipAddress",
    );
    let mesos = update.container.as_ref().is_some_and(|c| c.kind == ContainerKind::Mesos);
    if let (true, Some(docker)) = (mesos, docker) {
        let path = "/container/docker/network";
        found.when(docker.network.is_some(), path, "must be empty");
        let mapped = docker.port_mappings.as_ref().is_some_and(|m| !m.is_empty());
        found.when(mapped, "/container/docker/portMappings", "must be empty");
    }
    let secret = |v: &EnvValue| *v == EnvValue::Secret;
    let env_secret = update.env.as_ref().is_some_and(|env| env.values().any(secret));
    // The stray bracket is Marathon's.
    let disabled = "Feature secrets is not enabled. Enable with --enable_features secrets)";
    found.when(env_secret, "/env", disabled);
    found.when(update.has_secrets, "/secrets", disabled);
    found.0
}

/// Everything else.
pub(super) fn app(app: &App) -> Violations {
    let mut found = Found::default();
    process(app, &mut found);
    texts(app, &mut found);
    resources(app, &mut found);
    strategies(app, &mut found);
    networks(app, &mut found);
    ports(app, &mut found);
    container(app, &mut found);
    health_checks(app, &mut found);
    readiness_checks(app, &mut found);
    found.0
}

#[derive(Default)]
struct Found(Violations);

impl Found {
    fn when(&mut self, wrong: bool, path: impl Into<String>, message: impl Into<String>) {
        if wrong {
            self.0.push(Violation::new(path, message));
        }
    }
}

fn all_different<T: Ord>(items: &[T]) -> bool {
    items.iter().collect::<BTreeSet<_>>().len() == items.len()
}

fn process(app: &App, found: &mut Found) {
    let runs_image = app.container.as_ref().is_some_and(|c| c.docker.is_some());
    let neither = app.cmd.is_none() && app.args.as_ref().is_none_or(Vec::is_empty) && !runs_image;
    found.when(
        neither || (app.cmd.is_some() && app.args.is_some()),
        "/",
        "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
    );
    if app.labels.get(SINGLE_INSTANCE).is_some_and(|v| v == "true") {
        let capacities = app.upgrade_strategy;
        found.when(
            app.instances > 1,
            "/instances",
            "Single instance app may only have one instance",
        );
        found.when(
            capacities.minimum_health_capacity != 0.0 || capacities.maximum_over_capacity != 0.0,
            "/upgradeStrategy",
            format!(
                "{SINGLE_INSTANCE} requires minimumHealthCapacity and maximumOverCapacity of 0"
            ),
        );
    }
}

/// Texts that have a form of their own, or that no operating system can pass on.
fn texts(app: &App, found: &mut Found) {
    let last = app.id.segments().next_back().unwrap_or_default();
    found.when(
        RESERVED_SEGMENTS.contains(&last),
        "/id",
        "must not end with any of the following reserved keywords: restart, tasks, versions, ., ..",
    );
    let nul = "must not contain the character NUL";
    let has_nul = |text: &String| text.contains('\0');
    found.when(app.cmd.as_ref().is_some_and(has_nul), "/cmd", nul);
    found.when(app.args.iter().flatten().any(has_nul), "/args", nul);
    found.when(app.user.as_ref().is_some_and(has_nul), "/user", nul);
    for (name, value) in &app.env {
        let path = format!("/env/{name}");
        let no_name = name.is_empty() || name.contains('=');
        found.when(no_name, &path, "the name must not be empty and must not contain '='");
        found.when(has_nul(name) || has_nul(value), path, nul);
    }
    for (index, artifact) in app.fetch.iter().enumerate() {
        let blank = |c: char| c.is_whitespace() || c.is_control();
        found.when(
            artifact.uri.is_empty() || artifact.uri.contains(blank),
            format!("/fetch({index})/uri"),
            "URI has invalid syntax.",
        );
    }
}

fn resources(app: &App, found: &mut Found) {
    let docker = app.container.as_ref().is_some_and(|c| c.kind == ContainerKind::Docker);
    let gpus = app.resources.gpus > 0;
    let text = "GPU resources only work with the Mesos containerizer";
    found.when(gpus && docker, "/gpus", text);
    let text = "Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources)";
    found.when(gpus && !docker, "/gpus", text);
    let roles = app.opaque.get("acceptedResourceRoles").map(String::as_str);
    found.when(roles == Some("[]"), "/acceptedResourceRoles", "must not be empty");
    let limits = app.opaque.get("resourceLimits").map(String::as_str).unwrap_or_default();
    let limits: Value = serde_json::from_str(limits).unwrap_or_default();
    for (name, request) in [("cpus", app.resources.cpus), ("mem", app.resources.mem)] {
        found.when(
            limits.get(name).and_then(Value::as_f64).is_some_and(|limit| limit < request),
            format!("/resourceLimits/{name}"),
            format!("must be at least what is requested, {request}"),
        );
    }
}

fn strategies(app: &App, found: &mut Found) {
    let keeps_data = app.container.as_ref().is_some_and(build::keeps_data);
    if let UnreachableStrategy::Enabled { inactive_after, expunge_after } = app.unreachable_strategy
    {
        found.when(
            inactive_after > expunge_after,
            "/unreachableStrategy/inactiveAfterSeconds",
            "must not be greater than expungeAfterSeconds",
        );
        let text = "must be \"disabled\" with persistent volumes";
        found.when(keeps_data, "/unreachableStrategy", text);
    }
    found.when(
        app.opaque.contains_key("residency") && !keeps_data,
        "/residency",
        "AppDefinition must contain persistent volumes and define residency",
    );
}

fn networks(app: &App, found: &mut Found) {
    let path = "/networks";
    let count = |mode| app.networks.iter().filter(|n| n.mode == mode).count();
    let (hosts, bridges, named) =
        (count(NetworkMode::Host), count(NetworkMode::Bridge), count(NetworkMode::Container));
    let one_kind = matches!((hosts, bridges, named), (1, 0, 0) | (0, 1, 0) | (0, 0, 1..));
    found.when(
        !one_kind,
        path,
        "May specify a single host network, single bridge network, or else 1-to-n container networks",
    );
    let names: Vec<_> = app.networks.iter().filter_map(|n| n.name.as_ref()).collect();
    found.when(!all_different(&names), path, "Duplicate networks are not allowed");
    for network in &app.networks {
        let (name, labels) = (network.name.is_some(), !network.labels.is_empty());
        match network.mode {
            NetworkMode::Host => {
                found.when(name || labels, path, "Host networks may not have names or labels");
            }
            NetworkMode::Bridge => found.when(name, path, "Bridge networks may not have names"),
            NetworkMode::Container => found.when(
                !name,
                path,
                "Network name must be specified when container network is selected.",
            ),
        }
    }
    let engine = app.container.as_ref().map(|c| c.kind);
    found.when(
        named > 1 && engine == Some(ContainerKind::Docker),
        path,
        "may only specify a single container network when using the Docker container engine",
    );
}

fn ports(app: &App, found: &mut Found) {
    let list = if app.is_host_mode() { "/portDefinitions" } else { "/container/portMappings" };
    let ports = app.ports();
    let names: Vec<&str> = ports.iter().filter_map(|p| p.name).collect();
    found.when(!all_different(&names), list, "Port names must be unique.");
    if app.is_host_mode() {
        let real: Vec<u16> =
            app.port_definitions.iter().map(|d| d.port).filter(|p| *p != 0).collect();
        found.when(!all_different(&real), list, "Ports must be unique.");
        return;
    }
    let networks: Vec<&str> = app.networks.iter().filter_map(|n| n.name.as_deref()).collect();
    let mappings = app.container.iter().flat_map(|c| &c.port_mappings);
    for (index, mapping) in mappings.enumerate() {
        let path = format!("{list}({index})/networkNames");
        found.when(
            mapping.host_port.is_some() && networks.len() > 1 && mapping.network_names.len() != 1,
            &path,
            "networkNames must be a single item list when hostPort is specified and more than 1 \
             container network is defined",
        );
        for (at, name) in mapping.network_names.iter().enumerate() {
            found.when(
                !networks.contains(&name.as_str()),
                format!("{path}({at})"),
                format!("is not one of ({})", networks.join(",")),
            );
        }
    }
}

fn container(app: &App, found: &mut Found) {
    let Some(container) = &app.container else { return };
    let docker = container.kind == ContainerKind::Docker;
    found.when(docker && container.docker.is_none(), "/container/docker", "not defined");
    found.when(
        docker && app.opaque.contains_key("check"),
        "/check",
        "AppDefinition must not use 'checks' if using docker",
    );
    if let (ContainerKind::Mesos, Some(image)) = (container.kind, &container.docker) {
        let path = "/container/docker/parameters";
        found.when(!image.parameters.is_empty(), path, "must be empty");
        let credential = image.opaque.contains_key("credential");
        found.when(credential, "/container/docker/credential", "must be empty");
    }
    for (index, volume) in container.volumes.iter().enumerate() {
        let path = volume.container_path.as_str();
        let absolute = path.contains('/') || path == "." || path == "..";
        found.when(
            absolute && volume.opaque.contains_key("persistent"),
            format!("/container/volumes({index})/containerPath"),
            "must be a name without '/' for a persistent volume",
        );
    }
}

fn health_checks(app: &App, found: &mut Found) {
    let ports = app.ports().len();
    for (index, check) in app.health_checks.iter().enumerate() {
        let path = format!("/healthChecks({index})");
        if let Some(PortReference::Index(port)) = check.port {
            found.when(
                port >= ports && check.protocol != CheckProtocol::Command,
                &path,
                "Health check port indices must address an element of the ports array or \
                 container port mappings.",
            );
        }
        found.when(
            check.protocol == CheckProtocol::Command && check.command.is_none(),
            format!("{path}/command"),
            "must be defined for a COMMAND health check",
        );
        found.when(check.interval.is_zero(), format!("{path}/intervalSeconds"), "error.min");
        found.when(check.timeout.is_zero(), format!("{path}/timeoutSeconds"), "error.min");
    }
    let by_mesos = |p: CheckProtocol| {
        use CheckProtocol::{Command, MesosHttp, MesosHttps, MesosTcp};
        matches!(p, Command | MesosHttp | MesosHttps | MesosTcp)
    };
    found.when(
        app.health_checks.iter().filter(|c| by_mesos(c.protocol)).count() > 1,
        "/healthChecks",
        "AppDefinition can contain at most one Mesos health check",
    );
}

fn readiness_checks(app: &App, found: &mut Found) {
    found.when(
        app.readiness_checks.len() > 1,
        "/readinessChecks",
        "may have at most one readiness check",
    );
    for (index, check) in app.readiness_checks.iter().enumerate() {
        let path = format!("/readinessChecks({index})");
        found.when(
            check.timeout >= check.interval,
            format!("{path}/timeoutSeconds"),
            "must be less than intervalSeconds",
        );
        let known = app.ports().iter().any(|p| p.name == Some(check.port_name.as_str()));
        found.when(
            !known,
            format!("{path}/portName"),
            format!("No port definition reference for portName {}", check.port_name),
        );
    }
}
