//! Marathon's documents as the catalog has them, and settings from a few words of JSON.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::Value;
use waymark_haproxy::apply::Version;
use waymark_haproxy::{Endpoints, Renderer, Settings, Templates};
use waymark_marathon_api::answer::{AppFacts, Phase, TaskFacts, listing};
use waymark_model::{
    Agent, AppEntry, Catalog, Endpoint, NetworkMode, Readiness, Service, TaskEntry,
};

/// A catalog of `{"apps": […]}` as a Marathon answers it. Hosts called `…<n>.test` have the address
/// `10.9.0.<n>`; other names have none.
pub fn catalog(document: &Value, version: u64) -> Catalog {
    let listing = listing(document.to_string().as_bytes()).unwrap();
    assert_eq!(listing.unreadable, []);
    let apps = listing.apps.iter().map(|facts| (facts.id.clone(), Arc::new(entry(facts))));
    Catalog { version, apps: apps.collect(), ..Catalog::default() }
}

/// A renderer for a case's `settings`, `environment` and `files`, all of them optional.
pub fn renderer(case: &Value) -> Renderer {
    let settings = settings(&case["settings"]);
    let text = |place: &str, name: &str| case[place][name].as_str().map(str::to_owned);
    let templates =
        Templates::new(&settings, |name| text("environment", name), |name| text("files", name));
    Renderer::new(settings, templates.unwrap())
}

fn settings(given: &Value) -> Settings {
    let texts = |name: &str| -> Vec<String> {
        let list = given[name].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let on = |name: &str| given[name].as_bool().unwrap_or(false);
    let groups = texts("groups");
    let groups = if groups.is_empty() { vec!["*".to_owned()] } else { groups };
    let mut settings = Settings::new(groups);
    settings.strict = on("strict");
    settings.health_check = on("health_check");
    settings.bind_http_https = !on("dont_bind_http_https");
    settings.maps = on("maps");
    settings.group_https_by_vhost = on("group_https_by_vhost");
    settings.keep_draining = on("keep_draining");
    settings.ssl_certs = texts("ssl_certs");
    settings.framework_name = given["framework_name"].as_str().map(str::to_owned);
    if let Some(version) = given["haproxy"].as_str() {
        settings.haproxy = Version::read(version).unwrap();
    }
    if !on("lua") {
        settings.head.endpoints = Endpoints::None;
    }
    if let Some(to) = given["forward"].as_str() {
        settings.head.endpoints = Endpoints::Forward(to.to_owned());
    }
    if let Some(options) = given["default_options"].as_str() {
        options.clone_into(&mut settings.head.default_options);
    }
    settings
}

fn entry(facts: &AppFacts) -> AppEntry {
    let service = |(index, port): (usize, &waymark_marathon_api::answer::PortFacts)| Service {
        index,
        port: port.service_port,
        protocol: port.protocol,
        name: port.name.clone(),
        labels: port.labels.clone(),
    };
    AppEntry {
        labels: facts.labels.clone(),
        instances: facts.instances,
        health_checks: facts.health_checks.clone(),
        last_scaling_at: facts.last_scaling_at,
        services: facts.ports.iter().enumerate().map(service).collect(),
        tasks: facts
            .tasks
            .iter()
            .filter_map(|task| task_entry(facts, task))
            .map(Arc::new)
            .collect(),
        ..AppEntry::new(facts.id.clone(), "marathon")
    }
}

fn task_entry(app: &AppFacts, task: &TaskFacts) -> Option<TaskEntry> {
    let readiness = match task.phase {
        Phase::Coming | Phase::Ended => return None,
        Phase::Leaving => Readiness::Draining,
        Phase::Running if app.health_checks.is_empty() => Readiness::Ready,
        Phase::Running if task.results.iter().any(|alive| *alive) => Readiness::Ready,
        Phase::Running => Readiness::Unhealthy,
    };
    let own = task.addresses.first().copied().filter(|_| app.mode == NetworkMode::Container);
    let address = match app.mode {
        NetworkMode::Container => own?,
        _ => address_of(&task.host)?,
    };
    let ports: Vec<u16> = match app.mode {
        NetworkMode::Container => app.ports.iter().map(|port| port.container_port).collect(),
        _ => task.ports.clone(),
    };
    let ends = app.ports.iter().zip(ports).enumerate();
    Some(TaskEntry {
        id: task.id.clone(),
        agent: Arc::new(Agent {
            id: task.agent.clone(),
            hostname: task.host.to_string(),
            address: address_of(&task.host).unwrap_or(address),
        }),
        addresses: own.into_iter().collect(),
        host_ports: task.ports.clone(),
        discovery: Vec::new(),
        endpoints: ends
            .map(|(service, (_, port))| Endpoint {
                service,
                address: SocketAddr::new(address, port),
            })
            .collect(),
        readiness,
    })
}

fn address_of(host: &str) -> Option<IpAddr> {
    let named = || {
        let name = host.strip_suffix(".test")?;
        let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        Some(IpAddr::V4(Ipv4Addr::new(10, 9, 0, digits.parse().ok()?)))
    };
    host.parse().ok().or_else(named)
}
