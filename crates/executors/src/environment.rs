//! The environment of a task, by Marathon's rules.
//!
//! Input: a task (its definition and its host ports) and what the executor adds. Output: the whole
//! environment; nothing else is inherited. Pure: the random container ports that Marathon's rules
//! ask for are drawn by the caller.
//!
//! Layers, later ones win: what the executor gives (`PATH`, `HOME`, …), Marathon's meta variables,
//! `HOST` and the ports (with the prefix of `--env_vars_prefix`), the app's own `env`.
//! `MARATHON_APP_ENFORCE_GROUP_ROLE` (Marathon 1.9 and later) is left out, as roles are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use waymark_model::{ContainerKind, Task};

/// Labels with a key of this many characters or more are left out (Marathon's limit).
const LABEL_KEY_LIMIT: usize = 493;
/// Labels with a value of this many characters or more are left out (Marathon's limit).
const LABEL_VALUE_LIMIT: usize = 512;
/// Random container ports lie from here to 65535.
const FIRST_RANDOM_PORT: u16 = 1025;
/// How often a random port is drawn before the next free number is taken instead.
const DRAWS: usize = 100;

/// Names and values.
pub type Environment = BTreeMap<String, String>;

/// What the executor adds to the app's definition.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The lowest layer: `PATH`, `LANG`, `HOME`, …
    pub base: &'a Environment,
    /// The task's folder, for `MESOS_SANDBOX`.
    pub sandbox: &'a Path,
    /// Put in front of `HOST` and of every port variable.
    pub prefix: &'a str,
}

/// The whole environment of `task`. `draw` gives random numbers, asked for only when a position
/// has neither host port nor container port.
pub fn environment(
    task: &Task,
    around: Surroundings<'_>,
    draw: &mut dyn FnMut() -> u16,
) -> Environment {
    let mut env = around.base.clone();
    env.insert("MESOS_SANDBOX".to_owned(), around.sandbox.to_string_lossy().into_owned());
    add_meta(&mut env, task);
    let mut network = port_variables(task, draw);
    network.insert("HOST".to_owned(), task.agent.hostname.clone());
    env.extend(
        network.into_iter().map(|(name, value)| (format!("{}{name}", around.prefix), value)),
    );
    env.extend(task.app.env.clone());
    env
}

fn add_meta(env: &mut Environment, task: &Task) {
    let app = &task.app;
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("MESOS_TASK_ID", task.id.to_string());
    set("MARATHON_APP_ID", app.id.to_string());
    set("MARATHON_APP_VERSION", app.version.to_string());
    if let Some(container) = &app.container
        && container.kind == ContainerKind::Docker
        && let Some(docker) = &container.docker
    {
        set("MARATHON_APP_DOCKER_IMAGE", docker.image.clone());
    }
    // `{:?}` of a float always has a fraction: `128.0`.
    set("MARATHON_APP_RESOURCE_CPUS", format!("{:?}", app.resources.cpus));
    set("MARATHON_APP_RESOURCE_MEM", format!("{:?}", app.resources.mem));
    set("MARATHON_APP_RESOURCE_DISK", format!("{:?}", app.resources.disk));
    set("MARATHON_APP_RESOURCE_GPUS", app.resources.gpus.to_string());
    let labels = label_variables(&app.labels);
    set("MARATHON_APP_LABELS", labels.keys().map(String::as_str).collect::<Vec<_>>().join(" "));
    for (key, value) in labels {
        set(&format!("MARATHON_APP_LABEL_{key}"), value);
    }
}

/// Labels by sanitized key: each run of characters outside `[A-Za-z0-9_]` becomes one `_`, then
/// upper case.
fn label_variables(labels: &BTreeMap<String, String>) -> Environment {
    labels
        .iter()
        .filter(|(key, value)| {
            key.chars().count() < LABEL_KEY_LIMIT && value.chars().count() < LABEL_VALUE_LIMIT
        })
        .map(|(key, value)| (sanitized(key), value.clone()))
        .collect()
}

fn sanitized(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    let mut replaced = false;
    for c in key.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            out.push(c.to_ascii_uppercase());
            replaced = false;
        } else if !replaced {
            out.push('_');
            replaced = true;
        }
    }
    out
}

fn port_variables(task: &Task, draw: &mut dyn FnMut() -> u16) -> Environment {
    let ports = task.app.ports();
    if ports.is_empty() {
        return Environment::new();
    }
    let mut used: BTreeSet<u16> = task.host_ports.iter().flatten().copied().collect();
    used.extend(ports.iter().map(|p| p.declared).filter(|n| *n != 0));

    let mut env = Environment::new();
    let mut random = Vec::new();
    for port in &ports {
        let host_port = task.host_ports.get(port.index).copied().flatten();
        let effective = match (host_port, port.declared) {
            (Some(number), _) => number,
            (None, 0) => {
                let number = unused_port(&mut used, draw);
                random.push(number);
                number
            }
            (None, declared) => declared,
        };
        let value = effective.to_string();
        let declared = if port.declared == 0 { effective } else { port.declared };
        env.insert(format!("PORT{}", port.index), value.clone());
        env.insert(format!("PORT_{declared}"), value.clone());
        if let Some(name) = port.name {
            env.insert(format!("PORT_{}", name.to_uppercase()), value);
        }
    }
    add_aliases(&mut env);

    let listed: Vec<String> =
        task.host_ports.iter().flatten().chain(&random).map(u16::to_string).collect();
    if let Some(first) = listed.first() {
        env.insert("PORT".to_owned(), first.clone());
    }
    env.insert("PORTS".to_owned(), listed.join(","));
    env
}

/// `PORT_HTTP_API` beside `PORT_HTTP-API`, which no shell can read. Marathon does not have it; a
/// name that exists already stays as it is.
fn add_aliases(env: &mut Environment) {
    let aliases: Vec<(String, String)> = env
        .iter()
        .filter(|(name, _)| name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .map(|(name, value)| (sanitized(name), value.clone()))
        .collect();
    for (name, value) in aliases {
        env.entry(name).or_insert(value);
    }
}

fn unused_port(used: &mut BTreeSet<u16>, draw: &mut dyn FnMut() -> u16) -> u16 {
    let range = u16::MAX - FIRST_RANDOM_PORT + 1;
    let number = (0..DRAWS)
        .map(|_| FIRST_RANDOM_PORT + draw() % range)
        .find(|n| !used.contains(n))
        .or_else(|| (FIRST_RANDOM_PORT..=u16::MAX).find(|n| !used.contains(n)))
        .unwrap_or(u16::MAX);
    used.insert(number);
    number
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use proptest::prelude::*;
    use waymark_model::{
        Agent, App, Container, Docker, Network, NetworkMode, PathId, PortDefinition, PortMapping,
        TaskId, TaskState, Timestamp,
    };

    use super::*;

    fn task(app: App, host_ports: &[Option<u16>]) -> Task {
        Task {
            id: TaskId::new(&app.id, "u", 1),
            app: Arc::new(app),
            agent: Arc::new(Agent {
                id: "a-S0".to_owned(),
                hostname: "box".to_owned(),
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            }),
            state: TaskState::Staging,
            host_ports: host_ports.to_vec(),
            addresses: Vec::new(),
            staged_at: Timestamp::ZERO,
            started_at: None,
            health: Vec::new(),
            ready: true,
            draining_since: None,
        }
    }

    fn app() -> App {
        App { version: Timestamp(7), ..App::new(PathId::parse("/shop/web").unwrap()) }
    }

    fn host_mode(ports: &[(u16, &str)]) -> App {
        let port_definitions = ports
            .iter()
            .map(|(port, name)| PortDefinition {
                port: *port,
                name: (!name.is_empty()).then(|| (*name).to_owned()),
                ..PortDefinition::default()
            })
            .collect();
        App { port_definitions, ..app() }
    }

    fn mapped(mappings: &[(u16, Option<u16>, &str)]) -> App {
        let port_mappings = mappings
            .iter()
            .map(|(container_port, host_port, name)| PortMapping {
                container_port: *container_port,
                host_port: *host_port,
                name: (!name.is_empty()).then(|| (*name).to_owned()),
                ..PortMapping::default()
            })
            .collect();
        let docker = Docker {
            image: "nginx:1".to_owned(),
            force_pull_image: false,
            privileged: false,
            parameters: Vec::new(),
            opaque: BTreeMap::new(),
        };
        App {
            networks: vec![Network {
                mode: NetworkMode::Bridge,
                name: None,
                labels: BTreeMap::new(),
            }],
            container: Some(Container {
                kind: ContainerKind::Docker,
                docker: Some(docker),
                volumes: Vec::new(),
                port_mappings,
                opaque: BTreeMap::new(),
            }),
            ..app()
        }
    }

    fn built(task: &Task, prefix: &str, mut draw: impl FnMut() -> u16) -> Environment {
        let base = Environment::from([("PATH".to_owned(), "/bin".to_owned())]);
        let around = Surroundings { base: &base, sandbox: Path::new("/s/t"), prefix };
        environment(task, around, &mut draw)
    }

    /// What `env` holds beyond the environment of an app without ports.
    fn ports_of(task: &Task) -> Vec<(String, String)> {
        built(task, "", || 0)
            .into_iter()
            .filter(|(name, _)| name.starts_with("PORT") || name == "HOST")
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn meta_layer() {
        let env = built(&task(app(), &[]), "P_", || 0);
        let want = pairs(&[
            ("MARATHON_APP_ID", "/shop/web"),
            ("MARATHON_APP_LABELS", ""),
            ("MARATHON_APP_RESOURCE_CPUS", "1.0"),
            ("MARATHON_APP_RESOURCE_DISK", "0.0"),
            ("MARATHON_APP_RESOURCE_GPUS", "0"),
            ("MARATHON_APP_RESOURCE_MEM", "128.0"),
            ("MARATHON_APP_VERSION", "1970-01-01T00:00:00.007Z"),
            ("MESOS_SANDBOX", "/s/t"),
            ("MESOS_TASK_ID", "shop_web.instance-u._app.1"),
            ("PATH", "/bin"),
            ("P_HOST", "box"),
        ]);
        assert_eq!(env.into_iter().collect::<Vec<_>>(), want);
    }

    #[test]
    fn labels() {
        let long_key = "k".repeat(493);
        let labels = [
            ("HAPROXY_0_VHOST", "a.example"),
            ("traefik.http-routers..x", "y z"),
            (&long_key, "left out"),
            ("long", &"v".repeat(512)),
            ("edge", &"v".repeat(511)),
        ]
        .map(|(a, b)| (a.to_owned(), b.to_owned()));
        let env = built(&task(App { labels: labels.into(), ..app() }, &[]), "", || 0);
        let keys = "EDGE HAPROXY_0_VHOST TRAEFIK_HTTP_ROUTERS_X";
        assert_eq!(env["MARATHON_APP_LABELS"], keys);
        assert_eq!(env["MARATHON_APP_LABEL_TRAEFIK_HTTP_ROUTERS_X"], "y z");
        assert_eq!(env["MARATHON_APP_LABEL_EDGE"].len(), 511);
        assert_eq!(env.keys().filter(|k| k.starts_with("MARATHON_APP_LABEL_")).count(), 3);
    }

    #[test]
    fn ports_in_host_mode() {
        let web = host_mode(&[(10000, "http"), (0, "http-api"), (10002, "")]);
        let task = task(web, &[Some(31005), Some(31006), Some(31007)]);
        let want = pairs(&[
            ("HOST", "box"),
            ("PORT", "31005"),
            ("PORT0", "31005"),
            ("PORT1", "31006"),
            ("PORT2", "31007"),
            ("PORTS", "31005,31006,31007"),
            ("PORT_10000", "31005"),
            ("PORT_10002", "31007"),
            ("PORT_31006", "31006"),
            ("PORT_HTTP", "31005"),
            ("PORT_HTTP-API", "31006"),
            ("PORT_HTTP_API", "31006"),
        ]);
        assert_eq!(ports_of(&task), want);
    }

    #[test]
    fn ports_of_mappings() {
        let web = mapped(&[(80, Some(0), "http"), (9000, None, "admin"), (0, None, "any")]);
        let task = task(web, &[Some(31005), None, None]);
        let want = pairs(&[
            ("HOST", "box"),
            ("PORT", "31005"),
            ("PORT0", "31005"),
            ("PORT1", "9000"),
            ("PORT2", "1025"),
            ("PORTS", "31005,1025"),
            ("PORT_1025", "1025"),
            ("PORT_80", "31005"),
            ("PORT_9000", "9000"),
            ("PORT_ADMIN", "9000"),
            ("PORT_ANY", "1025"),
            ("PORT_HTTP", "31005"),
        ]);
        assert_eq!(ports_of(&task), want);
        assert_eq!(built(&task, "", || 0)["MARATHON_APP_DOCKER_IMAGE"], "nginx:1");
    }

    #[test]
    fn no_listed_port() {
        let want = pairs(&[("HOST", "box"), ("PORT0", "80"), ("PORTS", ""), ("PORT_80", "80")]);
        assert_eq!(ports_of(&task(mapped(&[(80, None, "")]), &[None])), want);
    }

    #[test]
    fn later_layers_win() {
        let mut web = host_mode(&[(10000, "a-b"), (10001, "A_B")]);
        web.env = [("PORT0", "mine"), ("PATH", "/opt"), ("MESOS_TASK_ID", "x")]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .into();
        let env = built(&task(web, &[Some(31000), Some(31001)]), "", || 0);
        assert_eq!((&*env["PORT0"], &*env["PATH"], &*env["MESOS_TASK_ID"]), ("mine", "/opt", "x"));
        // The alias of `a-b` does not take the place of a port that is named so.
        assert_eq!((&*env["PORT_A-B"], &*env["PORT_A_B"]), ("31000", "31001"));
    }

    #[test]
    fn prefix_is_for_ports_and_host_alone() {
        let env = built(&task(host_mode(&[(10000, "web")]), &[Some(31000)]), "CUSTOM_", || 0);
        for name in ["PORT", "PORT0", "PORTS", "PORT_10000", "PORT_WEB", "HOST"] {
            assert!(env.contains_key(&format!("CUSTOM_{name}")) && !env.contains_key(name));
        }
    }

    proptest! {
        #[test]
        fn random_ports_are_never_used_twice(
            count in 1usize..40, constant in any::<u16>(), host in 31000u16..31010,
        ) {
            let mut mappings = vec![(0, Some(0), ""); 1];
            mappings.extend(vec![(0, None, ""); count]);
            let mut host_ports = vec![Some(host)];
            host_ports.extend(vec![None; count]);
            let env = built(&task(mapped(&mappings), &host_ports), "", || constant);
            let ports: BTreeSet<&str> = env["PORTS"].split(',').collect();
            prop_assert_eq!(ports.len(), count + 1);
        }
    }
}
